"""The tables of a store, and what becomes of a store of an earlier plateseal.

Owns: the layout in SQLite and its version. Leaves to others: moving the envelopes of an older store into body files,
which takes long and is done in steps (`taking_over`).

| version | what was new |
|---|---|
| 1 | envelopes; a receipt was made anew each time it was asked for |
| 2 | each receipt as it was first signed |
| 3 | envelopes' bytes in files beside the database (`bodies`), receipts found by the index in the log alone |

A store of version 2 becomes one of version 3 in one short transaction, however large it is: nothing is copied. Its
envelopes are then still in `envelopes.body`, its receipts in `receipts_of_2`, and both are read where they are.

Invariant: a store is of one version or of the next, never in between: a crash leaves the old one.

Source: sqlite.org/lang_altertable.html, section 7, on removing a NOT NULL by an edit of the schema's text.
"""

from __future__ import annotations

import re
import sqlite3
from types import MappingProxyType
from typing import Final

from agent.errors import ReceiverError
from agent.receiver.stores.database import blob, blob_of, moment, or_null, whole
from agent.wire import cbor
from agent.wire.envelope import MAX_ENVELOPE_BYTES
from agent.wire.header import DIGEST_BYTES, FORMAT_VERSION

APPLICATION_ID: Final = 0x504C5345
"""ASCII "PLSE", in the file's header: this is a store and not some other database."""
SCHEMA_VERSION: Final = 3
_FILE_NAME: Final = re.compile(r"[0-9a-z]{1,64}").fullmatch
_WITHOUT_RECEIPTS: Final = 1
_WITH_BODIES: Final = 2

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
        "kept_run": or_null(whole),
        "length": lambda value: isinstance(value, int) and 0 <= value <= MAX_ENVELOPE_BYTES,
        "stored_at_ms": whole,
        "entry_at_ms": or_null(whole),
        "logged_at_ms": moment,
        "dropped_at_ms": or_null(moment),
        "body": or_null(blob),
        "file": or_null(whole),
        "place": or_null(whole),
        "body_file": or_null(lambda value: isinstance(value, str) and (not value or _FILE_NAME(value) is not None)),
        "number": whole,
        "name": lambda value: isinstance(value, str) and _FILE_NAME(value) is not None,
        "kids": lambda value: isinstance(value, bytes) and len(value) % DIGEST_BYTES == 0,
        "reads": whole,
        "bytes": whole,
        "kid": blob_of(DIGEST_BYTES),
        "after": whole,
        "version": whole,
        "receipt": blob,
        "kept_receipt": or_null(blob),
        "digest": blob_of(32),
    }
)
"""What a row may hold. `logged_at_ms` is `stored_at_ms` where it must be a time, `entry_at_ms` where there may be no
entry; `kept_run` and `kept_receipt` may not be there. No name of a file leads out of the folder."""

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
    body BLOB,
    file INTEGER,
    place INTEGER,
    UNIQUE (device, chain, seq)
) STRICT
"""
"""`body` is NULL where the bytes are in a body file: `length` of them from `place` on, in the file with this number."""
_NEEDS_BODY, _HAS_BODY = "body BLOB NOT NULL", "body BLOB"
_RECEIPTS: Final = """
CREATE TABLE receipts (
    log INTEGER PRIMARY KEY,
    id BLOB NOT NULL CHECK (length(id) = 32),
    version INTEGER NOT NULL,
    receipt BLOB NOT NULL
) STRICT
"""
"""A receipt is found by its index in the log, and belongs to the envelope with its `id`. An index by `id` would cost
each insert a page of its own, and is needed only where rows may be without a receipt: in stores of earlier versions."""
_RECEIPTS_BY_ID: Final = "CREATE INDEX receipts_by_id ON receipts (id)"
_NEWEST_RECEIPTS: Final = """
CREATE TABLE newest_receipts (
    device BLOB PRIMARY KEY,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""
"""The digest of the newest receipt of version 2 for each device key, which the next one names."""
_BODY_FILES: Final = """
CREATE TABLE body_files (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kids BLOB NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0,
    reads INTEGER NOT NULL DEFAULT 0,
    begun_by BLOB NOT NULL,
    begun_at_ms INTEGER NOT NULL,
    dropped_at_ms INTEGER
) STRICT
"""
"""`kids`: ids of the keys that its envelopes are sealed to, one after the other. What is behind `bytes` is nothing."""
_DROPPED_KIDS: Final = """
CREATE TABLE dropped_kids (
    kid BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
"""Keys whose reads are not kept any more, whether the store had some or not."""
_ENTRIES_OF_A_FILE: Final = "CREATE INDEX IF NOT EXISTS entries_of_a_file ON envelopes (file)"
"""So that a page of one epoch costs no walk over the others. A store of an older version has it when all is moved."""
_FILES_OF_A_DEVICE: Final = "CREATE INDEX files_of_a_device ON body_files (begun_by, begun_at_ms)"
_TAKING_OVER: Final = "CREATE TABLE taking_over (after INTEGER NOT NULL) STRICT"
"""In a store of an older version, until all of it is where this version keeps it: the end of what has been moved."""
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

_OLD_ENTRIES: Final = "CREATE TEMP VIEW entries AS SELECT *, NULL AS file, NULL AS place FROM envelopes"
_ENTRIES: Final = "CREATE TEMP VIEW entries AS SELECT * FROM envelopes"
_KEPT: Final = "CREATE TEMP VIEW kept AS SELECT log, id, version, receipt FROM receipts"
_KEPT_OF_2: Final = f"{_KEPT} UNION ALL SELECT log, id, version, receipt FROM receipts_of_2"  # noqa: S608  # constants
_NO_FILES: Final = _BODY_FILES.replace("CREATE", "CREATE TEMP")
_NO_CHAINS: Final = "CREATE TEMP TABLE chains (device BLOB, chain BLOB, run INTEGER)"
_NONE_KEPT: Final = "CREATE TEMP VIEW kept AS SELECT 0 AS log, x'' AS id, 0 AS version, x'' AS receipt WHERE 0"


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty store.

    Raises:
        sqlite3.Error: The disk refused; the file has no tables then.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_ENVELOPES)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    _add_tables_of_2(connection)
    _add_tables_of_3(connection)
    index_files(connection)
    connection.execute("COMMIT")


def check_version(connection: sqlite3.Connection, *, may_write: bool) -> None:
    """Make sure that the tables are those of this version; bring an older store up to date.

    A store of an older version that is opened only to read is not changed. Whatever the version, the connection then
    has two views: `entries`, the rows of the log, and `kept`, the receipts; and a table `body_files`.

    Raises:
        ReceiverError: Some other database, or a store of a newer plateseal.
        sqlite3.Error: The database refused.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise ReceiverError("some other database")
    version = _pragma(connection, "user_version")
    if not _WITHOUT_RECEIPTS <= version <= SCHEMA_VERSION:
        raise ReceiverError(f"schema version {version}, this plateseal reads {_WITHOUT_RECEIPTS} to {SCHEMA_VERSION}")
    if may_write and version < SCHEMA_VERSION:
        _bring_up_to_date(connection)
        version = SCHEMA_VERSION
    if version < SCHEMA_VERSION:
        connection.execute(_NO_FILES)
    connection.execute(_ENTRIES if version == SCHEMA_VERSION else _OLD_ENTRIES)
    if version == _WITHOUT_RECEIPTS:
        connection.execute(_NO_CHAINS)
        connection.execute(_NONE_KEPT)
    else:
        connection.execute(_KEPT_OF_2 if has_receipts_of_2(connection) else _KEPT)


def index_files(connection: sqlite3.Connection) -> None:
    """Index the entries by the file of their bytes, where that is not done yet: it walks over all rows once."""
    connection.execute(_ENTRIES_OF_A_FILE)


def has_receipts_of_2(connection: sqlite3.Connection) -> bool:
    """Whether a store was of version 2 once: some receipts may still be where they were then."""
    return connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = 'receipts_of_2'").fetchone() is not None


def is_being_taken_over(connection: sqlite3.Connection) -> bool:
    """Whether a store was of an older version, and some of it is still where it was then."""
    return connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = 'taking_over'").fetchone() is not None


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = _pragma(connection, "user_version")
    if version < SCHEMA_VERSION:  # else another process was faster
        _allow_no_body(connection)
        connection.execute("ALTER TABLE envelopes ADD COLUMN file INTEGER")
        connection.execute("ALTER TABLE envelopes ADD COLUMN place INTEGER")
        if version == _WITH_BODIES:
            connection.execute("ALTER TABLE receipts RENAME TO receipts_of_2")
            _add_what_shows_forks(connection)
        else:
            _add_tables_of_2(connection)
        _add_tables_of_3(connection)
        connection.execute(_RECEIPTS_BY_ID)
        connection.execute(_TAKING_OVER)
        connection.execute("INSERT INTO taking_over (after) VALUES (0)")
        if version == _WITH_BODIES:
            _remember_newest(connection)
    connection.execute("COMMIT")


def _allow_no_body(connection: sqlite3.Connection) -> None:
    """Take NOT NULL from `envelopes.body`, by an edit of the text of its definition; no row changes."""
    schema = _pragma(connection, "schema_version")
    connection.execute("PRAGMA writable_schema = ON")
    query = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'envelopes'"
    connection.execute(query, (_NEEDS_BODY, _HAS_BODY))
    connection.execute(f"PRAGMA schema_version = {schema + 1}")
    connection.execute("PRAGMA writable_schema = OFF")


def _remember_newest(connection: sqlite3.Connection) -> None:
    """Note the newest chained receipt of each device key, which version 2 looked for each time."""
    devices = connection.execute("SELECT DISTINCT device FROM receipts_of_2").fetchall()
    query = "SELECT receipt FROM receipts_of_2 WHERE device = ? AND version = ? ORDER BY log DESC LIMIT 1"
    for (device,) in devices:
        newest = connection.execute(query, (device, FORMAT_VERSION)).fetchone()
        if newest is not None:
            row = device, cbor.sha256(bytes(newest[0]))
            connection.execute("INSERT INTO newest_receipts (device, digest) VALUES (?,?)", row)


def _add_tables_of_2(connection: sqlite3.Connection) -> None:
    """Add the tables that came with version 2, but for the receipts, which have another form since."""
    connection.execute(_CHAINS)
    connection.execute(_SENDERS)
    _add_what_shows_forks(connection)


def _add_tables_of_3(connection: sqlite3.Connection) -> None:
    connection.execute(_RECEIPTS)
    connection.execute(_NEWEST_RECEIPTS)
    connection.execute(_BODY_FILES)
    connection.execute(_DROPPED_KIDS)
    connection.execute(_FILES_OF_A_DEVICE)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _add_what_shows_forks(connection: sqlite3.Connection) -> None:
    """Add what came after version 2, and what not every store of that version has."""
    connection.execute(_BEGINS)
    connection.execute(_BEGINNING_OF_A_CHAIN)
    connection.execute(_RUNS_OF_A_DEVICE)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
