"""Searching with the index of a store: it names the entries that may fit, and each of them is opened as ever.

What the index does not cover, or cannot say, is looked at read by read: what came since, a file that is damaged or
lost, reads that could not be opened when it was made, a part whose key is gone while another of its keys is here, and
what is held for the case. So a search finds with it exactly what it finds without.

Owns: that choice. Leaves to others: the file's form (`index_file`), what a file answers
(`index_answers`), opening (`search`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.index_answers import Answer, answers
from agent.custody.index_file import IndexFile, read_index
from agent.custody.layout import OwnerLayout
from agent.custody.search import Keys, Query, ReceiverView, Tally, Unopened
from agent.errors import FormatError, VerificationError
from agent.wire import cbor
from agent.wire.envelope import parse_envelope


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
        files, at = list(self._standing()), 0
        for file, answer in zip(files, answers(files, self._keys, self._query), strict=True):
            yield from self._opened_each(at, file.head.after)
            yield None
            yield from self._of_file(file, answer)
            at = file.head.last
        yield from self._opened_each(at, None)
        yield from self._held()

    def _standing(self) -> Iterator[IndexFile]:
        at = 0
        for file in self._files:
            if file.head.after >= at and stands(file, self._receiver):
                yield file
                at = file.head.last

    def _opened_each(self, after: int, last: int | None) -> Iterator[bytes]:
        if after == last:
            return
        for logged in self._receiver.logged(after, self._keys.asked):
            if last is not None and logged.log > last:
                return
            if logged.data is not None:
                yield self._noted(logged.data)

    def _of_file(self, file: IndexFile, answer: Answer | None) -> Iterator[bytes]:
        if answer is None:
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
