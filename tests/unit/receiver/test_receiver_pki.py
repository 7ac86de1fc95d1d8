"""The bench CA: what init makes, what enrol allows, and the commands over both."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.errors import KeyFileError, PlatesealError, ReceiverError, UsageError, VerificationError
from agent.keys import keyfiles
from agent.keys.identity import Identity, create_identity
from agent.receiver.admission.certificates import CLIENT_DAYS
from agent.receiver.admission.devices import DeviceBook, key_id_of
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.layout import ReceiverLayout
from tests.fakes.pki import make_bench

_NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def receiver(tmp_path: Path) -> ReceiverLayout:
    """Return a new receiver."""
    return init_receiver(tmp_path / "receiver", now=_NOW)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """Return a new device, not enrolled."""
    return create_identity(tmp_path / "device", name="cam-1")


def test_init_makes_every_part_and_guards_the_keys(receiver: ReceiverLayout) -> None:
    """All files are there; private keys and store are their owner's only."""
    assert all(path.exists() for path in receiver.everything)
    for path in (receiver.ca_key, receiver.server_key, receiver.receipt_key, receiver.store):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(receiver.directory.stat().st_mode) == 0o700


def test_receipt_key_files_are_a_pair(receiver: ReceiverLayout) -> None:
    """What devices pin is the public half of what signs."""
    private = keyfiles.load_ed25519_private(receiver.receipt_key)
    assert private.public_key() == keyfiles.load_ed25519_public(receiver.receipt_public)


def test_init_overwrites_nothing(receiver: ReceiverLayout) -> None:
    """A second init is refused and changes no file."""
    before = {path: path.read_bytes() for path in receiver.everything if path.is_file()}
    with pytest.raises(ReceiverError, match="holds a receiver already"):
        init_receiver(receiver.directory)
    assert {path: path.read_bytes() for path in before} == before


def test_half_made_receiver_is_diagnosed(receiver: ReceiverLayout) -> None:
    """With only some of the files there, they are named."""
    receiver.store.unlink()
    with pytest.raises(ReceiverError, match=r"holds ca\.key, .*part of a receiver"):
        init_receiver(receiver.directory)


@pytest.mark.parametrize("host", ["", "a b", "-a.example", "a..b", "https://a", "*.example", "é.example", "a" * 64])
def test_host_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    """What is neither a DNS name nor an address is refused before a file is made."""
    with pytest.raises(UsageError, match="--host"):
        init_receiver(tmp_path / "receiver", hosts=[host])
    assert not (tmp_path / "receiver").exists()


def test_hosts_are_in_the_server_certificate(tmp_path: Path) -> None:
    """Names and addresses given are the ones the certificate holds for."""
    layout = init_receiver(tmp_path / "receiver", hosts=["Reads.Example.org", "192.0.2.7"])
    certificate = x509.load_pem_x509_certificate(layout.server_certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["reads.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]


def test_too_many_hosts_are_refused(tmp_path: Path) -> None:
    """The number of names has a limit."""
    with pytest.raises(UsageError, match="at most"):
        init_receiver(tmp_path / "receiver", hosts=["a.example"] * 33)


def test_enrolled_device_gets_a_client_certificate_for_its_key(receiver: ReceiverLayout, identity: Identity) -> None:
    """The certificate is for the device's TLS key, names device and signing key, and serves clients only."""
    issued = enrol(receiver.directory, identity.enrolment, now=_NOW)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    tls_key = keyfiles.load_p256_private(identity.directory / "tls.key")
    assert certificate.public_key() == tls_key.public_key()
    assert [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["cam-1"]
    assert key_id_of(certificate) == identity.key_id
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert issued.expires_at == _NOW + timedelta(days=CLIENT_DAYS)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(receiver.ca.read_bytes()))


def test_device_file_says_what_was_enrolled(receiver: ReceiverLayout, identity: Identity) -> None:
    """The device's file holds name, key and the certificate's fingerprint, and the book finds it by both."""
    issued = enrol(receiver.directory, identity.enrolment, now=_NOW)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    device = DeviceBook(receiver.devices).by_key_id(identity.key_id)
    assert device is not None
    assert (device.name, device.key_id, device.enrolled_at) == ("cam-1", identity.key_id, _NOW)
    assert device.fingerprints == (certificate.fingerprint(hashes.SHA256()).hex(),)
    assert [path.name for path in receiver.devices.iterdir()] == [f"{identity.key_id.hex()}.json"]


def test_another_key_under_a_name_needs_a_word(receiver: ReceiverLayout, identity: Identity, tmp_path: Path) -> None:
    """A second key for a name is refused unless it is asked for; the first stays enrolled either way."""
    enrol(receiver.directory, identity.enrolment)
    second = create_identity(tmp_path / "second", name="cam-1")
    with pytest.raises(UsageError, match="another key"):
        enrol(receiver.directory, second.enrolment)
    assert len(DeviceBook(receiver.devices).all()) == 1
    assert enrol(receiver.directory, second.enrolment, another_key=True).other_keys == 1
    assert {device.key_id for device in DeviceBook(receiver.devices).named("cam-1")} == {identity.key_id, second.key_id}


def test_bad_request_enrols_nobody(receiver: ReceiverLayout, identity: Identity) -> None:
    """A proof that does not hold leaves the folder of devices as it was."""
    value = json.loads(identity.enrolment.read_text())
    value["key_id"] = "00" * 32
    identity.enrolment.write_text(json.dumps(value))
    with pytest.raises(VerificationError):
        enrol(receiver.directory, identity.enrolment)
    assert list(receiver.devices.iterdir()) == []


def test_missing_or_foreign_ca_is_named(receiver: ReceiverLayout, identity: Identity) -> None:
    """Enrolling needs the CA's key and the certificate that belongs to it."""
    receiver.ca.write_text("no certificate")
    with pytest.raises(KeyFileError, match=r"ca\.pem: not a PEM certificate"):
        enrol(receiver.directory, identity.enrolment)
    receiver.ca.write_bytes(receiver.server_certificate.read_bytes())
    with pytest.raises(KeyFileError, match=r"is not the certificate of ca\.key"):
        enrol(receiver.directory, identity.enrolment)
    receiver.ca_key.unlink()
    with pytest.raises(KeyFileError, match=r"ca\.key: No such file"):
        enrol(receiver.directory, identity.enrolment)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 3),
        ("name", 1),
        ("key_id", "00" * 32),
        ("public_key", "AAAA"),
        ("certificate_sha256", []),
        ("certificate_sha256", ["a", "b"]),
        ("certificate_sha256", "a" * 64),
        ("history", []),
        ("history", [{"event": "enrolled", "at": "yesterday", "log": 0}]),
        ("history", [{"event": "enrolled", "at": "2026-03-01T00:00:00", "log": 0}]),
        ("history", [{"event": "enrolled", "at": "2026-03-01T00:00:00Z", "log": -1}]),
        ("history", [{"event": "revoked", "at": "2026-03-01T00:00:00Z", "log": 0}]),
        ("receiver", "00" * 32),
        ("signature", "AA" * 43 + "=="),
        ("extra", 1),
    ],
)
def test_damaged_device_file_is_an_error_and_not_a_stranger(tmp_path: Path, field: str, value: object) -> None:
    """A file that is there but wrong raises; it is never taken for 'not enrolled'."""
    bench = make_bench(tmp_path)
    path = bench.receiver.devices / f"{bench.device.key_id.hex()}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ReceiverError, match="devices"):
        DeviceBook(bench.receiver.devices).by_key_id(bench.device.key_id)


def test_book_passes_over_other_files_and_knows_no_strangers(tmp_path: Path) -> None:
    """Files that are no device's are not looked into; unknown keys and foreign certificates are nobody's."""
    bench = make_bench(tmp_path)
    for name in ("README.json", "notes.txt", "AB" * 32 + ".json"):
        (bench.receiver.devices / name).write_text("?")
    book = DeviceBook(bench.receiver.devices)
    assert [device.name for device in book.all()] == ["cam-1"]
    assert book.by_key_id(bytes(32)) is None
    for path in (bench.receiver.ca, bench.receiver.server_certificate):
        der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
        assert book.by_certificate(der) is None


def test_missing_devices_folder_is_an_error(tmp_path: Path) -> None:
    """A folder of devices that is not there is named."""
    with pytest.raises(ReceiverError, match="devices: No such file"):
        DeviceBook(tmp_path / "devices").all()


def _invoke(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def test_commands_make_and_enrol(tmp_path: Path, identity: Identity) -> None:
    """`receiver init` and `enrol` print what comes next, and the certificate lies beside the request."""
    directory = str(tmp_path / "receiver")
    assert "receipt.pub" in _invoke("init", directory)
    assert "cam-1: key " in _invoke("enrol", directory, str(identity.enrolment))
    assert b"CERTIFICATE" in (identity.directory / "tls.pem").read_bytes()


def test_commands_answer_a_program(tmp_path: Path, identity: Identity) -> None:
    """`--json` prints one object each; `--out` says where the certificate goes; renewal overwrites it."""
    directory = str(tmp_path / "receiver")
    assert json.loads(_invoke("init", directory, "--host", "a.example", "--json"))["hosts"] == ["a.example"]
    out = tmp_path / "cert.pem"
    for _ in range(2):
        value = json.loads(_invoke("enrol", directory, str(identity.enrolment), "--out", str(out), "--json"))
        assert (value["device"], value["certificate"], value["other_keys"]) == ("cam-1", str(out), 0)
    second = create_identity(tmp_path / "second", name="cam-1")
    assert "1 other key" in _invoke("enrol", directory, str(second.enrolment), "--another-key")


def test_serve_without_a_receiver_is_one_line(tmp_path: Path) -> None:
    """`receiver serve` in an empty folder says that it holds none, and the command that makes one."""
    with pytest.raises(PlatesealError, match="holds no receiver; to make one: plateseal receiver init"):
        _invoke("serve", str(tmp_path))


@pytest.mark.parametrize("command", ["init", "enrol", "serve"])
def test_every_command_has_an_example(command: str) -> None:
    """`--help` shows how the command is used."""
    assert f"Example: plateseal receiver {command}" in " ".join(_invoke(command, "--help").split())


def test_ca_key_is_ecdsa_p256(receiver: ReceiverLayout) -> None:
    """The CA's certificate is a P-256 one that may sign leaves only."""
    certificate = x509.load_pem_x509_certificate(receiver.ca.read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
