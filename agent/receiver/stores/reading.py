"""Reading a store of one machine, while a receiver may be writing to it.

Owns: the queries, and their pages. Leaves to others: the connection (`database`), and opening (`sqlite`).

Invariant: no read transaction outlives a page, so that the write-ahead log can be emptied while somebody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from agent.receiver.ports import LogEntry, Neighbours, StoredRow, Totals
from agent.receiver.stores.database import Database
from agent.wire.times import to_ms

PAGE_ROWS: Final = 16
"""Rows read at a time: at most 16 MiB in memory, and no read transaction that outlives a page."""
_PAGE_ENTRIES: Final = 4096
"""The same for entries of the log, which have no body: about 1 MiB."""
_ROW: Final = "log, page.id, page.device, chain, seq, stored_at_ms, body, receipt"
_KEPT: Final = "LEFT JOIN (SELECT id AS kept_id, receipt FROM receipts) ON kept_id = page.id"
_ENTRIES: Final = """
SELECT log, stored_at_ms, (SELECT receipt FROM receipts WHERE receipts.id = envelopes.id) FROM envelopes WHERE log > ?1
UNION ALL
SELECT log, NULL, receipt FROM receipts WHERE log > ?1 AND id NOT IN (SELECT id FROM envelopes)
ORDER BY log LIMIT ?2
"""


class Reader(Database):
    """An open store, to read: the ports `StoreView` and `StoreLog`."""

    def pages(self, after: int = 0) -> Iterator[StoredRow]:
        """As the port."""
        query = (
            f"SELECT {_ROW} FROM (SELECT * FROM envelopes WHERE log > ? ORDER BY log LIMIT ?) AS page {_KEPT} "  # noqa: S608  # constants
            "ORDER BY log"
        )
        while page := self._read(query, (after, PAGE_ROWS)):
            for row in page:
                stored = StoredRow(*row)
                after = stored.log
                yield stored

    def chain_rows(self) -> Iterator[StoredRow]:
        """As the port."""
        after: tuple[object, ...] = (b"", b"", -1, -1)
        query = (
            f"SELECT {_ROW} FROM (SELECT * FROM envelopes WHERE (device, chain, seq, log) > (?, ?, ?, ?) "  # noqa: S608  # constants
            f"ORDER BY device, chain, seq, log LIMIT ?) AS page {_KEPT} ORDER BY page.device, chain, seq, log"
        )
        while page := self._read(query, (*after, PAGE_ROWS)):
            for row in page:
                stored = StoredRow(*row)
                after = (stored.device, stored.chain, stored.seq, stored.log)
                yield stored

    def log(self) -> Iterator[LogEntry]:
        """As the port."""
        after = -1
        while page := self._read(_ENTRIES, (after, _PAGE_ENTRIES)):
            for row in page:
                entry = LogEntry(*row)
                after = entry.log
                yield entry

    def get(self, which: bytes | int) -> StoredRow | None:
        """As the port."""
        column = "log" if isinstance(which, int) else "id"
        query = f"SELECT {_ROW} FROM (SELECT * FROM envelopes WHERE {column} = ?) AS page {_KEPT}"  # noqa: S608  # constants
        rows = self._read(query, (which,))
        return StoredRow(*rows[0]) if rows else None

    def totals(self) -> Totals:
        """As the port."""
        kept = "(SELECT coalesce(max(log), 0) FROM receipts)"
        given = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'envelopes'), 0)"
        query = f"SELECT count(*), coalesce(max(log), 0), max({kept}, {given}) FROM envelopes"  # noqa: S608  # constants
        ((count, end, used),) = self._read(query)
        return Totals(int(count), int(end), max(int(end), int(used)))

    def neighbours(self, row: StoredRow) -> Neighbours:
        """As the port."""
        earlier = self._read("SELECT stored_at_ms FROM envelopes WHERE log < ? ORDER BY log DESC LIMIT 1", (row.log,))
        query = "SELECT receipt FROM receipts WHERE device = ? AND log < ? AND version = 2 ORDER BY log DESC LIMIT 1"
        receipts = self._read(query, (row.device, row.log))
        return Neighbours(int(earlier[0][0]) if earlier else None, bytes(receipts[0][0]) if receipts else None)

    def last_before(self, moment: datetime) -> int:
        """As the port."""
        query = "SELECT coalesce(max(log), 0) FROM envelopes WHERE stored_at_ms < ?"
        return int(self._read(query, (to_ms(moment),))[0][0])

    def receipt_at(self, log: int) -> bytes | None:
        """As the port."""
        rows = self._read("SELECT receipt FROM receipts WHERE log = ?", (log,))
        return bytes(rows[0][0]) if rows else None

    def has_sent(self, key_id: bytes) -> bool:
        """As the port."""
        return bool(self._read("SELECT 1 FROM senders WHERE device = ?", (key_id,)))


__all__ = ["PAGE_ROWS", "Reader"]
