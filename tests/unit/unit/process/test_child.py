"""Processes that we start: only the installed package is run, whatever lies in the working directory."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.bench.demo import start_receiver
from agent.bench.match import play
from agent.bench.measured import Job
from agent.config.models import SourceConfig, VisionConfig
from agent.errors import ConfigError, KeyFileError, ModelMissingError
from agent.unit.process.child import own_module
from agent.unit.process.run import start_daemon

PACKAGE = Path(__file__).parents[4] / "agent"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a stranger's folder, whose package `agent` makes a file if it is imported. Return that file."""
    sprung = tmp_path / "sprung"
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "__init__.py").write_text(f"open({str(sprung)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    return sprung


def test_the_trap_is_one(trap: Path) -> None:
    """Without our option the stranger's package is what runs."""
    command = [part for part in own_module("agent.cli.main", "--help") if part != "-P"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert trap.exists()


def test_our_package_is_run_and_not_the_strangers(trap: Path) -> None:
    """The help is ours."""
    done = subprocess.run(own_module("agent.cli.main", "--help"), capture_output=True, text=True, check=True)
    assert "Usage: python -m agent.cli.main" in done.stdout
    assert not trap.exists()


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (lambda log: start_daemon("capture", Path("none.toml"), log=log), ConfigError),
        (lambda log: start_daemon("upload", Path("none.toml"), log=log), ConfigError),
        (lambda log: start_receiver(Path("none"), Path("port"), log=log), KeyFileError),
    ],
    ids=["capture", "upload", "receiver"],
)
def test_whatever_is_started_is_ours(
    trap: Path, start: Callable[[object], subprocess.Popen[bytes]], error: type[ConfigError]
) -> None:
    """It ends with the exit code that ours has without its files."""
    with Path("log").open("wb") as log, start(log) as process:
        assert process.wait() == error.exit_code
    assert not trap.exists()


def test_a_contestant_is_ours(trap: Path) -> None:
    """It says what ours says of models that are not there."""
    job = Job(contestant="plateseal", source=SourceConfig(uri="none.mp4"), vision=VisionConfig(models=Path("none")))
    with pytest.raises(ModelMissingError):
        play([job], watch=lambda _frames, _total: None)
    assert not trap.exists()


def test_one_place_builds_such_commands() -> None:
    """No other module writes `-m`."""
    named = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == "-m"
    }
    assert named == {"unit/process/child.py"}
