"""The first receipt of each envelope is kept, chained and never made again; older stores go on without loss."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ReceiverError
from agent.receiver.ports import ReceiptLost
from agent.receiver.stores.sqlite import SqliteStore
from agent.receiver.stores.taking_over import ROWS_A_STEP
from agent.wire import cbor
from agent.wire.envelope import Envelope
from agent.wire.header import ZERO_DIGEST
from agent.wire.receipt import Receipt, parse_receipt, sign_receipt, verify_receipt
from tests.fakes.envelopes import make_chain
from tests.fakes.receipts import PINNED, RECEIVER
from tests.fakes.stored import bodies, kept_receipt, to_older_version

_KEY, _OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
_AT = datetime(2026, 3, 1, tzinfo=UTC)
_LATER = _AT + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return an empty store at `tmp_path / "envelopes.db"`."""
    with SqliteStore.create(tmp_path / "envelopes.db") as made:
        yield made


def stored(store: SqliteStore, batch: list[Envelope], at: datetime = _AT) -> list[bytes]:
    """Store a batch and return its receipts."""
    receipts = store.store_batch(batch, at, RECEIVER)
    assert receipts
    return [each for each in receipts if isinstance(each, bytes)]


def edit(tmp_path: Path, *statements: str) -> None:
    """Change the database behind the receiver's back."""
    with closing(sqlite3.connect(tmp_path / "envelopes.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def to_version_1(tmp_path: Path) -> None:
    """Turn a store into one of the first plateseal."""
    to_older_version(tmp_path / "envelopes.db", 1)


def test_envelopes_get_receipts_of_their_version(store: SqliteStore) -> None:
    """A unit that knows version 1 only gets what it knows."""
    old, new = make_chain(_KEY, 1)[0], make_chain(_KEY, 1, run=0)[0]
    receipts = stored(store, [old, new])
    assert [
        verify_receipt(data, each, PINNED).receipt.version for data, each in zip(receipts, [old, new], strict=True)
    ] == [1, 2]


def test_receipts_of_a_device_key_are_a_chain(store: SqliteStore) -> None:
    """Each names the one before it for the same key, over batches; the first names none."""
    ours, theirs = make_chain(_KEY, 3, run=0), make_chain(_OTHER, 2, run=0)
    first = stored(store, [ours[0], theirs[0], *make_chain(_KEY, 1)])
    second = stored(store, [theirs[1], ours[2], ours[1]])
    said = [parse_receipt(data).prev for data in (*first, *second)]
    digest = cbor.sha256
    assert said == [ZERO_DIGEST, ZERO_DIGEST, None, digest(first[1]), digest(first[0]), digest(second[1])]


def test_an_edited_row_changes_no_receipt(store: SqliteStore, tmp_path: Path) -> None:
    """The receipt is not made again from the row: the commit before signed 2023 for a read of 2026."""
    for envelope in (make_chain(_KEY, 1)[0], make_chain(_OTHER, 1, run=0)[0]):
        (first,) = stored(store, [envelope])
        edit(tmp_path, "UPDATE envelopes SET stored_at_ms = 1672531200000, log = log + 1000")
        assert stored(store, [envelope], _LATER) == [first]
        assert kept_receipt(store, envelope.envelope_id) == first


def test_no_second_receipt_is_signed_where_the_first_is_gone(store: SqliteStore, tmp_path: Path) -> None:
    """A unit may have bound the first one, and then a second one would contradict the receiver's own signature."""
    envelope = make_chain(_KEY, 1, run=0)[0]
    stored(store, [envelope])
    edit(tmp_path, "DELETE FROM receipts")
    (outcome,) = store.store_batch([envelope], _AT, RECEIVER)
    assert isinstance(outcome, ReceiptLost)
    assert envelope.envelope_id[:16] in outcome.reason


def test_times_of_the_log_never_go_back(store: SqliteStore) -> None:
    """A receiver's clock that is set back gives the time of the entry before."""
    chain = make_chain(_KEY, 3, run=0)
    times = [
        parse_receipt(stored(store, [each], at)[0]).stored_at
        for each, at in zip(chain, [_LATER, _AT, _LATER + timedelta(1)], strict=True)
    ]
    assert times == [_LATER, _LATER, _LATER + timedelta(1)]
    assert [entry.log for entry in store.log()] == [1, 2, 3]


def test_a_store_of_version_1_goes_on(store: SqliteStore, tmp_path: Path) -> None:
    """What is in it keeps its receipts, which are kept from the time they are asked for; new ones are kept at once."""
    old, new = make_chain(_KEY, 2), make_chain(_KEY, 1, run=0)
    before = stored(store, old)
    store.close()
    to_version_1(tmp_path)
    with SqliteStore.open(tmp_path / "envelopes.db") as opened:
        assert [kept_receipt(opened, each.envelope_id) for each in old] == [None, None]
        assert stored(opened, [old[1], *new, old[1]], _LATER)[::2] == [before[1], before[1]]
        kept = [kept_receipt(opened, each.envelope_id) is not None for each in (*old, *new)]
        assert kept == [False, True, True]
        assert parse_receipt(kept_receipt(opened, new[0].envelope_id) or b"").prev == ZERO_DIGEST
        assert [row.receipt is not None for row in opened.chain_rows()].count(True) == 2


def test_a_store_of_version_1_can_be_read_as_it_is(store: SqliteStore, tmp_path: Path) -> None:
    """A copy that may not be written is read, and stays the bytes it was."""
    (envelope,) = make_chain(_KEY, 1)
    stored(store, [envelope])
    store.close()
    to_version_1(tmp_path)
    path = tmp_path / "envelopes.db"
    before = path.read_bytes()
    with SqliteStore.open_read_only(path) as reader:
        assert bodies(reader) == [envelope.data]
        assert [row.receipt for row in reader.chain_rows()] == [None]
        assert [entry.receipt for entry in reader.log()] == [None]
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_old_store(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever statement; the next start brings it up to date."""
    (envelope,) = make_chain(_KEY, 1)
    (receipt,) = stored(store, [envelope])
    store.close()
    to_version_1(tmp_path)
    real = sqlite3.connect
    for part in ("CREATE", "CREATE INDEX", "PRAGMA user_version =", "COMMIT"):
        monkeypatch.setattr(sqlite3, "connect", _failing_at(part, real))
        with pytest.raises(ReceiverError, match="disk I/O error"):
            SqliteStore.open(tmp_path / "envelopes.db")
        monkeypatch.undo()
        with closing(sqlite3.connect(tmp_path / "envelopes.db")) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (1,)
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            assert {name for (name,) in tables} == {"envelopes", "sqlite_sequence"}
    with SqliteStore.open(tmp_path / "envelopes.db") as opened:
        assert stored(opened, [envelope], _LATER) == [receipt]


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_store_is_taken_over(store: SqliteStore, tmp_path: Path, version: int) -> None:
    """Its envelopes go to body files and its receipts stay the bytes they were; read meanwhile, and afterwards."""
    chain = make_chain(_KEY, 2 * ROWS_A_STEP + 5, run=0, body=bytes(20_000))
    receipts = stored(store, chain)
    store.close()
    path, expected = tmp_path / "envelopes.db", [envelope.data for envelope in chain]
    to_older_version(path, version)
    left: list[int] = []

    def look() -> bool:
        with SqliteStore.open_read_only(path) as reader:
            assert bodies(reader) == expected
            left.append(len(chain) - sum(epoch.reads for epoch in reader.epochs()))
        return True

    with SqliteStore.open(path) as opened:
        assert (bodies(opened), opened.faults()) == (expected, [])
        assert opened.take_over(may_go_on=look) > 0
        assert left == [len(chain), ROWS_A_STEP + 5, 5, *[0] * version]
        assert opened.take_over(may_go_on=look) == 0
        assert (bodies(opened), opened.faults()) == (expected, [])
        if version > 1:
            assert stored(opened, chain, _LATER) == receipts
            (more,) = stored(opened, make_chain(_KEY, 1, run=1, before=chain[-1]), _LATER)
            assert parse_receipt(more).prev == hashlib.sha256(receipts[-1]).digest()
    assert path.stat().st_size < sum(map(len, expected)) / 4


@pytest.mark.parametrize("cut_off_at", [1, 2, 3, 4])
def test_a_store_whose_taking_over_was_cut_off_goes_on(store: SqliteStore, tmp_path: Path, cut_off_at: int) -> None:
    """At any step: what was moved is in files, the rest in the database, and the next start moves it."""
    chain = make_chain(_KEY, 2 * ROWS_A_STEP + 5, run=0)
    receipts = stored(store, chain)
    store.close()
    path, expected = tmp_path / "envelopes.db", [envelope.data for envelope in chain]
    to_older_version(path, 2)
    steps = iter([True] * cut_off_at)
    with SqliteStore.open(path) as opened:
        assert opened.take_over(may_go_on=lambda: next(steps, False)) > 0
    with SqliteStore.open(path) as opened:
        assert bodies(opened) == expected
        opened.take_over()
        assert (bodies(opened), opened.faults()) == (expected, [])
        assert [kept_receipt(opened, envelope.envelope_id) for envelope in chain] == receipts


def test_two_processes_take_a_store_over_once(store: SqliteStore, tmp_path: Path) -> None:
    """A receiver that starts and a command beside it: each envelope is moved by one of them."""
    chain = make_chain(_KEY, 2 * ROWS_A_STEP + 5, run=0)
    stored(store, chain)
    store.close()
    path = tmp_path / "envelopes.db"
    to_older_version(path, 2)
    moved_by_other: list[int] = []
    with SqliteStore.open(path) as one, SqliteStore.open(path) as other:

        def other_too() -> bool:
            moved_by_other.append(other.take_over())
            return True

        moved = one.take_over(may_go_on=other_too)
        assert bodies(one) == [envelope.data for envelope in chain]
        assert [(epoch.reads, epoch.length) for epoch in one.epochs()] == [(len(chain), sum(map(len, bodies(one))))]
    assert moved + sum(moved_by_other) == 2 * len(chain)


def _failing_at(part: str, real: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    class Failing(sqlite3.Connection):
        """A connection whose disk fails at one statement."""

        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            if sql.strip().startswith(part):
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, parameters)  # type: ignore[arg-type]

    return lambda *arguments, **options: real(*arguments, **options, factory=Failing)


def test_a_receipt_of_version_1_is_what_the_plateseal_before_signed(store: SqliteStore) -> None:
    """Byte for byte, from the same row: a unit that asks twice over the upgrade sees one receipt."""
    (envelope,) = make_chain(_KEY, 1)
    position = envelope.position
    receipt = Receipt(
        envelope.envelope_id, len(envelope.data), envelope.device_kid, position.chain, position.seq, _AT, 1
    )
    assert stored(store, [envelope]) == [sign_receipt(receipt, RECEIVER)]
