"""Which envelope the unit accepted last: what the spool has, and what it remembers of those that are erased.

An erased envelope leaves no file. So the uploading process keeps a mark of the newest one that it erased: an empty file
in `shredding/`, whose name says everything, `newest-RUN-SEQ-CHAIN-DIGEST`. So for every accepted envelope the spool
has the envelope itself, or its mark, or the mark of a newer one.

Owns: the mark, its name, and the search after a crash. Leaves to others: when a mark is set (`agent.spool.spool`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.errors import FormatError, SpoolError, SpoolFileError, SpoolFullError
from agent.ports import Disk, DiskView
from agent.records import Link, SpoolState, VerifiedReceipt
from agent.spool.reader import SHREDDING, exists, is_id
from agent.wire.envelope import PEEK_BYTES, peek_position

_MARK: Final = re.compile(r"newest-([0-9]{1,16})-([0-9]{1,16})-([0-9a-f]{32})-([0-9a-f]{64})")
_SEARCHED: Final = (SpoolState.QUARANTINE, SpoolState.PENDING, SpoolState.QUARANTINE, SHREDDING)
"""In the order in which the uploading process moves a file meanwhile; one is brought back from quarantine too."""


def mark_name(link: Link) -> str:
    """Return the name of the mark that stands for an erased envelope."""
    return f"newest-{link.run}-{link.seq}-{link.chain.hex()}-{link.digest.hex()}"


def parse_mark(name: str) -> Link | None:
    """Return what a mark stands for, or None: the name is another file's."""
    match = _MARK.fullmatch(name)
    if match is None:
        return None
    return Link(int(match[1]), int(match[2]), bytes.fromhex(match[3]), bytes.fromhex(match[4]))


def find_marks(root: Path, files: DiskView) -> list[Link]:
    """Return what the marks of a spool stand for, the newest first; a crash may leave two.

    Raises:
        SpoolError: The disk refused.
    """
    return sorted(filter(None, map(parse_mark, files.names(root / SHREDDING))), reverse=True)


class Mark:
    """The mark of one spool, for the process that shreds. Not safe for threads."""

    def __init__(self, root: Path, files: Disk) -> None:
        """Take over where the spool is; nothing is read yet."""
        self._root = root
        self._files = files
        self._at: Link | None = None

    def newer(self, receipts: Sequence[VerifiedReceipt]) -> Link | None:
        """Return the newest of the envelopes that these receipts prove; None if the mark stands for it or a newer one.

        Raises:
            SpoolError: The disk refused.
        """
        links = (Link.at(receipt.position, bytes.fromhex(receipt.envelope_id)) for receipt in receipts)
        newest = max(filter(None, links), default=None)
        if newest is not None and self._at is None:
            self._at = next(iter(find_marks(self._root, self._files)), None)
        return None if newest is None or (self._at is not None and newest <= self._at) else newest

    def set(self, newest: Link) -> Link | None:
        """Set the mark; the caller makes it durable. Return what the mark before stands for: it is still there.

        The caller removes that one when the new mark is durable. On a full disk there may be no room for the new mark;
        then the one before stays and None is returned. Erasing makes room, and the next batch sets its mark.

        Raises:
            SpoolError: The disk refused.
        """
        older = None if self._at == newest else self._at
        with suppress(SpoolFullError):
            if not exists(self._path(newest), self._files):
                self._make(newest, older)
            self._at = newest
            return older
        return None

    def _make(self, newest: Link, older: Link | None) -> None:
        try:
            if older is not None:
                self._files.link(self._path(older), self._path(newest))  # no second file, and no sync
                return
        except SpoolFileError:
            pass  # a disk without links, or another user's file
        self._files.create(self._path(newest), b"")

    def remove(self, older: Link) -> None:
        """Remove an older mark; call it when the newer one is durable.

        Raises:
            SpoolError: The disk refused.
        """
        self._files.unlink(self._path(older))

    def recover(self) -> int:
        """Finish what a crash cut off: set the mark for what is being erased, durably, and remove older marks.

        Returns how many were removed.

        Raises:
            SpoolError: The disk refused.
        """
        marks = find_marks(self._root, self._files)
        self._at = marks[0] if marks else None
        unmarked = max(links_in(self._root, SHREDDING, self._files), default=None)
        if unmarked is not None and (self._at is None or unmarked > self._at):
            self.set(unmarked)
            marks = [unmarked, *marks] if self._at == unmarked else marks
        if marks:
            self._files.sync_dir(self._root / SHREDDING)
            for mark in marks[1:]:
                self.remove(mark)
            self._files.sync_dir(self._root / SHREDDING)
        return len(marks[1:])

    def _path(self, link: Link) -> Path:
        return self._root / SHREDDING / mark_name(link)


def find_newest(root: Path, files: DiskView) -> Link | None:
    """Return the newest envelope of version 2 that was accepted; None if there is none. Reads the head of every file.

    Envelopes that are set aside count, and so do those that are damaged below their header: all were accepted.

    Raises:
        SpoolError: A directory cannot be listed.
    """
    found = max((link for place in _SEARCHED for link in links_in(root, place, files)), default=None)
    marks = find_marks(root, files)  # last: the mark is there before the file goes
    return max(marks + ([] if found is None else [found]), default=None)


def links_in(root: Path, place: str, files: DiskView) -> Iterator[Link]:
    """Yield the links of the envelopes of version 2 in one directory of a spool, in no order.

    Raises:
        SpoolError: The directory cannot be listed.
    """
    for name in files.names(root / place):
        link = _link_of(root / place / name, files) if is_id(name) else None
        if link is not None:
            yield link


def _link_of(path: Path, files: DiskView) -> Link | None:
    with suppress(SpoolError, FormatError):  # gone meanwhile, or unreadable: it says nothing of its place
        position = peek_position(files.read(path, limit_bytes=PEEK_BYTES))
        return Link.at(position, bytes.fromhex(path.name))
    return None
