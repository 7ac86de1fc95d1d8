"""Making the index of a store: each read is opened once, and what a search asks of it is closed again with its own key.

Owns: which entries of the log go to which file, and which files are of no use any more. Leaves to others: the form
(`index_file`), searching with it (`indexed`), and opening (`search`).

Invariants: nothing is decrypted before it is entered in the audit log. Nothing of a read is on the disk but closed.
A file is whole or not there. The index may be lost at any time: what it does not cover is opened read by read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

from agent.custody.access import load_keys
from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate
from agent.custody.index_file import MAX_LEFT, MAX_MESSAGES, MAX_PARTS, Head, IndexRow, Part, encode_index
from agent.custody.indexed import index_files, stands
from agent.custody.opener import OpenedRead
from agent.custody.owner import Owner, make_folder
from agent.custody.plates import normalise_plate
from agent.custody.search import Keys, Logged, ReceiverView, Unopened, open_stored
from agent.disk.durable import remove_file
from agent.errors import CustodyError, FormatError
from agent.keys.keyfiles import PRIVATE_MODE, replace_file
from agent.wire.envelope import parse_envelope
from agent.wire.times import to_ms

SUFFIX: Final = ".index"
_NO_SALT: Final = b""


@dataclass(slots=True)
class Indexed:
    """What was done.

    Attributes:
        reads: Reads that were entered.
        left: Messages that could not be opened; a search goes on looking at each of them.
        files: Files that were written.
        removed: Files that were removed, as all keys of their reads are destroyed.
        is_whole: Whether all of the store is covered now.
    """

    reads: int = 0
    left: int = 0
    files: int = 0
    removed: int = 0
    is_whole: bool = True


@dataclass(slots=True)
class _Draft:
    """A file to be."""

    after: int
    last: Logged | None = None
    messages: int = 0
    tombstones: int = 0
    left: list[int] = field(default_factory=list)
    reads: dict[tuple[bytes, ...], int] = field(default_factory=dict)
    rows: dict[tuple[bytes, ...], list[IndexRow]] = field(default_factory=dict)

    def count(self, kids: tuple[bytes, ...]) -> list[IndexRow]:
        """Count a read that is sealed to these keys, and return where its rows go."""
        self.reads[kids] = self.reads.get(kids, 0) + 1
        return self.rows.setdefault(kids, [])

    @property
    def is_full(self) -> bool:
        return self.messages >= MAX_MESSAGES or len(self.left) >= MAX_LEFT or len(self.reads) >= MAX_PARTS


def make_index(
    owner: Owner, receiver: ReceiverView, mandate: Mandate, *, may_go_on: Callable[[], bool] = lambda: True
) -> Indexed:
    """Enter all reads of a store that no index has yet.

    Args:
        owner: The owner whose keys open the reads.
        receiver: The receiver whose store it is.
        mandate: Who does it.
        may_go_on: Asked before each message. Where it says no, what was done so far is kept.

    Raises:
        AuditVerificationError: The audit log does not verify; nothing was opened.
        CustodyError: The audit log cannot be written, or a file cannot be removed.
        KeyFileError: A key file cannot be used, or the index cannot be written.
        ReceiverError: The store cannot be read.
    """
    keys = load_keys(owner, "")
    AuditLog(owner).append(Action.SEARCH, mandate, count=receiver.count())
    make_folder(owner.layout.index)
    files = index_files(owner.layout, owner.public_key)
    covered = [(file.head.after, file.head.last) for file in files if stands(file, receiver)]
    making = _Making(owner, receiver, keys)
    making.done.is_whole = all(making.enter(after, end, may_go_on) for after, end in gaps(covered))
    for file in files:
        if file.head.parts and not file.head.left and all(part.kids <= keys.destroyed for part in file.head.parts):
            _remove(file.path)
            making.done.removed += 1
    return making.done


def gaps(covered: list[tuple[int, int]]) -> Iterator[tuple[int, int | None]]:
    """Yield what no span covers, as the index before it and the last one; None for the end of the log."""
    at = 0
    for after, last in sorted(covered):
        if after > at:
            yield at, after
        at = max(at, last)
    yield at, None


class _Making:
    """Enters the messages of a store."""

    def __init__(self, owner: Owner, receiver: ReceiverView, keys: Keys) -> None:
        self.done = Indexed()
        self._owner = owner
        self._receiver = receiver
        self._keys = keys

    def enter(self, after: int, end: int | None, may_go_on: Callable[[], bool]) -> bool:
        """Enter the messages of a span; return whether all of them were."""
        draft = _Draft(after)
        for logged in self._receiver.logged(after):
            if end is not None and logged.log > end:
                break
            if not may_go_on():
                self._write(draft)
                return False
            self._add(draft, logged)
            if draft.is_full:
                self._write(draft)
                draft = _Draft(logged.log)
        self._write(draft)
        return True

    def _add(self, draft: _Draft, logged: Logged) -> None:
        draft.last = logged
        draft.messages += 1
        if logged.data is None:
            return
        opened, destroyed = open_stored(logged.data, self._receiver, self._keys), self._keys.destroyed
        if opened is None:
            draft.tombstones += 1
        elif isinstance(opened, OpenedRead):
            draft.count(opened.envelope.kids).extend(_rows(opened, logged.log - draft.after))
        elif opened is Unopened.KEY_DESTROYED and (kids := _kids_of(logged.data)) and destroyed.issuperset(kids):
            draft.count(kids)
        else:
            draft.left.append(logged.log)

    def _write(self, draft: _Draft) -> None:
        last, private = draft.last, self._keys.private
        if last is None:
            return
        rows = list(draft.rows.values())
        parts = tuple(
            Part(frozenset(kids), next((kid for kid in kids if kid in private), kids[0]), reads, 0, _NO_SALT, 0, 0)
            for kids, reads in draft.reads.items()
        )
        head = Head(draft.after, last.log, last.digest, last.stored_at_ms, tuple(draft.left), draft.tombstones, parts)
        closed_by = [private[part.by] if of_part else None for part, of_part in zip(parts, rows, strict=True)]
        path = self._owner.layout.index / f"{last.log:016}-{last.digest.hex()[:16]}{SUFFIX}"
        replace_file(path, encode_index(head, rows, closed_by, self._owner.signing_key), PRIVATE_MODE)
        self.done.files += 1
        self.done.left += len(draft.left)
        self.done.reads += sum(part.reads for part, of_part in zip(parts, rows, strict=True) if of_part)


def _kids_of(data: bytes) -> tuple[bytes, ...]:
    try:
        return parse_envelope(data).kids
    except FormatError:
        return ()


def _rows(opened: OpenedRead, entry: int) -> Iterator[IndexRow]:
    read = opened.read
    for text, _ in groupby(sorted(normalise_plate(text) for text in (read.text, read.seen or read.text))):
        yield IndexRow(text, to_ms(read.captured_at), read.camera, entry)


def _remove(path: Path) -> None:
    try:
        remove_file(path)
    except OSError as error:
        raise CustodyError(f"{path}: cannot be removed: {error.strerror or error}") from None
