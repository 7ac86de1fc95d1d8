"""`Disk` on a real POSIX file system.

Owns: the steps of the spool and of the daemons' notes, and the translation of their errors. Leaves to `durable`: the
system calls that make a step durable. Invariant: no symbolic link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.disk import durable
from agent.errors import SpoolError, SpoolFileError, SpoolFullError, SpoolMissingError
from agent.records import FileStatus

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700

ONE_FILE: Final = (
    errno.EACCES, errno.EBUSY, errno.EISDIR, errno.ELOOP, errno.EMLINK, errno.ENOSYS, errno.ENOTDIR, errno.ENOTSUP,
    errno.ENXIO, errno.EPERM, errno.ETXTBSY, errno.EXDEV,
)  # fmt: skip
"""What the system answers where one file is to blame and not the disk: rights, kind, use, or no links (link(2))."""

_KINDS: Final = {
    errno.ENOSPC: SpoolFullError,
    errno.EDQUOT: SpoolFullError,
    errno.ENOENT: SpoolMissingError,
    **dict.fromkeys(ONE_FILE, SpoolFileError),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LocalFiles:
    """Each method is one durable step or one look; a lower error becomes a `SpoolError` here and nowhere else."""

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file of mode 0600 and sync its content through the descriptor that wrote it.

        Raises:
            SpoolFullError: The disk is full.
            SpoolError: The disk refused. The file may be there in part.
        """
        with _translated("create", path):
            durable.write_whole(durable.open_new(path, mode=FILE_MODE), data, mode=FILE_MODE)

    def overwrite(self, path: Path) -> None:
        """Replace a file's content by zeros of the same length and sync it; its times need not reach the disk.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("overwrite", path):
            durable.overwrite_file(path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one file system.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("rename", source):
            durable.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name.

        Raises:
            SpoolMissingError: The source is not there.
            SpoolFileError: The file system has no links, or allows none to this file.
            SpoolError: The target is there already, or the disk refused.
        """
        with _translated("link", source):
            durable.link(source, target)

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
            durable.sync_directory(directory)

    def prepare(self, directories: Sequence[Path]) -> None:
        """Make the directories that are missing, mode 0700, durably; then check that this process can use each.

        Raises:
            SpoolError: In one line, what keeps this process from using one of them.
        """
        with _translated("look at", directories[0]):
            incomplete = not all(directory.is_dir() for directory in directories)
        for directory in directories:
            _make(directory)
            _require_usable(directory)
            if incomplete and directory.parent not in directories:
                self.sync_dir(directory.parent)  # before anything is made inside: a complete set has a durable root
        for parent in {directory.parent for directory in directories} & set(directories):
            self.sync_dir(parent)  # always: an earlier start may have been killed between making and syncing

    def names(self, directory: Path) -> Iterator[str]:
        """Yield the names in a directory, in no order, one at a time; those of anything but files end with a slash.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("list", directory), os.scandir(directory) as listing:
            for entry in listing:
                yield entry.name if entry.is_file(follow_symlinks=False) else f"{entry.name}/"

    def statuses(self, directory: Path) -> Iterator[tuple[str, FileStatus]]:
        """Yield the names with their statuses, one at a time; names that are gone before their turn are left out.

        Raises:
            SpoolError: The disk refused.
        """
        with _translated("list", directory), os.scandir(directory) as listing:
            for entry in listing:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield entry.name, _as_status(status)

    def status(self, path: Path) -> FileStatus:
        """Return a file's length and time.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
        """
        with _translated("look at", path):
            return _as_status(os.lstat(path))

    def read(self, path: Path, *, limit_bytes: int) -> bytes:
        """Return a file's content, at most `limit_bytes + 1` bytes of it.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
        """
        with _translated("read", path):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb", buffering=0) as stream:  # noqa: PTH123  a descriptor, not a path
                return _read_most(stream.fileno(), limit_bytes + 1)


def _as_status(status: os.stat_result) -> FileStatus:
    modified_at = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    return FileStatus(status.st_size, modified_at, status.st_ino, stat.S_ISREG(status.st_mode))


def _read_most(fd: int, most_bytes: int) -> bytes:
    pieces: list[bytes] = []
    while most_bytes and (piece := os.read(fd, most_bytes)):
        pieces.append(piece)
        most_bytes -= len(piece)
    return b"".join(pieces)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        return  # whatever has the name is looked at next
    except FileNotFoundError as error:
        raise SpoolError(f"spool: cannot make {directory}: {directory.parent} is not there") from error
    except OSError as error:
        raise SpoolError(f"spool: cannot make {directory}: {error.strerror or error}") from error


def _require_usable(directory: Path) -> None:
    with _translated("look at", directory):
        status = directory.stat()
        read_only = bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    if not stat.S_ISDIR(status.st_mode):
        raise SpoolError(f"spool: {directory} is not a directory")
    if read_only:
        raise SpoolError(f"spool: {directory} is on a read-only file system")
    if status.st_uid != os.geteuid():
        raise SpoolError(
            f"spool: {directory} belongs to user {status.st_uid}, and this process is user {os.geteuid()}; "
            "it must be its own"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SpoolError(
            f"spool: {directory} has mode {stat.S_IMODE(status.st_mode):04o}, so others may write there; "
            f"{DIRECTORY_MODE:04o} is needed"
        )
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise SpoolError(f"spool: {directory} is not writable by this user")


class _translated:  # noqa: N801  used like a function; one made of a generator takes three times as long
    __slots__ = ("_path", "_step")

    def __init__(self, step: str, path: Path) -> None:
        self._step = step
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            kind = _KINDS.get(error.errno or 0, SpoolError)
            raise kind(f"spool: cannot {self._step} {self._path}: {error.strerror or error}") from error
