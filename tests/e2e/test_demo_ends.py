"""How a demo ends when not all goes well: nothing is left running, no key is left lying, no log is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.bench import demo
from agent.bench.demo_report import DemoOutcome
from agent.bench.truth import Truth
from agent.errors import DemoError
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = pytest.mark.e2e

NO_NAMES = """
import socket

numeric = socket.getaddrinfo

def getaddrinfo(host, port, *more, **options):
    if isinstance(host, str) and host.strip("0123456789.:"):
        raise socket.gaierror(socket.EAI_NONAME, "no names here")
    return numeric(host, port, *more, **options)

socket.getaddrinfo = getaddrinfo
"""
"""A module that Python loads at every start if it finds it: a machine that resolves no name, not even `localhost`."""


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy models, and a clip with four vehicles."""
    folder = write_toy_models(tmp_path_factory.mktemp("toys"))
    render_clip(folder / "clip.mp4", random_texts(4))
    return folder


@contextmanager
def running_demo(folder: Path, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start `plateseal demo` with `folder` for its temporary files."""
    # A shell that starts the tests in the background, or `nohup`, may have switched these off.
    command = ["env", "--default-signal=INT,HUP,TERM", sys.executable, "-m", "agent.cli.main", "demo", *options]
    environment = {**os.environ, "TMPDIR": str(folder), **variables}
    both = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=both, stderr=both, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_processes(folder: Path, count: int) -> None:
    """Return once so many processes, or more, name this folder. Each look reads all of /proc: no look every 5 ms."""
    wait_until(lambda: processes_that_name(folder) >= count, every_s=0.1)


def processes_that_name(folder: Path) -> int:
    """Count running processes with this folder on their command line."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += str(folder).encode() in path.read_bytes()
        except OSError:
            continue  # it has just ended
    return count


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGINT,
        *(pytest.param(each, marks=pytest.mark.needs("campaigns")) for each in (signal.SIGTERM, signal.SIGHUP)),
    ],
    ids=lambda one: one.name,
)
def test_a_signal_stops_the_parts_and_removes_their_keys(tmp_path: Path, signum: signal.Signals) -> None:
    """All three parts run when it comes; afterwards no process and no file is left, and the status names the signal."""
    with running_demo(tmp_path) as process:
        wait_for_processes(tmp_path, 3)
        assert list(tmp_path.rglob("*.key"))
        process.send_signal(signum)
        said = process.communicate(timeout=WITHIN_S)[1]
    assert process.returncode == (130 if signum is signal.SIGINT else -signum), said
    assert processes_that_name(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in said


@pytest.mark.needs("campaigns")
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, toys: Path) -> None:
    """Under `nohup` the demo goes on when its terminal goes."""
    signal_off = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    options = ["--models", str(toys), "--clip", str(toys / "clip.mp4")]
    command = [sys.executable, "-c", signal_off, sys.executable, "-m", "agent.cli.main", "demo", *options]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        wait_for_processes(tmp_path, 1)
        process.send_signal(signal.SIGHUP)
        assert process.wait(WITHIN_S) == 0


def test_a_named_folder_keeps_everything(tmp_path: Path) -> None:
    """Also when a signal ends the demo: the parts stop, the files stay, and one line says where."""
    kept, scratch = tmp_path / "kept", tmp_path / "scratch"
    scratch.mkdir()
    with running_demo(scratch, "--workdir", str(kept)) as process:
        wait_for_processes(kept / "device", 2)
        process.terminate()
        said = process.communicate(timeout=WITHIN_S)[1]
    assert process.returncode == -signal.SIGTERM
    assert f"everything is in {kept}" in said
    assert processes_that_name(kept / "device") == 0
    assert {path.name for path in kept.glob("**/*.log")} == {"receiver.log", "upload.log", "capture.log"}


def test_a_part_that_fails_leaves_the_logs_and_no_keys(tmp_path: Path, toys: Path) -> None:
    """Capture finds no models: one line with its reason, and where the logs of all parts are."""
    models = tmp_path / "no-models"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with running_demo(scratch, "--models", str(models), "--clip", str(toys / "clip.mp4")) as process:
        said = process.communicate(timeout=WITHIN_S)[1]
    assert process.returncode == DemoError.exit_code, said
    (kept,) = scratch.iterdir()
    where, why = said.splitlines()
    assert where == f"the logs are in {kept}"
    assert "capture ended with status" in why
    assert {path.name for path in kept.iterdir()} == {"receiver.log", "upload.log", "capture.log"}
    assert "no-models" in (kept / "capture.log").read_text()


def test_no_folder_for_temporary_files_is_one_line(toys: Path) -> None:
    """It says which option helps."""
    script = (
        "import sys, tempfile\n"
        "from agent.cli.main import main\n"
        "tempfile._candidate_tempdir_list = lambda: ['/nonexistent']\n"
        f"sys.argv = ['plateseal', 'demo', '--clip', {str(toys / 'clip.mp4')!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert done.returncode == 2
    assert done.stderr.startswith("plateseal: no temporary folder")
    assert "--workdir" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.needs("campaigns")
def test_the_demo_resolves_no_name(tmp_path: Path, toys: Path) -> None:
    """In a root without /etc/hosts every read still goes the whole way, which `--json -` says on standard output."""
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(NO_NAMES)
    options = ["--models", str(toys), "--clip", str(toys / "clip.mp4"), "--json", "-"]
    check = [sys.executable, "-c", "import socket; socket.getaddrinfo('localhost', 1)"]
    variables = {"PYTHONPATH": f"{patch}:{Path(__file__).parents[2]}"}
    refused = subprocess.run(check, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert "no names here" in refused.stderr, "the machine of this test still resolves names"
    with running_demo(tmp_path, *options, **variables) as process:
        out, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, said
    assert (json.loads(out)["opened"], json.loads(out)["pending"]) == (4, 0)


@pytest.fixture(scope="module")
def unreached(tmp_path_factory: pytest.TempPathFactory, toys: Path) -> tuple[DemoOutcome, DemoOutcome]:
    """Play a demo whose receiver cannot be reached; count, and again after a file has vanished and one is damaged."""
    configure, count = demo.device_config, demo._count_up
    damaged: list[DemoOutcome] = []

    def to_nobody(receiver: Path, *, port: int, clip: Path, models: Path | None) -> str:
        return configure(receiver, port=1, clip=clip, models=models)

    def count_twice(bench: demo._Bench, truth: Truth | None, began_s: float) -> DemoOutcome:
        whole = count(bench, truth, began_s)
        first, second, *_ = sorted((bench.spool / "pending").iterdir())
        first.unlink()
        second.write_bytes(second.read_bytes()[:-1])
        damaged.append(count(bench, truth, began_s))
        return whole

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "device_config", to_nobody)
        patch.setattr(demo, "_count_up", count_twice)
        patch.setattr(demo, "DRAIN_WITHIN_S", 0.0)
        workdir = tmp_path_factory.mktemp("unreached") / "demo"
        whole = demo.run_demo(toys / "clip.mp4", workdir=workdir, models=toys, truth=None, watch=lambda samples: None)
    return whole, damaged[0]


def test_reads_that_wait_are_pending_and_not_lost(unreached: tuple[DemoOutcome, DemoOutcome]) -> None:
    """A receiver that cannot be reached: the reads are in the spool, and the complaint names upload's reason."""
    outcome, _ = unreached
    report = outcome.report
    assert (report.sealed, report.pending, report.opened, report.lost) == (4, 4, 0, 0)
    with pytest.raises(DemoError, match=r"4 files still wait in the spool; upload said: .*Connection refused"):
        outcome.require_agreement()


def test_a_read_that_is_nowhere_is_lost(unreached: tuple[DemoOutcome, DemoOutcome]) -> None:
    """The same, and one file of the spool vanishes, another is damaged: two lost."""
    report = unreached[1].report
    assert (report.sealed, report.pending, report.lost) == (4, 3, 2)
