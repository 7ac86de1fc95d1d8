"""A unit's certificate is renewed over the connection that it has: the request, who gets one, and the unit's side."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.config.load import load_config
from agent.errors import FormatError, KeyFileError, RejectedError, TransportError, VerificationError
from agent.health.assess import Level
from agent.keys import keyfiles
from agent.keys.renewal import LOOK_EVERY_S, RenewalRequests, load_request, newest_certificate
from agent.keys.rotation import rotate_identity
from agent.receiver.admission.devices import Device, DeviceBook, EventKind
from agent.receiver.admission.pki import enrol
from agent.receiver.admission.renewals import RenewalBook, renew_units
from agent.receiver.admission.revoke import revoke
from agent.receiver.backup import back_up
from agent.receiver.fleet.own import own_findings
from agent.receiver.layout import ReceiverLayout
from agent.unit.upload import renewal as unit_renewal
from agent.unit.upload.renewal import ASK_EVERY_S, CertificateRenewal
from agent.unit.upload.tls_files import TlsFiles
from agent.wire.renewal import MAX_CERTIFICATE_BYTES, encode_renewal, parse_renewal, verify_renewal
from tests.fakes.clock import FakeClock
from tests.fakes.pki import Bench, add_device, make_bench
from tests.unit.config.test_load import GOOD

NOW = datetime.now(UTC).replace(microsecond=0)


class Desk:
    """A receiver, and an enrolled unit whose certificate is 300 days old."""

    def __init__(self, root: Path) -> None:
        self.bench: Bench = make_bench(root)
        self.directory = self.bench.receiver.directory
        self.book = DeviceBook(self.bench.receiver.devices)
        self.renewals = RenewalBook(self.bench.receiver)
        self.renew_by_hand(NOW - timedelta(days=300))
        self.state = root / "state"
        self.state.mkdir()
        text = GOOD.replace('"ca.pem"', '"receiver/ca.pem"').replace('"tls.', '"device/tls.')
        (root / "unit.toml").write_text(text)
        self.unit = load_config(root / "unit.toml").model_copy(update={"state_dir": self.state})
        self.clock = FakeClock(NOW)

    def renew_by_hand(self, at: datetime) -> None:
        """Let the owner carry a new certificate to the unit."""
        device = self.bench.device
        pem = enrol(self.directory, device.directory / "enrolment.json", now=at).pem
        keyfiles.replace_file(device.certificate, pem, keyfiles.PUBLIC_MODE)

    def device(self) -> Device:
        """Return the receiver's record of the unit."""
        found = self.book.by_key_id(self.bench.device.key_id)
        assert found is not None
        return found

    def request(self) -> bytes:
        """Return the request that capture signs now."""
        self.requests().look(self.bench.device.signing_key)
        found = load_request(self.state)
        assert found is not None
        return found.data

    def requests(self) -> RenewalRequests:
        """Return capture's side."""
        return RenewalRequests(self.unit.upload.certificate, self.state, self.clock)

    def ask(self, data: bytes) -> bytes | None:
        """Bring a request to the receiver."""
        return self.renewals.ask(data, self.device())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a receiver and a unit."""
    return Desk(tmp_path)


def certificate_of(pem: bytes) -> x509.Certificate:
    """Parse a certificate."""
    return x509.load_pem_x509_certificate(pem)


def test_a_request_waits_is_answered_and_is_fetched(desk: Desk) -> None:
    """For the same key, a year from now; the certificate that asked goes on, and nobody else's is touched."""
    data = desk.request()
    assert desk.ask(data) is None
    assert desk.ask(data) is None
    assert len(desk.renewals.waiting()) == 1
    assert [each.level for each in own_findings(desk.bench.receiver, NOW)] == [Level.LOOK]
    answered = list(renew_units(desk.directory, now=NOW))
    assert [(each.device, each.refusal) for each in answered] == [("cam-1", "")]
    assert list(own_findings(desk.bench.receiver, NOW)) == []
    pem = desk.ask(data)
    assert pem is not None
    before, new = certificate_of(desk.bench.device.certificate.read_bytes()), certificate_of(pem)
    assert (new.public_key(), new.subject) == (before.public_key(), before.subject)
    assert new.not_valid_after_utc == NOW + timedelta(days=365)
    for each in (before, new):
        assert desk.book.by_certificate(each.public_bytes(Encoding.DER)) is not None
    assert [each.kind for each in desk.device().history][-1] is EventKind.RENEWED
    assert desk.renewals.waiting() == []
    assert list(renew_units(desk.directory)) == []


@pytest.mark.parametrize("is_answered", [False, True], ids=["waits", "answered"])
def test_a_restored_receiver_goes_on_with_what_was_asked(desk: Desk, tmp_path: Path, is_answered: bool) -> None:
    """A request that waits is answered there; an answer that was not fetched is fetched there."""
    data = desk.request()
    desk.ask(data)
    (desk.bench.receiver.renewals / "note").write_text("of nobody's")
    if is_answered:
        assert len(list(renew_units(desk.directory, now=NOW))) == 1
    back_up(desk.directory, tmp_path / "copy", with_keys=True, watch=lambda *_: None)
    copied = ReceiverLayout(tmp_path / "copy")
    assert not (copied.renewals / "note").exists()
    assert [each.device for each in renew_units(copied.directory, now=NOW)] == ([] if is_answered else ["cam-1"])
    sender = DeviceBook(copied.devices).by_key_id(desk.bench.device.key_id)
    assert sender is not None
    answer = RenewalBook(copied).ask(data, sender)
    assert answer is not None
    assert certificate_of(answer).not_valid_after_utc == NOW + timedelta(days=365)


def test_the_certificate_that_asked_goes_on_whatever_was_issued_meanwhile(desk: Desk) -> None:
    """A certificate that was made by hand and never brought to the unit does not push its own out."""
    data = desk.request()
    desk.ask(data)
    enrol(desk.directory, desk.bench.device.directory / "enrolment.json")
    list(renew_units(desk.directory, now=NOW))
    der = ssl.PEM_cert_to_DER_cert(desk.bench.device.certificate.read_text())
    assert desk.book.by_certificate(der) is not None
    assert desk.ask(data) is not None


def test_a_revoked_key_gets_none(desk: Desk) -> None:
    """Neither at the door nor when the requests that were kept are answered; the request is gone then."""
    data = desk.request()
    desk.ask(data)
    revoke(desk.directory, "cam-1", reason="stolen")
    with pytest.raises(VerificationError, match="was revoked"):
        desk.ask(data)
    answered = list(renew_units(desk.directory))
    assert [(each.expires_at, "was revoked" in each.refusal) for each in answered] == [(None, True)]
    assert desk.renewals.waiting() == []
    assert not list(desk.bench.receiver.renewals.glob("*.pem"))


def test_a_key_that_was_rotated_out_gets_none(desk: Desk) -> None:
    """The new key's certificate comes with the rotation."""
    data = desk.request()
    desk.ask(data)
    identity = desk.bench.device.directory
    rotate_identity(identity)
    enrol(desk.directory, identity / "rotation.cose")
    with pytest.raises(VerificationError, match="has been followed by key"):
        desk.ask(data)
    assert ["followed by key" in each.refusal for each in renew_units(desk.directory)] == [True]


def test_what_the_enrolled_key_has_not_signed_gets_none(desk: Desk) -> None:
    """Another's key, another's name, another's certificate, or one that is not the unit's any more."""
    device, key = desk.device(), desk.bench.device.signing_key
    own = ssl.PEM_cert_to_DER_cert(desk.bench.device.certificate.read_text())
    other = add_device(desk.bench.receiver, desk.bench.root / "other", name="cam-2")
    others = ssl.PEM_cert_to_DER_cert(other.certificate.read_text())
    for data, told in (
        (encode_renewal(device="cam-1", certificate_der=own, key=Ed25519PrivateKey.generate()), "signed by key"),
        (encode_renewal(device="cam-2", certificate_der=own, key=key), "names cam-2"),
        (encode_renewal(device="cam-1", certificate_der=others, key=key), "no such certificate"),
        (encode_renewal(device="cam-1", certificate_der=own, key=other.signing_key), "signed by key"),
    ):
        with pytest.raises(VerificationError, match=told):
            desk.renewals.ask(data, device)
    good = bytearray(encode_renewal(device="cam-1", certificate_der=own, key=key))
    good[-1] ^= 1
    with pytest.raises(VerificationError, match="signature"):
        desk.renewals.ask(bytes(good), device)
    assert desk.renewals.waiting() == []


@pytest.mark.parametrize("data", [b"", b"\xd2", b"x" * 10_000])
def test_what_is_no_request_is_refused(desk: Desk, data: bytes) -> None:
    """As malformed, and nothing is kept."""
    with pytest.raises(FormatError, match="renewal"):
        desk.ask(data)
    assert desk.renewals.waiting() == []


def test_a_statement_is_what_was_signed() -> None:
    """Round trip, and its limits."""
    key = Ed25519PrivateKey.generate()
    renewal = parse_renewal(encode_renewal(device="cam-1", certificate_der=b"der", key=key))
    verify_renewal(renewal, key.public_key())
    assert (renewal.device, renewal.certificate_der) == ("cam-1", b"der")
    for size in (0, MAX_CERTIFICATE_BYTES + 1):
        with pytest.raises(FormatError, match="certificate has"):
            parse_renewal(encode_renewal(device="cam-1", certificate_der=b"d" * size, key=key))


def test_a_run_that_was_cut_off_before_the_record_is_done_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the first run lets nobody in and is not handed out; the unit keeps what it has."""
    data = desk.request()
    desk.ask(data)

    def cut(*_: object) -> None:
        raise KeyFileError("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(DeviceBook, "save", cut)
        with pytest.raises(KeyFileError):
            list(renew_units(desk.directory, now=NOW))
    assert desk.ask(data) is None
    assert len(list(renew_units(desk.directory, now=NOW))) == 1
    assert desk.ask(data) is not None


def test_the_command_answers_all_and_needs_the_ca_key_only_then(desk: Desk, tmp_path: Path) -> None:
    """Where no request waits, nothing is asked for; the key may lie elsewhere."""
    away = desk.bench.receiver.ca_key.rename(tmp_path / "vault.key")
    command = ["renew", str(desk.directory), "--units"]
    assert "no unit asks" in CliRunner().invoke(app, command).output
    desk.ask(desk.request())
    assert isinstance(CliRunner().invoke(app, command).exception, KeyFileError)
    done = CliRunner().invoke(app, [*command, "--ca-key", str(away), "--json"], catch_exceptions=False)
    assert [each["device"] for each in json.loads(done.output)] == ["cam-1"]


def test_capture_signs_one_request_and_only_in_the_last_third(desk: Desk) -> None:
    """For the certificate in use, under the key that it carries; a new certificate gets a new request later."""
    desk.renew_by_hand(NOW)
    requests, key = desk.requests(), desk.bench.device.signing_key
    for days, wanted in ((0, False), (240, False), (250, True)):
        desk.clock.current = NOW + timedelta(days=days)
        desk.clock.advance(LOOK_EVERY_S)
        requests.look(key)
        assert (load_request(desk.state) is not None) == wanted
    first = load_request(desk.state)
    written = (desk.state / "renewal.cose").stat().st_mtime_ns
    desk.clock.advance(LOOK_EVERY_S)
    requests.look(key)
    assert (desk.state / "renewal.cose").stat().st_mtime_ns == written
    desk.clock.advance(LOOK_EVERY_S)
    requests.look(Ed25519PrivateKey.generate())
    assert load_request(desk.state) == first


class Line:
    """What the receiver answers to a unit, and to the trial connection."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: bytes | Exception | None = None
        self.status = 204
        self.asked = 0
        monkeypatch.setattr(unit_renewal, "_try_out", lambda *_: self.status)
        self.renewal = CertificateRenewal(lambda: desk.unit, self._ask, desk.clock)

    def _ask(self, data: bytes) -> bytes | None:
        parse_renewal(data)
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def look(self, desk: Desk) -> None:
        """Let the unit ask."""
        desk.clock.advance(2 * ASK_EVERY_S)
        self.renewal.look()


def test_a_unit_uses_a_certificate_only_when_the_receiver_answers_to_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, not there yet, garbage, not let in: each is told once, and the one in use goes on until all is well."""
    line, certificate = Line(desk, monkeypatch), desk.unit.upload.certificate
    line.look(desk)
    assert line.asked == 0  # capture has not signed
    data = desk.request()
    tls = TlsFiles(desk.unit.upload, desk.clock, state_dir=desk.state)
    desk.ask(data)
    list(renew_units(desk.directory, now=NOW))
    good = desk.ask(data)
    assert good is not None
    for answer, status, told in (
        (None, 204, "waits for the receiver's owner"),
        (RejectedError("answered 403"), 204, "answered 403"),
        (TransportError("gone"), 204, "gone"),
        (b"<html>", 204, "not a PEM certificate"),
        (certificate.read_bytes(), 204, "ends no later"),
        (desk.bench.receiver.server_certificate.read_bytes(), 204, "for another key"),
        (good, 403, "answered 403 to it"),
    ):
        line.answer, line.status = answer, status
        caplog.clear()
        line.look(desk)
        line.look(desk)
        assert (len(caplog.records), told in caplog.text) == (1, True), told
        assert newest_certificate(certificate, desk.state) == certificate
        assert tls.renewed() is None
    line.answer, line.status = good, 204
    line.look(desk)
    assert newest_certificate(certificate, desk.state).read_bytes() == good
    assert tls.renewed() is not None
    asked = line.asked
    line.look(desk)
    assert line.asked == asked  # nothing is due any more


def test_while_nothing_is_new_the_receiver_is_asked_seldom(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit's own files are looked at often, the line is used every ten minutes."""
    line = Line(desk, monkeypatch)
    desk.request()
    for _ in range(20):
        line.renewal.look()
    assert line.asked == 1


def test_the_owners_newer_certificate_wins_and_a_useless_one_is_told(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several the one that was issued last; one that fits no key is passed over with one line."""
    renewed = desk.state / "renewed.pem"
    enrolment = desk.bench.device.directory / "enrolment.json"
    renewed.write_bytes(enrol(desk.directory, enrolment, now=NOW - timedelta(days=10)).pem)
    certificate = desk.unit.upload.certificate
    assert newest_certificate(certificate, desk.state) == renewed
    desk.renew_by_hand(NOW)
    assert newest_certificate(certificate, desk.state) == certificate
    other = add_device(desk.bench.receiver, desk.bench.root / "other", name="cam-2")
    keyfiles.replace_file(certificate, other.certificate.read_bytes(), keyfiles.PUBLIC_MODE)
    TlsFiles(desk.unit.upload, desk.clock, state_dir=desk.state)
    assert caplog.text.count("a newer certificate is not used") == 1
    fingerprint = certificate_of(renewed.read_bytes()).fingerprint(hashes.SHA256()).hex()
    assert fingerprint in desk.device().fingerprints
