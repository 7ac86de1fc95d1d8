"""A store whose file the disk has damaged, at bytes that chance picks: whoever reads or writes is told, in one line.

SQLite hands out rows of damaged pages as if nothing were wrong: NULL in columns that are NOT NULL, integers of any
size, ids of another length.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.errors import PlatesealError, ReceiverError
from agent.receiver.fleet.store import FleetStore
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, make_bench
from tests.fakes.reads import NOON
from tests.unit.receiver.test_integrity import damage_page, pages_of

READS = 24
DAMAGED = 60
"""Copies of a store, each damaged at another place."""
TREES = (
    "envelopes",
    "receipts",
    "newest_receipts",
    "body_files",
    "chains",
    "begins",
    "sqlite_autoindex_envelopes_1",
    "sqlite_autoindex_envelopes_2",
    "sqlite_autoindex_body_files_1",
)
JUNK: tuple[Callable[[random.Random], bytes], ...] = (
    lambda chance: bytes(chance.choice((1, 8, 64))),
    lambda chance: b"\xff" * chance.choice((1, 8, 64)),
    lambda chance: chance.randbytes(chance.choice((1, 2, 16))),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a receiver that has a chain."""
    bench = make_bench(tmp_path_factory.mktemp("damaged"))
    with SqliteStore.open(bench.receiver.store) as store:
        store.store_batch(chain_of(bench)[:READS], NOON, bench.receipt_key)
    with closing(sqlite3.connect(bench.receiver.store)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return bench


@pytest.fixture
def copy(made: Bench, tmp_path: Path) -> ReceiverLayout:
    """Return a copy of it that is a test's own."""
    return ReceiverLayout(shutil.copytree(made.receiver.directory, tmp_path / "receiver"))


def chain_of(bench: Bench) -> list[Envelope]:
    """Return what the receiver has, and what comes next."""
    return make_chain(bench.device.signing_key, READS + 4, body=bytes(300))


def damage(path: Path, chance: random.Random) -> None:
    """Overwrite a few bytes of one of a store's pages."""
    size, leaves = pages_of(path, chance.choice(TREES))
    junk = chance.choice(JUNK)(chance)
    damage_page(path, chance.choice(leaves), size, chance.randrange(size - len(junk)), junk)


def rows(path: Path) -> list[object]:
    """Return all that a store says."""
    with SqliteStore.open_read_only(path) as store:
        return [list(store.chain_rows()), list(store.pages()), list(store.log()), store.epochs(), store.totals()]


@pytest.mark.parametrize("seed", range(DAMAGED))
def test_damage_is_told_wherever_it_is(copy: ReceiverLayout, seed: int) -> None:
    """Verify names it, or the store says what it said before; no command ends in a traceback."""
    before = rows(copy.store)
    damage(copy.store, random.Random(seed))
    said = CliRunner().invoke(app, ["verify", str(copy.directory)])
    assert said.exception is None or isinstance(said.exception, PlatesealError | SystemExit), said.exc_info
    assert said.exit_code or rows(copy.store) == before


@pytest.mark.parametrize("seed", range(DAMAGED))
def test_a_receiver_with_a_damaged_store_signs_or_refuses(made: Bench, copy: ReceiverLayout, seed: int) -> None:
    """What comes next is stored with a receipt, or it is refused as a fault of the receiver's own."""
    following = chain_of(made)[READS:]
    damage(copy.store, random.Random(seed))
    outcomes = None
    with suppress(ReceiverError), SqliteStore.open(copy.store) as store:
        outcomes = store.store_batch(following, NOON + timedelta(seconds=1), made.receipt_key)
    assert outcomes is None or len(outcomes) == len(following)


@pytest.mark.parametrize(
    ("damaged", "column"),
    [
        ("UPDATE envelopes SET stored_at_ms = NULL WHERE log = 3", "stored_at_ms"),
        ("UPDATE envelopes SET id = x'01' WHERE log = 3", "id"),
        ("UPDATE envelopes SET chain = 7 WHERE log = 3", "chain"),
        ("UPDATE envelopes SET body = 1 WHERE log = 3", "body"),
        ("UPDATE envelopes SET length = -1 WHERE log = 3", "length"),
        ("UPDATE body_files SET name = '../receipt.key'", "body_file"),
        ("UPDATE body_files SET kids = x'00'", "kids"),
        ("UPDATE envelopes SET seq = 'one' WHERE log = 3", "seq"),
    ],
)
def test_a_row_that_the_schema_does_not_allow_is_damage(copy: ReceiverLayout, damaged: str, column: str) -> None:
    """It is named, with what helps."""
    path = copy.store
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        query = "UPDATE sqlite_schema SET sql = replace(replace(sql, ' NOT NULL', ''), ') STRICT', ')')"
        connection.execute(f"{query} WHERE name = 'envelopes'")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(damaged)
    with pytest.raises(ReceiverError, match=f"the file is damaged: a row has a {column} that cannot be one; restore"):
        rows(path)


def test_a_report_of_a_unit_that_is_damaged_is_told(tmp_path: Path) -> None:
    """The store of health reports is made anew."""
    with FleetStore(tmp_path / "fleet.db") as store, closing(sqlite3.connect(tmp_path / "fleet.db")) as other, other:
        other.execute("INSERT INTO health VALUES ('unit', ?, x'00')", (2**62,))
        other.commit()
        with pytest.raises(ReceiverError, match="a row has a received_at_ms that cannot be one; remove it"):
            store.newest()
