"""The store of one machine: what becomes of it when the disk or a person gets in the way.

What every engine promises is in `tests/contract/test_envelope_store.py`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ReceiverError
from agent.receiver.ports import ChainConflict, Forked, ReceiptLost
from agent.receiver.stores import database, schema
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.filing import NEW_FILES_A_DAY, Filing
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope, sign_tombstone
from agent.wire.receipt import Receipt, parse_receipt
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.envelopes import EPOCH, make_chain, make_envelope, next_position
from tests.fakes.receipts import RECEIVER
from tests.fakes.stored import alter_body, bodies, kept_receipt, to_older_version

_KEY = Ed25519PrivateKey.generate()
_AT = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return an empty store; its path is `tmp_path / "envelopes.db"`."""
    with SqliteStore.create(tmp_path / "envelopes.db") as made:
        yield made


def _store(
    store: SqliteStore, batch: list[Envelope], at: datetime
) -> list[Receipt | Forked | ChainConflict | ReceiptLost]:
    """Store a batch, and return what its receipts say."""
    outcomes = store.store_batch(batch, at, RECEIVER)
    return [parse_receipt(each) if isinstance(each, bytes) else each for each in outcomes]


def test_log_index_is_not_used_again(store: SqliteStore, tmp_path: Path) -> None:
    """A row that somebody deletes leaves a hole in the log; its index does not come back."""
    one, two = make_envelope(_KEY), make_envelope(_KEY)
    _store(store, [one], _AT)
    with sqlite3.connect(tmp_path / "envelopes.db") as connection:
        connection.execute("DELETE FROM envelopes")
    connection.close()
    (outcome,) = _store(store, [two], _AT)
    assert isinstance(outcome, Receipt)
    assert outcome.log_index == 2


def test_damaged_body_is_mended_by_the_envelope_that_comes_again(store: SqliteStore, tmp_path: Path) -> None:
    """The receipt of a duplicate is true even where the stored copy had been damaged."""
    envelope = make_envelope(_KEY)
    _store(store, [envelope], _AT)
    alter_body(tmp_path / "envelopes.db", bytes(9))
    assert bodies(store) != [envelope.data]
    _store(store, [envelope], _AT)
    assert bodies(store) == [envelope.data]


def test_read_only_store_reads_while_another_writes_and_cannot_write(store: SqliteStore, tmp_path: Path) -> None:
    """A second opening sees what is committed and refuses to write."""
    chain = make_chain(_KEY, 2)
    with SqliteStore.open_read_only(tmp_path / "envelopes.db") as reader:
        for envelope in chain:
            _store(store, [envelope], _AT)
            assert bodies(reader)[-1] == envelope.data
        with pytest.raises(ReceiverError, match="readonly"):
            _store(reader, [make_envelope(_KEY)], _AT)
    assert store.totals().envelopes == 2


def test_receipt_of_finds_by_id(store: SqliteStore) -> None:
    """A stored id gives its receipt, another gives None."""
    envelope = make_envelope(_KEY)
    (outcome,) = store.store_batch([envelope], _AT, RECEIVER)
    assert kept_receipt(store, envelope.envelope_id) == outcome
    assert store.receipt_at(1) == outcome
    assert kept_receipt(store, "00" * 32) is None


def test_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    """A store that is not there (a disk that is not mounted) is not silently begun again."""
    for open_store in (SqliteStore.open, SqliteStore.open_read_only):
        with pytest.raises(ReceiverError, match="there is no store"):
            open_store(tmp_path / "envelopes.db")
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_not_overwritten(store: SqliteStore, tmp_path: Path) -> None:
    """Making a store where one is changes nothing."""
    _store(store, [make_envelope(_KEY)], _AT)
    with pytest.raises(ReceiverError, match="is there already"):
        SqliteStore.create(tmp_path / "envelopes.db")
    assert store.totals().envelopes == 1


@pytest.mark.parametrize(
    ("content", "expected"), [(b"", "some other database"), (b"hello world" * 1000, "file is not a database")]
)
def test_other_file_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """An empty file or one of another kind is no store."""
    (tmp_path / "envelopes.db").write_bytes(content)
    with pytest.raises(ReceiverError, match=expected):
        SqliteStore.open(tmp_path / "envelopes.db")


def test_newer_schema_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    """A store of a later schema version is left alone."""
    store.close()
    with sqlite3.connect(tmp_path / "envelopes.db") as connection:
        connection.execute("PRAGMA user_version = 4")
    connection.close()
    with pytest.raises(ReceiverError, match="schema version 4"):
        SqliteStore.open(tmp_path / "envelopes.db")


def test_full_disk_stores_nothing_of_the_batch_and_recovers(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database or a body file cannot grow, the whole batch is refused; with room again, it is stored."""
    batch = make_chain(_KEY, 40)
    connection = store._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ReceiverError, match="full"):
        _store(store, batch, _AT)
    assert store.totals().envelopes == 0
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _no_room)
        with pytest.raises(ReceiverError, match="No space left"):
            _store(store, batch, _AT)
    assert store.totals().envelopes == 0
    assert all(isinstance(outcome, Receipt) for outcome in _store(store, batch, _AT))
    assert bodies(store) == [envelope.data for envelope in batch]


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["bytes", "rows", "commit"])
def test_what_is_cut_off_before_its_commit_is_not_there(store: SqliteStore, tmp_path: Path, step: str) -> None:
    """Bytes that were written for a transaction that never ended are nobody's: the next ones are written over them."""
    first, lost, second = (make_chain(_KEY, 3) for _ in range(3))
    _store(store, first, _AT)
    with closing(sqlite3.connect(tmp_path / "envelopes.db", isolation_level=None)) as cut_off:
        schema.check_version(cut_off, may_write=True)
        cut_off.execute("BEGIN IMMEDIATE")
        filing = Filing(cut_off, BodyFiles(tmp_path / "envelopes.db"), 0)
        for envelope in lost:
            filing.add(envelope)
        if step != "bytes":
            filing.flush()
        if step == "commit":
            cut_off.execute("DELETE FROM envelopes")
    _store(store, second, _AT)
    assert bodies(store) == [envelope.data for envelope in (*first, *second)]
    assert store.faults() == []


def test_a_body_file_that_is_gone_is_told_and_comes_back_with_its_envelopes(store: SqliteStore, tmp_path: Path) -> None:
    """Nothing is read where it was; a unit that sends again brings it back, and gets the receipt that it had."""
    chain = make_chain(_KEY, 3)
    receipts = _store(store, chain, _AT)
    (file,) = (tmp_path / "bodies").iterdir()
    file.unlink()
    assert bodies(store) == [b"", b"", b""]
    assert store.faults() == [f"{file}: is missing"]
    assert _store(store, chain, _AT) == receipts
    assert (bodies(store), store.faults()) == ([envelope.data for envelope in chain], [])


def test_envelopes_are_filed_by_the_keys_that_they_are_sealed_to(store: SqliteStore, tmp_path: Path) -> None:
    """A file for each epoch, one for each combination of keys, in whichever order, and one for tombstones."""
    one, other = (bytes([number]) * 32 for number in (1, 2))
    chain = make_chain(_KEY, 2, kids=[one])
    at = datetime(2026, 3, 1, tzinfo=UTC)
    tombstone = sign_tombstone(Tombstone(LossReason.OVERFLOW, 1, at, at), _KEY, next_position(chain[-1]))
    both = [make_envelope(_KEY, kids=kids) for kids in ([one, other], [other, one])]
    _store(store, [*chain, tombstone, *both], _AT)
    lengths = {path.name: path.stat().st_size for path in (tmp_path / "bodies").iterdir()}
    assert lengths == {
        one.hex(): sum(len(envelope.data) for envelope in chain),
        "tombstones": len(tombstone.data),
        hashlib.sha256(one + other).hexdigest(): sum(len(envelope.data) for envelope in both),
    }


def test_one_unit_cannot_fill_the_folder_with_files(store: SqliteStore, tmp_path: Path) -> None:
    """Beyond so many new keys a day, its envelopes share a file; another unit has its own, and it has the next day."""
    batch = [make_envelope(_KEY, kids=[os.urandom(32)]) for _ in range(NEW_FILES_A_DAY + 3)]
    _store(store, batch, _AT)
    names = {path.name for path in (tmp_path / "bodies").iterdir()}
    assert len(names) == NEW_FILES_A_DAY + 1
    assert "various" in names
    later, others = (make_envelope(key, kids=[os.urandom(32)]) for key in (_KEY, Ed25519PrivateKey.generate()))
    _store(store, [others], _AT)
    _store(store, [later], _AT + timedelta(days=2))
    new = {path.name for path in (tmp_path / "bodies").iterdir()} - names
    assert new == {others.kids[0].hex(), later.kids[0].hex()}
    assert bodies(store) == [each.data for each in (*batch, others, later)]


def test_locked_store_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer that does not let go gives an error, nothing is stored, and later it works."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    path = tmp_path / "envelopes.db"
    with SqliteStore.create(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ReceiverError, match="locked"):
                _store(store, [make_envelope(_KEY)], _AT)
            other.execute("ROLLBACK")
        assert isinstance(_store(store, [make_envelope(_KEY)], _AT)[0], Receipt)


def test_corrupt_pages_are_an_error_of_ours(store: SqliteStore, tmp_path: Path) -> None:
    """Garbage over the table's pages gives an error, not a receipt."""
    chain = make_chain(_KEY, 30)
    _store(store, chain, _AT)
    store.close()
    path = tmp_path / "envelopes.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(ReceiverError), SqliteStore.open(path) as damaged:
        _store(damaged, [*chain, make_envelope(_KEY)], _AT)


def test_store_survives_an_unclean_end(store: SqliteStore, tmp_path: Path) -> None:
    """A copy of the files taken without closing (as a crash leaves them) holds everything that was answered."""
    chain = make_chain(_KEY, 3)
    _store(store, chain, _AT)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("envelopes.db", "envelopes.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    shutil.copytree(tmp_path / "bodies", crashed / "bodies")
    with SqliteStore.open_read_only(crashed / "envelopes.db") as after:
        assert bodies(after) == [envelope.data for envelope in chain]


def test_writes_are_synced_in_full(store: SqliteStore) -> None:
    """The settings that durability rests on are in force on the writing connection."""
    connection = store._connection
    assert connection is not None
    values = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert values == {"journal_mode": "wal", "synchronous": 2}


def test_next_position_links_to_its_envelope() -> None:
    """The tests' own chains are linked the way the store checks."""
    envelope: Envelope = make_envelope(_KEY)
    assert next_position(envelope).prev == envelope.digest


def test_a_dropped_epochs_file_is_gone_also_after_a_cut(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room comes back; where a cut came between the mark and the unlink, the next opening unlinks."""
    _store(store, make_chain(_KEY, 3), _AT)
    with monkeypatch.context() as cut:
        cut.setattr(BodyFiles, "remove", _broken)
        with pytest.raises(ReceiverError, match="Input/output"):
            store.drop_epochs([EPOCH], _AT)
    assert [path.name for path in (tmp_path / "bodies").iterdir()] == [EPOCH.hex()]
    assert bodies(store) == []
    store.close()
    with SqliteStore.open(tmp_path / "envelopes.db") as opened:
        assert (bodies(opened), opened.faults()) == ([], [])
    assert list((tmp_path / "bodies").iterdir()) == []


def _broken(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_nothing_is_dropped_where_a_held_read_is_damaged(store: SqliteStore, tmp_path: Path) -> None:
    """The file may be all that is left of it."""
    chain = make_chain(_KEY, 3)
    _store(store, chain, _AT)
    alter_body(tmp_path / "envelopes.db", bytes(9), where="seq = 1")
    with pytest.raises(ReceiverError, match="is damaged in the store; nothing was dropped"):
        store.drop_epochs([EPOCH], _AT, held=[chain[1].digest])
    assert [epoch.dropped_at for epoch in store.epochs()] == [None]
    assert len(bodies(store)) == 3
    store.drop_epochs([EPOCH], _AT, held=[chain[0].digest])
    assert bodies(store) == [chain[0].data]


def test_an_older_store_is_taken_over_before_anything_is_dropped(store: SqliteStore, tmp_path: Path) -> None:
    """Its envelopes are filed by no key yet."""
    chain = [*make_chain(_KEY, 2), make_envelope(_KEY, kids=[bytes(32)])]
    _store(store, chain, _AT)
    store.close()
    to_older_version(tmp_path / "envelopes.db", 2)
    with SqliteStore.open(tmp_path / "envelopes.db") as opened:
        assert [epoch.reads for epoch in opened.drop_epochs([EPOCH], _AT).epochs] == [2]
        assert bodies(opened) == [chain[2].data]


def test_what_is_set_aside_while_it_is_read_is_still_read(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between rows and bytes the epoch is dropped: held reads are read where they went, others are gone."""
    chain = make_chain(_KEY, 3)
    _store(store, chain, _AT)
    read = BodyFiles.read
    with SqliteStore.open_read_only(tmp_path / "envelopes.db") as reader:

        def drop_first(files: BodyFiles, name: str, offset: int, length: int) -> bytes:
            monkeypatch.setattr(BodyFiles, "read", read)
            store.drop_epochs([EPOCH], _AT, held=[chain[1].digest])
            return read(files, name, offset, length)

        monkeypatch.setattr(BodyFiles, "read", drop_first)
        assert [row.body for row in reader.pages()] == [None, chain[1].data, None]


def test_a_dropped_key_needs_no_file_of_its_own(store: SqliteStore, tmp_path: Path) -> None:
    """A unit that has begun all the files of its day cannot have a read kept whose key is dropped."""
    _store(store, [make_envelope(_KEY, kids=[os.urandom(32)]) for _ in range(NEW_FILES_A_DAY)], _AT)
    store.drop_epochs([EPOCH], _AT)
    (receipt,) = _store(store, [make_envelope(_KEY)], _AT)
    assert isinstance(receipt, Receipt)
    assert len(bodies(store)) == NEW_FILES_A_DAY
    assert not (tmp_path / "bodies" / "various").exists()
