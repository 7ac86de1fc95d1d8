"""The store of one machine: envelopes in SQLite, durable before anyone is told so.

Owns: opening, the transaction, and reading. Leaves to others: the tables (`schema`), what happens to an envelope within
the transaction (`keeping`), the connection and what a fault does to it (`database`), whether an envelope's signature
holds (`intake`), and what gaps mean (a gap may fill later; naming those that stay is for whoever reads the store).

Invariants: `store_batch` returns only after its transaction is committed and synced (WAL, synchronous=FULL), and no
receipt leaves it before. The same envelope gets the same row and the same receipt for ever. Two envelopes never stand
at one place of a chain, and neighbours in the store are linked.

Source: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.durable import sync_directory
from agent.errors import ReceiverError
from agent.receiver.stores import schema
from agent.receiver.stores.database import Database
from agent.receiver.stores.keeping import ChainConflict, Forked, Keeper, Outcome, ReceiptLost
from agent.wire.envelope import Envelope
from agent.wire.times import to_ms

PAGE_ROWS: Final = 16
"""Rows read at a time: at most 16 MiB in memory, and no read transaction that outlives a page."""
_PAGE_ENTRIES: Final = 4096
"""The same for entries of the log, which have no body: about 1 MiB."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row as it stands in the database, for whoever checks it.

    Attributes:
        log: Index in the receiver's log.
        id: 32 bytes, what the row calls the envelope.
        device, chain, seq: Where the row puts it.
        stored_at_ms: When the row says that it was stored, milliseconds since 1970 UTC.
        body: The envelope's bytes.
        receipt: The receipt as it was first signed; None where none is kept.
    """

    log: int
    id: bytes
    device: bytes
    chain: bytes
    seq: int
    stored_at_ms: int
    body: bytes = field(repr=False)
    receipt: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log, without the envelope.

    Attributes:
        log: Index in the log.
        id: 32 bytes, what the row calls the envelope.
        stored_at_ms: When the row says that it was stored, milliseconds since 1970 UTC.
    """

    log: int
    id: bytes
    stored_at_ms: int


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt as the store keeps it.

    Attributes:
        log, id, device: What the store keeps it under.
        receipt: The bytes that were signed first.
    """

    log: int
    id: bytes
    device: bytes
    receipt: bytes = field(repr=False)


class EnvelopeStore(Database):
    """An open store. One writer at a time; safe for threads."""

    kind = "store"
    cure = "restore the newest backup that verifies (docs/BACKUP.md, Restore)"
    columns = schema.COLUMNS

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Open an existing store. Prefer `open` and `open_read_only`.

        Raises:
            ReceiverError: Missing, unreadable, damaged, or not a store of this version.
        """
        if not path.is_file():
            raise ReceiverError(f"{path}: there is no store; `plateseal receiver init` makes one")
        super().__init__(path, mode="ro" if read_only else "rw")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty store where no file is.

        Raises:
            ReceiverError: A file is there, or the disk refused.
        """
        if path.exists():
            raise ReceiverError(f"{path}: is there already and is not overwritten")
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                path.chmod(0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                schema.make_tables(connection)
            sync_directory(path.parent)
        except (sqlite3.Error, OSError) as error:
            raise ReceiverError(f"{path}: the store cannot be made: {error}") from None
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store to write.

        Raises:
            ReceiverError: Missing, unreadable, damaged, or not a store of this version.
        """
        return cls(path, read_only=False)

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open a store to read, while a receiver may be writing to it.

        Raises:
            ReceiverError: Missing, unreadable, damaged, or not a store of this version.
        """
        return cls(path, read_only=True)

    def store_batch(
        self,
        envelopes: Sequence[Envelope],
        at: datetime,
        key: Ed25519PrivateKey,
        *,
        sender: bytes | None = None,
        followers: Mapping[bytes, Sequence[bytes]] = MappingProxyType({}),
    ) -> list[Outcome]:
        """Store envelopes and their receipts in one transaction; on return, every receipt is true for good.

        Args:
            envelopes: In the order they came; their signatures hold. One may be there already, or twice.
            at: Aware time of storing, for those that are new.
            key: The receiver's receipt key.
            sender: Id of the key whose certificate brought them, to be remembered (`has_sent`).
            followers: By the id of a key that was rotated out: the ids of the keys that followed it.

        Returns:
            One outcome per envelope, in order: its receipt, the same bytes each time, or why there is none.

        Raises:
            ReceiverError: The database refused; none of the new ones is stored.
        """
        with self._connected("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            keeper = Keeper(connection, at, key, followers)
            outcomes = [keeper.store(envelope) for envelope in envelopes]
            if sender is not None and any(isinstance(outcome, bytes | Forked) for outcome in outcomes):
                connection.execute("INSERT OR IGNORE INTO senders (device) VALUES (?)", (sender,))
            connection.execute("COMMIT")
        return outcomes

    def try_to_write(self) -> int:
        """Take the right to write and give it back; return the index of the newest entry of the log.

        Raises:
            ReceiverError: The database refused.
        """
        with self._connected("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            (log,) = connection.execute("SELECT coalesce(max(log), 0) FROM envelopes").fetchone()
            connection.execute("ROLLBACK")
        return int(log)

    def envelopes(self) -> Iterator[bytes]:
        """Yield every envelope's bytes in log order; those stored meanwhile come at the end.

        Raises:
            ReceiverError: The database cannot be read.
        """
        after = 0
        while page := self._read(
            "SELECT log, body FROM envelopes WHERE log > ? ORDER BY log LIMIT ?", (after, PAGE_ROWS)
        ):
            for log, body in page:
                after = int(log)
                yield bytes(body)

    def rows(self) -> Iterator[StoredRow]:
        """Yield every row by device, chain and sequence number, in pages.

        Raises:
            ReceiverError: The database cannot be read.
        """
        after: tuple[object, ...] = (b"", b"", -1, -1)
        while page := self._read(
            "SELECT log, id, device, chain, seq, stored_at_ms, body, receipt AS kept_receipt FROM "
            "(SELECT * FROM envelopes WHERE (device, chain, seq, log) > (?, ?, ?, ?) "
            "ORDER BY device, chain, seq, log LIMIT ?) AS page "
            "LEFT JOIN (SELECT id AS kept_id, receipt FROM receipts) ON kept_id = page.id "
            "ORDER BY device, chain, seq, log",
            (*after, PAGE_ROWS),
        ):
            for row in page:
                stored = StoredRow(*row)
                after = (stored.device, stored.chain, stored.seq, stored.log)
                yield stored

    def log(self) -> Iterator[LogEntry]:
        """Yield the entries of the log, in its order.

        Raises:
            ReceiverError: The database cannot be read.
        """
        after = -1
        query = "SELECT log, id, stored_at_ms FROM envelopes WHERE log > ? ORDER BY log LIMIT ?"
        while page := self._read(query, (after, _PAGE_ENTRIES)):
            for row in page:
                entry = LogEntry(*row)
                after = entry.log
                yield entry

    def receipts(self) -> Iterator[KeptReceipt]:
        """Yield the receipts that are kept, by device key and in the order of the log.

        Raises:
            ReceiverError: The database cannot be read.
        """
        after: tuple[object, ...] = (b"", -1)
        query = (
            "SELECT log, id, device, receipt FROM receipts WHERE (device, log) > (?, ?) ORDER BY device, log LIMIT ?"
        )
        while page := self._read(query, (*after, _PAGE_ENTRIES)):
            for row in page:
                kept = KeptReceipt(*row)
                after = (kept.device, kept.log)
                yield kept

    def count(self) -> int:
        """Return how many envelopes are stored.

        Raises:
            ReceiverError: The database cannot be read.
        """
        return int(self._read("SELECT count(*) FROM envelopes")[0][0])

    def has_sent(self, key_id: bytes) -> bool:
        """Whether the certificate of a key has ever delivered an envelope.

        Raises:
            ReceiverError: The database cannot be read.
        """
        return bool(self._read("SELECT 1 FROM senders WHERE device = ?", (key_id,)))

    def log_of(self, envelope_id: str) -> int | None:
        """Return the index in the log that an envelope has, or None if it is not stored.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT log FROM envelopes WHERE id = ?", (bytes.fromhex(envelope_id),))
        return int(rows[0][0]) if rows else None

    def place_of(self, digest: bytes) -> tuple[bytes, bytes, int] | None:
        """Return device key, chain and sequence number of a stored envelope, by its digest; None if it is not stored.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT device, chain, seq FROM envelopes WHERE id = ?", (digest,))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def row_of(self, envelope_id: str) -> StoredRow | None:
        """Return the row of an envelope with the receipt that is kept for it, or None if it is not stored.

        Raises:
            ReceiverError: The database cannot be read.
        """
        query = (
            "SELECT log, envelopes.id, envelopes.device, chain, seq, stored_at_ms, body, "
            "(SELECT receipt FROM receipts WHERE receipts.id = envelopes.id) AS kept_receipt "
            "FROM envelopes WHERE id = ?"
        )
        rows = self._read(query, (bytes.fromhex(envelope_id),))
        return StoredRow(*rows[0]) if rows else None

    def stored_before_ms(self, log: int) -> int | None:
        """Return when the entry before an index of the log was stored, milliseconds since 1970 UTC; None for the first.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT stored_at_ms FROM envelopes WHERE log < ? ORDER BY log DESC LIMIT 1", (log,))
        return int(rows[0][0]) if rows else None

    def receipt_before(self, device: bytes, log: int) -> bytes | None:
        """Return the newest receipt of version 2 of a device key before an index of the log, or None.

        Raises:
            ReceiverError: The database cannot be read.
        """
        query = "SELECT receipt FROM receipts WHERE device = ? AND log < ? AND version = 2 ORDER BY log DESC LIMIT 1"
        rows = self._read(query, (device, log))
        return bytes(rows[0][0]) if rows else None

    def body_at(self, log: int) -> bytes | None:
        """Return the envelope at an index of the log, or None.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT body FROM envelopes WHERE log = ?", (log,))
        return bytes(rows[0][0]) if rows else None

    def receipts_without_envelope(self) -> list[bytes]:
        """Return the first 1,000 receipts whose envelope is not in the store.

        Raises:
            ReceiverError: The database cannot be read.
        """
        query = "SELECT receipt FROM receipts WHERE id NOT IN (SELECT id FROM envelopes) ORDER BY log LIMIT 1000"
        return [bytes(receipt) for (receipt,) in self._read(query)]

    def log_end(self) -> int:
        """Return the index of the newest entry of the log; 0 for an empty one.

        Raises:
            ReceiverError: The database cannot be read.
        """
        return int(self._read("SELECT coalesce(max(log), 0) FROM envelopes")[0][0])

    def log_used(self) -> int:
        """Return the highest index that the log ever had, also if its entry is gone; 0 if it never had one.

        Raises:
            ReceiverError: The database cannot be read.
        """
        kept = "(SELECT coalesce(max(log), 0) FROM receipts)"
        given = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'envelopes'), 0)"
        return max(self.log_end(), int(self._read(f"SELECT max({kept}, {given})")[0][0]))

    def last_before(self, moment: datetime) -> int:
        """Return the index of the newest entry that was stored before an aware time; 0 if none was.

        Raises:
            ReceiverError: The database cannot be read.
        """
        query = "SELECT coalesce(max(log), 0) FROM envelopes WHERE stored_at_ms < ?"
        return int(self._read(query, (to_ms(moment),))[0][0])

    def receipt_of(self, envelope_id: str) -> bytes | None:
        """Return the receipt that is kept for an envelope, as it was first signed, or None.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT receipt FROM receipts WHERE id = ?", (bytes.fromhex(envelope_id),))
        return bytes(rows[0][0]) if rows else None

    def receipt_at(self, log: int) -> bytes | None:
        """Return the receipt that is kept for an index of the log, or None.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT receipt FROM receipts WHERE log = ?", (log,))
        return bytes(rows[0][0]) if rows else None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        may_write = self._mode != "ro"
        connection.execute("PRAGMA foreign_keys = ON")
        if may_write:
            connection.execute("PRAGMA synchronous = FULL")
        schema.check_version(connection, may_write=may_write)
        if may_write:
            connection.execute("PRAGMA journal_mode = WAL")


__all__ = ["ChainConflict", "EnvelopeStore", "Forked", "KeptReceipt", "LogEntry", "Outcome", "ReceiptLost", "StoredRow"]
