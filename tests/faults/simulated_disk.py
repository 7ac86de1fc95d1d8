"""A disk in memory that forgets, at a power cut, whatever it was not told to keep; beside the port `Disk`.

What may be left of an effect that no sync has made durable:

| effect | made durable by | until then a power cut leaves |
|---|---|---|
| content of a new file | sync of the file | nothing, a torn piece (several lengths), zeros of its length, or all |
| zeros over a file | sync of the file | the old content, zeros in the first or in the last half, or zeros |
| a new name | sync of its directory | the name or not, whatever the state of the content |
| a removed name | sync of its directory | the name or not |
| a rename | sync of each directory | a new name and a removed one, each for itself: both, one of them, or none |
| a new directory | sync of its parent | the directory with what is in it, or nothing of it |

Each row is independent of every other: there is no order between two effects without a sync. An inode lives as long as
a name refers to it, so after a cut two names may share one content. Syncing a file says nothing of its name. A sync of
a file that fails leaves its content in doubt for good: a second one would report success and keep nothing. A sync of a
directory that fails may be tried again: journals that cannot be written make a file system read-only.

Real systems do better in part, and none of it is relied on. ext4, XFS and btrfs journal a rename as one transaction, so
that it is all or nothing, and a sync of a new file brings its name along; ext4 with `auto_da_alloc` writes a file's
blocks before a rename over another one; ext2, FAT and a disk that lies about its cache do none of this. FAT and
exFAT have no links either (`Image.links`).

Sources: POSIX fsync() ("the directory entry is not covered", Linux fsync(2) NOTES); Pillai et al., All File Systems Are
Not Created Equal, OSDI 2014, table 1 (content, name and rename persisting out of order, per file system); Rebello et
al., Can Applications Recover from fsync Failures?, ATC 2020 (pages marked clean after a failed fsync); ext4(5),
`auto_da_alloc`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Final

from agent.disk.files import ONE_FILE
from agent.errors import SpoolError, SpoolFileError, SpoolFullError, SpoolMissingError
from agent.records import FileStatus

NO_FILE: Final = 0
"""In place of an inode: the name is not there."""

_START: Final = datetime(2026, 3, 1, tzinfo=UTC)
_KINDS: Final = {
    errno.ENOSPC: SpoolFullError,
    errno.EDQUOT: SpoolFullError,
    errno.ENOENT: SpoolMissingError,
    **dict.fromkeys(ONE_FILE, SpoolFileError),
}

Watch = Callable[[str, bool], None]
"""Called with a step's name before it (False) and after it (True); an `OSError` that it raises is the disk's answer."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a power cut left: nothing here is in doubt any more.

    Attributes:
        directories: Their paths, sorted.
        files: (path, label, content) sorted by path; the same label means the same inode under two names.
        links: Whether files of this disk can be given second names.
    """

    directories: tuple[str, ...]
    files: tuple[tuple[str, int, bytes], ...]
    links: bool = True


@dataclass(slots=True)
class _State:
    """Every version that the disk may hold of each thing; the last one is what a running system sees.

    Attributes:
        directories: Path to whether it is there.
        names: Path to inode or `NO_FILE`.
        inodes: Inode to content, unlinked ones included.
    """

    directories: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    names: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inodes: dict[int, tuple[bytes, ...]] = field(default_factory=dict)


class SimulatedDisk:
    """`Disk` in memory. `power_cuts` tells every state that a power cut at this moment may leave.

    Attributes:
        watch: See `Watch`.
        changes: How many steps have changed anything that a power cut could leave.
        abandoned: (Path, content) that lost its last name by an unlink without being overwritten first.
    """

    def __init__(self, image: Image | None = None) -> None:
        """Start as a power cut left it, or with nothing but `/`."""
        self.watch: Watch = _ignore
        self.changes = 0
        self.abandoned: list[tuple[str, bytes]] = []
        image = image or Image(("/",), ())
        self._links = image.links
        self._state = _State(
            directories=dict.fromkeys(image.directories, (True,)),
            names={path: (label,) for path, label, _ in image.files},
            inodes={label: (content,) for _, label, content in image.files},
        )
        self._next_inode = len(image.files) + 1

    def create(self, path: Path, data: bytes) -> None:
        """As the port."""
        name = os.fspath(path)
        with _Step(self, "create", name):
            self._require_directory(path)
            if self._shown(name) != NO_FILE:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            inode = self._next_inode
            self._next_inode += 1
            self._state.inodes[inode] = (b"",)
            self._set_name(name, inode)
        with _Step(self, "write", name, torn=lambda: self._write(inode, data[: len(data) // 2])):
            self._write(inode, data)
        with _Step(self, "sync content of", name):
            self._state.inodes[inode] = (data,)

    def overwrite(self, path: Path) -> None:
        """As the port."""
        name = os.fspath(path)
        with _Step(self, "open", name):
            inode = self._existing(name)
        size = len(self._state.inodes[inode][-1])
        with _Step(self, "overwrite", name, torn=lambda: self._zero(inode, size // 2)):
            self._zero(inode, size)
        with _Step(self, "sync zeros of", name):
            self._state.inodes[inode] = (bytes(size),)

    def rename(self, source: Path, target: Path) -> None:
        """As the port."""
        name = os.fspath(source)
        with _Step(self, "rename", name):
            self._require_directory(target)
            inode = self._existing(name)
            self._set_name(os.fspath(target), inode)
            self._set_name(name, NO_FILE)

    def link(self, source: Path, target: Path) -> None:
        """As the port."""
        name = os.fspath(target)
        with _Step(self, "link", name):
            self._require_directory(target)
            inode = self._existing(os.fspath(source))
            if not self._links:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            if self._shown(name) != NO_FILE:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._set_name(name, inode)

    def unlink(self, path: Path) -> None:
        """As the port."""
        name = os.fspath(path)
        with _Step(self, "unlink", name):
            inode = self._shown(name)
            if inode != NO_FILE:
                self._set_name(name, NO_FILE)
                self._note_abandoned(name, inode)

    def sync_dir(self, directory: Path) -> None:
        """As the port."""
        parent = os.fspath(directory)
        with _Step(self, "sync", parent):
            if not self._state.directories.get(parent, (False,))[-1]:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            names, directories = self._state.names, self._state.directories
            in_doubt = [path for path, inodes in names.items() if len(inodes) > 1 and _parent(path) == parent]
            for path in in_doubt:
                names[path] = names[path][-1:]
                if names[path] == (NO_FILE,):
                    del names[path]
            unsure = [path for path, there in directories.items() if len(there) > 1 and _parent(path) == parent]
            directories.update(dict.fromkeys(unsure, (True,)))
            self.changes -= not (in_doubt or unsure)  # such a sync changes nothing

    def prepare(self, directories: Sequence[Path]) -> None:
        """As the port."""
        there = [self._state.directories.get(os.fspath(path), (False,))[-1] for path in directories]
        for path, is_there in zip(directories, there, strict=True):
            if not is_there:
                with _Step(self, "make", os.fspath(path)):
                    self._require_directory(path)
                    self._state.directories[os.fspath(path)] = (False, True)
            if not all(there) and path.parent not in directories:
                self.sync_dir(path.parent)
        for parent in dict.fromkeys(path.parent for path in directories if path.parent in directories):
            self.sync_dir(parent)

    def names(self, directory: Path) -> Iterator[str]:
        """As the port."""
        parent = os.fspath(directory)
        with _Step(self, "list", parent, reads=True):
            found = [path for path, inodes in self._state.names.items() if inodes[-1] and _parent(path) == parent]
        for path in found:
            yield path.rpartition("/")[2]

    def statuses(self, directory: Path) -> Iterator[tuple[str, FileStatus]]:
        """As the port."""
        for name in self.names(directory):
            with suppress(SpoolMissingError):
                yield name, self.status(directory / name)

    def status(self, path: Path) -> FileStatus:
        """As the port; files are a second apart in age."""
        with _Step(self, "look at", os.fspath(path), reads=True):
            inode = self._existing(os.fspath(path))
        return FileStatus(len(self._state.inodes[inode][-1]), _START + timedelta(seconds=inode), inode)

    def read(self, path: Path, *, limit_bytes: int) -> bytes:
        """As the port."""
        with _Step(self, "read", os.fspath(path), reads=True):
            inode = self._existing(os.fspath(path))
        return self._state.inodes[inode][-1][: limit_bytes + 1]

    def fork(self) -> SimulatedDisk:
        """Return a copy that goes its own way, unwatched."""
        copy = SimulatedDisk()
        copy._links = self._links
        state = self._state
        copy._state = _State(dict(state.directories), dict(state.names), dict(state.inodes))
        copy._next_inode = self._next_inode
        return copy

    def shown(self) -> Image:
        """Return what a running system sees."""
        directories = tuple(sorted(path for path, there in self._state.directories.items() if there[-1]))
        paths = sorted((path, inodes[-1]) for path, inodes in self._state.names.items() if inodes[-1])
        return self._image(directories, paths, {inode: self._state.inodes[inode][-1] for _, inode in paths})

    @property
    def in_doubt(self) -> list[str]:
        """Paths whose name or content a power cut now could change."""
        names = [path for path, inodes in self._state.names.items() if len(inodes) > 1]
        whole = [path for path, inodes in self._state.names.items() if len(self._state.inodes.get(inodes[-1], ())) > 1]
        return sorted({*names, *whole})

    def doubts(self) -> tuple[object, ...]:
        """Return a key: equal ones have equal `power_cuts`."""
        names = tuple(sorted(self._state.names.items()))
        reached = {inode for _, inodes in names for inode in inodes if inode != NO_FILE}
        contents = tuple((inode, self._state.inodes[inode]) for inode in sorted(reached))
        return tuple(self._state.directories.items()), names, contents

    def power_cuts(self) -> Iterator[Image]:
        """Yield every state that a power cut now may leave; equal ones may come more than once."""
        if all(versions == (True,) for versions in self._state.directories.values()):
            yield from self._cuts_within(tuple(sorted(self._state.directories)))
            return
        doubts = sorted(self._state.directories.items())
        for there in product(*(dict.fromkeys(versions) for _, versions in doubts)):
            present = {path for (path, _), is_there in zip(doubts, there, strict=True) if is_there}
            yield from self._cuts_within(tuple(sorted(path for path in present if _reachable(path, present))))

    def _cuts_within(self, directories: tuple[str, ...]) -> Iterator[Image]:
        entries = sorted((p, v) for p, v in self._state.names.items() if _parent(p) in directories)
        for inodes in product(*(dict.fromkeys(versions) for _, versions in entries)):
            paths = [(path, inode) for (path, _), inode in zip(entries, inodes, strict=True) if inode != NO_FILE]
            reached = list(dict.fromkeys(inode for _, inode in paths))
            for contents in product(*(self._state.inodes[inode] for inode in reached)):
                yield self._image(directories, paths, dict(zip(reached, contents, strict=True)))

    def _image(self, directories: tuple[str, ...], paths: list[tuple[str, int]], contents: dict[int, bytes]) -> Image:
        labels: dict[int, int] = {}
        return Image(
            directories,
            tuple((path, labels.setdefault(inode, len(labels) + 1), contents[inode]) for path, inode in paths),
            self._links,
        )

    def _shown(self, name: str) -> int:
        return self._state.names.get(name, (NO_FILE,))[-1]

    def _existing(self, name: str) -> int:
        inode = self._shown(name)
        if inode == NO_FILE:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return inode

    def _require_directory(self, path: Path) -> None:
        if not self._state.directories.get(os.fspath(path.parent), (False,))[-1]:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _set_name(self, name: str, inode: int) -> None:
        self._state.names[name] = (*self._state.names.get(name, (NO_FILE,)), inode)

    def _write(self, inode: int, data: bytes) -> None:
        pieces = (data[:1], data[: len(data) // 2], data[:-1], bytes(len(data)), data)
        self._state.inodes[inode] = tuple(dict.fromkeys((*self._state.inodes[inode], *pieces)))

    def _zero(self, inode: int, count: int) -> None:
        data = self._state.inodes[inode][-1]
        half = len(data) // 2
        pieces = (bytes(half) + data[half:], data[:half] + bytes(len(data) - half), bytes(count) + data[count:])
        self._state.inodes[inode] = tuple(dict.fromkeys((*self._state.inodes[inode], *pieces)))

    def _note_abandoned(self, name: str, inode: int) -> None:
        if inode != NO_FILE and all(inodes[-1] != inode for inodes in self._state.names.values()):
            left = [content for content in self._state.inodes[inode] if content != bytes(len(content))]
            self.abandoned += [(name, content) for content in left]


class _Step:
    """One step of the disk: it may be refused before its effect, torn, or reported as failed after it."""

    def __init__(
        self, disk: SimulatedDisk, verb: str, path: str, *, torn: Callable[[], None] | None = None, reads: bool = False
    ) -> None:
        self._disk = disk
        self._what = f"{verb} {path}"
        self._torn = torn
        self._reads = reads

    def __enter__(self) -> None:
        try:
            self._disk.watch(self._what, False)
        except OSError as error:
            if self._torn is not None:
                self._torn()
                self._disk.changes += 1
            raise self._translated(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise self._translated(error) from error
        if error is not None or self._reads:
            return
        self._disk.changes += 1
        try:
            self._disk.watch(self._what, True)
        except OSError as late:
            raise self._translated(late) from late

    def _translated(self, error: OSError) -> SpoolError:
        return _KINDS.get(error.errno or 0, SpoolError)(f"spool: cannot {self._what}: {error.strerror}")


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _reachable(path: str, present: set[str]) -> bool:
    return path == "/" or (_parent(path) in present and _reachable(_parent(path), present))


def _ignore(_step: str, _done: bool) -> None:
    """Watch nothing."""
