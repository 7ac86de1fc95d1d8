"""Faults of a receiver's store and records, as `receiver verify` and `backup` find them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

from agent.keys.keyfiles import load_ed25519_private
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import parse_envelope
from tests.fakes.stored import alter_body, bodies
from tests.faults.planted.acts import Plant, command, done, put, remove, remove_all, write
from tests.faults.planted.fault import Fault, by_hand, printed
from tests.faults.planted.of_receiver import ENROL, record, restored
from tests.faults.planted.site import Site
from tests.unit.receiver.test_integrity import damage_page, pages_of

VERIFY: Final = "receiver verify {receiver}"
BACKUP: Final = "receiver backup {receiver} {root}/backup"


_STORE: Final = ("envelopes.db", "bodies")
STORE_AGAIN: Final = restored("restore", *_STORE)
COPIED_AGAIN: Final = (
    printed("plateseal receiver backup", {"backup": "backup {running} {root}/again"}),
    by_hand("makes a copy", done(*(put(f"{{root}}/again/{name}", f"{{receiver}}/{name}") for name in _STORE))),
)


def _sql(*statements: str) -> Plant:
    def plant(site: Site) -> None:
        with closing(sqlite3.connect(site.receiver / "envelopes.db")) as store, store:
            for statement in statements:
                store.execute(statement)

    return plant


def _copied_without_wal(site: Site) -> None:
    """The store's file was copied by hand while the receiver ran, without its write-ahead log."""
    with SqliteStore.open_read_only(site.receiver / "envelopes.db") as store:
        envelopes = [parse_envelope(data) for data in bodies(store)]
    live = site.root / "live.db"
    SqliteStore.create(live).close()
    with SqliteStore.open(live) as store:
        store.store_batch(envelopes, datetime.now(UTC), load_ed25519_private(site.receiver / "receipt.key"))
        (site.receiver / "envelopes.db").write_bytes(live.read_bytes())


def _older_store(site: Site) -> None:
    """A backup of before the last reads came back, while the records of units are of today."""
    with SqliteStore.open_read_only(site.receiver / "envelopes.db") as store:
        envelopes = [parse_envelope(data) for data in bodies(store)]
    command(ENROL)(site)  # a record of today names the end of the log
    older = site.root / "older.db"
    SqliteStore.create(older).close()
    with SqliteStore.open(older) as store:
        store.store_batch(envelopes[:2], datetime.now(UTC), load_ed25519_private(site.receiver / "receipt.key"))
    (site.receiver / "envelopes.db").write_bytes(older.read_bytes())


def _damaged_index(site: Site) -> None:
    path = site.receiver / "envelopes.db"
    size, leaves = pages_of(path, "sqlite_autoindex_envelopes_2")
    damage_page(path, leaves[0], size, 3, (1).to_bytes(2))


def _damaged_table(site: Site) -> None:
    path = site.receiver / "envelopes.db"
    size, leaves = pages_of(path, "envelopes")
    damage_page(path, leaves[0], size, 8, b"\xff" * 64)


FAULTS: Final = (
    Fault(
        "a unit's record was edited",
        VERIFY,
        record(lambda data: data.replace(b'"demo"', b'"dema"')),
        ("forged",),
        (restored("restore", "devices"),),
    ),
    Fault(
        "a unit's record was removed",
        VERIFY,
        remove_all("{receiver}/devices", "*.json"),
        ("forged",),
        (restored("restore", "devices"),),
    ),
    Fault(
        "receipt.pub is not beside the store",
        VERIFY,
        remove("{receiver}/receipt.pub"),
        ("receipt.pub",),
        (restored("put the receiver's own receipt.pub back", "receipt.pub"),),
    ),
    Fault(
        "the store was copied without its write-ahead log",
        VERIFY,
        _copied_without_wal,
        ("1 device key is enrolled and nothing is stored", "envelopes.db-wal"),
        COPIED_AGAIN,
    ),
    Fault(
        "the owner opens a store that was copied without its write-ahead log",
        "custody open --dir {owner} --store {receiver} --passphrase-file {passphrase} --case X --reason Y",
        _copied_without_wal,
        ("1 device key is enrolled and nothing is stored", "envelopes.db-wal"),
        COPIED_AGAIN,
    ),
    Fault(
        "an older copy of the store came back",
        VERIFY,
        _older_store,
        ("the record of demo", "names entry 4 of the log, and the store ends at 2"),
        COPIED_AGAIN,
    ),
    Fault(
        "the newest entries were removed",
        VERIFY,
        _sql("DELETE FROM envelopes WHERE log > 2"),
        ("the log had entries up to 4, and the store ends at 2: the newest were removed",),
        (STORE_AGAIN,),
    ),
    Fault(
        "an entry in the middle was removed",
        VERIFY,
        _sql("DELETE FROM envelopes WHERE log = 2"),
        ("missing",),
        (STORE_AGAIN,),
    ),
    Fault(
        "an envelope was altered in the store",
        VERIFY,
        lambda site: alter_body(site.receiver / "envelopes.db", b"\xd2\x83", where="log = 2"),
        ("altered",),
        (STORE_AGAIN,),
    ),
    Fault(
        "the files of reads' bytes are not there",
        VERIFY,
        remove_all("{receiver}/bodies", "*"),
        ("altered", "bodies/", ": is missing"),
        (STORE_AGAIN,),
    ),
    Fault(
        "an index page of the store is damaged",
        VERIFY,
        _damaged_index,
        ("envelopes.db: the file is damaged: ",),
        (printed("sqlite3 "),),
        needs=("sqlite3",),
    ),
    Fault(
        "a table page of the store is damaged",
        VERIFY,
        _damaged_table,
        ("envelopes.db: the file is damaged: ",),
        (STORE_AGAIN,),
    ),
    Fault(
        "a store that is damaged is backed up",
        BACKUP,
        _damaged_index,
        ("the store is not whole: ",),
        (printed("sqlite3 "), by_hand("backup", remove("{root}/backup"))),
        needs=("sqlite3",),
    ),
    Fault(
        "a backup goes into a folder that is not empty",
        BACKUP,
        done(lambda site: (site.root / "backup").mkdir(), write("{root}/backup/note", b"x")),
        ("backup: not empty; a backup wants a new or empty folder",),
        (by_hand("new or empty", remove("{root}/backup")),),
    ),
)
