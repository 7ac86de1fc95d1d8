"""What each envelope of a batch is answered, and that no receipt is ever false."""

from __future__ import annotations

import logging
import os
import sqlite3
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ReceiverError
from agent.keys import keyfiles
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.intake.decide import NOT_ENROLLED_WAIT_S, STORE_WAIT_S, Intake
from agent.receiver.intake.notices import MAX_SUBJECTS, Notices
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire import cose
from agent.wire.envelope import Envelope
from agent.wire.protocol import Answer, Later, Refused, Stored
from agent.wire.receipt import verify_receipt
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.pki import Bench, add_device, make_bench
from tests.fakes.stored import bodies, kept_receipt


class TickingTime:
    """Aware UTC time that goes on by an hour at each look."""

    def __init__(self) -> None:
        self._now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time and move on."""
        self._now += timedelta(hours=1)
        return self._now


class Desk:
    """An intake over a bench, and the device that sends."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.book = DeviceBook(bench.receiver.devices)
        self.store = SqliteStore.open(bench.receiver.store)
        self.key = bench.device.signing_key
        receipt_key = keyfiles.load_ed25519_private(bench.receiver.receipt_key)
        self.intake = Intake(devices=self.book, store=self.store, receipt_key=receipt_key, now=TickingTime())

    @property
    def sender(self) -> Device:
        """The bench's own device."""
        device = self.book.by_key_id(self.bench.device.key_id)
        assert device is not None
        return device

    def take(self, *batch: bytes) -> list[Answer]:
        """Send as the bench's own device."""
        return self.intake.take(batch, self.sender)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return an intake with one enrolled device."""
    desk = Desk(make_bench(tmp_path))
    yield desk
    desk.store.close()


def test_stored_envelope_gets_a_receipt_that_verifies(desk: Desk) -> None:
    """The receipt holds against the pinned key, for exactly this envelope."""
    envelope = make_envelope(desk.key)
    (answer,) = desk.take(envelope.data)
    assert isinstance(answer, Stored)
    verified = verify_receipt(answer.receipt, envelope, desk.bench.receiver_keys)
    assert verified.envelope_id == envelope.envelope_id


def test_duplicate_gets_the_identical_receipt(desk: Desk) -> None:
    """The same bytes at another time, alone or twice in a batch, get the same receipt bytes."""
    envelope = make_envelope(desk.key)
    first = desk.take(envelope.data)
    assert desk.take(envelope.data, envelope.data) == first * 2
    assert desk.store.totals().envelopes == 1


def test_answers_keep_the_order_of_the_batch(desk: Desk) -> None:
    """Refused, put-off and stored envelopes are answered where they stood."""
    one, two = make_chain(desk.key, 2)
    stranger = make_envelope(Ed25519PrivateKey.generate())
    kinds = [type(answer) for answer in desk.take(b"garbage", one.data, stranger.data, two.data, b"")]
    assert kinds == [Refused, Stored, Later, Stored, Refused]


def test_unknown_device_key_is_put_off(desk: Desk) -> None:
    """An envelope of a key that is not enrolled is neither stored nor refused for good."""
    assert desk.take(make_envelope(Ed25519PrivateKey.generate()).data) == [Later(NOT_ENROLLED_WAIT_S)]
    assert desk.store.totals().envelopes == 0


def test_another_devices_envelope_is_refused(desk: Desk) -> None:
    """An enrolled device cannot deliver for another one."""
    other = add_device(desk.bench.receiver, desk.bench.root / "other", name="cam-2")
    (answer,) = desk.take(make_envelope(other.signing_key).data)
    assert isinstance(answer, Refused)
    assert "of device cam-2, sent by cam-1" in answer.reason
    assert desk.store.totals().envelopes == 0


def test_flipped_signature_bit_is_refused(desk: Desk) -> None:
    """A wrong signature is refused by name; the genuine envelope still has its place."""
    envelope = make_envelope(desk.key)
    forged = envelope.data[:-1] + bytes([envelope.data[-1] ^ 1])
    (answer,) = desk.take(forged)
    assert isinstance(answer, Refused)
    assert "signature" in answer.reason
    assert isinstance(desk.take(envelope.data)[0], Stored)


def test_fork_is_refused(desk: Desk) -> None:
    """A second, well-signed envelope at the same place is refused."""
    envelope = make_envelope(desk.key)
    desk.take(envelope.data)
    (answer,) = desk.take(make_envelope(desk.key, envelope.position).data)
    assert isinstance(answer, Refused)
    assert answer.reason.startswith("fork")


def test_removed_and_damaged_device_files_put_off(desk: Desk) -> None:
    """Without a readable file for the signer nothing is stored and nothing is refused for good."""
    sender = desk.sender
    envelope = make_envelope(desk.key)
    path = desk.bench.receiver.devices / f"{desk.bench.device.key_id.hex()}.json"
    path.write_text("{")
    assert desk.intake.take([envelope.data], sender) == [Later(STORE_WAIT_S)]
    path.unlink()
    assert desk.intake.take([envelope.data], sender) == [Later(NOT_ENROLLED_WAIT_S)]
    assert desk.store.totals().envelopes == 0


def test_store_failure_puts_off_and_is_logged_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """While the store fails every envelope is put off, with one line; when it works again, one more."""
    caplog.set_level(logging.INFO)
    envelope = make_envelope(desk.key)
    hidden = desk.bench.receiver.store.with_name("hidden")
    desk.store.close()
    desk.bench.receiver.store.rename(hidden)
    assert [desk.take(envelope.data, b"garbage") for _ in range(3)] == [
        [Later(STORE_WAIT_S), _garbage_answer(desk)]
    ] * 3
    hidden.rename(desk.bench.receiver.store)
    assert isinstance(desk.take(envelope.data)[0], Stored)
    lines = [record.message for record in caplog.records if "refused" not in record.message]
    assert [line.partition(":")[0] for line in lines] == ["putting envelopes off", "storing again"]


def _garbage_answer(desk: Desk) -> Answer:
    return desk.take(b"garbage")[0]


def test_log_of_a_refusal_names_ids_only(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal's line holds the device's name and the reason, and nothing of the envelope's content."""
    envelope = make_envelope(desk.key)
    desk.take(envelope.data[:-1] + bytes([envelope.data[-1] ^ 1]))
    (record,) = caplog.records
    assert "cam-1" in record.message
    assert envelope.data.hex()[:64] not in record.message


def test_unknown_key_is_logged_when_it_begins_and_when_it_ends(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Asking again and again about a key that is not enrolled makes one line, enrolling it makes one more."""
    caplog.set_level(logging.INFO)
    sender = desk.sender
    path = desk.bench.receiver.devices / f"{desk.bench.device.key_id.hex()}.json"
    content = path.read_bytes()
    batch = [envelope.data for envelope in make_chain(desk.key, 3)]
    path.unlink()
    for _ in range(3):
        desk.intake.take(batch, sender)
    path.write_bytes(content)
    assert all(isinstance(answer, Stored) for answer in desk.intake.take(batch, sender))
    key = f"key {desk.bench.device.key_id.hex()[:16]}"
    assert [record.message for record in caplog.records] == [
        f"putting envelopes of {key} off, sent by cam-1: it is not enrolled",
        f"taking envelopes of {key} again",
    ]


def test_notices_stay_within_their_bound() -> None:
    """More subjects than the book holds make it begin anew, not grow."""
    notices = Notices()
    assert all(notices.begins(str(number)) for number in range(MAX_SUBJECTS + 1))
    assert notices.begins("0")
    assert not notices.begins("0")
    assert not notices.ends("1")


_POOL_KEY = Ed25519PrivateKey.generate()
_CHAIN = make_chain(_POOL_KEY, 4)
_POOL: tuple[Envelope, ...] = (
    *_CHAIN,
    make_envelope(_POOL_KEY, _CHAIN[1].position),
    make_envelope(_POOL_KEY, _CHAIN[3].position),
    *make_chain(_POOL_KEY, 2, body=os.urandom(30_000)),
)
"""A chain, two forks of it, and a second chain that is large enough to fill a small disk."""
_STEP = st.tuples(st.lists(st.integers(0, len(_POOL) - 1), max_size=6), st.sampled_from(["fine", "full", "reopened"]))


@settings(max_examples=settings().max_examples * 2 // 5)  # each opens a database
@given(steps=st.lists(_STEP, min_size=1, max_size=5))
def test_nothing_is_receipted_that_a_fresh_reader_does_not_see(steps: list[tuple[list[int], str]]) -> None:
    """After every batch, whatever failed, each receipt ever given is true for a new read-only opening."""
    signer = Device(
        "cam-1",
        cose.ed25519_kid(_POOL_KEY.public_key()),
        _POOL_KEY.public_key(),
        ("0" * 64,),
        (Event(EventKind.ENROLLED, datetime.now(UTC), 0),),
    )
    receipts: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "envelopes.db"
        (Path(folder) / "devices").mkdir()
        book = DeviceBook(Path(folder) / "devices")
        receipt_key = Ed25519PrivateKey.generate()
        keyfiles.write_public(Path(folder) / "receipt.pub", receipt_key.public_key())
        book.save(signer, receipt_key)
        store = SqliteStore.create(path)
        intake = Intake(devices=book, store=store, receipt_key=receipt_key)
        for indexes, weather in steps:
            _make_weather(store, weather)
            batch = [_POOL[index] for index in indexes]
            for envelope, answer in zip(batch, intake.take([e.data for e in batch], signer), strict=True):
                if isinstance(answer, Stored):
                    assert receipts.setdefault(envelope.envelope_id, answer.receipt) == answer.receipt
            with SqliteStore.open_read_only(path) as reader:
                seen = bodies(reader)
                assert set(receipts) == {_id_of(data) for data in seen}
                assert all(kept_receipt(reader, name) == receipt for name, receipt in receipts.items())
        store.close()
        with SqliteStore.open_read_only(path) as reader:
            assert reader.totals().envelopes == len(receipts)


def _make_weather(store: SqliteStore, weather: str) -> None:
    if weather == "reopened":
        store.close()
    if weather == "full" and store._connection is not None:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")


def _id_of(data: bytes) -> str:
    return next(envelope.envelope_id for envelope in _POOL if envelope.data == data)


def test_commit_that_fails_gives_no_receipt(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the commit itself fails, the batch is put off and the connection is not used again."""
    real = sqlite3.connect

    class FailingCommit(sqlite3.Connection):
        """A connection whose commit meets a disk error."""

        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            if sql == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, parameters)  # type: ignore[arg-type]

    def connect(*arguments: object, **options: object) -> sqlite3.Connection:
        return real(*arguments, **options, factory=FailingCommit)  # type: ignore[call-overload,no-any-return]

    desk.store.close()
    monkeypatch.setattr(sqlite3, "connect", connect)
    envelope = make_envelope(desk.key)
    assert desk.take(envelope.data) == [Later(STORE_WAIT_S)]
    monkeypatch.undo()
    assert desk.store.totals().envelopes == 0
    assert isinstance(desk.take(envelope.data)[0], Stored)


def test_sender_is_found_by_certificate_only_while_enrolled(desk: Desk) -> None:
    """The certificate of an enrolled device finds it; a damaged file is an error, not a stranger."""
    der = ssl.PEM_cert_to_DER_cert(desk.bench.device.certificate.read_text())
    found = desk.intake.sender(der)
    assert found is not None
    assert found.name == "cam-1"
    path = desk.bench.receiver.devices / f"{desk.bench.device.key_id.hex()}.json"
    path.write_text("?")
    with pytest.raises(ReceiverError):
        desk.intake.sender(der)
    path.unlink()
    assert desk.intake.sender(der) is None
