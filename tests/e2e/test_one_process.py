"""One process does one thing with a folder: a second one ends with a line, and nobody takes an end for work."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.bench.demo import device_config, set_up_parts
from agent.config.load import load_config
from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.spool.spool import FileSpool
from agent.unit.doctor import machine
from agent.unit.process.run import start_daemon, stop_daemon
from agent.unit.status.last_error import last_error
from agent.unit.status.report import read_health
from tests.e2e.test_receiver_tls import running
from tests.fakes.pki import make_bench
from tests.fakes.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.e2e

CLIP = Path(machine.__file__).parents[2] / "bench" / "clips" / "demo.mp4"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the file of a unit that never ran; its receiver is not there."""
    set_up_parts(tmp_path / "bench")
    found = tmp_path / "bench" / "device" / "unit.toml"
    found.write_text(device_config(tmp_path / "bench" / "receiver", port=1, clip=CLIP, models=None))
    return found


@pytest.fixture
def unit(config: Path) -> UnitConfig:
    """Return that unit."""
    return load_config(config)


@pytest.fixture
def upload(config: Path, unit: UnitConfig) -> Iterator[subprocess.Popen[bytes]]:
    """Run its upload daemon, and wait until status knows."""
    process = start_daemon("upload", config)
    try:
        wait_until(lambda: read_health(unit).upload_up)
        yield process
    finally:
        stop_daemon(process)


def plateseal(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "agent.cli.main", *arguments],
        capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_has_ended_does_not_run(
    unit: UnitConfig, upload: subprocess.Popen[bytes], how: signal.Signals
) -> None:
    """At once, although what it wrote last is a second old; a power cut ends a process like a kill."""
    upload.send_signal(how)
    upload.wait(WITHIN_S)
    assert not read_health(unit).upload_up


def test_a_second_upload_leaves_the_units_status_alone(
    config: Path, unit: UnitConfig, upload: subprocess.Popen[bytes]
) -> None:
    """It says in one line that there is one already; the daemon goes on, and its last error is its own."""
    done = plateseal("upload", "--config", str(config), "--drain")
    assert done.returncode == 9
    assert done.stderr.splitlines()[-1].endswith(
        f"another process holds the upload side of {unit.spool.directory}; only one may, so end that one first"
    )
    error = last_error(unit.state_dir)
    assert error is None or "another process" not in error.line
    assert upload.poll() is None
    assert read_health(unit).upload_up


@pytest.mark.parametrize("part", [*SpoolPart])
def test_a_daemon_that_is_refused_changes_nothing_of_the_unit(config: Path, unit: UnitConfig, part: SpoolPart) -> None:
    """No note of an error, none of a start with a configuration on trial."""
    unit.state_dir.mkdir(mode=0o700)
    FileSpool(unit.spool.directory, max_bytes=unit.spool.max_bytes, files=LocalFiles())
    with SpoolLock(unit.spool.directory, part):
        done = plateseal(part.name.lower(), "--config", str(config))
    assert done.returncode == 9, done.stderr
    assert "only one may" in done.stderr
    assert list(unit.state_dir.iterdir()) == []


def test_a_second_receiver_ends_with_a_line(tmp_path: Path) -> None:
    """Whatever its port, and before it touches the first one's files; other commands work beside the one that runs."""
    bench = make_bench(tmp_path)
    folder, metrics = str(bench.receiver.directory), tmp_path / "metrics"
    with running(bench, options=["--metrics-dir", str(metrics)]) as (first, port):
        wait_until((metrics / "receiver.prom").exists)
        port_file = str(tmp_path / "port")
        done = plateseal("receiver", "serve", folder, "--port", "0", "--port-file", port_file, "--metrics-dir",
                         str(tmp_path / "other"))  # fmt: skip
        assert done.returncode == 11, done.stderr
        assert done.stderr.splitlines() == [
            f"plateseal: {folder}: a receiver runs with this folder already; only one may, so end that one first"
        ]
        assert (tmp_path / "port").read_text() == f"{port}\n"
        assert not (tmp_path / "other").exists()
        assert plateseal("receiver", "backup", folder, str(tmp_path / "copy")).returncode == 0
        assert plateseal("receiver", "renew", folder).returncode == 0
        enrolled = plateseal("receiver", "enrol", folder, str(bench.device.directory / "enrolment.json"))
        assert enrolled.returncode == 0, enrolled.stderr
        assert first.poll() is None
    with running(bench):  # a kill has let it go
        pass
