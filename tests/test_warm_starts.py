"""A program that is forked from one that has imported it finds what it finds when Python starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.unit.process.child import own_module
from tests.fakes import warm_parent
from tests.fakes.waiting import WITHIN_S
from tests.fakes.warm_parent import Starts
from tests.warm_starts import WarmStarts

pytestmark = pytest.mark.real_start  # those of this file are by its own parent
STARTED = "tests.fakes.started"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def own_starts() -> Iterator[WarmStarts]:
    """A parent of programs, of which one more may be started."""
    starts = WarmStarts()
    starts.start_parent()
    try:
        yield starts
    finally:
        starts.end_parent()


@pytest.fixture
def warm(own_starts: WarmStarts, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """Warm starts that are still off, and count."""
    monkeypatch.setattr(warm_parent, "PROGRAMS", (*warm_parent.PROGRAMS, STARTED))
    monkeypatch.setattr(own_starts.starts, "count", 0)
    monkeypatch.setattr(own_starts.starts, "is_on", False)
    return own_starts.starts


def found(*, folder: Path, **asked: Any) -> dict[str, Any]:
    """Start the program that tells what it finds, check its end, and return it; `env` are further variables."""
    if "env" in asked:
        asked["env"] = os.environ | asked["env"]
    command = own_module(STARTED, "two words", "--three")
    done = subprocess.run(
        command, input="typed", capture_output=True, text=True, check=False, cwd=folder, timeout=WITHIN_S, **asked
    )
    assert (done.returncode, done.stderr) == (7, "started\n")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.parametrize(
    "asked",
    [{}, {"start_new_session": True}, {"env": {"TZ": "Asia/Tokyo", "HOME": "nowhere", "TMPDIR": ".", "PYTEST_X": "ä"}}],
    ids=["plain", "session", "variables"],
)
def test_a_warm_start_finds_what_a_real_one_finds(warm: Starts, tmp_path: Path, asked: dict[str, Any]) -> None:
    """Words, folder, variables, streams, signals, session, open files, and this process as its parent."""
    real = found(folder=tmp_path, **asked)
    warm.is_on = True
    assert found(folder=tmp_path, **asked) == real
    assert warm.count == 1
    assert real["parent"] == os.getpid()


@pytest.mark.parametrize("words", [["--help"], ["fly"], ["custody", "--help"], ["upload", "--config", "none.toml"]])
def test_a_command_says_the_same(warm: Starts, tmp_path: Path, words: list[str]) -> None:
    """Output, errors and status."""

    def said() -> tuple[int, str, str]:
        command = own_module("agent.cli.main", *words)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=WITHIN_S)
        return done.returncode, done.stdout, done.stderr

    real = said()
    warm.is_on = True
    assert said() == real
    assert warm.count == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_says_so(warm: Starts, tmp_path: Path, how: signal.Signals) -> None:
    """It waits for its input meanwhile; the status is the signal's."""
    warm.is_on = True
    command = own_module(STARTED)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        try:
            process.send_signal(how)
            assert process.wait(WITHIN_S) == -how
        finally:
            process.kill()
    assert warm.count == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"env": {"PYTHONUTF8": "1"}},
        {"env": {"LANG": "C", "OMP_NUM_THREADS": "1"}},
        {"preexec_fn": os.getpid},
        {"process_group": 0},
        {"umask": 0o027},
        {"close_fds": False},
    ],
    ids=["Python's variable", "others", "code before", "group", "mask", "open files"],
)
def test_what_only_a_real_start_can_give_is_one(warm: Starts, tmp_path: Path, asked: dict[str, Any]) -> None:
    """And it gives it."""
    warm.is_on = True
    facts = found(folder=tmp_path, **asked)
    assert warm.count == 0
    assert facts["mask"] == asked.get("umask", facts["mask"])
    assert all(facts["variables"][name] == value for name, value in asked.get("env", {}).items())


def test_other_programs_are_started_as_ever(warm: Starts) -> None:
    """Code in an argument, another module, another program."""
    warm.is_on = True
    commands = [[sys.executable, "-c", "pass"], [sys.executable, "-m", "this"], ["true"], "exit 0"]
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, shell=isinstance(command, str))
    assert warm.count == 0


def test_the_parent_ends_with_its_process() -> None:
    """Whoever ends it, and however."""
    starts = WarmStarts()
    starts.start_parent()
    starts.end_parent()
    assert starts._parent.returncode == 0
