"""Pages of some keys' entries in a store of one machine: no other epoch's file is opened, in older stores too."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.stores import filing, reading
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.sqlite import SqliteStore
from agent.receiver.stores.taking_over import ROWS_A_STEP
from tests.fakes.envelopes import EPOCH, make_chain, make_envelope
from tests.fakes.receipts import RECEIVER
from tests.fakes.stored import alter_body, to_older_version

_KEY = Ed25519PrivateKey.generate()
_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return an empty store."""
    with SqliteStore.create(tmp_path / "envelopes.db") as store:
        yield store


def test_pages_of_one_key_open_no_file_of_another(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the file of its epoch, and those in which reads of several lie."""
    monkeypatch.setattr(filing, "NEW_FILES_A_DAY", 2)
    others = [os.urandom(32) for _ in range(3)]
    batch = [make_envelope(_KEY, kids=[kid]) for kid in (EPOCH, *others, EPOCH)]
    store.store_batch(batch, _AT, RECEIVER)
    opened, read = [], BodyFiles.read

    def watched(files: BodyFiles, name: str, offset: int, length: int) -> bytes:
        opened.append(name)
        return read(files, name, offset, length)

    monkeypatch.setattr(BodyFiles, "read", watched)
    assert [row.log for row in store.pages(kids=[EPOCH])] == [1, 5]
    assert opened == [EPOCH.hex(), "various", "various", EPOCH.hex()]
    assert [row.log for row in store.pages(kids=others[1:])] == [3, 4]


@pytest.mark.parametrize("version", [1, 2])
def test_pages_of_one_key_are_whole_while_an_older_store_is_taken_over(
    store: SqliteStore, tmp_path: Path, version: int
) -> None:
    """Read only, with a part of it moved, and at the end, when the entries are indexed by file."""
    path, kids = tmp_path / "envelopes.db", [EPOCH, bytes(32)]
    batch = [make_envelope(_KEY, kids=[kids[number % 2]]) for number in range(2 * ROWS_A_STEP)]
    store.store_batch(batch, _AT, RECEIVER)
    store.close()
    to_older_version(path, version)
    wanted = [envelope.data for envelope in batch[::2]]
    with SqliteStore.open_read_only(path) as reader:
        assert [row.body for row in reader.pages(kids=[EPOCH])] == wanted
    with SqliteStore.open(path) as opened:
        steps = iter([True])
        opened.take_over(may_go_on=lambda: next(steps, False))
        assert [row.body for row in opened.pages(kids=[EPOCH])] == wanted
        opened.take_over()
        assert [row.body for row in opened.pages(kids=[EPOCH])] == wanted


def test_damage_in_a_mixed_file_is_not_hidden_from_who_asks_for_one_key(store: SqliteStore, tmp_path: Path) -> None:
    """Nobody can tell what a damaged entry was sealed to, so it comes with each key."""
    chain = make_chain(_KEY, 2)
    store.store_batch(chain, _AT, RECEIVER)
    store.drop_epochs([EPOCH], _AT, held=[envelope.digest for envelope in chain])
    alter_body(tmp_path / "envelopes.db", bytes(40), where="log = 1")
    assert [row.log for row in store.pages(kids=[bytes(32)])] == [1]


def test_a_page_of_one_epoch_is_found_by_an_index(store: SqliteStore, tmp_path: Path) -> None:
    """Its cost must not grow with the other epochs of the store."""
    store.store_batch(make_chain(_KEY, 3), _AT, RECEIVER)
    with closing(sqlite3.connect(tmp_path / "envelopes.db")) as connection:
        connection.execute("CREATE TEMP VIEW entries AS SELECT * FROM envelopes")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {reading.FILED}", (0, 10, "[1]")).fetchall()
    steps = [row[3] for row in plan if "envelopes" in row[3]]
    assert len(steps) == 2
    assert all("USING COVERING INDEX entries_of_a_file (file=? AND rowid>? AND rowid<?)" in step for step in steps), (
        steps
    )
