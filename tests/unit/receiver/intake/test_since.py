"""A verification that goes on where the last one ended finds what a full one finds, in what is new.

The stores are small, of several units' chains with gaps, tombstones, restarts and drops, and are damaged at random.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import FormatError, VerificationError
from agent.keys.keyfiles import public_pem
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.revoke import revoke
from agent.receiver.intake.memory import Memory, open_memory, sign_memory
from agent.receiver.intake.since import Verified, verify_since
from agent.receiver.intake.verification import ChainReport, verify_store
from agent.receiver.ports import StoredRow
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope, sign_tombstone
from agent.wire.header import ChainPosition
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import EPOCH, make_chain, make_envelope, next_position
from tests.fakes.pki import make_bench
from tests.fakes.reads import NOON
from tests.fakes.receipts import honest_receipt
from tests.fakes.stored import alter_body

AT = datetime(2026, 3, 1, tzinfo=UTC)
VERIFIER = Ed25519PrivateKey.generate()
OTHER_EPOCH = bytes(32)


class Shelf:
    """A receiver's folder whose unit goes on delivering."""

    def __init__(self, root: Path) -> None:
        self.bench = make_bench(root)
        self.key = self.bench.device.signing_key
        self.hours = 0
        self.run = 0
        self.last: Envelope | None = None

    @property
    def path(self) -> Path:
        """The store's file."""
        return self.bench.receiver.store

    def store(self, *envelopes: Envelope) -> None:
        """Store envelopes, some hours after those before."""
        self.hours += 9
        with SqliteStore.open(self.path) as store:
            store.store_batch(envelopes, AT + timedelta(hours=self.hours), self.bench.receipt_key)

    def deliver(self, count: int, *, kid: bytes = EPOCH) -> list[Envelope]:
        """Begin the unit's next chain, store it, and return it."""
        chain = make_chain(self.key, count, run=self.run, before=self.last, kids=[kid])
        self.run += 1
        self.last = chain[-1]
        self.store(*chain)
        return chain

    def go_on(self, count: int) -> list[Envelope]:
        """Store more of the newest chain."""
        more = []
        for _ in range(count):
            assert self.last is not None
            self.last = make_envelope(self.key, next_position(self.last))
            more.append(self.last)
        self.store(*more)
        return more

    def lose(self, count: int) -> None:
        """Let reads of the newest chain be forced out, and store the tombstone that says so."""
        lost: list[Envelope] = []
        for _ in range(count):
            assert self.last is not None
            self.last = make_envelope(self.key, next_position(self.last))
            lost.append(self.last)
        gone = Gone(lost[0].position.chain, lost[0].position.seq, lost[-1].position.seq, lost[-1].digest)
        tombstone = Tombstone(LossReason.EVICTED, count, NOON, NOON, (gone,))
        self.last = sign_tombstone(tombstone, self.key, next_position(lost[-1]))
        self.store(self.last)

    def drop(self, kid: bytes) -> None:
        """Drop an epoch."""
        with SqliteStore.open(self.path) as store:
            store.drop_epochs([kid], AT)

    def edit(self, statement: str, values: tuple[object, ...] = ()) -> None:
        """Change the database."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def full(self) -> list[ChainReport]:
        """Verify everything, as without a memory."""
        with SqliteStore.open_read_only(self.path) as store:
            return verify_store(store, DeviceBook(self.bench.receiver.devices))

    def since(self, memory: Memory | None, *, sample: int = 0) -> Verified:
        """Verify what is new."""
        with SqliteStore.open_read_only(self.path) as store:
            return verify_since(store, DeviceBook(self.bench.receiver.devices), memory, sample=sample)

    def remember(self) -> Memory:
        """Verify everything, and return what may be remembered, as it comes back from a file."""
        memory = self.since(None).memory
        assert memory is not None
        again = open_memory(sign_memory(memory, VERIFIER), VERIFIER.public_key())
        assert again == memory
        return again


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Return one with chains, a gap that is explained, and a drop."""
    shelf = Shelf(tmp_path)
    shelf.store(*make_chain(shelf.key, 3))
    shelf.deliver(4, kid=OTHER_EPOCH)
    shelf.deliver(4)
    shelf.lose(3)
    shelf.go_on(2)
    shelf.drop(OTHER_EPOCH)
    return shelf


def test_nothing_new_gives_the_same_reports(shelf: Shelf) -> None:
    """Counts by day, losses, receipts, dropped reads: from what is remembered as from all envelopes."""
    first = shelf.since(None)
    assert first.reports == shelf.full()
    assert all(report.is_continuous for report in first.reports)
    second = shelf.since(shelf.remember())
    assert second.reports == first.reports
    assert (second.new, second.whole, second.after) == (0, 0, 14)
    assert second.memory == first.memory


def test_what_is_new_is_checked_and_remembered(shelf: Shelf) -> None:
    """A chain that goes on, a new one, another loss, and a drop of what was known: the reports are a full one's."""
    memory = shelf.remember()
    shelf.go_on(2)
    shelf.lose(2)
    shelf.go_on(1)
    shelf.deliver(3)
    shelf.drop(EPOCH)
    second = shelf.since(memory)
    assert second.reports == shelf.full()
    assert all(report.is_continuous for report in second.reports)
    assert second.memory == shelf.since(None).memory
    assert second.whole == 1, "the chain of version 1, which says less once it is dropped"


def test_a_gap_that_is_filled_later_is_no_finding_any_more(shelf: Shelf) -> None:
    """A chain with a finding is checked whole each time until it has none."""
    late = make_chain(shelf.key, 4, run=shelf.run, before=shelf.last)
    shelf.store(late[0], late[3])
    memory = shelf.remember()
    again = shelf.since(memory)
    assert [each.kind for report in again.reports for each in report.findings] == ["missing"]
    assert again.whole == 1
    shelf.store(late[1], late[2])
    assert again.memory is not None
    third = shelf.since(again.memory)
    assert third.reports == shelf.full()
    assert all(report.is_continuous for report in third.reports)


def test_a_key_that_was_revoked_since_is_judged_as_in_a_full_one(shelf: Shelf) -> None:
    """Back to an entry that was verified before the end of the key was known."""
    memory = shelf.remember()
    revoke(shelf.bench.receiver.directory, "cam-1", at=9, reason="stolen")
    again = shelf.since(memory)
    assert again.reports == shelf.full()
    assert "revoked" in {each.kind for report in again.reports for each in report.findings}


def test_a_known_device_that_is_gone_is_told(shelf: Shelf) -> None:
    """Its record says who signs with the key."""
    memory = shelf.remember()
    for record in shelf.bench.receiver.devices.iterdir():
        record.unlink()
    again = shelf.since(memory)
    assert again.reports == shelf.full()
    assert "forged" in {each.kind for report in again.reports for each in report.findings}


def test_other_receipt_keys_make_it_a_full_one(shelf: Shelf) -> None:
    """What was signed with a key that is not there any more does not hold."""
    memory = shelf.remember()
    public = public_pem(Ed25519PrivateKey.generate().public_key())
    shelf.bench.receiver.receipt_public.write_bytes(public)
    again = shelf.since(memory)
    assert (again.after, again.reports) == (0, shelf.full())
    assert "receipt" in {each.kind for report in again.reports for each in report.findings}


def test_an_altered_envelope_is_found_by_the_sample(shelf: Shelf) -> None:
    """Read again, it is not what its id says; without the sample nobody looks. Its chain is then checked whole."""
    memory = shelf.remember()
    alter_body(shelf.path, bytes(40), where="log = 9")
    assert all(report.is_continuous for report in shelf.since(memory).reports)
    again = shelf.since(memory, sample=100)
    assert again.sampled == 10, "four of fourteen were dropped"
    assert again.reports == shelf.full()
    assert "altered" in {each.kind for report in again.reports for each in report.findings}


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM envelopes WHERE log > 10", "the store ends at 10"),
        ("DELETE FROM envelopes WHERE log = 5", "not those that were verified"),
        ("DELETE FROM envelopes WHERE log = 1", "another store"),
        ("DELETE FROM receipts WHERE log = 5", "not those that were verified"),
        ("UPDATE receipts SET receipt = zeroblob(300) WHERE log = 5", "not those that were verified"),
        ("UPDATE receipts SET log = 999 WHERE log = 5", "not those that were verified"),
        ("UPDATE envelopes SET stored_at_ms = stored_at_ms + 1 WHERE log = 5", "not those that were verified"),
        ("UPDATE envelopes SET seq = 77 WHERE log = 5", "not those that were verified"),
        ("UPDATE envelopes SET id = zeroblob(32) WHERE log = 5", "not those that were verified"),
        ("UPDATE envelopes SET log = 999 WHERE log = 5", "not those that were verified"),
        ("INSERT INTO receipts VALUES (0, zeroblob(32), 2, zeroblob(300))", "not those that were verified"),
    ],
)
def test_what_was_verified_must_be_as_it_was(shelf: Shelf, statement: str, words: str) -> None:
    """Entries and receipts that were removed, changed, moved or added among the known ones: refused."""
    memory = shelf.remember()
    shelf.deliver(2)
    shelf.edit(statement)
    if "log > 10" in statement:
        shelf.edit("DELETE FROM receipts WHERE log > 10")
    with pytest.raises(VerificationError, match=words):
        shelf.since(memory)


def test_another_store_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    """One that is as long."""
    memory = shelf.remember()
    (tmp_path / "other").mkdir()
    other = Shelf(tmp_path / "other")
    other.deliver(20)
    with pytest.raises(VerificationError, match="another store"):
        other.since(memory)


def test_a_memory_that_is_altered_or_of_another_verifier_is_refused(shelf: Shelf) -> None:
    """Each byte of it."""
    data = sign_memory(shelf.remember(), VERIFIER)
    with pytest.raises(VerificationError, match="signed by key"):
        open_memory(data, Ed25519PrivateKey.generate().public_key())
    for place in range(0, len(data), 7):
        altered = bytearray(data)
        altered[place] ^= 1
        with pytest.raises((FormatError, VerificationError)):
            open_memory(bytes(altered), VERIFIER.public_key())


def test_nothing_is_remembered_where_the_log_as_such_is_not_sound(shelf: Shelf) -> None:
    """A receipt without an entry: what it means may change with what comes later."""
    shelf.edit("DELETE FROM envelopes WHERE log = 6")
    assert shelf.since(None).memory is None


def test_entries_that_are_not_found_by_their_place_are_noticed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a damaged index leaves one out: the log has more new entries than the chains."""
    memory = shelf.remember()
    shelf.deliver(3)
    found = SqliteStore.rows_of

    def but_the_last(store: SqliteStore, device: bytes, chain: bytes, after: int = -1) -> Iterator[StoredRow]:
        return iter(list(found(store, device, chain, after))[:-1])

    monkeypatch.setattr(SqliteStore, "rows_of", but_the_last)
    again = shelf.since(memory)
    assert "3 entries to be checked, and 2 are found" in again.faults[0]
    assert again.memory is None


def _fork(shelf: Shelf, choice: random.Random) -> None:
    """Store a chain that has a number which is taken."""
    shelf.store(*make_chain(shelf.key, 2, run=choice.randrange(1, shelf.run), before=shelf.last))


def _stranger(shelf: Shelf, _: random.Random) -> None:
    shelf.store(*make_chain(Ed25519PrivateKey.generate(), 2))


def _end_behind(shelf: Shelf, choice: random.Random) -> None:
    """Go on behind an end that a later chain has named."""
    with SqliteStore.open_read_only(shelf.path) as store:
        row = choice.choice([row for row in store.pages() if row.run is not None])
    position = ChainPosition(row.chain, row.seq + 50, bytes([7]) * 32, run=row.run)
    shelf.store(make_envelope(shelf.key, position))


def _sql(statement: str) -> Callable[[Shelf, random.Random], None]:
    def damage(shelf: Shelf, choice: random.Random) -> None:
        with SqliteStore.open_read_only(shelf.path) as store:
            end = store.totals().log_end
        shelf.edit(statement, (choice.randint(1, end),) * statement.count("?"))

    return damage


def _row_and_receipt(shelf: Shelf, choice: random.Random) -> None:
    with SqliteStore.open_read_only(shelf.path) as store:
        log = choice.randint(1, store.totals().log_end)
    for table in ("envelopes", "receipts"):
        shelf.edit(f"DELETE FROM {table} WHERE log = ?", (log,))  # noqa: S608  # constants


def _orphan(shelf: Shelf, choice: random.Random) -> None:
    """Keep a receipt for an envelope that is not there."""
    log = choice.randint(1000, 2000)
    receipt = honest_receipt(make_envelope(shelf.key), key=shelf.bench.receipt_key, log_index=log)
    shelf.edit("INSERT INTO receipts VALUES (?, randomblob(32), 1, ?)", (log, receipt))


DAMAGES: dict[str, Callable[[Shelf, random.Random], object]] = {
    "end": _sql("DELETE FROM envelopes WHERE log >= ?"),
    "row": _sql("DELETE FROM envelopes WHERE log = ?"),
    "row and receipt": _row_and_receipt,
    "receipt": _sql("DELETE FROM receipts WHERE log = ?"),
    "other receipt": _sql("UPDATE receipts SET receipt = zeroblob(300) WHERE log = ?"),
    "time": _sql("UPDATE envelopes SET stored_at_ms = stored_at_ms - 90000000 WHERE log = ?"),
    "place": _sql("UPDATE envelopes SET seq = seq + 100 WHERE log = ?"),
    "log": _sql("UPDATE envelopes SET log = log + 500 WHERE log = ?"),
    "fork": _fork,
    "stranger": _stranger,
    "behind the end": _end_behind,
    "orphan": _orphan,
    "nothing": lambda *_: None,
    "drop": lambda shelf, _: shelf.drop(EPOCH),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("seed", range(4))
def test_damage_between_two_verifications(shelf: Shelf, damage: str, seed: int) -> None:
    """Wherever it is: the second one refuses the store, or its reports are exactly those of a full one.

    It refuses only where a known entry or receipt is not what it was: never where the damage is all in what is new.
    """
    choice = random.Random(f"{damage} {seed}")
    memory = shelf.remember()
    known = _known(shelf, memory)
    shelf.go_on(choice.randint(1, 4))
    shelf.lose(2)
    shelf.deliver(choice.randint(1, 20))
    DAMAGES[damage](shelf, choice)
    full = shelf.full()
    try:
        again = shelf.since(memory)
    except VerificationError:
        assert _known(shelf, memory) != known
        return
    assert _known(shelf, memory) == known
    assert again.reports == full
    if again.memory is not None:
        assert shelf.since(again.memory).reports == full


def _known(shelf: Shelf, memory: Memory) -> list[tuple[object, ...]]:
    """Return the known entries and receipts."""
    with closing(sqlite3.connect(shelf.path)) as connection:
        entries = connection.execute(
            "SELECT log, id, device, chain, seq, prev, length, stored_at_ms FROM envelopes WHERE log <= ? ORDER BY log",
            (memory.log,),
        ).fetchall()
        receipts = connection.execute(
            "SELECT log, id, receipt FROM receipts WHERE log <= ? ORDER BY log", (memory.log,)
        ).fetchall()
    return [*entries, *receipts]
