"""Setting things aside: from pending into quarantine, with a reason, so that no crash loses them.

Owns: how a file gets its second name, the notes of reasons, and odd things in pending, which are set aside at a start.
Leaves to others: the tables of transitions and states, which also say what a crash leaves (`agent.spool.spool`).

A file goes by a link and an unlink, between which it has two names. Where no link can be made (`SpoolFileError`: vfat,
exFAT, another user's file) it is renamed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.errors import SpoolError, SpoolFileError, SpoolFullError
from agent.ports import Disk
from agent.records import SpoolState
from agent.spool.reader import MAX_REASON_BYTES, REASON_SUFFIX, exists, is_id, reason_of

_log = logging.getLogger(__name__)

TOLD_OF: Final = 3
"""Names in one line about what was left where it is."""


class Aside:
    """The way into quarantine, and what a start mends there. Not safe for threads."""

    def __init__(self, root: Path, files: Disk) -> None:
        """Look at nothing yet."""
        self._pending = root / SpoolState.PENDING
        self._quarantine = root / SpoolState.QUARANTINE
        self._files = files

    def take(self, source: Path, target: Path, reason: str) -> None:
        """Move a pending envelope to its name in quarantine.

        Raises:
            SpoolError: The disk refused, or the system keeps this file from it; it stays pending.
        """
        self._note_reason(target, reason)
        self._files.unlink(target)  # of an attempt that failed halfway; the pending one is the one that counts
        self._finish(source, target)

    def take_odd(self) -> int:
        """Move whatever in pending can be no envelope, each under a name of ours; return how many there were.

        What cannot be moved, such as a mount's `lost+found`, stays, and is told of in one line.

        Raises:
            SpoolError: The disk refused.
        """
        left = LeftAlone()
        moved = 0
        for name in self._files.names(self._pending):
            if not is_id(name):
                try:
                    self._take_odd(name)
                    moved += 1
                except SpoolFileError as error:
                    left.note(name, error)
        left.tell(self._pending, "can be no envelope and cannot be set aside")
        return moved

    def settle(self) -> int:
        """Undo what a crash left half done in quarantine; return how many names that were.

        Raises:
            SpoolError: The disk refused.
        """
        settled = 0
        for name in self._files.names(self._quarantine):
            if is_id(name) and exists(self._pending / name, self._files):
                self.forget(self._quarantine / name)
                settled += 1
            elif name.endswith(REASON_SUFFIX) and not exists(
                self._quarantine / name.removesuffix(REASON_SUFFIX), self._files
            ):
                self._files.unlink(self._quarantine / name)
                settled += 1
        if settled:
            self._files.sync_dir(self._quarantine)
        return settled

    def forget(self, target: Path) -> None:
        """Take an envelope's name in quarantine and its reason away; it has one in pending, which is made durable."""
        self._files.sync_dir(self._pending)
        self._files.unlink(target)
        self._files.unlink(reason_of(target))
        self._files.sync_dir(target.parent)

    def _finish(self, source: Path, target: Path) -> None:
        try:
            name_again(source, target, self._files)
            self._files.sync_dir(self._quarantine)
            self._files.unlink(source)
        except SpoolError:
            with suppress(SpoolError):  # the disk is failing; the next start does it
                if exists(source, self._files):  # then it is not set aside, and nothing shall look so
                    self._files.unlink(target)
                    self._files.unlink(reason_of(target))
            raise
        self._files.sync_dir(self._pending)

    def _take_odd(self, name: str) -> None:
        source = self._pending / name
        target, is_named = self._place_for_odd_name(name)
        self._note_reason(target, f"found in pending/, and can be no envelope: {name!r}")
        if is_named:
            self._files.sync_dir(self._quarantine)
            self._files.unlink(source)
            self._files.sync_dir(self._pending)
        else:
            self._finish(source, target)

    def _place_for_odd_name(self, name: str) -> tuple[Path, bool]:
        """Return a free name in quarantine; or the one that it was given before a crash, and True."""
        stem = f"odd-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
        inode = self._files.status(self._pending / name).inode
        n = 0
        while exists(path := self._quarantine / f"{stem}-{n}", self._files):
            if self._files.status(path).inode == inode:
                return path, True
            n += 1
        return path, False

    def _note_reason(self, target: Path, reason: str) -> None:
        note = reason_of(target)
        self._files.unlink(note)
        try:
            self._files.create(note, reason.encode(errors="backslashreplace")[:MAX_REASON_BYTES])
        except SpoolFullError:
            _discard(note, self._files)  # on a full disk it goes without: left pending, it would block the way out


class LeftAlone:
    """What a start left where it is, for one line in the log."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._count = 0
        self._first: list[str] = []

    def note(self, name: str, why: SpoolError | None = None) -> None:
        """Count one more; the first few are named, with the reason where there is one."""
        self._count += 1
        if len(self._first) < TOLD_OF:
            self._first.append(f"{name!r}{'' if why is None else f' ({why})'}")

    def tell(self, directory: Path, what: str) -> None:
        """Write one line, if anything was left."""
        if self._count:
            more = "" if self._count <= TOLD_OF else f" and {self._count - TOLD_OF} more"
            _log.warning("%s: %s, and stays there: %s%s", directory, what, ", ".join(self._first), more)


def remove_all(directory: Path, names: Iterable[str], files: Disk) -> Iterator[str]:
    """Remove these names from a directory, and yield those that are gone; what cannot go stays, told of in one line.

    Raises:
        SpoolError: The disk refused.
    """
    left = LeftAlone()
    for name in names:
        try:
            files.unlink(directory / name)
        except SpoolFileError as error:
            left.note(name, error)
        else:
            yield name
    left.tell(directory, "cannot be removed")


def name_again(source: Path, target: Path, files: Disk) -> None:
    """Give a file a second name, or, where no link can be made, another one.

    Raises:
        SpoolError: Neither can be done; the file has its name.
    """
    try:
        files.link(source, target)
    except SpoolFileError:
        files.rename(source, target)


def _discard(path: Path, files: Disk) -> None:
    with suppress(SpoolError):  # the disk is failing; the next start removes it
        files.unlink(path)
