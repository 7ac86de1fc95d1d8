"""The doctor asks a real receiver: what it calls good has been proven, and each fault is named with what mends it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.bench.demo import CAMERA, device_config, set_up_parts
from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.errors import SpoolError
from agent.keys.identity import create_identity
from agent.keys.keyfiles import private_pem, public_pem
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.admission.revoke import revoke
from agent.receiver.layout import ReceiverLayout
from agent.unit.doctor import delivery, parts
from agent.unit.doctor.diagnosis import load_unit
from agent.unit.doctor.finding import Finding, Outcome
from agent.upload.tls import HttpsTransport
from tests.e2e.test_receiver_tls import running
from tests.fakes.pki import Bench, BenchDevice

pytestmark = pytest.mark.e2e

CLIP = Path(parts.__file__).parents[2] / "bench" / "clips" / "demo.mp4"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bench's folder with everything that belongs to it; nothing runs."""
    root = tmp_path_factory.mktemp("doctor") / "bench"
    set_up_parts(root)
    for name in ("state", "spool"):
        (root / "device" / name).mkdir(mode=0o700)
    return root


@pytest.fixture(scope="module")
def port(whole: Path) -> Iterator[int]:
    """Run its receiver."""
    device = BenchDevice(CAMERA, whole / "device" / "identity", b"")
    with running(Bench(whole, ReceiverLayout(whole / "receiver"), device)) as (_, port):
        yield port


@pytest.fixture
def unit(whole: Path, port: int, tmp_path: Path) -> UnitConfig:
    """Return a copy of the unit, which a test may spoil; its receiver runs."""
    device = tmp_path / "device"
    shutil.copytree(whole / "device", device)
    text = device_config(whole / "receiver", port=port, clip=CLIP, models=None)
    (device / "unit.toml").write_text(text.replace("127.0.0.1", "localhost"))
    return load_unit(device / "unit.toml")


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    """Return findings by what was looked at; each that is not good says why, and what mends it."""
    for finding in findings:
        if finding.outcome in (Outcome.WARNING, Outcome.FAULT):
            assert finding.why, finding
            assert finding.mend, finding
    return {finding.check: finding for finding in findings}


def test_a_unit_in_order_is_proven_to_be(unit: UnitConfig, whole: Path) -> None:
    """The receiver answers a probe with its receipt key; nothing is stored for it."""
    before = sorted((whole / "receiver").iterdir())
    found = by_check([*delivery.examine_delivery(unit), parts.sealing(unit), *parts.spool(unit)])
    assert {finding.outcome for finding in found.values()} == {Outcome.GOOD}
    assert "would take a read of this unit, and signs as pinned" in found["receiver"].what
    assert found["sealing"].what == "a sample was sealed to agency"
    assert sorted((whole / "receiver").iterdir()) == before
    assert not list(unit.spool.directory.iterdir())


def _wrong_receipt_key(unit: UnitConfig) -> None:
    unit.upload.receiver_key.write_bytes(public_pem(Ed25519PrivateKey.generate().public_key()))


def _other_tls_key(unit: UnitConfig) -> None:
    unit.upload.key.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))


def _other_signing_key(unit: UnitConfig) -> None:
    unit.seal.signing_key.write_bytes(private_pem(Ed25519PrivateKey.generate()))


def _other_ca(unit: UnitConfig) -> None:
    other = init_receiver(unit.state_dir.parent / "other")
    shutil.copyfile(other.ca, unit.upload.ca)


def _identity_of_nobody(unit: UnitConfig) -> None:
    directory = unit.upload.key.parent
    other = init_receiver(unit.state_dir.parent / "other")
    shutil.rmtree(directory)
    create_identity(directory, name=CAMERA)
    (directory / "tls.pem").write_bytes(enrol(other.directory, directory / "enrolment.json").pem)


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (_wrong_receipt_key, "receiver", "answer: signed by receipt key"),
        (_other_tls_key, "TLS files", "do not belong together"),
        (_other_signing_key, "identity", "is for signing key"),
        (_other_signing_key, "receiver", "is not enrolled; the certificate is that of demo"),
        (_other_ca, "receiver", "the receiver's certificate is by another CA than the one pinned here"),
        (_identity_of_nobody, "receiver", "the receiver refuses this unit's certificate"),
    ],
)
def test_each_fault_on_the_way_is_named(
    unit: UnitConfig, spoil: Callable[[UnitConfig], None], check: str, words: str
) -> None:
    """Where the daemons would only say that nothing is delivered."""
    spoil(unit)
    found = by_check([*delivery.examine_delivery(unit)])
    assert found[check].outcome is Outcome.FAULT
    assert words in found[check].what


def test_a_unit_that_was_revoked_and_one_whose_key_was_followed_are_told(tmp_path: Path) -> None:
    """By the receiver: the unit cannot know."""
    root = tmp_path / "bench"
    set_up_parts(root)
    receiver = ReceiverLayout(root / "receiver")
    bench = Bench(root, receiver, BenchDevice(CAMERA, root / "device" / "identity", b""))
    with running(bench) as (_, port):
        text = device_config(receiver.directory, port=port, clip=CLIP, models=None).replace("127.0.0.1", "localhost")
        (root / "device" / "unit.toml").write_text(text)
        unit = load_unit(root / "device" / "unit.toml")
        assert delivery.receiver(unit).outcome is Outcome.GOOD
        revoke(receiver.directory, CAMERA, reason="stolen")
        finding = delivery.receiver(unit)
    assert finding.outcome is Outcome.FAULT
    assert "answered 403: the client certificate is not that of an enrolled device" in finding.what
    assert delivery.receiver(unit).outcome is Outcome.FAULT  # and now nobody is there


def test_a_certificate_that_is_not_valid_yet_is_told_with_this_units_time(unit: UnitConfig, whole: Path) -> None:
    """A clock that is behind is the usual cause."""
    later = datetime.now(UTC) + timedelta(days=30)
    pem = enrol(whole / "receiver", unit.upload.certificate.with_name("enrolment.json"), now=later).pem
    unit.upload.certificate.write_bytes(pem)
    found = by_check([*delivery.certificates(unit)])
    assert found["certificate"].outcome is Outcome.FAULT
    assert f"and this unit's clock shows {datetime.now(UTC):%Y-%m-%d}" in found["certificate"].what
    assert "timedatectl" in found["certificate"].mend


class ReadOnlyFiles(LocalFiles):
    """A disk that has turned read-only, as a memory card does that dies."""

    def create(self, path: Path, data: bytes) -> None:
        """Refuse."""
        raise SpoolError(f"spool: cannot create {path}: Read-only file system")


def test_a_spool_on_a_dying_card_is_a_fault(unit: UnitConfig) -> None:
    """The doctor writes, syncs and erases a file; looking at modes would find nothing."""
    found = by_check([*parts.spool(unit, ReadOnlyFiles())])
    assert found["spool"].outcome is Outcome.FAULT
    assert "Read-only file system" in found["spool"].what


def test_reads_that_were_set_aside_are_told_with_the_reason(unit: UnitConfig) -> None:
    """They wait for a person, and nobody looks into the folder."""
    aside = unit.spool.directory / "quarantine"
    (unit.spool.directory / "pending").mkdir()
    aside.mkdir()
    (aside / ("a" * 64)).write_bytes(b"x")
    (aside / ("a" * 64 + ".reason")).write_text("refused: envelope: of device cam-9")
    found = by_check([*parts.spool(unit)])
    assert found["spool"].outcome is Outcome.WARNING
    assert "has set 1 aside, the newest: refused: envelope: of device cam-9" in found["spool"].what


def test_an_older_receiver_is_told_to_be_upgraded(unit: UnitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no probe, so what it signs cannot be tried; whether the unit may send can."""
    monkeypatch.setattr(HttpsTransport, "prove", lambda _self, _probe: (404, b"Not Found"))
    finding = delivery.receiver(unit)
    assert finding.outcome is Outcome.WARNING
    assert "is older than this plateseal" in finding.what
