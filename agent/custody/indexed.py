"""Searching with the index of a store: it names the entries that may fit, and each of them is opened as ever.

What the index does not cover, or cannot say, is looked at read by read: what came since, a file that is damaged or
lost, reads that could not be opened when it was made, a part whose key is gone while another of its keys is here, and
what is held for the case. So a search finds with it exactly what it finds without.

Owns: that choice. Leaves to others: the file's form (`index_file`), the comparison (`index_scan`), opening (`search`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.index_file import CAMERAS, ENTRIES, NAMES, TEXTS, TIMES, IndexFile, Part, parse_names, read_index
from agent.custody.index_scan import rows_that_may_fit
from agent.custody.layout import OwnerLayout
from agent.custody.opener import PrivateKey
from agent.custody.search import Keys, Query, ReceiverView, Tally, Unopened
from agent.errors import FormatError, VerificationError
from agent.wire import cbor
from agent.wire.envelope import parse_envelope
from agent.wire.times import MAX_TIME_MS, to_ms


@dataclass(slots=True)
class _Answer:
    """What a file says to a query: indices in the log to look at, and how many reads it speaks for without."""

    logs: list[int]
    ruled_out: int = 0
    tombstones: int = 0
    unopened: dict[Unopened, int] = field(default_factory=dict)


class _CannotSayError(Exception):
    """The key of a part is not here, though another one may open its reads."""


def index_files(layout: OwnerLayout, owner: Ed25519PublicKey) -> list[IndexFile]:
    """Return the files of the index that are whole and signed by the owner, in the order of the log."""
    files = []
    for path in sorted(layout.index.glob("*.index")):
        try:
            files.append(read_index(path, owner))
        except (FormatError, VerificationError, OSError):
            continue  # as if it were not there: its reads are opened one by one
    return sorted(files, key=lambda file: (file.head.after, file.head.last))


def stands(file: IndexFile, receiver: ReceiverView) -> bool:
    """Whether a file is of this store's log as it is now, and not of another one or of what a restore has undone."""
    row = receiver.logged_at(file.head.last)
    return row is not None and (row.digest, row.stored_at_ms) == (file.head.last_id, file.head.last_at_ms)


class Candidates:
    """The stored envelopes that may fit, where an index tells."""

    def __init__(
        self, receiver: ReceiverView, keys: Keys, query: Query, tally: Tally, files: Sequence[IndexFile]
    ) -> None:
        """Look for `query` with these files."""
        self._receiver = receiver
        self._keys = keys
        self._query = query
        self._tally = tally
        self._files = files
        self._seen = set[bytes]()

    def __iter__(self) -> Iterator[bytes | None]:
        """Yield envelopes in the order of the log, then those held for the case; None now and then, for a stop."""
        at = 0
        for file in self._files:
            if file.head.after < at or not stands(file, self._receiver):
                continue
            yield from self._opened_each(at, file.head.after)
            yield None
            yield from self._of_file(file)
            at = file.head.last
        yield from self._opened_each(at, None)
        yield from self._held()

    def _opened_each(self, after: int, last: int | None) -> Iterator[bytes]:
        if after == last:
            return
        for logged in self._receiver.logged(after, self._keys.asked):
            if last is not None and logged.log > last:
                return
            if logged.data is not None:
                yield self._noted(logged.data)

    def _of_file(self, file: IndexFile) -> Iterator[bytes]:
        try:
            answer = self._ask(file)
        except (_CannotSayError, FormatError, OSError):
            yield from self._opened_each(file.head.after, file.head.last)
            return
        self._tally.scanned += answer.ruled_out + answer.tombstones + sum(answer.unopened.values())
        self._tally.ruled_out += answer.ruled_out
        self._tally.tombstones += answer.tombstones
        self._tally.unopened.update(answer.unopened)
        for log in answer.logs:
            logged = self._receiver.logged_at(log)
            if logged is not None and logged.data is not None and self._is_asked(logged.data):
                yield self._noted(logged.data)

    def _ask(self, file: IndexFile) -> _Answer:
        asked = self._keys.asked
        answer = _Answer(list(file.head.left), tombstones=file.head.tombstones if asked is None else 0)
        for part in file.head.parts:
            if asked is not None and asked.isdisjoint(part.kids):
                continue
            reason = self._why_none(part)
            if reason is not None:
                answer.unopened[reason] = answer.unopened.get(reason, 0) + part.reads
                continue
            key = self._keys.private.get(part.by)
            if key is None or not part.rows:
                raise _CannotSayError
            logs = _entries(file, part, key, self._query)
            answer.ruled_out += part.reads - len(logs)
            answer.logs += [file.head.after + entry for entry in logs]
        answer.logs.sort()
        return answer

    def _why_none(self, part: Part) -> Unopened | None:
        """Return why no read of a part opens, if none does but those that are held."""
        if not part.kids.isdisjoint(self._keys.beyond):
            return Unopened.OTHER_EPOCH
        return Unopened.KEY_DESTROYED if part.kids <= self._keys.destroyed else None

    def _is_asked(self, data: bytes) -> bool:
        asked = self._keys.asked
        return asked is None or not asked.isdisjoint(_kids(data) or asked)

    def _noted(self, data: bytes) -> bytes:
        if self._keys.held_ids:
            self._seen.add(cbor.sha256(data))
        return data

    def _held(self) -> Iterator[bytes]:
        """Yield what is held for the case and was not looked at, unless the index has ruled it out."""
        keys = self._keys
        for digest in sorted(keys.held_ids - self._seen):
            data = self._receiver.envelope(digest)
            if data is None:
                continue
            kids = _kids(data)
            is_asked = keys.asked is None or not keys.asked.isdisjoint(kids)
            is_beyond = not keys.beyond.isdisjoint(kids)
            if is_asked and not is_beyond and not kids <= keys.destroyed:
                continue
            if is_asked:  # its part was counted whole
                self._tally.unopened[Unopened.OTHER_EPOCH if is_beyond else Unopened.KEY_DESTROYED] -= 1
                self._tally.scanned -= 1
            yield data


def _kids(data: bytes) -> frozenset[bytes]:
    try:
        return frozenset(parse_envelope(data).kids)
    except FormatError:
        return frozenset()


def _entries(file: IndexFile, part: Part, key: PrivateKey, query: Query) -> list[int]:
    """Return the entries of a part that may fit, in order, less the file's `after`."""
    rows: Sequence[int] = range(part.rows)
    if query.plate is not None:
        rows = rows_that_may_fit(file.column(part, TEXTS, key), query.plate)
    if rows and (query.start is not None or query.end is not None):
        times = file.numbers(part, TIMES, key)
        since = 0 if query.start is None else to_ms(query.start)
        until = MAX_TIME_MS if query.end is None else to_ms(query.end)
        rows = [row for row in rows if since <= times[row] <= until]
    if rows and query.camera is not None:
        names = parse_names(file.column(part, NAMES, key))
        number = names.index(query.camera) if query.camera in names else -1
        cameras = file.numbers(part, CAMERAS, key)
        rows = [row for row in rows if cameras[row] == number]
    if not rows:
        return []
    entries = file.numbers(part, ENTRIES, key)
    return sorted({entries[row] for row in rows})
