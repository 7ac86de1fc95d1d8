"""The tables of a store in PostgreSQL.

Owns: the layout and its version, in a schema of its own, `plateseal`. Leaves to others: the connection (`database`).

The bytes of each epoch lie in a table of their own, `bodies_N`, N the number in `body_files`. They are no partitions of
one table: to drop a partition, PostgreSQL locks the parent, and everybody who writes to any epoch would wait.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg

from agent.errors import ReceiverError

SCHEMA: Final = "plateseal"
SCHEMA_VERSION: Final = 1

_TABLES: Final = """
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    needs_standby boolean NOT NULL,
    objects text
);
CREATE TABLE log (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    used bigint NOT NULL,
    newest_at_ms bigint NOT NULL
);
CREATE TABLE signers (
    device bytea PRIMARY KEY CHECK (length(device) = 32),
    newest_receipt bytea CHECK (length(newest_receipt) = 32)
);
CREATE TABLE entries (
    log bigint PRIMARY KEY CHECK (log > 0),
    id bytea NOT NULL UNIQUE CHECK (length(id) = 32),
    device bytea NOT NULL CHECK (length(device) = 32),
    chain bytea NOT NULL CHECK (length(chain) = 16),
    seq bigint NOT NULL CHECK (seq >= 0),
    prev bytea NOT NULL CHECK (length(prev) = 32),
    length integer NOT NULL CHECK (length >= 0),
    stored_at_ms bigint NOT NULL,
    file integer NOT NULL,
    place bigint,
    UNIQUE (device, chain, seq)
);
CREATE INDEX entries_of_a_file ON entries (file, log);
CREATE TABLE receipts (
    log bigint PRIMARY KEY,
    id bytea NOT NULL CHECK (length(id) = 32),
    version smallint NOT NULL,
    receipt bytea NOT NULL
);
CREATE TABLE chains (
    device bytea NOT NULL,
    chain bytea NOT NULL,
    run bigint,
    last_seq bigint NOT NULL,
    PRIMARY KEY (device, chain)
);
CREATE INDEX runs_of_a_device ON chains (device, run);
CREATE TABLE begins (
    before bytea NOT NULL,
    device bytea NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (before, device, chain)
);
CREATE INDEX beginning_of_a_chain ON begins (device, chain);
CREATE TABLE senders (device bytea PRIMARY KEY);
CREATE TABLE body_files (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    kids bytea NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    reads bigint NOT NULL DEFAULT 0,
    begun_by bytea NOT NULL,
    begun_at_ms bigint NOT NULL,
    dropped_at_ms bigint
);
CREATE INDEX files_of_a_device ON body_files (begun_by, begun_at_ms);
CREATE TABLE dropped_kids (kid bytea PRIMARY KEY, at_ms bigint NOT NULL);
CREATE SEQUENCE places;
CREATE TABLE records (
    kind text NOT NULL,
    name text NOT NULL,
    data bytea NOT NULL,
    written bigint NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE SEQUENCE writings;
CREATE TABLE health (device text PRIMARY KEY, received_at_ms bigint NOT NULL, report bytea NOT NULL);
CREATE TABLE forks (key bytea PRIMARY KEY, seen_at_ms bigint NOT NULL, detail text NOT NULL);
CREATE TABLE bodies (place bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE pieces (
    place bigint PRIMARY KEY,
    object bytea NOT NULL CHECK (length(object) = 32),
    at bigint NOT NULL CHECK (at >= 0),
    length integer NOT NULL CHECK (length >= 0)
);
INSERT INTO log (used, newest_at_ms) VALUES (0, 0);
"""
"""What each is for, stands with SQLite's of the same name (`agent.receiver.stores.schema`). Besides:

- `log`: one row, locked by whoever gives out indices, until its commit: so the log has no gap, and its order is that of
  the commits.
- `signers`: a row for each device key, locked by whoever may answer with a receipt for one of its envelopes.
- `chains`: version 1's as well, without a number; and where each one ends.
- `records`: what stands in a receiver's folders `devices`, `operators` and `renewals` otherwise; `written` is another
  number each time.
- `health`, `forks`: what is in `fleet.db` otherwise.
- `bodies`, `pieces`: the patterns of the epochs' tables, themselves empty: with the bytes, or with their places in an
  object store, where `store.objects` says how that is reached.
"""


def table_of(number: int) -> str:
    """Return the name of the table with the bytes of one epoch."""
    return f"bodies_{number:d}"


class StoreSettings(NamedTuple):
    """What a store was made with.

    Attributes:
        needs_standby: Whether a receipt may leave only when a standby has what it says.
        objects: How the object store with the envelopes' bytes is reached, as JSON; None: they are in the database.
    """

    needs_standby: bool = False
    objects: str | None = None


def make_tables(connection: psycopg.Connection, settings: StoreSettings) -> None:
    """Make an empty store.

    Args:
        connection: In a transaction.
        settings: What it is made with.

    Raises:
        ReceiverError: The database has a store already.
        psycopg.Error: The database refused.
    """
    found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone()
    if found is not None:
        raise ReceiverError("holds a store already; it is not overwritten")
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    connection.execute(_TABLES)
    query = "INSERT INTO store (version, needs_standby, objects) VALUES (%s, %s, %s)"
    connection.execute(query, (SCHEMA_VERSION, *settings))


def check_version(connection: psycopg.Connection) -> StoreSettings:
    """Make sure that a store of this version is there; return what it was made with.

    Raises:
        ReceiverError: There is none, or one of a newer plateseal.
        psycopg.Error: The database refused.
    """
    try:
        row = connection.execute("SELECT version, needs_standby, objects FROM store").fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    if row is None:
        raise ReceiverError("there is no store; `plateseal receiver init FOLDER --store URL` makes one")
    if row[0] != SCHEMA_VERSION:
        raise ReceiverError(f"schema version {row[0]}, this plateseal reads {SCHEMA_VERSION}")
    return StoreSettings(bool(row[1]), row[2])


__all__ = ["SCHEMA", "SCHEMA_VERSION", "StoreSettings", "check_version", "make_tables", "table_of"]
