"""`status`, the doctor and the fleet page say the same of the same fault, and the same mends it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.bench.demo import device_config, set_up_parts
from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.health.assess import Finding, Level, assess
from agent.keys.keyfiles import private_pem, public_pem
from agent.receiver.admission.pki import enrol
from agent.receiver.fleet.overview import assess_unit
from agent.receiver.fleet.page import render_fleet
from agent.receiver.fleet.store import Reported
from agent.unit.doctor import delivery, files, machine, parts
from agent.unit.doctor.diagnosis import load_unit
from agent.unit.doctor.finding import Finding as DoctorFinding
from agent.unit.doctor.finding import Outcome
from agent.unit.doctor.running import running
from agent.unit.process.clock_trust import RECEIPT_FILE
from agent.unit.reload.states import ConfigNote, ConfigNoteFile
from agent.unit.status import report as status_report
from agent.unit.status.findings import status_findings
from agent.unit.status.last_error import ErrorNote
from agent.unit.status.metrics import MetricsFiles, snapshot_path
from agent.unit.status.report import read_health
from agent.unit.status.samples import Sample
from agent.wire.plaintext import ClockState
from tests.fakes.health import NOW, make_report, troubled

CLIP = Path(machine.__file__).parents[2] / "bench" / "clips" / "demo.mp4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bench with everything that belongs to it; nothing runs."""
    root = tmp_path_factory.mktemp("words") / "bench"
    set_up_parts(root)
    for name in ("state", "spool", "spool/pending", "spool/quarantine"):
        (root / "device" / name).mkdir(mode=0o700)
    config = device_config(root / "receiver", port=1, clip=CLIP, models=None)
    (root / "device" / "unit.toml").write_text(f'{config}\n[bundle]\nincoming = "incoming/unit.bundle"\n')
    return root


@pytest.fixture
def unit(made: Path, tmp_path: Path) -> UnitConfig:
    """Return a copy of the unit, which a test may spoil."""
    shutil.copytree(made, tmp_path / "bench")
    return load_unit(tmp_path / "bench" / "device" / "unit.toml")


def _enrol(unit: UnitConfig, now: datetime) -> None:
    enrolment = unit.upload.certificate.with_name("enrolment.json")
    unit.upload.certificate.write_bytes(enrol(unit.state_dir.parents[1] / "receiver", enrolment, now=now).pem)


def _set_aside(unit: UnitConfig) -> None:
    path = unit.spool.directory / "quarantine" / ("a" * 64)
    path.write_bytes(b"x")
    path.with_name(path.name + ".reason").write_text("refused: envelope: of device cam-9")


def _refuse_configuration(unit: UnitConfig) -> None:
    note = ConfigNoteFile(unit.state_dir, "upload", LocalFiles())
    note.replace(ConfigNote(newest=3, rejected_serial=3, rejected="spool.max_bytes: is 5; should be more"))


def _end_with_an_error(unit: UnitConfig) -> None:
    ErrorNote(unit.state_dir / "last-error-capture.json").note("capture ended: the disk is full")


FAULTS: dict[str, tuple[Callable[[UnitConfig], object], str, Level, str]] = {
    "no certificate": (
        lambda unit: unit.upload.certificate.unlink(), "certificate", Level.TROUBLE, "is missing; it is this"),
    "a certificate not yet valid": (
        lambda unit: _enrol(unit, datetime.now(UTC) + timedelta(days=9)), "certificate", Level.TROUBLE, "before"),
    "a certificate that has ended": (
        lambda unit: _enrol(unit, datetime.now(UTC) - timedelta(days=500)), "certificate", Level.TROUBLE, "ended"),
    "a certificate that ends soon": (
        lambda unit: _enrol(unit, datetime.now(UTC) - timedelta(days=350)), "certificate", Level.LOOK, "ends in"),
    "another key's certificate": (
        lambda unit: unit.upload.key.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1()))),
        "TLS files", Level.TROUBLE, "do not belong together"),
    "another unit's identity": (
        lambda unit: unit.seal.signing_key.write_bytes(private_pem(Ed25519PrivateKey.generate())),
        "identity", Level.TROUBLE, "is for signing key"),
    "no receipt key": (
        lambda unit: unit.upload.receiver_key.unlink(), "receipt key", Level.TROUBLE, "is missing; it is the"),
    "another owner's key": (
        lambda unit: unit.seal.owner_key.write_bytes(public_pem(Ed25519PrivateKey.generate().public_key())),
        "keyring", Level.TROUBLE, "keyring"),
    "a keyring that ends soon": (lambda unit: None, "keyring", Level.LOOK, "ends in"),
    "a private key open to all": (
        lambda unit: unit.upload.key.chmod(0o644), "private keys", Level.TROUBLE, "lets others at a private key"),
    "a folder open to all": (lambda unit: unit.state_dir.chmod(0o755), "permissions", Level.TROUBLE, "lets others in"),
    "a clock that is behind": (
        lambda unit: (unit.state_dir / RECEIPT_FILE).write_bytes(b"4102444800000 4102444800000\n"),
        "clock", Level.TROUBLE, "shows a time that is over"),
    "reads set aside": (_set_aside, "spool", Level.LOOK, "has set 1 aside"),
    "a configuration that was refused": (_refuse_configuration, "upload config", Level.LOOK, "was refused"),
    "a daemon that has ended": (_end_with_an_error, "capture", Level.TROUBLE, "does not run"),
}  # fmt: skip


def examined(unit: UnitConfig) -> Iterator[DoctorFinding]:
    """Yield what the doctor finds without cameras, models and a receiver, which status does not ask."""
    yield from machine.examine_machine(unit, unit.state_dir.with_name("unit.toml"))
    yield from files.permissions(unit)
    yield files.keyring(unit)
    yield from parts.spool(unit)
    yield from parts.configuration(unit)
    yield from delivery.certificates(unit)
    yield delivery.tls_files(unit)
    yield delivery.identity(unit)
    yield delivery.receipt_key(unit)


def assert_the_doctor_says_so_too(unit: UnitConfig, found: list[Finding]) -> None:
    """Each finding of status is one of the doctor's, which may say more behind the same words."""
    told = [*examined(unit)]
    assert found
    for each in found:
        same = [
            one for one in told if one.check == each.about and _timeless(one.what).startswith(_timeless(each.words))
        ]
        assert same, (each, told)
        assert [(one.why, one.mend) for one in same] == [(each.why, each.mend)]
        assert each.why, each
        assert each.mend, each


def _timeless(words: str) -> str:
    """Return words without numbers: what is left of a certificate is another second later."""
    return re.sub(r"[0-9]+", "N", words)


@pytest.mark.parametrize("name", FAULTS)
def test_status_and_doctor_tell_a_fault_alike(unit: UnitConfig, name: str) -> None:
    """Whatever is wrong at the unit: the part, the sentence, why, and what mends it."""
    spoil, about, level, words = FAULTS[name]
    spoil(unit)
    found = status_findings(unit, read_health(unit))
    assert [(each.about, each.level) for each in found if words in each.words and each.about == about] == [
        (about, level)
    ]
    assert_the_doctor_says_so_too(unit, found)


def test_a_read_only_disk_is_told_alike(unit: UnitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the kernel says of the mount; nothing is tried to be written."""
    real = os.statvfs

    def read_only(path: Path) -> os.statvfs_result:
        return os.statvfs_result((*real(path)[:8], os.ST_RDONLY, *real(path)[9:]))

    monkeypatch.setattr(os, "statvfs", read_only)
    found = status_findings(unit, read_health(unit))
    assert [each.level for each in found if "is on a read-only file system" in each.words] == [Level.TROUBLE]
    assert_the_doctor_says_so_too(unit, found)


def test_a_daemon_that_was_stopped_is_a_warning_of_the_doctor(unit: UnitConfig) -> None:
    """Before the first start nothing runs, which is no fault; one that has ended with an error is, and says which."""
    found = {each.check: each for each in running(unit)}
    assert (found["capture"].outcome, found["upload"].outcome) == (Outcome.WARNING, Outcome.WARNING)
    _end_with_an_error(unit)
    capture = {each.check: each for each in running(unit)}["capture"]
    assert capture.outcome is Outcome.FAULT
    assert capture.what == "does not run; capture ended: the disk is full"
    MetricsFiles(unit.metrics_dir, "capture", tuple).write()
    later_s = time.time() + 60
    os.utime(snapshot_path(unit.metrics_dir, "capture"), (later_s, later_s))
    assert {each.check: each for each in running(unit)}["capture"].what == "does not run"  # it has run since


def test_a_cameras_clock_that_is_off_is_told_alike(unit: UnitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By status and by the doctor, from what capture measures; not while the unit's own clock may be what is wrong."""
    unit = unit.model_copy(update={"source": unit.source.model_copy(update={"uri": "rtsp://192.0.2.1/stream"})})
    samples = [
        Sample("camera_up", 1.0, (unit.camera_id,)),
        Sample("camera_clock_offset_seconds", 7200.0, (unit.camera_id,)),
    ]
    for state, told in ((ClockState.SYNCHRONIZED, 1), (ClockState.UNSYNCHRONIZED, 0)):
        monkeypatch.setattr(status_report, "clock_state", lambda _, state=state: state)
        with MetricsFiles(unit.metrics_dir, "capture", lambda: samples):
            found = [each for each in status_findings(unit, read_health(unit)) if "has a clock" in each.words]
            said = [each for each in running(unit) if "has a clock" in each.what]
        assert [each.text for each in found] == [
            f"camera {unit.camera_id} has a clock 2 h 0 min ahead of the unit's"
        ] * told
        assert [(each.check, each.what, each.why, each.mend) for each in said] == [
            (each.about, each.words, each.why, each.mend) for each in found
        ]
        assert [each.outcome for each in said] == [Outcome.WARNING] * told


@pytest.mark.parametrize("number", range(10))
def test_the_fleet_page_has_the_words_and_what_mends_it(number: int) -> None:
    """Of every finding about a report."""
    report = troubled(number, make_report())
    page = render_fleet([assess_unit("unit", Reported(NOW, report), NOW)], NOW).decode()
    found = assess(report)
    assert found
    for each in found:
        assert escape(each.text, quote=False) in page
        assert escape(each.mend, quote=False) in page
        assert each.mend
