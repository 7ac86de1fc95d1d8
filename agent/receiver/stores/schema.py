"""The tables of a store, and what becomes of a store of an earlier plateseal.

Owns: the layout in SQLite and its version. Version 1 had the envelopes only and made a receipt anew each time it was
asked for; version 2 keeps each receipt as it was first signed, in a table of its own. So an old store is brought up to
date by adding empty tables, in one transaction, however large it is.

Invariant: a store is of one version or of the next, never in between: a crash leaves the old one.
"""

from __future__ import annotations

import sqlite3
from types import MappingProxyType
from typing import Final

from agent.errors import ReceiverError
from agent.receiver.stores.database import blob, blob_of, moment, or_null, whole

APPLICATION_ID: Final = 0x504C5345
"""ASCII "PLSE", in the file's header: this is a store and not some other database."""
SCHEMA_VERSION: Final = 2
_WITHOUT_RECEIPTS: Final = 1

COLUMNS: Final = MappingProxyType(
    {
        "log": whole,
        "id": blob_of(32),
        "device": blob_of(32),
        "chain": blob_of(16),
        "seq": whole,
        "prev": blob_of(32),
        "before": blob,
        "run": whole,
        "length": whole,
        "stored_at_ms": whole,
        "logged_at_ms": moment,
        "body": blob,
        "receipt": blob,
        "kept_receipt": or_null(blob),
    }
)
"""What a row may hold. `logged_at_ms` is `stored_at_ms` where it must be a time; `kept_receipt` may not be there."""

_ENVELOPES: Final = """
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
) STRICT
"""
_RECEIPTS: Final = """
CREATE {temporary} TABLE receipts (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    log INTEGER NOT NULL UNIQUE,
    device BLOB NOT NULL CHECK (length(device) = 32),
    version INTEGER NOT NULL,
    receipt BLOB NOT NULL
) STRICT
"""
_RECEIPTS_OF_A_DEVICE: Final = "CREATE INDEX receipts_of_a_device ON receipts (device, log)"
_CHAINS: Final = """
CREATE TABLE chains (
    device BLOB NOT NULL,
    chain BLOB NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (device, chain)
) STRICT, WITHOUT ROWID
"""
"""The numbers of the chains of version 2, to be found without reading envelopes. Whoever verifies reads envelopes."""
_BEGINS: Final = """
CREATE TABLE IF NOT EXISTS begins (
    before BLOB NOT NULL,
    device BLOB NOT NULL,
    chain BLOB NOT NULL,
    PRIMARY KEY (before, device, chain)
) STRICT, WITHOUT ROWID
"""
"""After which envelope each chain says that it began, to see at once where two go on after the same one (`forks`)."""
_BEGINNING_OF_A_CHAIN: Final = "CREATE INDEX IF NOT EXISTS beginning_of_a_chain ON begins (device, chain)"
_RUNS_OF_A_DEVICE: Final = "CREATE INDEX IF NOT EXISTS runs_of_a_device ON chains (device, run)"
_SENDERS: Final = "CREATE TABLE senders (device BLOB PRIMARY KEY) STRICT, WITHOUT ROWID"
"""The keys whose own certificates have delivered something: a unit that has its new certificate needs no old one."""


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty store.

    Raises:
        sqlite3.Error: The disk refused; the file has no tables then.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_ENVELOPES)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    _add_tables_of_2(connection)
    connection.execute("COMMIT")


def check_version(connection: sqlite3.Connection, *, may_write: bool) -> None:
    """Make sure that the tables are those of this version; bring an older store up to date.

    A store of version 1 that is opened only to read is not changed: an empty temporary table stands for its receipts.

    Raises:
        ReceiverError: Some other database, or a store of a newer plateseal.
        sqlite3.Error: The database refused.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise ReceiverError("some other database")
    version = _pragma(connection, "user_version")
    if version == SCHEMA_VERSION:
        if may_write:
            _add_what_shows_forks(connection)
        return
    if version != _WITHOUT_RECEIPTS:
        raise ReceiverError(f"schema version {version}, this plateseal reads {_WITHOUT_RECEIPTS} and {SCHEMA_VERSION}")
    if may_write:
        _bring_up_to_date(connection)
    else:
        connection.execute(_RECEIPTS.format(temporary="TEMPORARY"))


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _pragma(connection, "user_version") == _WITHOUT_RECEIPTS:  # no other process was faster
        _add_tables_of_2(connection)
    connection.execute("COMMIT")


def _add_tables_of_2(connection: sqlite3.Connection) -> None:
    connection.execute(_RECEIPTS.format(temporary=""))
    connection.execute(_RECEIPTS_OF_A_DEVICE)
    connection.execute(_CHAINS)
    connection.execute(_SENDERS)
    _add_what_shows_forks(connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _add_what_shows_forks(connection: sqlite3.Connection) -> None:
    """Add what came after version 2 and what older programs of that version neither need nor mind."""
    connection.execute(_BEGINS)
    connection.execute(_BEGINNING_OF_A_CHAIN)
    connection.execute(_RUNS_OF_A_DEVICE)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
