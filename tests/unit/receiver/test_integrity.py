"""A store's file that is damaged below its rows, and a store that is not all of the store: both are noticed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.receiver.admission.devices import DeviceBook, Event, EventKind
from agent.receiver.stores.integrity import check_pages
from agent.receiver.stores.sqlite import SqliteStore
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, make_bench
from tests.fakes.reads import NOON

READS = 60


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a receiver that has a chain of 60 envelopes, all in the one file."""
    made = make_bench(tmp_path)
    with SqliteStore.open(made.receiver.store) as store:
        store.store_batch(make_chain(made.device.signing_key, READS, body=bytes(3000)), NOON, made.receipt_key)
    return made


def verify(bench: Bench, *options: str) -> tuple[int, str]:
    """Run `receiver verify`; return its exit code and what it said."""
    said = CliRunner().invoke(app, ["verify", str(bench.receiver.directory), *options])
    return (said.exit_code if said.exception is None else getattr(said.exception, "exit_code", said.exit_code)), (
        f"{said.output}{said.exception or ''}"
    )


def pages_of(path: Path, name: str) -> tuple[int, list[int]]:
    """Return the page size and the numbers of a tree's leaf pages, by walking it as the file format says."""
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    data, leaves, todo = path.read_bytes(), [], [root]
    while todo:
        number = todo.pop()
        page = data[(number - 1) * size : number * size]
        if page[0] in (10, 13):
            leaves.append(number)
            continue
        count = int.from_bytes(page[3:5])
        cells = [int.from_bytes(page[12 + 2 * index : 14 + 2 * index]) for index in range(count)]
        todo += [int.from_bytes(page[cell : cell + 4]) for cell in cells] + [int.from_bytes(page[8:12])]
    return size, leaves


def damage_page(path: Path, number: int, size: int, at: int, junk: bytes) -> None:
    """Overwrite bytes of one page."""
    with path.open("r+b") as file:
        file.seek((number - 1) * size + at)
        file.write(junk)


def test_a_whole_store_is_whole(bench: Bench) -> None:
    """No fault, and the chain is told."""
    code, said = verify(bench)
    assert (code, "60 envelopes" in said) == (0, True), said


@pytest.mark.parametrize("index", ["sqlite_autoindex_envelopes_1", "sqlite_autoindex_envelopes_2"])
def test_a_damaged_index_is_noticed(bench: Bench, index: str) -> None:
    """An entry of an index is changed, the rows are whole: what is found through the index alone would hide it."""
    size, leaves = pages_of(bench.receiver.store, index)
    damage_page(bench.receiver.store, leaves[0], size, size - 40, b"\xaa" * 8)
    code, said = verify(bench)
    assert (code, "envelopes.db: the file is damaged: " in said) == (7, True), said


def test_an_index_that_hides_rows_is_noticed(bench: Bench) -> None:
    """Half the entries of an index page are taken out, as if they had never been: rows are found no more."""
    size, leaves = pages_of(bench.receiver.store, "sqlite_autoindex_envelopes_2")
    path, number = bench.receiver.store, leaves[0]
    count = int.from_bytes(path.read_bytes()[(number - 1) * size + 3 :][:2])
    assert count > 4
    damage_page(path, number, size, 3, (count // 2).to_bytes(2))
    code, said = verify(bench)
    assert (code, "envelopes.db: the file is damaged: " in said) == (7, True), said


def test_a_damaged_page_of_the_table_is_noticed(bench: Bench) -> None:
    """The head of a leaf page becomes nonsense."""
    size, leaves = pages_of(bench.receiver.store, "envelopes")
    damage_page(bench.receiver.store, leaves[1], size, 0, b"\xff" * 16)
    code, said = verify(bench)
    assert (code, "envelopes.db: the file is damaged: " in said) == (7, True), said


def test_a_damaged_list_of_free_pages_is_noticed(bench: Bench) -> None:
    """The next envelope would be written over pages that are in use."""
    with closing(sqlite3.connect(bench.receiver.store)) as connection:
        connection.execute("CREATE TABLE gone (body BLOB)")
        connection.executemany("INSERT INTO gone VALUES (?)", [(bytes(4000),)] * 20)
        connection.commit()
        connection.execute("DROP TABLE gone")
        connection.commit()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    trunk = int.from_bytes(bench.receiver.store.read_bytes()[32:36])
    assert trunk
    assert verify(bench)[0] == 0
    damage_page(bench.receiver.store, trunk, size, 8, (2).to_bytes(4))
    code, said = verify(bench)
    assert (code, "envelopes.db: the file is damaged: " in said) == (7, True), said


def test_a_check_that_was_not_finished_says_so(tmp_path: Path) -> None:
    """The time that it may take is over at once: that is no verdict, and no success."""
    path = tmp_path / "large.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE, c TEXT UNIQUE)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            "INSERT INTO t SELECT i, 'b' || i, 'c' || i FROM n"
        )
        connection.commit()
    assert not check_pages(path, within_s=0.0).is_complete
    whole = check_pages(path, within_s=None)
    assert (whole.is_complete, whole.damage) == (True, ())


def test_verify_fails_where_the_pages_were_not_checked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it says how to give it more time; the chains are told all the same."""
    from agent.cli.receiver import verify as command
    from agent.receiver.stores.integrity import PageCheck

    monkeypatch.setattr(command, "check_pages", lambda _, within_s: PageCheck((), within_s > 60))
    code, said = verify(bench, "--pages-within", "1m")
    assert (code, "not all checked within 60 s; give --pages-within more" in said, "60 envelopes" in said) == (
        7,
        True,
        True,
    ), said
    assert verify(bench, "--pages-within", "2m")[0] == 0


def test_a_copy_without_its_write_ahead_log_is_noticed(tmp_path: Path) -> None:
    """A receiver runs, its store's one file is copied: units are enrolled, and nothing is there."""
    made = make_bench(tmp_path)
    copy = tmp_path / "copy"
    with SqliteStore.open(made.receiver.store) as store:
        store.store_batch(make_chain(made.device.signing_key, 5), NOON, made.receipt_key)
        shutil.copytree(made.receiver.directory, copy, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
        assert verify(made)[0] == 0
    said = CliRunner().invoke(app, ["verify", str(copy)])
    assert said.exit_code == 1
    assert "1 device key is enrolled and nothing is stored" in str(said.exception)
    assert "plateseal receiver backup" in str(said.exception)


def test_records_that_know_more_of_the_log_than_the_store_are_noticed(bench: Bench) -> None:
    """A record was written when the log had 90 entries: 60 are left."""
    book = DeviceBook(bench.receiver.devices)
    (device,) = book.all()
    later = Event(EventKind.RENEWED, NOON, 90)
    book.save(replace(device, history=(*device.history, later)), bench.receipt_key)
    code, said = verify(bench)
    assert (code, "names entry 90 of the log, and the store ends at 60" in said) == (7, True), said


def test_removed_newest_entries_are_noticed(bench: Bench) -> None:
    """SQLite itself remembers the highest index that it gave."""
    with closing(sqlite3.connect(bench.receiver.store)) as connection:
        connection.execute("DELETE FROM receipts WHERE log > 55")
        connection.execute("DELETE FROM envelopes WHERE log > 55")
        connection.commit()
    code, said = verify(bench)
    assert (code, "the log had entries up to 60, and the store ends at 55" in said) == (7, True), said
