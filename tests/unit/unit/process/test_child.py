"""Processes that we start: only the installed package is run, whatever lies in the working directory."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.bench.demo import start_receiver
from agent.bench.match import play
from agent.bench.measured import Job
from agent.config.models import SourceConfig, VisionConfig
from agent.errors import ConfigError, KeyFileError, ModelMissingError
from agent.unit.doctor.confinement import Child
from agent.unit.doctor.diagnosis import load_unit
from agent.unit.process.child import own_environment, own_module
from agent.unit.process.run import start_daemon

pytestmark = pytest.mark.real_start
PACKAGE = Path(__file__).parents[4] / "agent"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a stranger's folder, whose package `agent` makes a file if it is imported. Return that file."""
    sprung = tmp_path / "sprung"
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "__init__.py").write_text(f"open({str(sprung)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    return sprung


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(None, None), ("", None), (":", None), ("/a", "/a"), (":/a::/b:", "/a:/b")],
)
def test_no_library_is_looked_for_in_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, ours: str | None, theirs: str | None
) -> None:
    """An empty entry, which OpenCV's loader leaves, stands for it; the other variables are ours."""
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    before = own_environment()
    if ours is not None:
        monkeypatch.setenv("LD_LIBRARY_PATH", ours)
    assert own_environment() == before | ({} if theirs is None else {"LD_LIBRARY_PATH": theirs})


def test_each_process_of_ours_is_started_so() -> None:
    """Whoever names one of our modules, or this process's own words, gives the environment too."""
    found = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    starting = {name for name, text in found.items() if "own_module(" in text or "sys.orig_argv" in text}
    starting.remove("unit/process/child.py")
    assert starting >= {"unit/process/run.py", "bench/demo.py", "bench/match.py", "unit/reload/trial.py"}
    without = {name for name in starting if "own_environment(" not in found[name]}
    assert without == {"unit/doctor/confinement.py"}  # it has one of its own


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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(("--help",), "Usage: plateseal", id="help"),
        *(
            pytest.param((name, *words, file), file, id=name, marks=pytest.mark.needs("campaigns"))
            for name, *words, file in (
                ("run", "--config", "none.toml"),
                ("demo", "--clip", "none.mp4"),
                ("bench", "none.mp4"),
                ("doctor", "--config", "none.toml"),
            )
        ),
    ],
)
def test_the_installed_command_is_ours(trap: Path, command: tuple[str, ...], said: str) -> None:
    """Python looks for modules where the program lies, not where it is run."""
    plateseal = Path(sys.executable).with_name("plateseal")
    done = subprocess.run([plateseal, *command], capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
    assert not trap.exists()


def test_the_doctors_child_is_ours(trap: Path) -> None:
    """Whoever's user it is, and wherever the doctor is run."""
    config = trap.parent / "unit.toml"
    config.write_text((PACKAGE.parent / "deb/unit.toml").read_text())
    child = Child(load_unit(config), config, trap.parent, 1, "way")
    assert child.command[-7:-3] == own_module("agent.unit.doctor.child")
    command = [*child.command[-7:-3], "none.toml", str(trap.parent), "way"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "none.toml" in json.loads(done.stdout)["what"]
    assert not trap.exists()


def test_a_daemon_that_begins_anew_is_ours_again(trap: Path) -> None:
    """A new configuration is taken so: the same Python with the same options."""
    program = (
        "import os, sys\nfrom agent.unit.reload.trial import restart_process\n"
        "if 'AGAIN' in os.environ: sys.exit(7)\nos.environ['AGAIN'] = 'yes'\nrestart_process()\n"
    )
    assert subprocess.run([sys.executable, "-P", "-c", program], check=False).returncode == 7
    assert not trap.exists()


def test_one_place_builds_such_commands() -> None:
    """No other module writes `-m` or names this Python, but for the one that begins anew as it was begun."""
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    nodes = [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]
    assert {name for name, node in nodes if isinstance(node, ast.Constant) and node.value == "-m"} == {
        "unit/process/child.py"
    }
    assert {name for name, node in nodes if isinstance(node, ast.Attribute) and node.attr == "executable"} == {
        "unit/process/child.py",
        "unit/reload/trial.py",
    }


def test_no_document_runs_what_lies_in_the_working_directory() -> None:
    """`python -m agent...` would; the documents name the command."""
    pages = [PACKAGE.parent / "README.md", *(PACKAGE.parent / "docs").rglob("*.md")]
    assert len(pages) > 20
    assert [page.name for page in pages if re.search(r"python3? -m agent", page.read_text())] == []
