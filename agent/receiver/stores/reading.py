"""Reading a store of one machine, while a receiver may be writing to it.

Owns: the queries, and their pages. Leaves to others: the connection (`database`), and opening (`sqlite`).

Invariant: no read transaction outlives a page, so that the write-ahead log can be emptied while somebody reads.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from agent.errors import FormatError, ReceiverError
from agent.receiver.ports import Epoch, LogEntry, Neighbours, Outline, StoredRow, Totals
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.database import Database, Row
from agent.receiver.stores.filing import HELD, VARIOUS, kids_in
from agent.wire.envelope import parse_envelope
from agent.wire.header import MAX_SEQ
from agent.wire.times import from_ms, to_ms

PAGE_ROWS: Final = 16
"""Rows read at a time: at most 16 MiB in memory, and no read transaction that outlives a page."""
_PAGE_ENTRIES: Final = 4096
"""The same for entries of the log, which have no body: about 1 MiB."""
_WINDOW: Final = 16_384
"""How far the log is looked through at a time for entries of some files: at most so many indices in memory."""
RECEIPT: Final = (
    "coalesce((SELECT receipt FROM kept WHERE kept.log = page.log AND kept.id = page.id), "
    "(SELECT receipt FROM kept WHERE kept.id = page.id))"
)
"""The receipt of a row `page`: beside it in the log, or anywhere else if somebody has moved one of the two."""
_RUN: Final = "(SELECT run FROM chains WHERE chains.device = page.device AND chains.chain = page.chain) AS kept_run"
_BODY_FILE: Final = (
    "iif(EXISTS (SELECT 1 FROM body_files WHERE number = file AND dropped_at_ms IS NOT NULL), NULL, "
    "coalesce((SELECT name FROM body_files WHERE number = file), '')) AS body_file"
)
"""NULL where the body is gone by policy, and nothing where no file is said to have it."""
_KEPT: Final = f"{RECEIPT} AS kept_receipt"
_ROW: Final = ", ".join(
    ("log, id, device, chain, seq, prev", _RUN, "length, stored_at_ms", _KEPT, "body", _BODY_FILE, "place")
)
"""The columns of a `StoredRow` but for the body, then what says where the body is."""
_BODY: Final = 10
"""Where in such a row the body is."""
_FILE_NAME: Final = 11
"""Where in it the name of the file is."""
FILES_HERE: Final = "SELECT name, bytes FROM body_files WHERE dropped_at_ms IS NULL ORDER BY number"
_EPOCHS: Final = "SELECT kids, reads, bytes, dropped_at_ms FROM body_files ORDER BY number"
_ENTRIES: Final = f"""
SELECT log, stored_at_ms AS entry_at_ms, {_KEPT} FROM entries AS page WHERE log > ?1
UNION ALL
SELECT log, NULL, receipt FROM kept
WHERE log > ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = kept.id)
ORDER BY log LIMIT ?2
"""  # noqa: S608  # constants
_OUTLINES: Final = """
SELECT log, id, device, chain, seq, prev, length, stored_at_ms,
    (SELECT receipt FROM kept WHERE kept.log = page.log AND kept.id = page.id) AS kept_receipt,
    body IS NULL AND file IN (SELECT number FROM body_files WHERE dropped_at_ms IS NOT NULL) AS is_dropped
FROM entries AS page WHERE log > ? AND log <= ? ORDER BY log LIMIT ?
"""
_RECEIPT_BEFORE: Final = """
SELECT (SELECT receipt FROM kept WHERE kept.log = entries.log AND version = 2) AS kept_receipt FROM entries
WHERE +device = ? AND log < ? AND kept_receipt IS NOT NULL ORDER BY log DESC LIMIT 1
"""
"""The log is walked back: the receipt is near, as a unit sends many in a row. By device they would be sorted first."""


FILED: Final = f"""
SELECT log FROM entries WHERE log > ?1 AND log <= ?2 AND file IN (
    SELECT value FROM json_each(?3) UNION SELECT number FROM body_files WHERE name IN ('{VARIOUS}', '{HELD}')
)
UNION ALL
SELECT log FROM entries WHERE log > ?1 AND log <= ?2 AND file IS NULL
ORDER BY log
"""  # noqa: S608  # constants
"""Entries of some files, and those whose keys their own bytes alone tell: of mixed files, and in no file yet."""
_THESE: Final = (
    f"SELECT {_ROW} FROM (SELECT * FROM entries WHERE log IN (SELECT value FROM json_each(?))) AS page ORDER BY log"  # noqa: S608  # constants
)


class Reader(Database):
    """An open store, to read: the ports `StoreView` and `StoreLog`."""

    _files: BodyFiles

    def pages(self, after: int = 0, *, kids: Collection[bytes] | None = None) -> Iterator[StoredRow]:
        """As the port."""
        if kids is not None:
            yield from self._sealed_to(frozenset(kids), after)
            return
        query = (
            f"SELECT {_ROW} FROM (SELECT * FROM entries WHERE log > ? ORDER BY log LIMIT ?) AS page "  # noqa: S608  # constants
            "ORDER BY log"
        )
        while page := self._read(query, (after, PAGE_ROWS)):
            for stored in map(self._whole, page):
                after = stored.log
                yield stored

    def _sealed_to(self, kids: frozenset[bytes], after: int) -> Iterator[StoredRow]:
        while (end := self._log_end()) > after:
            files = self._read("SELECT number, kids FROM body_files")
            wanted = json.dumps([number for number, joined in files if not kids.isdisjoint(kids_in(joined))])
            for begin in range(after, end, _WINDOW):
                found = [log for (log,) in self._read(FILED, (begin, min(begin + _WINDOW, end), wanted))]
                for first in range(0, len(found), PAGE_ROWS):
                    page = self._read(_THESE, (json.dumps(found[first : first + PAGE_ROWS]),))
                    rows = ((self._whole(row), row[_FILE_NAME] in (VARIOUS, HELD, "")) for row in page)
                    yield from (stored for stored, is_mixed in rows if not is_mixed or may_open(stored, kids))
            after = end

    def _log_end(self) -> int:
        return int(self._read("SELECT coalesce(max(log), 0) FROM entries")[0][0])

    def chain_rows(self) -> Iterator[StoredRow]:
        """As the port."""
        after: tuple[object, ...] = (b"", b"", -1, -1)
        query = (
            f"SELECT {_ROW} FROM (SELECT * FROM entries WHERE (device, chain, seq, log) > (?, ?, ?, ?) "  # noqa: S608  # constants
            "ORDER BY device, chain, seq, log LIMIT ?) AS page ORDER BY device, chain, seq, log"
        )
        while page := self._read(query, (*after, PAGE_ROWS)):
            for stored in map(self._whole, page):
                after = (stored.device, stored.chain, stored.seq, stored.log)
                yield stored

    def rows_of(self, device: bytes, chain: bytes, after: int = -1) -> Iterator[StoredRow]:
        """As the port."""
        at = (after, MAX_SEQ)
        query = (
            f"SELECT {_ROW} FROM (SELECT * FROM entries WHERE device = ? AND chain = ? AND (seq, log) > (?, ?) "  # noqa: S608  # constants
            "ORDER BY seq, log LIMIT ?) AS page ORDER BY seq, log"
        )
        while page := self._read(query, (device, chain, *at, PAGE_ROWS)):
            for stored in map(self._whole, page):
                at = (stored.seq, stored.log)
                yield stored

    def outlines(self, end: int) -> Iterator[Outline]:
        """As the port."""
        after = -1
        while page := self._read(_OUTLINES, (after, end, _PAGE_ENTRIES)):
            yield from map(Outline._make, page)
            after = page[-1][0]

    def receipts_up_to(self, end: int) -> int:
        """As the port."""
        return int(self._read("SELECT count(*) FROM kept WHERE log <= ?", (end,))[0][0])

    def log(self, after: int = -1) -> Iterator[LogEntry]:
        """As the port."""
        while page := self._read(_ENTRIES, (after, _PAGE_ENTRIES)):
            for row in page:
                entry = LogEntry(*row)
                after = entry.log
                yield entry

    def get(self, which: bytes | int) -> StoredRow | None:
        """As the port."""
        column = "log" if isinstance(which, int) else "id"
        rows = self._read(f"SELECT {_ROW} FROM entries AS page WHERE {column} = ?", (which,))  # noqa: S608  # constants
        return self._whole(rows[0]) if rows else None

    def totals(self) -> Totals:
        """As the port."""
        kept = "(SELECT coalesce(max(log), 0) FROM kept)"
        given = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'envelopes'), 0)"
        gone = "(SELECT coalesce(sum(reads), 0) FROM body_files WHERE dropped_at_ms IS NOT NULL)"
        query = f"SELECT count(*), {gone}, coalesce(max(log), 0), max({kept}, {given}) FROM entries"  # noqa: S608  # constants
        ((count, dropped, end, used),) = self._read(query)
        return Totals(int(count) - int(dropped), int(dropped), int(end), max(int(end), int(used)))

    def epochs(self) -> list[Epoch]:
        """As the port."""
        rows = self._read(_EPOCHS)
        return [
            Epoch(kids_in(bytes(kids)), int(reads), int(length), None if at_ms is None else from_ms(at_ms))
            for kids, reads, length, at_ms in rows
        ]

    def neighbours(self, row: StoredRow) -> Neighbours:
        """As the port."""
        earlier = self._read("SELECT stored_at_ms FROM entries WHERE log < ? ORDER BY log DESC LIMIT 1", (row.log,))
        receipts = self._read(_RECEIPT_BEFORE, (row.device, row.log))
        return Neighbours(int(earlier[0][0]) if earlier else None, bytes(receipts[0][0]) if receipts else None)

    def last_before(self, moment: datetime) -> int:
        """As the port."""
        query = "SELECT coalesce(max(log), 0) FROM entries WHERE stored_at_ms < ?"
        return int(self._read(query, (to_ms(moment),))[0][0])

    def receipt_at(self, log: int) -> bytes | None:
        """As the port."""
        rows = self._read("SELECT receipt FROM kept WHERE log = ?", (log,))
        return bytes(rows[0][0]) if rows else None

    def has_sent(self, key_id: bytes) -> bool:
        """As the port."""
        return bool(self._read("SELECT 1 FROM senders WHERE device = ?", (key_id,)))

    def faults(self) -> list[str]:
        """Return what is wrong with the body files as such, one line each: one that is missing or too short."""
        found = []
        for name, length in self._read(FILES_HERE):
            there = self._files.length(str(name))
            if (there or 0) < length:
                state = "is missing" if there is None else f"has {there} bytes of {length}"
                found.append(f"{self._files.directory / str(name)}: {state}")
        return found

    def _whole(self, row: Row) -> StoredRow:
        """Return an entry with its body. Of one that is damaged, what is there: its digest shows it.

        Between the row and its file an epoch may be dropped. Then the row is read again: its body is gone by policy, or
        has been set aside.
        """
        try:
            return self._with_body(row)
        except FileNotFoundError:
            again = self._read(f"SELECT {_ROW} FROM entries AS page WHERE log = ?", (row[0],))  # noqa: S608  # constants
        try:
            return self._with_body(again[0] if again else row)
        except FileNotFoundError:
            return self._with_body((*row[:_BODY], b"", *row[_BODY + 1 :]))

    def _with_body(self, row: Row) -> StoredRow:
        log, envelope_id, device, chain, seq, prev, run, length, stored_at_ms, receipt, body, name, place = row
        if body is None and name is not None:
            body = self._body(name, place, length) if name and place is not None else b""
        return StoredRow(log, envelope_id, device, chain, seq, prev, run, length, stored_at_ms, receipt, body)

    def _body(self, name: str, place: int, length: int) -> bytes:
        try:
            return self._files.read(name, place, length)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ReceiverError(f"{self._files.directory / name}: cannot be read: {error.strerror or error}") from None


def may_open(stored: StoredRow, kids: frozenset[bytes]) -> bool:
    """Whether one of these keys is among those that an entry's bytes are sealed to, or its damage hides them."""
    try:
        return stored.body is None or not kids.isdisjoint(parse_envelope(stored.body).kids)
    except FormatError:
        return True


__all__ = ["FILED", "FILES_HERE", "PAGE_ROWS", "RECEIPT", "Reader", "may_open"]
