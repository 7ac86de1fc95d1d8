"""The doctor that root asks: what opens cameras, models, spool and network has the daemons' rights and no more."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.bench.demo import device_config, set_up_parts
from agent.errors import UnitFaultError
from agent.unit.doctor import confinement
from agent.unit.doctor.confinement import Child, examine_confined, must_confine, service_uid
from agent.unit.doctor.diagnosis import load_unit
from agent.unit.doctor.finding import Finding, Outcome
from agent.unit.process.child import own_module
from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.real_start
DAEMONS_UID = 64123
"""Nobody's."""


@pytest.fixture
def config() -> Iterator[Path]:
    """Return the configuration of a unit that is another user's than root, in a folder that this user may enter."""
    root = Path(tempfile.mkdtemp(dir="/tmp"))  # not pytest's own, which is root's alone
    root.chmod(0o755)
    try:
        set_up_parts(root / "bench")
        (root / "bench").chmod(0o755)
        device = root / "bench" / "device"
        clip = Path(confinement.__file__).parents[2] / "bench" / "clips" / "demo.mp4"
        shutil.copyfile(clip, device / "road.mp4")
        path = device / "unit.toml"
        path.write_text(device_config(root / "bench" / "receiver", port=1, clip=device / "road.mp4", models=None))
        for name in ("state", "spool"):
            (device / name).mkdir(mode=0o700)
        for each in (device, *device.rglob("*")):
            os.chown(each, DAEMONS_UID, DAEMONS_UID)
        yield path
    finally:
        shutil.rmtree(root)


def child_of(config: Path, share: str) -> Child:
    """Return how the doctor looks at a share."""
    unit = load_unit(config)
    return Child(unit, config, config.parent / "identity", service_uid(unit), share)


def by_check(findings: list[dict[str, str]]) -> dict[str, str]:
    """Return outcomes by what was looked at."""
    return {finding["check"]: finding["outcome"] for finding in findings}


def doctor(config: Path) -> list[dict[str, str]]:
    """Run the command as root, and return its findings."""
    command = own_module("agent.cli.main", "doctor", "--config", str(config), "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == UnitFaultError.exit_code, done.stderr  # its receiver is not there
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


@pytest.mark.needs("another-user", "campaigns")
def test_what_only_root_can_open_is_a_fault_for_the_daemons(config: Path) -> None:
    """Camera file and keyring are root's: root would find them good, and the services could not start."""
    found = by_check(doctor(config))
    for check in ("models", "camera demo", "keyring", "sealing", "TLS files", "spool", "certificate", "identity"):
        assert found[check] in ("good", "warning"), (check, found)
    for name in ("road.mp4", "keyring.cose"):
        (config.parent / name).chmod(0o600)
        os.chown(config.parent / name, 0, 0)
    found = by_check(doctor(config))
    assert (found["models"], found["camera demo"], found["keyring"]) == ("good", "fault", "fault")
    assert not [path for path in (config.parent / "spool").iterdir() if path.stat().st_uid == 0]


@pytest.mark.needs("another-user")
def test_a_camera_is_opened_without_roots_rights_and_within_limits(config: Path) -> None:
    """A camera that takes the connection and says nothing keeps the process waiting; how it ended is told."""
    command = own_module("agent.cli.main", "doctor", "--config", str(config), "--json")
    with socket.create_server(("127.0.0.1", 0)) as camera:
        uri = f"rtsp://127.0.0.1:{camera.getsockname()[1]}/stream"
        text = config.read_text().replace(str(config.parent / "road.mp4"), uri)
        config.write_text(re.sub("started_at = .*", "", text))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        camera.settimeout(WITHIN_S)
        connection, _ = camera.accept()
    with connection, process:
        child = looks_at(process.pid, "vision")
        status = status_of(child)
        assert status["Uid"].split() == status["Gid"].split() == [str(DAEMONS_UID)] * 4
        assert status["Groups"] == str(DAEMONS_UID)
        assert os.getsid(child) == child  # it has no terminal to type into
        assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
        limits = Path(f"/proc/{child}/limits").read_text()
        for name in ("core file size", "file size", "open files", "cpu time", "data size"):
            line = next(line for line in limits.splitlines() if line.startswith(f"Max {name}"))
            assert "unlimited" not in line, line
        os.kill(child, signal.SIGKILL)
        output, _ = process.communicate()
    found = {finding["check"]: finding for finding in json.loads(output)["findings"]}
    assert "did not finish: status -9" in found["models and cameras"]["what"]
    assert found["sealing"]["outcome"] == "good"


def looks_at(doctor: int, share: str) -> int:
    """Return the id of the doctor's process that looks at a share: a child, or the doctor itself."""
    for each in Path(f"/proc/{doctor}/task/{doctor}/children").read_text().split():
        if share in Path(f"/proc/{each}/cmdline").read_bytes().decode().split("\0"):
            return int(each)
    return doctor


def status_of(process: int) -> dict[str, str]:
    """Return /proc's account of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}


@pytest.mark.needs("root")
def test_a_unit_of_roots_own_is_looked_at_as_it_is(config: Path) -> None:
    """Its daemons are root's too; whoever is not root has no rights to give up."""
    assert must_confine(load_unit(config))
    os.chown(config.parent / "state", 0, 0)
    assert not must_confine(load_unit(config))


def test_what_the_child_writes_becomes_findings_or_a_fault(config_of_anybody: Path) -> None:
    """Control characters, other things than findings and too many of them do not come through."""
    child = child_of(config_of_anybody, "vision")
    good = json.dumps({"check": "models", "outcome": "good", "what": "a\x1b[2J\nb", "why": "", "mend": ""}).encode()
    assert [*confinement._read(io.BytesIO(good), child)] == [Finding("models", Outcome.GOOD, "a [2J b")]
    for bad in (b"{}", b"no JSON", good.replace(b"good", b"fine"), b"[" * 10_000, b"x" * 100_000):
        assert [each.outcome for each in confinement._read(io.BytesIO(bad), child)] == [Outcome.FAULT]
    many = [*confinement._read(io.BytesIO((good + b"\n") * 1000), child)]
    assert len(many) == confinement.MAX_FINDINGS + 1
    assert many[-1].outcome is Outcome.FAULT


@pytest.fixture
def config_of_anybody(tmp_path: Path) -> Path:
    """Return the configuration of a unit that is whoever's who asks."""
    set_up_parts(tmp_path / "bench")
    path = tmp_path / "bench" / "device" / "unit.toml"
    path.write_text(device_config(tmp_path / "bench" / "receiver", port=1, clip=tmp_path / "none.mp4", models=None))
    return path


def test_a_program_that_is_not_there_is_a_fault(config_of_anybody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at with root's rights instead."""
    monkeypatch.setattr(Child, "command", ["/nowhere/prlimit"])
    found = [*examine_confined(child_of(config_of_anybody, "way"))]
    assert [(each.check, each.outcome) for each in found] == [("keys, spool and receiver", Outcome.FAULT)]
    assert "/nowhere/prlimit: No such file" in found[0].what


def test_systemd_hands_over_the_keys_that_a_share_needs(
    config_of_anybody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that lie with the services' credentials, and that are there; what opens models and cameras gets none."""
    monkeypatch.setattr(confinement, "SYSTEMD", tmp_path)
    (config_of_anybody.parent / "identity" / "tls.key.next").touch()
    way, vision = (child_of(config_of_anybody, share).command for share in ("way", "vision"))
    names = [word.partition(":")[0] for word in way if word.startswith("LoadCredential=")]
    assert names == [f"LoadCredential={name}" for name in ("signing.key", "tls.key", "tls.key.next")]
    assert not any(word.startswith("LoadCredential=") for word in vision)
    assert "PrivateNetwork=yes" in vision
    assert "PrivateNetwork=yes" not in way
    for each in (way, vision):
        assert each[0] == "systemd-run"
        assert f"User={service_uid(load_unit(config_of_anybody))}" in each
