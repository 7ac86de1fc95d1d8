"""Reading a store in PostgreSQL, while receivers write to it.

Owns: the queries, and their pages. Leaves to others: the connection (`database`), and opening (`store`).

Invariant: no read transaction outlives a statement, so that neither a drop nor a clean-up waits for a reader.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

from agent.receiver.ports import Epoch, LogEntry, Neighbours, Outline, StoredRow, Totals
from agent.receiver.stores.filing import HELD, VARIOUS, kids_in
from agent.receiver.stores.postgres.bodies import Bodies, EpochTable, bodies_of
from agent.receiver.stores.postgres.database import Database, Row
from agent.receiver.stores.postgres.schema import table_of
from agent.receiver.stores.reading import PAGE_ROWS, may_open
from agent.wire.header import MAX_SEQ
from agent.wire.times import from_ms, to_ms

_PAGE_ENTRIES: Final = 4096
"""Entries of the log without a body: about 3 MiB."""
_COLUMNS: Final = "log, id, device, chain, seq, prev, length, stored_at_ms, file, place"
_ROWS: Final = f"""
SELECT page.log, page.id, page.device, page.chain, page.seq, page.prev, c.run, page.length, page.stored_at_ms,
    r.receipt, page.file, page.place, f.dropped_at_ms IS NOT NULL, f.name
FROM (SELECT {_COLUMNS} FROM entries WHERE {{}}) AS page
LEFT JOIN chains AS c ON c.device = page.device AND c.chain = page.chain
LEFT JOIN receipts AS r ON r.log = page.log AND r.id = page.id
LEFT JOIN body_files AS f ON f.number = page.file
"""  # noqa: S608  # constants
_LOG_PAGE: Final = _ROWS.format("log > %b ORDER BY log LIMIT %b") + "ORDER BY page.log"
_FILED_PAGE: Final = _ROWS.format("file = any(%b::integer[]) AND log > %b ORDER BY log LIMIT %b") + "ORDER BY page.log"
_CHAINS_PAGE: Final = (
    _ROWS.format("(device, chain, seq) > (%b, %b, %b) ORDER BY device, chain, seq LIMIT %b")
    + "ORDER BY page.device, page.chain, page.seq"
)
_CHAIN_PAGE: Final = _ROWS.format("device = %b AND chain = %b AND seq > %b ORDER BY seq LIMIT %b") + "ORDER BY page.seq"
_THESE: Final = _ROWS.format("log = any(%b::bigint[])") + "ORDER BY page.log"
_FILES_OF: Final = "SELECT number, name, kids FROM body_files"
_ENTRIES: Final = """
SELECT coalesce(e.log, r.log) AS at, e.stored_at_ms, r.receipt FROM entries AS e
FULL JOIN receipts AS r ON r.log = e.log AND r.id = e.id
WHERE coalesce(e.log, r.log) > %b AND coalesce(e.log, r.log) <= %b ORDER BY at
"""
_OUTLINES: Final = """
SELECT e.log, e.id, e.device, e.chain, e.seq, e.prev, e.length, e.stored_at_ms, r.receipt, f.dropped_at_ms IS NOT NULL
FROM (SELECT log, id, device, chain, seq, prev, length, stored_at_ms, file FROM entries
    WHERE log > %b AND log <= %b ORDER BY log LIMIT %b) AS e
LEFT JOIN receipts AS r ON r.log = e.log AND r.id = e.id
LEFT JOIN body_files AS f ON f.number = e.file ORDER BY e.log
"""
_TOTALS: Final = """
SELECT (SELECT count(*) FROM entries),
    (SELECT coalesce(sum(reads), 0)::bigint FROM body_files WHERE dropped_at_ms IS NOT NULL),
    (SELECT coalesce(max(log), 0) FROM entries),
    greatest((SELECT used FROM log), (SELECT coalesce(max(log), 0) FROM receipts))
"""
_RECEIPT_BEFORE: Final = """
SELECT r.receipt FROM entries AS e JOIN receipts AS r ON r.log = e.log
WHERE e.device || '' = %b AND e.log < %b AND r.version = 2 ORDER BY e.log DESC LIMIT 1
"""
"""The log is walked back: the receipt is near, as a unit sends many in a row. By device they would be sorted first."""
_FILE: Final = 10
_PLACE: Final = 11
_IS_DROPPED: Final = 12
_NAME: Final = 13


class Reader(Database):
    """An open store, to read: the ports `StoreView` and `StoreLog`."""

    @cached_property
    def _lie_in(self) -> Bodies:
        """Where the envelopes' bytes lie."""
        return bodies_of(self._settings.objects)

    def pages(self, after: int = 0, *, kids: Collection[bytes] | None = None) -> Iterator[StoredRow]:
        """As the port."""
        if kids is not None:
            yield from self._sealed_to(frozenset(kids), after)
            return
        while page := self._page(_LOG_PAGE, (after, PAGE_ROWS)):
            yield from (stored for stored, _ in page)
            after = page[-1][0].log

    def _sealed_to(self, kids: frozenset[bytes], after: int) -> Iterator[StoredRow]:
        while True:
            files = self._read(_FILES_OF)
            wanted = [
                number
                for number, name, joined in files
                if name in (VARIOUS, HELD) or not kids.isdisjoint(kids_in(joined))
            ]
            page = self._page(_FILED_PAGE, (wanted, after, PAGE_ROWS))
            for stored, name in page:
                if name not in (VARIOUS, HELD) or may_open(stored, kids):
                    yield stored
            if not page:
                return
            after = page[-1][0].log

    def chain_rows(self) -> Iterator[StoredRow]:
        """As the port."""
        after: tuple[bytes, bytes, int] = (b"", b"", -1)
        while page := self._page(_CHAINS_PAGE, (*after, PAGE_ROWS)):
            yield from (stored for stored, _ in page)
            last = page[-1][0]
            after = last.device, last.chain, last.seq

    def rows_of(self, device: bytes, chain: bytes, after: int = -1) -> Iterator[StoredRow]:
        """As the port."""
        after = max(-1, min(after, MAX_SEQ))
        while page := self._page(_CHAIN_PAGE, (device, chain, after, PAGE_ROWS)):
            yield from (stored for stored, _ in page)
            after = page[-1][0].seq

    def outlines(self, end: int) -> Iterator[Outline]:
        """As the port."""
        after = -1
        while page := self._read(_OUTLINES, (after, end, _PAGE_ENTRIES)):
            yield from map(Outline._make, page)
            after = page[-1][0]

    def receipts_up_to(self, end: int) -> int:
        """As the port."""
        return int(self._read("SELECT count(*) FROM receipts WHERE log <= %b", (end,))[0][0])

    def log(self, after: int = -1) -> Iterator[LogEntry]:
        """As the port."""
        while True:
            ends = self._read(
                "SELECT greatest((SELECT max(log) FROM entries), (SELECT max(log) FROM receipts)),"
                "least((SELECT min(log) FROM entries WHERE log > %b), (SELECT min(log) FROM receipts WHERE log > %b))",
                (after, after),
            )
            end, first = ends[0]
            if first is None:
                return
            until = min(end, first + _PAGE_ENTRIES)
            yield from (LogEntry(*row) for row in self._read(_ENTRIES, (after, until)))
            after = until

    def get(self, which: bytes | int) -> StoredRow | None:
        """As the port."""
        column = "log" if isinstance(which, int) else "id"
        page = self._page(_ROWS.format(f"{column} = %b"), (which,))
        return page[0][0] if page else None

    def totals(self) -> Totals:
        """As the port."""
        ((count, dropped, end, used),) = self._read(_TOTALS)
        return Totals(int(count) - int(dropped), int(dropped), int(end), max(int(end), int(used)))

    def epochs(self) -> list[Epoch]:
        """As the port."""
        rows = self._read("SELECT kids, reads, bytes, dropped_at_ms FROM body_files ORDER BY number")
        return [epoch_of(row) for row in rows]

    def neighbours(self, row: StoredRow) -> Neighbours:
        """As the port."""
        earlier = self._read("SELECT stored_at_ms FROM entries WHERE log < %b ORDER BY log DESC LIMIT 1", (row.log,))
        receipts = self._read(_RECEIPT_BEFORE, (row.device, row.log))
        return Neighbours(int(earlier[0][0]) if earlier else None, bytes(receipts[0][0]) if receipts else None)

    def last_before(self, moment: datetime) -> int:
        """As the port."""
        query = "SELECT log FROM entries WHERE stored_at_ms < %b ORDER BY log DESC LIMIT 1"
        rows = self._read(query, (to_ms(moment),))
        return int(rows[0][0]) if rows else 0

    def receipt_at(self, log: int) -> bytes | None:
        """As the port."""
        rows = self._read("SELECT receipt FROM receipts WHERE log = %b", (log,))
        return bytes(rows[0][0]) if rows else None

    def has_sent(self, key_id: bytes) -> bool:
        """As the port."""
        return bool(self._read("SELECT 1 FROM senders WHERE device = %b", (key_id,)))

    def faults(self) -> list[str]:
        """Return what is wrong with the tables of bodies as such, one line each: one that is missing."""
        files = self._read("SELECT number, name FROM body_files WHERE dropped_at_ms IS NULL ORDER BY number")
        query = "SELECT to_regclass(%b) IS NULL"
        missing = [each for each in files if self._read(query, (table_of(each[0]),))[0][0]]
        return [f"{self._url}: table {table_of(number)} of epoch {name[:16]} is missing" for number, name in missing]

    def _page(self, query: str, parameters: Sequence[object]) -> list[tuple[StoredRow, str | None]]:
        """Return entries with their bodies and the names of their files.

        Between an entry and its bytes an epoch may be dropped. Then the entry is read again: its body is gone by
        policy, or has been set aside. Of one that is damaged nothing is there, and its digest shows it.
        """
        rows = self._read(query, parameters)
        bodies = self._bodies(rows)
        if torn := [row[0] for row in rows if _has_body(row) and row[0] not in bodies]:
            again = {row[0]: row for row in self._read(_THESE, (torn,))}
            rows = [again.get(row[0], row) for row in rows]
            bodies |= self._bodies(again.values())
        return [(_stored(row, bodies), row[_NAME]) for row in rows]

    def _bodies(self, rows: Collection[Row]) -> dict[int, bytes]:
        """Return the bytes of entries, by their index in the log."""
        logs: defaultdict[EpochTable, dict[int, int]] = defaultdict(dict)
        for row in rows:
            if _has_body(row):
                logs[row[_FILE], row[_NAME]][row[_PLACE]] = row[0]
        found: dict[int, bytes] = {}
        with self._session("read") as session:
            for epoch, places in logs.items():
                here = self._lie_in.read(session.connection, epoch, places)
                found |= {places[place]: body for place, body in here.items()}
        return found


def epoch_of(row: Row) -> Epoch:
    """Return an epoch by its keys, reads, bytes and time of the drop."""
    kids, reads, length, at_ms = row
    return Epoch(kids_in(bytes(kids)), int(reads), int(length), None if at_ms is None else from_ms(at_ms))


def _has_body(row: Row) -> bool:
    return row[_PLACE] is not None and not row[_IS_DROPPED]


def _stored(row: Row, bodies: dict[int, bytes]) -> StoredRow:
    log, envelope_id, device, chain, seq, prev, run, length, stored_at_ms, receipt = row[:_FILE]
    body = None if row[_IS_DROPPED] else bodies.get(log, b"")
    return StoredRow(log, envelope_id, device, chain, seq, prev, run, length, stored_at_ms, receipt, body)


__all__ = ["Reader", "epoch_of"]
