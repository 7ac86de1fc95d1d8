"""The store of one machine: envelopes in SQLite, durable before anyone is told so.

Owns: the table, the log index, and the rules that a chain must keep. Leaves to others: the connection and what a fault
does to it (`database`), whether an envelope's signature holds (`intake`), and what gaps mean (a gap may fill later;
naming those that stay is for whoever reads the store).

Invariants: `store_batch` returns only after its transaction is committed and synced (WAL, synchronous=FULL). The same
envelope gets the same row for ever. Two envelopes never stand at one place of a chain, and neighbours in the store are
linked.

Source: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from agent.disk.durable import sync_directory
from agent.errors import ReceiverError
from agent.receiver.stores.database import Database, Row
from agent.wire.envelope import Envelope
from agent.wire.receipt import Receipt
from agent.wire.times import from_ms, to_ms

APPLICATION_ID: Final = 0x504C5345
"""ASCII "PLSE", in the file's header: this is a store and not some other database."""
SCHEMA_VERSION: Final = 1
PAGE_ROWS: Final = 16
"""Rows read at a time: at most 16 MiB in memory, and no read transaction that outlives a page."""

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE envelopes (
    log INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    device BLOB NOT NULL CHECK (length(device) = 32),
    chain BLOB NOT NULL CHECK (length(chain) = 16),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    prev BLOB NOT NULL CHECK (length(prev) = 32),
    length INTEGER NOT NULL CHECK (length = length(body)),
    stored_at_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (device, chain, seq)
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_ROW: Final = "SELECT log, id, device, chain, seq, length, stored_at_ms FROM envelopes"


@dataclass(frozen=True, slots=True)
class ChainConflict:
    """An envelope that cannot be stored beside those that are.

    Attributes:
        reason: For a person; ids and numbers only.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row as it stands in the database, for whoever checks it.

    Attributes:
        log: Index in the receiver's log.
        id: 32 bytes, what the row calls the envelope.
        device, chain, seq: Where the row puts it.
        body: The envelope's bytes.
    """

    log: int
    id: bytes
    device: bytes
    chain: bytes
    seq: int
    body: bytes = field(repr=False)


class EnvelopeStore(Database):
    """An open store. One writer at a time; safe for threads."""

    kind = "store"

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
                connection.executescript(_SCHEMA)
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

    def store_batch(self, envelopes: Sequence[Envelope], at: datetime) -> list[Receipt | ChainConflict]:
        """Store envelopes in one transaction; on return, every receipt in the list is true for good.

        Args:
            envelopes: In the order they came; their signatures hold. One may be there already, or twice.
            at: Aware time of storing, for those that are new.

        Returns:
            One outcome per envelope, in order: what to sign, from the stored row, or why it is not stored.

        Raises:
            ReceiverError: The database refused; none of the new ones is stored.
        """
        with self._connected("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_store(connection, envelope, to_ms(at)) for envelope in envelopes]
            connection.execute("COMMIT")
        return outcomes

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
            "SELECT log, id, device, chain, seq, body FROM envelopes WHERE (device, chain, seq, log) > (?, ?, ?, ?) "
            "ORDER BY device, chain, seq, log LIMIT ?",
            (*after, PAGE_ROWS),
        ):
            for row in page:
                stored = StoredRow(*row)
                after = (stored.device, stored.chain, stored.seq, stored.log)
                yield stored

    def count(self) -> int:
        """Return how many envelopes are stored.

        Raises:
            ReceiverError: The database cannot be read.
        """
        return int(self._read("SELECT count(*) FROM envelopes")[0][0])

    def receipt_of(self, envelope_id: str) -> Receipt | None:
        """Return what was stored under an id, or None.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read(f"{_ROW} WHERE id = ?", (bytes.fromhex(envelope_id),))
        return _receipt(rows[0]) if rows else None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != APPLICATION_ID:
            raise ReceiverError("some other database")
        if version != SCHEMA_VERSION:
            raise ReceiverError(f"schema version {version}, this plateseal reads {SCHEMA_VERSION}")
        connection.execute("PRAGMA foreign_keys = ON")
        if self._mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")


def _store(connection: sqlite3.Connection, envelope: Envelope, at_ms: int) -> Receipt | ChainConflict:
    if (row := _row_of(connection, envelope)) is not None:
        _mend(connection, envelope)
        return _receipt(row)
    if (conflict := _conflict(connection, envelope)) is not None:
        return conflict
    position = envelope.position
    connection.execute(
        "INSERT INTO envelopes (id, device, chain, seq, prev, length, stored_at_ms, body) VALUES (?,?,?,?,?,?,?,?)",
        (
            envelope.digest,
            envelope.device_kid,
            position.chain,
            position.seq,
            position.prev,
            len(envelope.data),
            at_ms,
            envelope.data,
        ),
    )
    row = _row_of(connection, envelope)
    assert row is not None  # inserted in this transaction
    return _receipt(row)


def _mend(connection: sqlite3.Connection, envelope: Envelope) -> None:
    """Replace a stored body that the disk has damaged by the one that came again: its receipt must stay true."""
    (body,) = connection.execute("SELECT body FROM envelopes WHERE id = ?", (envelope.digest,)).fetchone()
    if body != envelope.data:
        connection.execute(
            "UPDATE envelopes SET body = ?, length = ? WHERE id = ?",
            (envelope.data, len(envelope.data), envelope.digest),
        )


def _conflict(connection: sqlite3.Connection, envelope: Envelope) -> ChainConflict | None:
    """Compare an envelope that is not stored with its place and its neighbours."""
    position = envelope.position
    rows = connection.execute(
        "SELECT seq, id, prev FROM envelopes WHERE device = ? AND chain = ? AND seq BETWEEN ? AND ?",
        (envelope.device_kid, position.chain, position.seq - 1, position.seq + 1),
    )
    for seq, stored_id, stored_prev in rows.fetchall():
        place = f"chain {position.chain.hex()[:8]} seq {position.seq}"
        if seq == position.seq:
            return ChainConflict(f"fork: {place} is taken by another envelope, {stored_id.hex()[:16]}")
        if seq == position.seq - 1 and stored_id != position.prev:
            return ChainConflict(f"broken chain: prev of {place} is not the stored envelope before it")
        if seq == position.seq + 1 and stored_prev != envelope.digest:
            return ChainConflict(f"broken chain: the stored envelope after {place} names another as its prev")
    return None


def _row_of(connection: sqlite3.Connection, envelope: Envelope) -> Row | None:
    row: Row | None = connection.execute(f"{_ROW} WHERE id = ?", (envelope.digest,)).fetchone()
    return row


def _receipt(row: Row) -> Receipt:
    log, envelope_id, device, chain, seq, length, stored_at_ms = row
    return Receipt(
        envelope_id=envelope_id.hex(),
        length=length,
        device_kid=device,
        chain=chain,
        seq=seq,
        stored_at=from_ms(stored_at_ms),
        log_index=log,
    )
