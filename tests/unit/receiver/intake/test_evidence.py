"""`receiver verify` on what a receiver, a thief or an old key may do: receipts, times, chains, keys that ended.

None of these stores had a finding before units numbered their chains and receivers kept receipts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.keys.rotation import ROTATION_NAME, rotate_identity
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import enrol
from agent.receiver.admission.revoke import revoke
from agent.receiver.intake.verification import ChainReport, finding_lines, verify_store
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire import cbor, cose
from agent.wire.envelope import Envelope, sign_tombstone
from agent.wire.header import SeenReceipt
from agent.wire.receipt import parse_receipt, sign_receipt
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.pki import make_bench
from tests.fakes.reads import NOON

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Shelf:
    """A receiver's folder: what is stored there, past the intake, and what verify says of it."""

    def __init__(self, root: Path) -> None:
        self.bench = make_bench(root)
        self.key = self.bench.device.signing_key
        self.hours = 0

    def store(self, *envelopes: Envelope) -> list[bytes]:
        """Store envelopes, an hour apart, and return their receipts."""
        receipts = []
        with SqliteStore.open(self.bench.receiver.store) as store:
            for envelope in envelopes:
                self.hours += 1
                receipts += store.store_batch([envelope], AT + timedelta(hours=self.hours), self.bench.receipt_key)
        return [each for each in receipts if isinstance(each, bytes)]

    def edit(self, *statements: str, values: Sequence[object] = ()) -> None:
        """Change the database."""
        with closing(sqlite3.connect(self.bench.receiver.store)) as connection:
            for statement in statements:
                connection.execute(statement, values)
            connection.commit()

    def reports(self) -> list[ChainReport]:
        """Verify the store."""
        with SqliteStore.open_read_only(self.bench.receiver.store) as store:
            return verify_store(store, DeviceBook(self.bench.receiver.devices))

    def kinds(self) -> list[tuple[str, int, int]]:
        """Return all findings as (kind, first, last)."""
        return [(str(each.kind), each.first_seq, each.last_seq) for one in self.reports() for each in one.findings]

    def words(self) -> str:
        """Return all findings as a person sees them."""
        return "\n".join(line for report in self.reports() for line in finding_lines(report))

    def rotate(self) -> Ed25519PrivateKey:
        """Let a new key follow, and return it."""
        rotate_identity(self.bench.device.directory)
        enrol(self.bench.receiver.directory, self.bench.device.directory / ROTATION_NAME)
        return self.bench.device.signing_key

    def seen(self, receipt: bytes) -> SeenReceipt:
        """Return what a unit signs that has verified a receipt."""
        kid = cose.ed25519_kid(self.bench.receipt_public)
        return SeenReceipt(kid[:8], parse_receipt(receipt).log_index, cbor.sha256(receipt))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Return an empty one with an enrolled device."""
    return Shelf(tmp_path)


def test_honest_chains_have_no_finding(shelf: Shelf) -> None:
    """Version 1, the upgrade, a restart without reads, a rotation, a bound receipt: all well, all receipted."""
    old = make_chain(shelf.key, 3)
    first = make_chain(shelf.key, 3, run=0, before=old[-1])
    receipts = shelf.store(*old, *first)
    second = make_chain(shelf.key, 2, run=2, before=first[-1])
    bound = make_envelope(shelf.key, next_position(second[-1]), seen=shelf.seen(receipts[-1]))
    shelf.store(second[1], second[0], bound)
    after = make_chain(shelf.rotate(), 2, run=3, before=bound)
    shelf.store(*after)
    assert shelf.words() == ""
    assert sum(report.receipted for report in shelf.reports()) == 11


@pytest.mark.parametrize("run", [None, 0], ids=["version 1", "version 2"])
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE envelopes SET stored_at_ms = 1672531200000 WHERE seq = 1", [("receipt", 1, 1)]),
        ("UPDATE envelopes SET stored_at_ms = stored_at_ms + 1 WHERE seq = 1", [("receipt", 1, 1)]),
        ("UPDATE envelopes SET log = 99 WHERE seq = 1", [("receipt", 1, 1)]),
        ("UPDATE receipts SET receipt = zeroblob(300) WHERE log = 2", [("receipt", 1, 1)]),
        ("DELETE FROM envelopes WHERE seq = 2", [("missing", 2, 2)]),
    ],
    ids=["2023", "a millisecond", "log", "damaged", "end"],
)
def test_an_edited_store_is_found(
    shelf: Shelf, run: int | None, statement: str, expected: list[tuple[str, int, int]]
) -> None:
    """Time and place in the log, and the end of a chain: the receiver's own signature says otherwise."""
    shelf.store(*make_chain(shelf.key, 3, run=run))
    shelf.edit(statement)
    found = shelf.kinds()
    assert found[: len(expected)] == expected
    assert {first for kind, first, _ in found if kind != "receipt"} <= {first for _, first, _ in expected}


def test_a_receipt_that_was_taken_out_is_due(shelf: Shelf) -> None:
    """In version 2 there is one for each; the next one of its key shows it too."""
    shelf.store(*make_chain(shelf.key, 3, run=0))
    shelf.edit("DELETE FROM receipts WHERE log = 2")
    assert shelf.kinds() == [("receipt", 1, 1), ("receipt", 2, 2)]


def test_a_receipt_by_another_key_does_not_hold(shelf: Shelf) -> None:
    """Well-formed and of the right envelope, but not the receiver's."""
    (receipt,) = shelf.store(*make_chain(shelf.key, 1, run=0))
    other = sign_receipt(parse_receipt(receipt), Ed25519PrivateKey.generate())
    shelf.edit("UPDATE receipts SET receipt = ?", values=(other,))
    assert "unknown receiver key" in shelf.words()


def test_a_receiver_that_changes_its_mind_contradicts_the_unit(shelf: Shelf) -> None:
    """It signs the whole store again with other times; the unit has bound what it was told."""
    chain = make_chain(shelf.key, 2, run=0)
    receipts = shelf.store(*chain)
    bound = make_envelope(shelf.key, next_position(chain[-1]), seen=shelf.seen(receipts[-1]))
    shelf.store(bound)
    assert shelf.kinds() == []
    emptied = ("receipts", "newest_receipts", "envelopes", "chains", "sqlite_sequence")
    shelf.edit(
        *(f"DELETE FROM {table}" for table in emptied)  # noqa: S608  # of this test
    )
    shelf.hours = 100
    shelf.store(*chain, bound)
    assert shelf.kinds() == [("contradicted", 2, 2)]


def test_another_receivers_receipt_is_no_finding(shelf: Shelf) -> None:
    """A unit that was served by another receiver before says nothing against this one."""
    seen = SeenReceipt(b"\x07" * 8, 4, b"\x08" * 32)
    shelf.store(make_envelope(shelf.key, make_chain(shelf.key, 1, run=0)[0].position, seen=seen))
    assert shelf.kinds() == []


def test_times_that_go_back_are_told(shelf: Shelf) -> None:
    """Where rows have no receipts of their own, the log's order is left: an hour is a clock's, a day is not."""
    shelf.store(*make_chain(shelf.key, 4))
    shelf.edit("DELETE FROM receipts", "UPDATE envelopes SET stored_at_ms = stored_at_ms - 6000000 WHERE seq = 2")
    assert shelf.kinds() == []
    shelf.edit("UPDATE envelopes SET stored_at_ms = stored_at_ms - 86400000 WHERE seq = 2")
    assert shelf.kinds() == [("receipt", 2, 2)]
    shelf.edit("UPDATE envelopes SET stored_at_ms = 1 WHERE seq = 0")
    assert ("receipt", 0, 0) in shelf.kinds()


def test_what_was_logged_before_a_revocation_stays_genuine(shelf: Shelf) -> None:
    """And what came after is named by its place; before, all of it was called forged."""
    shelf.store(*make_chain(shelf.key, 4, run=0))
    revoke(shelf.bench.receiver.directory, "cam-1", at=2, reason="stolen")
    (report,) = shelf.reports()
    assert (report.device, report.envelopes) == ("cam-1", 2)
    assert shelf.kinds() == [("revoked", 2, 3)]
    assert "revoked after log 2: stolen" in shelf.words()


def test_a_row_that_is_moved_before_the_revocation_is_found(shelf: Shelf) -> None:
    """Its receipt says where it stood."""
    shelf.store(*make_chain(shelf.key, 2, run=0))
    revoke(shelf.bench.receiver.directory, "cam-1", at=1, reason="stolen")
    shelf.edit("UPDATE envelopes SET log = 0 WHERE seq = 1")
    assert ("revoked", 1, 1) in shelf.kinds()


def test_a_record_whose_signature_does_not_hold_is_told(shelf: Shelf) -> None:
    """Its key's envelopes do not count, those of others do."""
    shelf.store(*make_chain(shelf.key, 1, run=0))
    path = next(shelf.bench.receiver.devices.iterdir())
    path.write_text(path.read_text().replace("cam-1", "cam-2"))
    assert shelf.kinds() == [("forged", 0, 0)]
    assert "signature of this record is wrong" in shelf.words()


def test_a_fresh_chain_by_a_key_holder_is_a_fork(shelf: Shelf) -> None:
    """A thief who starts at 0 looked like a restart: now two chains have one number and one predecessor."""
    first = make_chain(shelf.key, 3, run=0)
    second = make_chain(shelf.key, 2, run=1, before=first[-1])
    thief = make_chain(shelf.key, 2, run=1, before=first[-1])
    shelf.store(*first, *second, *thief)
    assert shelf.kinds() == [("forked", 0, 0)] * 2
    words = shelf.words()
    assert f"run 1, as chain {thief[0].position.chain.hex()[:8]}" in words


@pytest.mark.parametrize(
    ("run", "at", "expected"),
    [(0, None, [("forked", 0, 0)] * 2), (5, 1, [("forked", 2, 2)]), (1, 2, [("reordered", 0, 0)])],
    ids=["as if new", "from the middle", "a number that is used up"],
)
def test_a_chain_that_stands_in_no_order_is_told(
    shelf: Shelf, run: int, at: int | None, expected: list[tuple[str, int, int]]
) -> None:
    """Run 0 again, a chain that cuts off the end of the one before, and a counter that goes back."""
    first = make_chain(shelf.key, 3, run=1 if run == 1 else 0, before=make_chain(shelf.key, 1)[0] if run == 1 else None)
    if run == 1:
        first = make_chain(shelf.key, 3, run=1, before=first[0])
    other = make_chain(shelf.key, 1, run=run, before=None if at is None else first[at])
    shelf.store(*first, *other)
    found = [each for each in shelf.kinds() if each[0] != "missing"]
    assert set(expected) <= set(found)


def test_a_fresh_chain_of_version_1_after_the_upgrade_is_told(shelf: Shelf) -> None:
    """A thief who falls back to version 1 needs no number and no predecessor; what was made before may come late."""
    before = make_chain(shelf.key, 2)
    first = make_chain(shelf.key, 2, run=0, before=before[-1])
    shelf.store(*first, *before)
    assert shelf.kinds() == []
    thief = make_chain(shelf.key, 2)
    shelf.store(*thief)
    assert shelf.kinds() == [("forked", 0, 1)]
    assert "version 1, first in the log at 5" in shelf.words()


def test_a_chain_of_version_1_whose_end_was_forced_out_may_come_late(shelf: Shelf) -> None:
    """The first chain of version 2 names the end of it, and a tombstone says what became of that."""
    before = make_chain(shelf.key, 2)
    first = make_chain(shelf.key, 1, run=0, before=before[-1])
    note = Tombstone(LossReason.EVICTED, 1, NOON, NOON, (Gone(before[1].position.chain, 1, 1, before[1].digest),))
    shelf.store(*first, sign_tombstone(note, shelf.key, next_position(first[-1])), before[0])
    assert shelf.kinds() == []


def test_a_chain_whose_predecessor_is_gone_is_told(shelf: Shelf) -> None:
    """Until the one before arrives, or a tombstone says what became of it."""
    first = make_chain(shelf.key, 2, run=0)
    second = make_chain(shelf.key, 2, run=1, before=first[-1])
    shelf.store(*second)
    assert shelf.kinds() == [("missing", 0, 0)]
    gone = Gone(first[0].position.chain, 0, 1, first[-1].digest)
    note = Tombstone(LossReason.EVICTED, 2, NOON, NOON, (gone,))
    shelf.store(sign_tombstone(note, shelf.key, next_position(second[-1])))
    assert shelf.kinds() == []


def test_a_key_that_was_rotated_out_signs_on(shelf: Shelf) -> None:
    """Past the intake: a continuation and a chain of its own are told, and what was made before is not."""
    old = make_chain(shelf.key, 3, run=0)
    shelf.store(*old[:2])
    new_key = shelf.rotate()
    new = make_chain(new_key, 2, run=1, before=old[-1])
    shelf.store(*new, old[2])
    assert shelf.kinds() == []
    shelf.store(make_envelope(shelf.key, next_position(old[-1])), *make_chain(shelf.key, 2, run=2, before=new[-1]))
    assert sorted(shelf.kinds()) == [("rotated", 0, 1), ("rotated", 3, 3)]


def test_a_chain_of_version_1_after_the_rotation_is_told(shelf: Shelf) -> None:
    """One that no later chain names; today's rule calls it continuous."""
    before = make_chain(shelf.key, 2)
    shelf.store(*before)
    shelf.rotate()
    shelf.store(*make_chain(shelf.key, 2))
    assert shelf.kinds() == [("rotated", 0, 1)]
