"""A disk in memory, beside the `Disk` port: fast, never full on its own, and always able to say what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.errors import SpoolError, SpoolFullError, SpoolMissingError
from agent.records import FileStatus

_START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Inode:
    """A file's content; it may have several names."""

    data: bytes
    modified_at: datetime


class MemoryDisk:
    """Directories of names of contents. Every step is durable at once.

    Attributes:
        size_bytes: Every file's length, each counted once however many names it has.
        max_bytes: What fits on it; a file that does not is refused as on a full disk.
    """

    def __init__(self, *, max_bytes: int | None = None) -> None:
        """Begin empty."""
        self.size_bytes = 0
        self.max_bytes = max_bytes
        self._directories: dict[str, dict[str, _Inode]] = {}
        self._names: dict[int, int] = {}
        self._writes = 0

    def __len__(self) -> int:
        """Return the number of names of files."""
        return sum(len(names) for names in self._directories.values())

    def create(self, path: Path, data: bytes) -> None:
        """As the port."""
        names, name = self._place(path)
        if name in names:
            raise SpoolError(f"spool: cannot create {path}: File exists")
        if self.max_bytes is not None and self.size_bytes + len(data) > self.max_bytes:
            raise SpoolFullError(f"spool: cannot create {path}: No space left on device")
        self._writes += 1
        self._add(names, name, _Inode(data, _START + timedelta(microseconds=self._writes)))

    def overwrite(self, path: Path) -> None:
        """As the port."""
        inode = self._get(path)
        inode.data = bytes(len(inode.data))

    def rename(self, source: Path, target: Path) -> None:
        """As the port."""
        inode = self._get(source)
        self.unlink(target)
        self._add(*self._place(target), inode)
        self.unlink(source)

    def link(self, source: Path, target: Path) -> None:
        """As the port."""
        inode = self._get(source)
        names, name = self._place(target)
        if name in names:
            raise SpoolError(f"spool: cannot link {source}: File exists")
        self._add(names, name, inode)

    def unlink(self, path: Path) -> None:
        """As the port."""
        names, name = self._place(path)
        inode = names.pop(name, None)
        if inode is None:
            return
        self._names[id(inode)] -= 1
        if not self._names[id(inode)]:
            del self._names[id(inode)]
            self.size_bytes -= len(inode.data)

    def sync_dir(self, directory: Path) -> None:
        """As the port."""
        self._names_of(str(directory))

    def prepare(self, directories: Sequence[Path]) -> None:
        """As the port; parents are taken to be there."""
        for directory in directories:
            self._directories.setdefault(str(directory), {})

    def names(self, directory: Path) -> Iterator[str]:
        """As the port."""
        yield from list(self._names_of(str(directory)))

    def statuses(self, directory: Path) -> Iterator[tuple[str, FileStatus]]:
        """As the port."""
        for name in self.names(directory):
            with suppress(SpoolMissingError):
                yield name, self.status(directory / name)

    def status(self, path: Path) -> FileStatus:
        """As the port."""
        inode = self._get(path)
        return FileStatus(len(inode.data), inode.modified_at, id(inode))

    def read(self, path: Path, *, limit_bytes: int) -> bytes:
        """As the port."""
        return self._get(path).data[: limit_bytes + 1]

    def _add(self, names: dict[str, _Inode], name: str, inode: _Inode) -> None:
        if id(inode) not in self._names:
            self._names[id(inode)] = 0
            self.size_bytes += len(inode.data)
        self._names[id(inode)] += 1
        names[name] = inode

    def _get(self, path: Path) -> _Inode:
        names, name = self._place(path)
        try:
            return names[name]
        except KeyError:
            raise SpoolMissingError(f"spool: {path} is not there") from None

    def _place(self, path: Path) -> tuple[dict[str, _Inode], str]:
        directory, _, name = str(path).rpartition("/")  # as the path's own parent and name, which take far longer
        return self._names_of(directory), name

    def _names_of(self, directory: str) -> dict[str, _Inode]:
        try:
            return self._directories[directory]
        except KeyError:
            raise SpoolError(f"spool: {directory} is not there") from None
