"""A rotation at the receiver: who may follow whom, and what the overlap means."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.errors import FormatError, PlatesealError, ReceiverError, UsageError, VerificationError
from agent.keys import keyfiles
from agent.keys.identity import certificate_request
from agent.keys.rotation import rotate_identity
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.enrolment import load_enrolment
from agent.receiver.admission.pki import DEFAULT_OVERLAP, enrol
from agent.receiver.intake.decide import NOT_ENROLLED_WAIT_S, Intake
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.protocol import Later, Stored
from agent.wire.rotation import encode_rotation
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, add_device, make_bench, record_of_version_1

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a receiver with one enrolled device."""
    return make_bench(tmp_path)


def statement(bench: Bench) -> Path:
    """Return the bench device's rotation.cose."""
    return bench.device.directory / "rotation.cose"


def forge(
    bench: Bench,
    *,
    old_key: Ed25519PrivateKey,
    device: str = "cam-1",
    csr: bytes | None = None,
    new_key: Ed25519PrivateKey | None = None,
) -> Path:
    """Write a statement with parts of a test's choice."""
    tls_key = ec.generate_private_key(ec.SECP256R1())
    data = encode_rotation(
        device=device,
        old_key=old_key,
        new_key=new_key or Ed25519PrivateKey.generate(),
        csr_der=csr or certificate_request(tls_key, device).public_bytes(Encoding.DER),
    )
    path = bench.root / "forged.cose"
    path.write_bytes(data)
    return path


def devices(bench: Bench) -> dict[str, bytes]:
    """Return every device file."""
    return {path.name: path.read_bytes() for path in bench.receiver.devices.iterdir()}


def test_the_new_key_follows_the_enrolled_one(bench: Bench) -> None:
    """Enrolled for the same name with a certificate of its own; the old file says what followed, and until when."""
    step = rotate_identity(bench.device.directory)
    issued = enrol(bench.receiver.directory, statement(bench), now=NOW)
    book = DeviceBook(bench.receiver.devices)
    old, new = book.by_key_id(bench.device.key_id), book.by_key_id(step.key_id)
    assert old is not None
    assert new is not None
    assert (issued.key_id, issued.replaced, issued.overlap_until) == (step.key_id, old.key_id, NOW + DEFAULT_OVERLAP)
    assert old.rotated is not None
    assert (old.rotated.to, old.rotated.certificates_until) == (step.key_id, NOW + DEFAULT_OVERLAP)
    assert (new.name, new.rotated) == ("cam-1", None)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    assert new.fingerprints == (certificate.fingerprint(hashes.SHA256()).hex(),)


def test_the_same_statement_again_renews_and_extends_nothing(bench: Bench) -> None:
    """A run that was cut off is repeated: another certificate for the new key, the overlap as first set."""
    rotate_identity(bench.device.directory)
    first = enrol(bench.receiver.directory, statement(bench), now=NOW)
    again = enrol(bench.receiver.directory, statement(bench), now=NOW + timedelta(days=3), overlap=timedelta(days=30))
    assert again.overlap_until == first.overlap_until
    assert again.pem != first.pem


def test_a_second_key_cannot_follow_the_same_one(bench: Bench) -> None:
    """Whoever stole the old key comes too late, and the message says what it may mean."""
    thief = bench.device.signing_key
    rotate_identity(bench.device.directory)
    enrol(bench.receiver.directory, statement(bench))
    before = devices(bench)
    with pytest.raises(VerificationError, match="has been followed by key .* in other hands"):
        enrol(bench.receiver.directory, forge(bench, old_key=thief))
    assert devices(bench) == before


def test_an_old_statement_cannot_bring_a_key_back(bench: Bench) -> None:
    """Two rotations, then the first statement again: its key is in use no more."""
    rotate_identity(bench.device.directory)
    first = bench.root / "first.cose"
    first.write_bytes(statement(bench).read_bytes())
    for _ in range(2):
        issued = enrol(bench.receiver.directory, statement(bench))
        keyfiles.replace_file(bench.device.certificate, issued.pem, keyfiles.PUBLIC_MODE)
        rotate_identity(bench.device.directory)
        rotate_identity(bench.device.directory)
    with pytest.raises(VerificationError, match="in use no more"):
        enrol(bench.receiver.directory, first)


def _csr(name: str) -> bytes:
    return certificate_request(ec.generate_private_key(ec.SECP256R1()), name).public_bytes(Encoding.DER)


def _flipped(bench: Bench) -> Path:
    path = forge(bench, old_key=bench.device.signing_key)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return path


def _longer(bench: Bench) -> Path:
    path = forge(bench, old_key=bench.device.signing_key)
    path.write_bytes(path.read_bytes() + bytes(4096))
    return path


@pytest.mark.parametrize(
    ("make", "error", "expected"),
    [
        (lambda b: forge(b, old_key=Ed25519PrivateKey.generate()), VerificationError, "not enrolled here"),
        (
            lambda b: forge(b, old_key=add_device(b.receiver, b.root / "other", name="cam-2").signing_key),
            VerificationError,
            "signed by a key of cam-2",
        ),
        (lambda b: forge(b, old_key=b.device.signing_key, device="Cam 1"), FormatError, "device name"),
        (
            lambda b: forge(b, old_key=b.device.signing_key, csr=b"nonsense"),
            FormatError,
            "not a DER certificate request",
        ),
        (
            lambda b: forge(b, old_key=b.device.signing_key, csr=_csr("cam-2")),
            FormatError,
            "must be CN=cam-1 and nothing else",
        ),
        (
            lambda b: forge(
                b,
                old_key=b.device.signing_key,
                new_key=add_device(b.receiver, b.root / "other", name="cam-2").signing_key,
            ),
            VerificationError,
            "or another's",
        ),
        (_flipped, VerificationError, "signature"),
        (_longer, FormatError, "longer than 4096"),
    ],
    ids=["unknown", "other-device", "name", "csr", "csr-name", "taken-key", "signature", "long"],
)
def test_a_rotation_that_does_not_hold_is_refused(
    bench: Bench, make: Callable[[Bench], Path], error: type[PlatesealError], expected: str
) -> None:
    """One line that says why; no device file changes."""
    path = make(bench)
    before = devices(bench)
    with pytest.raises(error, match=expected):
        enrol(bench.receiver.directory, path, another_key=True)
    assert devices(bench) == before


def test_the_file_that_is_refused_is_named(bench: Bench) -> None:
    """As for enrolments."""
    with pytest.raises(FormatError, match=r"forged\.cose: rotation:"):
        load_enrolment(_longer(bench))


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=366)])
def test_an_overlap_out_of_range_is_refused(bench: Bench, overlap: timedelta) -> None:
    """From none to a year."""
    with pytest.raises(UsageError, match="--overlap: 0 to 365 days"):
        enrol(bench.receiver.directory, bench.device.directory / "enrolment.json", overlap=overlap)


def test_the_old_certificate_connects_until_the_overlap_ends(bench: Bench) -> None:
    """By the receiver's clock; the new one connects from the start and stays."""
    old_pem = bench.device.certificate.read_bytes()
    rotate_identity(bench.device.directory)
    new_pem = enrol(bench.receiver.directory, statement(bench), now=NOW, overlap=timedelta(hours=1)).pem
    for seconds, connects in ((0, True), (3599, True), (3600, False)):
        moment = NOW + timedelta(seconds=seconds)
        book = DeviceBook(bench.receiver.devices, now=lambda at=moment: at)  # type: ignore[misc]
        for pem, expected in ((old_pem, connects), (new_pem, True)):
            certificate = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
            assert (book.by_certificate(certificate) is not None) is expected


def test_reads_of_the_old_key_are_taken_long_after_the_overlap(bench: Bench) -> None:
    """They may come from a spool behind a dead link: over the new connection they are stored, whenever they come."""
    old_key = bench.device.signing_key
    step = rotate_identity(bench.device.directory)
    enrol(bench.receiver.directory, statement(bench), now=NOW, overlap=timedelta(0))
    new_key = keyfiles.load_ed25519_private(bench.device.signing_key_path)
    late = NOW + timedelta(days=400)
    book = DeviceBook(bench.receiver.devices, now=lambda: late)
    sender = book.by_key_id(step.key_id)
    assert sender is not None
    batch = [envelope.data for key in (old_key, new_key) for envelope in make_chain(key, 2)]
    with SqliteStore.open(bench.receiver.store) as store:
        receipt_key = keyfiles.load_ed25519_private(bench.receiver.receipt_key)
        answers = Intake(devices=book, store=store, receipt_key=receipt_key, now=lambda: late).take(batch, sender)
    assert [type(answer) for answer in answers] == [Stored] * 4


def test_until_the_statement_is_carried_new_reads_are_put_off(bench: Bench) -> None:
    """Later, never refused; afterwards the same envelopes are stored, over the old connection too."""
    rotate_identity(bench.device.directory)
    new_key = keyfiles.load_ed25519_private(bench.device.signing_key_path)
    book = DeviceBook(bench.receiver.devices)
    sender = book.by_key_id(bench.device.key_id)
    assert sender is not None
    batch = [envelope.data for envelope in make_chain(new_key, 2)]
    with SqliteStore.open(bench.receiver.store) as store:
        receipt_key = keyfiles.load_ed25519_private(bench.receiver.receipt_key)
        intake = Intake(devices=book, store=store, receipt_key=receipt_key)
        assert intake.take(batch, sender) == [Later(NOT_ENROLLED_WAIT_S)] * 2
        enrol(bench.receiver.directory, statement(bench))
        assert [type(answer) for answer in intake.take(batch, sender)] == [Stored] * 2


def test_an_old_enrolment_does_not_undo_a_rotation(bench: Bench) -> None:
    """Renewing the old key by its first request keeps what followed it, and until when."""
    first = bench.root / "enrolment.json"
    first.write_bytes((bench.device.directory / "enrolment.json").read_bytes())
    rotate_identity(bench.device.directory)
    enrol(bench.receiver.directory, statement(bench), now=NOW)
    with pytest.raises(UsageError, match="another key"):
        enrol(bench.receiver.directory, first)
    enrol(bench.receiver.directory, first, another_key=True)
    old = DeviceBook(bench.receiver.devices).by_key_id(bench.device.key_id)
    assert old is not None
    assert old.rotated is not None
    assert old.rotated.certificates_until == NOW + DEFAULT_OVERLAP


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rotated_to": "00" * 32}, "belong together"),
        ({"certificates_until": "2026-03-01T00:00:00+00:00"}, "belong together"),
        ({"rotated_to": "xx", "certificates_until": "2026-03-01T00:00:00+00:00"}, r"'rotated_to' must match"),
        ({"rotated_to": "00" * 32, "certificates_until": "soon"}, "ISO 8601"),
        ({"rotated_to": "00" * 32, "certificates_until": "2026-03-01T00:00:00"}, "time zone"),
        ({"rotated_to": 7, "certificates_until": 7}, "must be a text"),
        ({"rotated_to": None, "certificates_until": None}, "belong together"),
        ({"certificate_sha256": []}, "at least 1"),
        ({"certificate_sha256": ["0" * 64] * 3}, "at most 2"),
        ({"certificate_sha256": ["0" * 63]}, "'certificate_sha256' must match"),
        ({"v": 1.5}, "'v' is version 1.5, only 2"),
    ],
)
def test_a_damaged_device_file_is_named(bench: Bench, change: dict[str, object], expected: str) -> None:
    """The marks of a rotation in a record of version 1 are read as strictly as the rest."""
    path = bench.receiver.devices / f"{bench.device.key_id.hex()}.json"
    path.write_text(json.dumps({**record_of_version_1(path), **change}))
    with pytest.raises(ReceiverError, match=expected):
        DeviceBook(bench.receiver.devices).by_key_id(bench.device.key_id)


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return done.stdout


def test_the_command_takes_a_rotation(bench: Bench) -> None:
    """`receiver enrol DIR rotation.cose --overlap 2d`: certificate beside the file, both keys named; JSON likewise."""
    step = rotate_identity(bench.device.directory)
    directory = str(bench.receiver.directory)
    text = _run("enrol", directory, str(statement(bench)), "--overlap", "2d")
    assert f"It follows key {bench.device.key_id.hex()[:16]}" in text
    assert rotate_identity(bench.device.directory).state == "finished"
    path = forge(bench, old_key=keyfiles.load_ed25519_private(bench.device.signing_key_path))
    value = json.loads(_run("enrol", directory, str(path), "--json"))
    assert value["replaces"] == step.key_id.hex()
    assert datetime.fromisoformat(value["overlap_until"]) > datetime.now(UTC) + timedelta(days=6)


@pytest.mark.parametrize("overlap", ["", "7", "d", "-1d", "7w", "1.5d", "999999d"])
def test_an_overlap_that_is_no_length_is_refused(bench: Bench, overlap: str) -> None:
    """One line with the option and an example."""
    with pytest.raises(UsageError, match="--overlap.*as in 24h"):
        _run("enrol", str(bench.receiver.directory), str(statement(bench)), "--overlap", overlap)
