"""The files of a store that hold the envelopes' bytes: one for each epoch, so that an epoch goes with its file.

```
bodies/NAME    envelopes one after the other, with nothing between them
```

Owns: these files. Leaves to others: where in them an envelope stands, and how long a file is (the store's database,
`filing`); which envelope belongs to which file.

Invariants: what `write` has written survives a power cut when it returns. Bytes behind the length that the database
knows are remains of a transaction that was cut off: nobody reads them, and the next ones are written over them.

What is written leaves the kernel's cache: it is seldom read, the database beside it needs the memory, and the kernel
forgets an epoch of 4 GB faster where no page of it is in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.disk import durable
from agent.receiver.layout import BODIES

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_TO_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
COPIED_BYTES: Final = 1 << 20
"""Copied, or written, at a time."""


class BodyFiles:
    """The body files beside a store. Safe for threads and processes, as far as one writer at a time holds the store."""

    def __init__(self, store: Path) -> None:
        """Find those of the store with this file."""
        self.directory = store.with_name(BODIES)
        self._folder = str(self.directory)

    def make_folder(self) -> None:
        """Make the folder if it is missing.

        Raises:
            OSError: The disk refused.
        """
        durable.make_directory(self.directory, mode=FOLDER_MODE)

    def write(self, name: str, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Write bytes at places of a file, which is made if it is missing. On return they survive a power cut.

        Args:
            name: The file.
            pieces: Where to write what, bytes from the beginning of the file.

        Raises:
            OSError: The disk refused; some of it may be written.
        """
        path = self.directory / name
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            for offset, data in _joined(pieces):
                _write_at(descriptor, data, offset)
            durable.sync_content(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        if is_new:
            durable.sync_directory(self.directory)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a file: fewer than were asked for where it is damaged or shorter.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: It cannot be read.
        """
        descriptor = os.open(f"{self._folder}/{name}", _TO_READ)  # no Path: thousands are read in a second
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def copy(self, name: str, length: int, target: BodyFiles) -> None:
        """Copy the beginning of a file to a new one of another store. On return it survives a power cut.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: It cannot be read or written.
        """
        with _opened(self.directory / name) as descriptor:
            target.write(name, _pieces(descriptor, length))

    def length(self, name: str) -> int | None:
        """Return how many bytes a file has; None where it is missing."""
        try:
            return (self.directory / name).stat().st_size
        except OSError:
            return None

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone is fine. On return, that they are gone survives a power cut.

        Raises:
            OSError: The disk refused.
        """
        there = [name for name in names if (self.directory / name).exists()]
        for name in there:
            with suppress(FileNotFoundError):
                (self.directory / name).unlink()
        if there:
            durable.sync_directory(self.directory)


def _joined(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield pieces that stand one after the other as one: few long writes cost less than many short ones."""
    begin, run = 0, bytearray()
    for offset, data in pieces:
        if offset != begin + len(run) or len(run) >= COPIED_BYTES:
            yield begin, bytes(run)
            begin, run = offset, bytearray()
        run += data
    yield begin, bytes(run)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _pieces(descriptor: int, length: int) -> Iterator[tuple[int, bytes]]:
    for offset in range(0, length, COPIED_BYTES):
        yield offset, os.pread(descriptor, min(COPIED_BYTES, length - offset), offset)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _TO_READ)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


__all__ = ["BodyFiles"]
