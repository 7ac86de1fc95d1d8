"""The doctor on machines that are and that are not: each fault is found, named, explained, and has a way to mend it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.bench.demo import device_config, set_up_parts
from agent.config.models import CameraConfig, UnitConfig
from agent.errors import ConfigError, UnitFaultError
from agent.keys.keyfiles import private_pem
from agent.unit.doctor import delivery
from agent.unit.doctor import files as doctor_files
from agent.unit.doctor import machine as doctor_machine
from agent.unit.doctor import parts as doctor_parts
from agent.unit.doctor.diagnosis import load_unit, require_sound
from agent.unit.doctor.finding import Finding, Outcome
from agent.unit.doctor.machine import LOCKED, Daemon, core_dumps, disk, hardening, listening, running_daemons, swap
from agent.unit.doctor.sample_keys import is_sample
from agent.unit.process.clock_trust import RECEIPT_FILE
from agent.unit.status.report import clock_state, disk_space
from agent.wire.plaintext import ClockState

CLIP = Path(doctor_machine.__file__).parents[2] / "bench" / "clips" / "demo.mp4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a unit's configuration with everything that belongs to it; nothing runs."""
    root = tmp_path_factory.mktemp("doctor") / "bench"
    set_up_parts(root)
    config = root / "device" / "unit.toml"
    config.write_text(device_config(root / "receiver", port=1, clip=CLIP, models=None))
    for name in ("state", "spool"):
        (root / "device" / name).mkdir(mode=0o700)
    return config


@pytest.fixture
def unit(made: Path) -> UnitConfig:
    """Return the unit."""
    return load_unit(made)


def outcomes(findings: list[Finding]) -> list[Outcome]:
    """Return what was found; every finding that is not good must say why, and how to mend it."""
    for finding in findings:
        if finding.outcome in (Outcome.WARNING, Outcome.FAULT):
            assert finding.why, finding
            assert finding.mend, finding
    return [finding.outcome for finding in findings]


def test_a_unit_in_order_has_no_fault_in_its_parts(unit: UnitConfig) -> None:
    """Permissions, keyring, certificates, keys, models and the clip; its receiver is not there, and is named."""
    findings = [*doctor_parts.examine_parts(unit)]
    faults = [finding for finding in findings if finding.outcome is Outcome.FAULT]
    assert [finding.check for finding in faults] == ["receiver"]
    assert "ConnectError" in faults[0].what
    assert outcomes(findings)
    with pytest.raises(UnitFaultError, match="1 fault: receiver"):
        require_sound(findings)


def test_a_clock_that_shows_a_time_that_is_over_is_named(unit: UnitConfig) -> None:
    """The doctor and status say so before any read is made: a receipt came in the year 2100."""
    note = unit.state_dir / RECEIPT_FILE
    note.write_bytes(b"4102444800000 4102444800000\n")
    try:
        assert clock_state(unit) is ClockState.BEHIND
        assert doctor_machine.clock(unit).what == "shows a time that is over; set it right"
    finally:
        note.unlink()
    assert clock_state(unit) is not ClockState.BEHIND


def test_credentials_are_found_outside_the_service(made: Path, tmp_path: Path) -> None:
    """`credential:NAME` is NAME in the folder that the services get them from; a bad name is refused as ever."""
    text = made.read_text().replace('"identity/signing.key"', '"credential:signing.key"')
    (tmp_path / "unit.toml").write_text(text)
    unit = load_unit(tmp_path / "unit.toml", credentials=tmp_path / "keys")
    assert unit.seal.signing_key == tmp_path / "keys" / "signing.key"
    (tmp_path / "unit.toml").write_text(text.replace("credential:signing.key", "credential:../x"))
    with pytest.raises(ConfigError, match="credential"):
        load_unit(tmp_path / "unit.toml")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda unit: unit.seal.signing_key.chmod(0o644), "lets others at a private key"),
        (lambda unit: unit.seal.signing_key.unlink(), "signing.key: is missing; it is this unit's private signing key"),
        (lambda unit: unit.state_dir.chmod(0o755), "lets others in"),
        (lambda unit: unit.seal.keyring.write_bytes(b"no keyring"), "keyring"),
        (lambda unit: unit.seal.owner_key.unlink(), "owner.pub: is missing; it is the owner's public key"),
        (lambda unit: unit.upload.certificate.write_bytes(b"none"), "not a PEM certificate"),
        (lambda unit: unit.upload.receiver_key.unlink(), "receipt.pub: is missing; it is the receiver's public"),
        (lambda unit: unit.seal.signing_key.write_bytes(private_pem(Ed25519PrivateKey.from_private_bytes(bytes(32)))),
         "from a test or a document"),
    ],
)  # fmt: skip
def test_each_spoiled_part_is_a_fault(spoil: Callable[[UnitConfig], object], words: str, tmp_path: Path) -> None:
    """Of its own unit, so that nothing else is wrong."""
    set_up_parts(tmp_path / "bench")
    config = tmp_path / "bench" / "device" / "unit.toml"
    config.write_text(device_config(tmp_path / "bench" / "receiver", port=1, clip=CLIP, models=None))
    unit = load_unit(config)
    for directory in (unit.state_dir, unit.spool.directory):
        directory.mkdir(mode=0o700)
    spoil(unit)
    findings = [
        *doctor_files.permissions(unit),
        doctor_files.keyring(unit),
        *delivery.certificates(unit),
        *doctor_parts.sample_keys(unit),
        delivery.receipt_key(unit),
    ]
    faults = [finding for finding in findings if finding.outcome is Outcome.FAULT]
    assert len(faults) == 1, faults
    assert words in faults[0].what
    assert outcomes(findings)


def test_a_login_is_told_as_a_login(unit: UnitConfig, tmp_path: Path) -> None:
    """What is wrong with the file of a camera's user and password, and what mends that; not the camera's cable."""
    login = tmp_path / "camera.login"
    source = unit.source.model_copy(update={"uri": "rtsp://127.0.0.1:9/", "credential": login})
    live = unit.model_copy(update={"source": source})
    missing = doctor_parts.look_through(live.cameras[0], live)
    assert f"{login}: is missing; it is the login of camera" in missing.what
    assert f"write USER:PASSWORD into {login}" in missing.mend
    login.write_text("user:word")
    login.chmod(0o644)
    open_to_all = doctor_parts.look_through(live.cameras[0], live)
    assert "lets others at a camera's login" in open_to_all.what
    assert f"chmod 600 {login}" in open_to_all.mend
    assert "word" not in open_to_all.what


def test_one_device_by_two_names_is_told(unit: UnitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lasting names that udev gives are links, which only the machine itself can follow."""
    names = [tmp_path / name for name in ("video0", "video1", "by-id")]
    names[0].touch()
    names[1].touch()
    names[2].symlink_to("video0")
    monkeypatch.setattr(doctor_parts, "DEVICES", (str(tmp_path),))
    first, *more = (unit.source.model_copy(update={"uri": str(name)}) for name in names)
    cameras = tuple(CameraConfig(camera_id=f"more-{number}", source=source) for number, source in enumerate(more))
    found = [*doctor_parts.same_devices(unit.model_copy(update={"source": first, "camera": cameras}))]
    assert [(finding.check, finding.outcome) for finding in found] == [("camera more-1", Outcome.FAULT)]
    assert f"is the device of camera {unit.camera_id} too" in found[0].what


def test_a_users_formats_of_plates_that_are_wrong_are_told_as_such(unit: UnitConfig, tmp_path: Path) -> None:
    """With the line, and the command that says whether it is mended; not as a model that is missing."""
    (tmp_path / "my.toml").write_text("[ZZ]\nformat = 7\n")
    vision = unit.vision.model_copy(update={"plates": ("ZZ",), "plate_formats": tmp_path / "my.toml"})
    finding = doctor_parts.models(unit.model_copy(update={"vision": vision}))
    assert outcomes([finding]) == [Outcome.FAULT]
    assert (finding.check, "my.toml:2: ZZ.format" in finding.what) == ("plate formats", True)
    assert finding.mend.startswith(f"plateseal config plates --formats {tmp_path}/my.toml")


def test_a_camera_that_is_not_there_is_named(unit: UnitConfig) -> None:
    """A device without a node, and a file without a frame."""
    gone = unit.model_copy(update={"source": unit.source.model_copy(update={"uri": "/dev/video99"})})
    finding = doctor_parts.look_through(gone.cameras[0], gone)
    assert finding.outcome is Outcome.FAULT
    assert "/dev/video99" in finding.what


def test_keys_that_everybody_has_are_known() -> None:
    """Of RFC 8032 and RFC 6979, whose public halves stand there, of documents, and of one byte only."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert key.public_bytes_raw().hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    rfc6979 = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
    x = rfc6979.public_key().public_numbers().x
    assert x == 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert is_sample(key.public_bytes(*form))
    assert is_sample(rfc6979.public_key().public_bytes(*form))
    assert is_sample(Ed25519PrivateKey.from_private_bytes(b"\7" * 32).public_key().public_bytes(*form))
    assert not is_sample(Ed25519PrivateKey.generate().public_key().public_bytes(*form))


def test_the_documents_example_is_a_sample() -> None:
    """The worked example of FORMAT.md signs with a key that is on the list."""
    from tests.vectors.worked_example import DEVICE

    assert is_sample(DEVICE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


class FakeProc:
    """A /proc with processes that there are not."""

    def __init__(self, root: Path) -> None:
        """Make it in `root`."""
        self.root = root
        (root / "self").mkdir()
        (root / "self/mounts").write_text("/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n")
        (root / "swaps").write_text("Filename Type Size Used Priority\n")

    def process(self, pid: int, *words: str, core: str = "0", group: str = "") -> Path:
        """Add one."""
        path = self.root / str(pid)
        (path / "fd").mkdir(parents=True)
        (path / "net").mkdir()
        (path / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")
        (path / "cwd").symlink_to("/")
        (path / "limits").write_text(
            f"Limit  Soft Limit  Hard Limit  Units\nMax core file size        {core}   0   bytes\n"
        )
        (path / "cgroup").write_text(f"0::/{group}\n")
        return path


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    """Return an empty one."""
    (tmp_path / "proc").mkdir()
    return FakeProc(tmp_path / "proc")


def test_the_daemons_of_this_unit_are_told_from_all_others(proc: FakeProc) -> None:
    """By program, command and configuration; another unit on the same machine is none of its business."""
    config = Path("/etc/plateseal/unit.toml")
    proc.process(1, "/opt/plateseal/bin/python3", "-I", "/usr/bin/plateseal", "capture", "--config", str(config))
    proc.process(2, "python", "-m", "agent.cli.main", "upload", "--config", "etc/plateseal/unit.toml")
    proc.process(3, "/usr/bin/plateseal", "upload", "--config", "/tmp/other.toml")
    proc.process(4, "/usr/bin/plateseal", "doctor", "--config", str(config))
    proc.process(5, "vi", "plateseal")
    proc.process(6, "/usr/bin/plateseal", "upload", "--config")
    assert running_daemons(config, proc.root) == (Daemon("capture", 1), Daemon("upload", 2))


def test_a_listening_socket_of_this_very_process_is_seen() -> None:
    """The real /proc: TCP and UDP, on both families; none before, none after."""
    pid = os.getpid()
    before = listening(pid, Path("/proc"))
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        added = sorted(set(listening(pid, Path("/proc"))) - set(before))
        assert added == sorted([f"tcp {tcp.getsockname()[1]}", f"udp {udp.getsockname()[1]}"])
        with socket.create_connection(tcp.getsockname()):
            assert sorted(set(listening(pid, Path("/proc"))) - set(before)) == added
    assert listening(pid, Path("/proc")) == before


def test_a_process_that_may_dump_its_core_is_a_fault(proc: FakeProc) -> None:
    """The soft limit counts."""
    proc.process(7, "x", core="0")
    assert outcomes([core_dumps((Daemon("capture", 7),), proc.root)]) == [Outcome.GOOD]
    proc.process(8, "x", core="unlimited")
    assert outcomes([core_dumps((Daemon("capture", 8),), proc.root)]) == [Outcome.FAULT]
    assert outcomes([core_dumps((), proc.root)]) == [Outcome.SKIPPED]


def test_swap_on_a_disk_is_a_fault_unless_the_daemons_may_not_use_it(proc: FakeProc, tmp_path: Path) -> None:
    """None, compressed memory, a file, and a file that the services are kept out of."""
    daemon = Daemon("capture", 7)
    proc.process(7, "x", group="system.slice/plateseal-capture.service")
    swaps = proc.root / "swaps"
    assert outcomes([swap((daemon,), proc.root, tmp_path, tmp_path)]) == [Outcome.GOOD]
    swaps.write_text(swaps.read_text() + "/dev/zram0 partition 1 0 100\n")
    assert outcomes([swap((daemon,), proc.root, tmp_path, tmp_path)]) == [Outcome.GOOD]
    (tmp_path / "zram0").mkdir()
    backing = tmp_path / "zram0" / "backing_dev"
    for device, outcome in (("none", Outcome.GOOD), ("/dev/loop0", Outcome.FAULT), ("none", Outcome.GOOD)):
        backing.write_text(f"{device}\n")  # Raspberry Pi OS 13 may let zram write to its card
        assert outcomes([swap((daemon,), proc.root, tmp_path, tmp_path)]) == [outcome]
    swaps.write_text(swaps.read_text() + "/var/swap file 102396 0 -2\n")
    assert outcomes([swap((daemon,), proc.root, tmp_path, tmp_path)]) == [Outcome.FAULT]
    group = tmp_path / "system.slice/plateseal-capture.service"
    group.mkdir(parents=True)
    (group / "memory.swap.max").write_text("0\n")
    assert outcomes([swap((daemon,), proc.root, tmp_path, tmp_path)]) == [Outcome.GOOD]
    assert outcomes([swap((), proc.root, tmp_path, tmp_path)]) == [Outcome.FAULT]


@pytest.fixture
def half_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the tests may be nearly full, which is worth a warning."""
    monkeypatch.setattr("agent.unit.doctor.machine.disk_space", lambda _: (1 << 40, 1 << 41))


@pytest.mark.usefixtures("half_empty")
def test_the_disk_is_that_of_the_spool_to_come(unit: UnitConfig, proc: FakeProc) -> None:
    """Before the first start neither the spool nor what it lies in is there."""
    spool = unit.spool.model_copy(update={"directory": unit.spool.directory / "not" / "yet"})
    assert outcomes([disk(unit.model_copy(update={"spool": spool}), proc.root)]) == [Outcome.GOOD]
    assert disk_space(spool.directory)[1] == disk_space(unit.spool.directory)[1] > 0
    assert disk_space(unit.seal.keyring / "below a file") == (0, 0)


def test_keys_that_cannot_be_read_are_not_called_good(unit: UnitConfig, tmp_path: Path) -> None:
    """None of five."""
    seal = unit.seal.model_copy(update=dict.fromkeys(("signing_key", "owner_key"), tmp_path / "x"))
    upload = unit.upload.model_copy(update=dict.fromkeys(("key", "receiver_key", "ca"), tmp_path / "x"))
    gone = unit.model_copy(update={"seal": seal, "upload": upload})
    assert outcomes([*doctor_parts.sample_keys(gone)]) == [Outcome.SKIPPED]


@pytest.mark.usefixtures("half_empty")
def test_a_spool_in_memory_is_a_fault(unit: UnitConfig, proc: FakeProc) -> None:
    """Tmpfs is fast, and gone with the power."""
    assert outcomes([disk(unit, proc.root)]) == [Outcome.GOOD]
    mounts = proc.root / "self/mounts"
    mounts.write_text(mounts.read_text() + f"tmpfs {unit.spool.directory.parent} tmpfs rw 0 0\n")
    assert outcomes([disk(unit, proc.root)]) == [Outcome.FAULT]


def test_a_spool_that_may_outgrow_the_disk_is_told(unit: UnitConfig, proc: FakeProc) -> None:
    """With the largest limit that fits."""
    greedy = unit.model_copy(update={"spool": unit.spool.model_copy(update={"max_bytes": 1 << 60})})
    finding = disk(greedy, proc.root)
    assert outcomes([finding])[0] is not Outcome.GOOD
    assert "spool.max_bytes" in finding.mend


def test_a_service_that_was_unlocked_is_told(unit: UnitConfig) -> None:
    """As it comes, with a line taken back, not installed, without systemd."""
    whole = {**LOCKED, "LoadState": "loaded", "PrivateNetwork": "yes", "PrivateDevices": "yes"}
    loose = {**whole, "NoNewPrivileges": "no"}
    cases = [whole, loose, {"LoadState": "not-found"}, None]
    found = [outcomes([*hardening(unit, {"upload": case})])[0] for case in cases]
    assert found == [Outcome.GOOD, Outcome.WARNING, Outcome.WARNING, Outcome.SKIPPED]


def test_an_rtsp_camera_needs_its_drop_in(unit: UnitConfig) -> None:
    """No network is a fault then; all of it is told; the camera's address alone is right."""
    source = unit.source.model_copy(update={"uri": "rtsp://192.0.2.11/stream"})
    rtsp = unit.model_copy(update={"source": source})
    closed = {**LOCKED, "LoadState": "loaded", "PrivateNetwork": "yes"}
    open_to_all = {**closed, "PrivateNetwork": "no", "IPAddressDeny": "", "IPAddressAllow": ""}
    narrow = {**open_to_all, "IPAddressDeny": "::/0 0.0.0.0/0", "IPAddressAllow": "192.0.2.11/32"}
    found = [outcomes([*hardening(rtsp, {"capture": case})])[0] for case in (closed, open_to_all, narrow)]
    assert found == [Outcome.FAULT, Outcome.WARNING, Outcome.GOOD]
    assert outcomes([*hardening(unit, {"capture": narrow})]) == [Outcome.WARNING]


def test_faults_are_counted_and_warnings_are_not() -> None:
    """For a script: 18, with the names of the checks; 0 else."""
    good = Finding("clock", Outcome.GOOD, "synchronised")
    require_sound([good, replace(good, outcome=Outcome.WARNING), replace(good, outcome=Outcome.SKIPPED)])
    with pytest.raises(UnitFaultError, match="2 faults: clock, disk") as error:
        require_sound([replace(good, outcome=Outcome.FAULT), good, Finding("disk", Outcome.FAULT, "full")])
    assert error.value.exit_code == 18
