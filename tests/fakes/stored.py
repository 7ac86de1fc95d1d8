"""Looking into a receiver's store, and changing it behind the receiver's back, as tests do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from agent.receiver.layout import BODIES
from agent.receiver.ports import StoreView
from agent.receiver.stores.schema import APPLICATION_ID

_VERSION_1: Final = """
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
INSERT INTO envelopes SELECT log, id, device, chain, seq, prev, length, stored_at_ms, bytes(file, place, length)
    FROM new.envelopes ORDER BY log;
"""
_VERSION_2: Final = """
CREATE TABLE receipts (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    log INTEGER NOT NULL UNIQUE,
    device BLOB NOT NULL CHECK (length(device) = 32),
    version INTEGER NOT NULL,
    receipt BLOB NOT NULL
) STRICT;
CREATE INDEX receipts_of_a_device ON receipts (device, log);
CREATE TABLE chains (
    device BLOB NOT NULL, chain BLOB NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (device, chain)
) STRICT, WITHOUT ROWID;
CREATE TABLE senders (device BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO receipts SELECT kept.id, log, device, version, receipt
    FROM new.receipts AS kept JOIN new.envelopes USING (log);
INSERT INTO chains SELECT * FROM new.chains;
INSERT INTO senders SELECT * FROM new.senders;
"""


def kept_receipt(store: StoreView, envelope_id: str) -> bytes | None:
    """Return the receipt that is kept for an envelope, as it was first signed, or None."""
    row = store.get(bytes.fromhex(envelope_id))
    return None if row is None else row.receipt


def bodies(store: StoreView) -> list[bytes]:
    """Return the bytes of every envelope that is there, in the order of the log."""
    return [row.body for row in store.pages() if row.body is not None]


def alter_body(path: Path, data: bytes, *, where: str = "1") -> None:
    """Write bytes over the beginning of stored envelopes, those of the rows for which `where` holds in SQL."""
    query = f"SELECT name, place FROM envelopes JOIN body_files ON number = file WHERE {where}"  # noqa: S608  # a test's
    with closing(sqlite3.connect(path)) as connection:
        places = connection.execute(query).fetchall()
    assert places
    for name, place in places:
        with (path.with_name(BODIES) / name).open("r+b") as file:
            file.seek(place)
            file.write(data)


def to_older_version(path: Path, version: int) -> None:
    """Turn a closed store into what a plateseal with an earlier schema would have made of the same envelopes."""
    new = path.with_name("new.db")
    path.rename(new)
    with closing(sqlite3.connect(new)) as connection:
        files = {
            number: (path.with_name(BODIES) / name).read_bytes()
            for number, name in connection.execute("SELECT number, name FROM body_files")
        }
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("bytes", 3, lambda file, place, length: files[file][place : place + length])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("ATTACH ? AS new", (str(new),))
        connection.executescript(_VERSION_1 + (_VERSION_2 if version > 1 else ""))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    for left in (new, *path.with_name(BODIES).iterdir()):
        left.unlink()
    path.with_name(BODIES).rmdir()
