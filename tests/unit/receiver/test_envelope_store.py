"""The store: idempotence, chain rules, and what becomes of it when the disk or a person gets in the way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ReceiverError
from agent.receiver.stores import database
from agent.receiver.stores.sqlite import PAGE_ROWS, ChainConflict, EnvelopeStore, Forked, ReceiptLost
from agent.wire.envelope import Envelope
from agent.wire.header import DIGEST_BYTES, ChainPosition
from agent.wire.receipt import Receipt, parse_receipt
from tests.fakes.envelopes import first_position, make_chain, make_envelope, next_position
from tests.fakes.receipts import RECEIVER

_KEY = Ed25519PrivateKey.generate()
_AT = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EnvelopeStore]:
    """Return an empty store; its path is `tmp_path / "envelopes.db"`."""
    with EnvelopeStore.create(tmp_path / "envelopes.db") as made:
        yield made


def _store(
    store: EnvelopeStore, batch: list[Envelope], at: datetime
) -> list[Receipt | Forked | ChainConflict | ReceiptLost]:
    """Store a batch, and return what its receipts say."""
    outcomes = store.store_batch(batch, at, RECEIVER)
    return [parse_receipt(each) if isinstance(each, bytes) else each for each in outcomes]


def _reason(outcome: Receipt | Forked | ChainConflict | ReceiptLost) -> str:
    assert isinstance(outcome, ChainConflict)
    return outcome.reason


def test_empty_store_is_empty(store: EnvelopeStore) -> None:
    """A new store holds nothing, and an empty batch leaves it so."""
    assert _store(store, [], _AT) == []
    assert (store.count(), list(store.envelopes())) == (0, [])


def test_receipt_says_what_was_stored(store: EnvelopeStore) -> None:
    """The outcome of a new envelope is a receipt of exactly it, with the next log index."""
    envelope = make_envelope(_KEY)
    assert _store(store, [envelope], _AT) == [
        Receipt(
            envelope_id=envelope.envelope_id,
            length=len(envelope.data),
            device_kid=envelope.device_kid,
            chain=envelope.position.chain,
            seq=0,
            stored_at=_AT,
            log_index=1,
        )
    ]
    assert list(store.envelopes()) == [envelope.data]


def test_duplicates_get_the_first_row(store: EnvelopeStore) -> None:
    """The same envelope twice in a batch, and again later, is stored once and keeps time and log index."""
    envelope = make_envelope(_KEY)
    first, second = _store(store, [envelope, envelope], _AT)
    (third,) = _store(store, [envelope], _AT + timedelta(days=1))
    assert first == second == third
    assert store.count() == 1


def test_fork_is_refused(store: EnvelopeStore) -> None:
    """Another envelope at a place that is taken is refused, within a batch and later."""
    position = first_position()
    one, two, three = (make_envelope(_KEY, position) for _ in range(3))
    stored, refused = _store(store, [one, two], _AT)
    assert isinstance(stored, Receipt)
    assert "fork" in _reason(refused)
    assert "fork" in _reason(_store(store, [three], _AT)[0])
    assert list(store.envelopes()) == [one.data]


def test_prev_that_is_not_the_stored_one_is_refused(store: EnvelopeStore) -> None:
    """With seq n-1 in the store, seq n must name it."""
    first = make_envelope(_KEY)
    _store(store, [first], _AT)
    position = ChainPosition(chain=first.position.chain, seq=1, prev=os.urandom(DIGEST_BYTES))
    assert "prev" in _reason(_store(store, [make_envelope(_KEY, position)], _AT)[0])


def test_successor_that_names_another_is_refused(store: EnvelopeStore) -> None:
    """With seq n+1 in the store, seq n must be the one it names."""
    genuine, after = make_chain(_KEY, 2)
    other = make_envelope(_KEY, genuine.position)
    _store(store, [after], _AT)
    assert "names another" in _reason(_store(store, [other], _AT)[0])
    assert isinstance(_store(store, [genuine], _AT)[0], Receipt)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_a_chain_is_stored_in_any_order(store: EnvelopeStore, order: list[int]) -> None:
    """Gaps are allowed and fill later."""
    chain = make_chain(_KEY, 4)
    for index in order:
        assert isinstance(_store(store, [chain[index]], _AT)[0], Receipt)
    assert list(store.envelopes()) == [chain[index].data for index in order]


def test_refused_one_leaves_the_others_of_its_batch(store: EnvelopeStore) -> None:
    """A conflict in the middle of a batch takes nothing else with it."""
    one, two, three = make_chain(_KEY, 3)
    outcomes = _store(store, [one, make_envelope(_KEY, one.position), two, three], _AT)
    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, False, True, True]


def test_chains_and_devices_do_not_meet(store: EnvelopeStore) -> None:
    """The same chain id and place of another device, or another chain, is no fork."""
    other_key = Ed25519PrivateKey.generate()
    one = make_envelope(_KEY)
    batch = [one, make_envelope(other_key, one.position), make_envelope(_KEY)]
    assert all(isinstance(outcome, Receipt) for outcome in _store(store, batch, _AT))
    assert store.count() == len(batch)


def test_envelopes_pages_through_and_sees_what_comes_meanwhile(store: EnvelopeStore) -> None:
    """Iteration crosses pages in log order and goes on with what is stored while it runs."""
    chain = make_chain(_KEY, 2 * PAGE_ROWS + 2)
    _store(store, chain[:-1], _AT)
    rows = store.envelopes()
    seen = [next(rows)]
    _store(store, chain[-1:], _AT)
    assert seen + list(rows) == [envelope.data for envelope in chain]


def test_log_index_is_not_used_again(store: EnvelopeStore, tmp_path: Path) -> None:
    """A row that somebody deletes leaves a hole in the log; its index does not come back."""
    one, two = make_envelope(_KEY), make_envelope(_KEY)
    _store(store, [one], _AT)
    with sqlite3.connect(tmp_path / "envelopes.db") as connection:
        connection.execute("DELETE FROM envelopes")
    connection.close()
    (outcome,) = _store(store, [two], _AT)
    assert isinstance(outcome, Receipt)
    assert outcome.log_index == 2


def test_damaged_body_is_mended_by_the_envelope_that_comes_again(store: EnvelopeStore, tmp_path: Path) -> None:
    """The receipt of a duplicate is true even where the stored copy had been damaged."""
    envelope = make_envelope(_KEY)
    _store(store, [envelope], _AT)
    with sqlite3.connect(tmp_path / "envelopes.db") as connection:
        connection.execute("UPDATE envelopes SET body = zeroblob(length)")
    connection.close()
    _store(store, [envelope], _AT)
    assert list(store.envelopes()) == [envelope.data]


def test_read_only_store_reads_while_another_writes_and_cannot_write(store: EnvelopeStore, tmp_path: Path) -> None:
    """A second opening sees what is committed and refuses to write."""
    chain = make_chain(_KEY, 2)
    with EnvelopeStore.open_read_only(tmp_path / "envelopes.db") as reader:
        for envelope in chain:
            _store(store, [envelope], _AT)
            assert list(reader.envelopes())[-1] == envelope.data
        with pytest.raises(ReceiverError, match="readonly"):
            _store(reader, [make_envelope(_KEY)], _AT)
    assert store.count() == 2


def test_receipt_of_finds_by_id(store: EnvelopeStore) -> None:
    """A stored id gives its receipt, another gives None."""
    envelope = make_envelope(_KEY)
    (outcome,) = store.store_batch([envelope], _AT, RECEIVER)
    assert store.receipt_of(envelope.envelope_id) == outcome
    assert store.receipt_at(1) == outcome
    assert store.receipt_of("00" * 32) is None


def test_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    """A store that is not there (a disk that is not mounted) is not silently begun again."""
    for open_store in (EnvelopeStore.open, EnvelopeStore.open_read_only):
        with pytest.raises(ReceiverError, match="there is no store"):
            open_store(tmp_path / "envelopes.db")
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_not_overwritten(store: EnvelopeStore, tmp_path: Path) -> None:
    """Making a store where one is changes nothing."""
    _store(store, [make_envelope(_KEY)], _AT)
    with pytest.raises(ReceiverError, match="is there already"):
        EnvelopeStore.create(tmp_path / "envelopes.db")
    assert store.count() == 1


@pytest.mark.parametrize(
    ("content", "expected"), [(b"", "some other database"), (b"hello world" * 1000, "file is not a database")]
)
def test_other_file_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """An empty file or one of another kind is no store."""
    (tmp_path / "envelopes.db").write_bytes(content)
    with pytest.raises(ReceiverError, match=expected):
        EnvelopeStore.open(tmp_path / "envelopes.db")


def test_newer_schema_is_refused(store: EnvelopeStore, tmp_path: Path) -> None:
    """A store of a later schema version is left alone."""
    store.close()
    with sqlite3.connect(tmp_path / "envelopes.db") as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(ReceiverError, match="schema version 3"):
        EnvelopeStore.open(tmp_path / "envelopes.db")


def test_full_disk_stores_nothing_of_the_batch_and_recovers(store: EnvelopeStore) -> None:
    """When the database cannot grow, the whole batch is refused; with room again, the same batch is stored."""
    batch = [make_envelope(_KEY, body=bytes(50_000)) for _ in range(5)]
    connection = store._connection
    assert connection is not None
    connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(ReceiverError, match="full"):
        _store(store, batch, _AT)
    assert store.count() == 0
    assert all(isinstance(outcome, Receipt) for outcome in _store(store, batch, _AT))


def test_locked_store_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer that does not let go gives an error, nothing is stored, and later it works."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    path = tmp_path / "envelopes.db"
    with EnvelopeStore.create(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ReceiverError, match="locked"):
                _store(store, [make_envelope(_KEY)], _AT)
            other.execute("ROLLBACK")
        assert isinstance(_store(store, [make_envelope(_KEY)], _AT)[0], Receipt)


def test_corrupt_pages_are_an_error_of_ours(store: EnvelopeStore, tmp_path: Path) -> None:
    """Garbage over the table's pages gives an error, not a receipt."""
    chain = make_chain(_KEY, 30)
    _store(store, chain, _AT)
    store.close()
    path = tmp_path / "envelopes.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(ReceiverError), EnvelopeStore.open(path) as damaged:
        _store(damaged, [*chain, make_envelope(_KEY)], _AT)


def test_store_survives_an_unclean_end(store: EnvelopeStore, tmp_path: Path) -> None:
    """A copy of the files taken without closing (as a crash leaves them) holds everything that was answered."""
    chain = make_chain(_KEY, 3)
    _store(store, chain, _AT)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("envelopes.db", "envelopes.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    with EnvelopeStore.open_read_only(crashed / "envelopes.db") as after:
        assert list(after.envelopes()) == [envelope.data for envelope in chain]


def test_writes_are_synced_in_full(store: EnvelopeStore) -> None:
    """The settings that durability rests on are in force on the writing connection."""
    connection = store._connection
    assert connection is not None
    values = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert values == {"journal_mode": "wal", "synchronous": 2}


def test_next_position_links_to_its_envelope() -> None:
    """The tests' own chains are linked the way the store checks."""
    envelope: Envelope = make_envelope(_KEY)
    assert next_position(envelope).prev == envelope.digest
