"""`Files` on a real POSIX file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.errors import SpoolError, SpoolFullError, SpoolMissingError

FILE_MODE: Final = 0o600
OVERWRITE_CHUNK_BYTES: Final = 1 << 16

_KINDS: Final = {
    errno.ENOSPC: SpoolFullError,
    errno.EDQUOT: SpoolFullError,
    errno.ENOENT: SpoolMissingError,
}


class LocalFiles:
    """Each method is one durable step; a lower error becomes a `SpoolError` here and nowhere else."""

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file of mode 0600 and sync its content through the descriptor that wrote it.

        Raises:
            SpoolFullError: The disk is full.
            SpoolError: The disk refused. The file may be there in part.
        """
        with _translated("create", path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
            try:
                _write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)

    def overwrite(self, path: Path) -> None:
        """Replace a file's content by zeros of the same length and sync it.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("overwrite", path):
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                remaining = os.fstat(fd).st_size
                while remaining > 0:
                    remaining -= os.write(fd, bytes(min(remaining, OVERWRITE_CHUNK_BYTES)))
                os.fsync(fd)
            finally:
                os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one file system.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("rename", source):
            source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name; one that is not there is fine.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("unlink", path):
            path.unlink(missing_ok=True)

    def sync_dir(self, directory: Path) -> None:
        """Make the names in a directory durable.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("sync", directory):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def _translated(step: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, SpoolError)
        raise kind(f"spool: cannot {step} {path}: {error.strerror or error}") from error
