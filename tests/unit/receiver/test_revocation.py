"""A key that was revoked: before the point everything holds, after it nothing does; records say so, signed."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.errors import ReceiverError, UsageError, VerificationError
from agent.keys.identity import create_identity
from agent.keys.rotation import ROTATION_NAME, rotate_identity
from agent.receiver.admission.devices import Device, DeviceBook, EventKind
from agent.receiver.admission.pki import enrol
from agent.receiver.admission.revoke import revoke
from agent.receiver.intake.decide import STORE_WAIT_S, Intake
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope
from agent.wire.protocol import Answer, Later, Refused, Stored
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.pki import Bench, make_bench, record_of_version_1

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Desk:
    """A receiver that takes envelopes, one an hour."""

    def __init__(self, root: Path) -> None:
        self.bench: Bench = make_bench(root)
        self.key = self.bench.device.signing_key
        self.now = AT
        self.book = DeviceBook(self.bench.receiver.devices, now=lambda: self.now)
        self.store = SqliteStore.open(self.bench.receiver.store)
        self.intake = Intake(
            devices=self.book, store=self.store, receipt_key=self.bench.receipt_key, now=lambda: self.now
        )

    def device(self, key_id: bytes | None = None) -> Device:
        """Return the record of a key; the bench device's first one if left out."""
        found = self.book.by_key_id(key_id or self.bench.device.key_id)
        assert found is not None
        return found

    def take(self, *envelopes: Envelope, sender: Device | None = None) -> list[Answer]:
        """Send envelopes, each an hour after the one before."""
        answers = []
        for envelope in envelopes:
            self.now += timedelta(hours=1)
            answers += self.intake.take([envelope.data], sender or self.device())
        return answers

    def revoke(self, at: int | datetime | None = None, reason: str = "stolen") -> int:
        """Revoke the bench's device and return the last entry that holds."""
        return revoke(self.bench.receiver.directory, "cam-1", reason=reason, at=at, now=self.now).after

    def rotate(self) -> Device:
        """Let a new key follow, and return its record."""
        step = rotate_identity(self.bench.device.directory)
        enrol(self.bench.receiver.directory, self.bench.device.directory / ROTATION_NAME, now=self.now)
        return self.device(step.key_id)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return a receiver with one enrolled device."""
    made = Desk(tmp_path)
    yield made
    made.store.close()


def kinds(answers: list[Answer]) -> list[type[Answer]]:
    """Return what each answer is."""
    assert answers
    return [type(answer) for answer in answers]


def test_a_revoked_key_neither_connects_nor_delivers(desk: Desk) -> None:
    """At once, for new envelopes of either version and for the certificate."""
    stored = make_chain(desk.key, 2, run=0)
    desk.take(*stored)
    sender, der = desk.device(), ssl.PEM_cert_to_DER_cert(desk.bench.device.certificate.read_text())
    assert desk.intake.sender(der) is not None
    assert desk.revoke() == 2
    assert desk.intake.sender(der) is None
    new = [make_envelope(desk.key, next_position(stored[-1])), make_chain(desk.key, 1)[0]]
    answers = desk.take(*new, sender=sender)
    assert kinds(answers) == [Refused, Refused]
    assert all(isinstance(each, Refused) and "was revoked after log 2" in each.reason for each in answers)
    assert desk.store.totals().envelopes == 2


def test_what_was_logged_before_keeps_its_receipt(desk: Desk) -> None:
    """A unit that lost the answer erases after all; an entry behind the point gets none."""
    chain = make_chain(desk.key, 3, run=0)
    receipts = desk.take(*chain)
    sender = desk.device()
    desk.revoke(at=2)
    again = desk.take(*chain, sender=sender)
    assert again[:2] == receipts[:2]
    assert kinds(again) == [Stored, Stored, Refused]


@pytest.mark.parametrize(("hours", "after"), [(0.5, 0), (1, 0), (1.5, 1), (2, 1), (3.5, 3)])
def test_a_time_names_the_entries_before_it(desk: Desk, hours: float, after: int) -> None:
    """Stored at hours 1, 2 and 3."""
    desk.take(*make_chain(desk.key, 3, run=0))
    desk.now += timedelta(hours=1)
    assert desk.revoke(at=AT + timedelta(hours=hours)) == after


def test_only_an_earlier_point_can_follow(desk: Desk) -> None:
    """And the history keeps both, with their reasons."""
    desk.take(*make_chain(desk.key, 3, run=0))
    desk.revoke(at=2, reason="stolen")
    for at in (2, 3, None):
        with pytest.raises(UsageError, match="only an earlier point"):
            desk.revoke(at=at)
    desk.revoke(at=1, reason="copied before")
    ends = [(each.after, each.reason, each.log) for each in desk.device().history if each.kind is EventKind.REVOKED]
    assert ends == [(2, "stolen", 3), (1, "copied before", 3)]
    revoked = desk.device().revoked
    assert revoked is not None
    assert revoked.after == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "cam-9"}, "no device of this name"),
        ({"at": 4}, "the log has entries up to 3"),
        ({"at": -1}, "the log has entries up to 3"),
        ({"at": AT + timedelta(days=9)}, "still to come"),
        ({"reason": ""}, "--reason"),
        ({"reason": "  "}, "--reason"),
        ({"reason": "x" * 201}, "--reason"),
        ({"reason": "\udcff"}, "--reason"),
        ({"reason": "one\nforged seq 9"}, "--reason"),
        ({"key_id": "zz"}, "no key of cam-1"),
        ({"key_id": ""}, "no key of cam-1"),
    ],
)
def test_a_wrong_argument_is_named_and_changes_nothing(desk: Desk, arguments: dict[str, object], expected: str) -> None:
    """One line with what is allowed."""
    desk.take(*make_chain(desk.key, 3, run=0))
    before = desk.device()
    given = {"name": "cam-1", "reason": "stolen", "now": desk.now, **arguments}
    with pytest.raises(UsageError, match=expected):
        revoke(desk.bench.receiver.directory, **given)  # type: ignore[arg-type]
    assert desk.device() == before


def test_a_revoked_key_is_not_renewed_and_names_no_follower(desk: Desk) -> None:
    """A new identity under the same name needs no further word."""
    directory = desk.bench.device.directory
    enrolment = directory / "enrolment.json"
    first = enrolment.read_bytes()
    desk.revoke()
    with pytest.raises(UsageError, match="was revoked"):
        enrol(desk.bench.receiver.directory, enrolment)
    rotate_identity(directory)
    with pytest.raises(VerificationError, match="was revoked"):
        enrol(desk.bench.receiver.directory, directory / ROTATION_NAME)
    assert first != enrolment.read_bytes()
    fresh = create_identity(desk.bench.root / "fresh", name="cam-1")
    assert enrol(desk.bench.receiver.directory, fresh.enrolment).other_keys == 0


def test_one_key_of_two_is_revoked(desk: Desk) -> None:
    """The other one goes on."""
    new = desk.rotate()
    old = desk.device()
    revoke(desk.bench.receiver.directory, "cam-1", reason="copied", key_id=old.key_id.hex()[:16], now=desk.now)
    assert desk.device().revoked is not None
    assert desk.device(new.key_id).revoked is None


def test_the_command_says_what_it_ended(desk: Desk) -> None:
    """For a person and for a program; LOG and TIME alike."""
    desk.take(*make_chain(desk.key, 3, run=0))
    directory = str(desk.bench.receiver.directory)
    run = CliRunner().invoke
    said = run(app, ["revoke", directory, "cam-1", "--at", "2", "--reason", "stolen"], catch_exceptions=False).output
    assert f"key {desk.bench.device.key_id.hex()[:16]} is revoked after log 2" in said
    assert "Entries 3 to 3" in said
    at = "2026-03-01T01:30"
    words = ["revoke", directory, "cam-1", "--at", at, "--reason", "x", "--json"]
    told = run(app, words, catch_exceptions=False).output
    assert json.loads(told) == {
        "device": "cam-1",
        "key_ids": [desk.bench.device.key_id.hex()],
        "after": 1,
        "log_end": 3,
    }


def test_a_record_is_signed_as_the_document_says(desk: Desk) -> None:
    """Whoever has FORMAT.md, a CBOR library and receipt.pub checks it: with every kind of event in it."""
    desk.take(*make_chain(desk.key, 2, run=0))
    enrol(desk.bench.receiver.directory, desk.bench.device.directory / "enrolment.json", now=desk.now)
    old = desk.bench.device.key_id
    desk.rotate()
    desk.revoke(at=1)
    record = json.loads((desk.bench.receiver.devices / f"{old.hex()}.json").read_bytes())
    assert [each["event"] for each in record["history"]] == ["enrolled", "renewed", "rotated", "revoked"]
    signature = base64.b64decode(record.pop("signature"))
    signed = cbor2.dumps(["plateseal device record 2", record], canonical=True)
    key = load_pem_public_key(desk.bench.receiver.receipt_public.read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signature, signed)
    with pytest.raises(InvalidSignature):
        key.verify(signature, signed + b"\0")


def test_a_record_that_was_edited_is_told_and_not_used(desk: Desk) -> None:
    """The end cannot be taken out of it, nor the key be given to another name."""
    desk.revoke()
    path = desk.bench.receiver.devices / f"{desk.bench.device.key_id.hex()}.json"
    record = json.loads(path.read_text())
    for change in ({"history": record["history"][:-1]}, {"name": "cam-2"}, {"certificate_sha256": ["0" * 64]}):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(ReceiverError, match="signature of this record is wrong"):
            desk.device()
    path.write_text(json.dumps(record))
    assert desk.device().revoked is not None
    desk.bench.receiver.receipt_public.unlink()
    with pytest.raises(ReceiverError, match=r"without the receiver's receipt\.pub"):
        desk.device()


def test_a_record_of_version_1_goes_on_and_becomes_version_2(desk: Desk) -> None:
    """What it says is kept; the next change signs it."""
    path = desk.bench.receiver.devices / f"{desk.bench.device.key_id.hex()}.json"
    before = desk.device()
    path.write_text(json.dumps(record_of_version_1(path)))
    old = desk.device()
    assert (old.name, old.fingerprints, old.enrolled_at) == (before.name, before.fingerprints, before.enrolled_at)
    assert kinds(desk.take(*make_chain(desk.key, 1))) == [Stored]
    desk.revoke()
    assert json.loads(path.read_text())["v"] == 2
    assert [each.kind for each in desk.device().history] == [EventKind.ENROLLED, EventKind.REVOKED]


def test_the_history_of_a_key_is_bounded_and_keeps_what_counts(desk: Desk) -> None:
    """Renewed a hundred times and then revoked: the record can be read, and says when it was enrolled."""
    for _ in range(100):
        enrol(desk.bench.receiver.directory, desk.bench.device.directory / "enrolment.json")
    desk.revoke()
    events = [each.kind for each in desk.device().history]
    assert (events[0], events[-1]) == (EventKind.ENROLLED, EventKind.REVOKED)
    assert len(events) < 64


def test_long_reasons_in_any_script_leave_the_record_readable(desk: Desk) -> None:
    """Twenty ends, each with the longest reason there may be: at 16 kB nobody could read the record any more."""
    desk.take(*make_chain(desk.key, 21, run=0))
    for at in range(20, 0, -1):
        desk.revoke(at=at, reason="\N{HOT BEVERAGE}\N{GRINNING FACE}" * 100)
    assert len(desk.device().history) == 21


def test_the_old_certificate_ends_when_the_new_one_delivers(desk: Desk) -> None:
    """Not before: a unit that does not have the new one yet goes on, also with reads by its new key."""
    der = ssl.PEM_cert_to_DER_cert(desk.bench.device.certificate.read_text())
    old_reads = make_chain(desk.key, 2, run=0)
    desk.take(*old_reads)
    desk.rotate()
    new_reads = make_chain(desk.bench.device.signing_key, 2, run=1, before=old_reads[-1])
    assert kinds(desk.take(new_reads[0])) == [Stored]
    assert desk.intake.sender(der) is not None
    rotated = desk.device().rotated
    assert rotated is not None
    assert kinds(desk.take(new_reads[1], sender=desk.device(rotated.to))) == [Stored]
    assert desk.intake.sender(der) is None


def test_after_a_rotation_the_old_key_signs_nothing_new(desk: Desk) -> None:
    """A continuation, a chain of its own and a second chain of an old number are refused; an ancestor is taken."""
    old = make_chain(desk.key, 3, run=0)
    desk.take(old[0], old[2])
    desk.rotate()
    new = make_chain(desk.bench.device.signing_key, 1, run=1, before=old[-1])
    assert kinds(desk.take(*new)) == [Stored]
    thief = [
        make_envelope(desk.key, next_position(old[-1])),
        *make_chain(desk.key, 1, run=1, before=old[-1]),
        *make_chain(desk.key, 1, run=2, before=new[-1]),
        *make_chain(desk.key, 1, run=0),
    ]
    answers = desk.take(*thief)
    assert kinds(answers) == [Refused] * 4
    assert all(isinstance(each, Refused) and each.reason.startswith("after the rotation") for each in answers)
    assert kinds(desk.take(old[1])) == [Stored]


def test_a_clock_that_is_surely_wrong_signs_nothing(desk: Desk) -> None:
    """A receiver in 1970 puts off, and takes the same envelope once its clock is set."""
    desk.now = datetime(1970, 1, 1, tzinfo=UTC)
    envelope = make_envelope(desk.key)
    assert desk.take(envelope) == [Later(STORE_WAIT_S)]
    desk.now = AT
    assert kinds(desk.take(envelope)) == [Stored]


def test_a_stranger_is_still_a_stranger(desk: Desk) -> None:
    """Revoking is about keys that are enrolled: an unknown one is put off as ever."""
    desk.revoke()
    answers = desk.take(*make_chain(Ed25519PrivateKey.generate(), 1))
    assert kinds(answers) == [Later]
