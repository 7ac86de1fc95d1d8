"""The command line: one clear line per mistake, an exit code per family, never a traceback."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cli.main import main
from tests.fakes.waiting import WITHIN_S
from tests.unit.config.test_load import GOOD

Said = tuple[int | str | None, str, str]
"""Exit status, standard output, standard error."""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Return what runs the command line in this process."""

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["plateseal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


def plateseal(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "agent.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "unknown command": (["fly"], 2, "No such command"),
    "unknown option": (["capture", "--konfig", "x"], 2, "No such option"),
    "missing option": (["capture"], 2, "--config"),
    "missing configuration": (["capture", "--config", "missing.toml"], 3, "missing.toml"),
    "upload without configuration": (["upload", "--config", "missing.toml"], 3, "missing.toml"),
    "run without configuration": (["run", "--config", "missing.toml"], 3, "missing.toml"),
    "demo of a missing clip": (["demo", "--clip", "missing.mp4"], 2, "missing.mp4"),
    "demo of a missing truth": (["demo", "--truth", "missing.json"], 2, "missing.json"),
    "fetch of an unknown model": (["models", "fetch", "no-such-model"], 5, "no-such-model"),
    "epoch that is no length": (["custody", "keys", "--dir", "owner", "--epoch", "soon"], 2, "--epoch soon"),
    "day that is none": (["custody", "keys", "--dir", "owner", "--from", "tomorrow"], 2, "--from tomorrow"),
    "key type that is none": (["custody", "keys", "--dir", "owner", "--type", "rsa"], 2, "rsa"),
    "choice that is none": (
        ["config", "schema", "house"],
        2,
        "'house' is not one of 'fleet', 'site', 'camera', 'unit'",
    ),
    "number that is none": (["config", "sign", "--serial", "x"], 2, "--serial"),
    "unknown fleet": (["config", "check", "missing"], 3, "missing: No such file"),
    "device name that is none": (["device", "init", "--name", "A B", "--dir", "x"], 2, "A B"),
    "receiver that is not there": (["receiver", "serve", "missing"], 8, "missing"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_clear_line_and_its_exit_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., Said]
) -> None:
    """What and where, on standard error; nothing on standard output; nothing made."""
    monkeypatch.chdir(tmp_path)
    arguments, code, message = MISTAKES[name]
    status, out, error = said(*arguments)
    assert (status, out) == (code, "")
    assert message in error
    assert error.startswith("plateseal: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_this_user_may_not_look_at_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., Said]
) -> None:
    """Whatever was being done there; tests run as root, who may look everywhere."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    status, _, error = said("config", "check", tmp_path)
    assert (status, error.count("\n")) == (2, 1)
    assert f"{tmp_path}: Permission denied; run this as" in error


def test_a_wrong_configuration_names_every_key(tmp_path: Path, said: Callable[..., Said]) -> None:
    """Each mistake on a line of its own, with the program's name in front."""
    path = tmp_path / "unit.toml"
    path.write_text(GOOD.replace("max_bytes", "max_size").replace("https:", "http:"))
    status, _, error = said("upload", "--config", path)
    assert status == 3
    lines = error.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"plateseal: {path}:") for line in lines)


def test_a_missing_key_stops_a_daemon_with_the_path(tmp_path: Path) -> None:
    """The configuration is fine, a file it names is not there."""
    path = tmp_path / "unit.toml"
    path.write_text(GOOD)
    done = plateseal("upload", "--config", path)
    assert done.returncode == 8
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_version_and_help(said: Callable[..., Said]) -> None:
    """Both exit 0; no command at all is a mistake, and shows the help."""
    for option, text in (("--version", "plateseal "), ("--help", "Usage"), ("-h", "Usage")):
        found = said(option)
        assert (found[0], text in found[1], found[2]) == (0, True, "")
    status, out, error = said()
    assert (status, error) == (2, "")
    assert "Usage" in out


def test_custody_keys_says_what_to_copy_and_what_to_keep(tmp_path: Path, said: Callable[..., Said]) -> None:
    """For people, and as JSON for programs."""
    owner = tmp_path / "owner"
    make = ("custody", "keys", "--dir", owner, "--no-passphrase", "--from")
    status, out, error = said(*make, "2027-01-01", "--epochs", "3", "--type", "x25519")
    assert (status, error) == (0, "")
    assert "3 x25519 keys, 2027-01-01 00:00 to 2027-01-04 00:00 UTC" in out
    assert stat.S_IMODE((owner / "owner.key").stat().st_mode) == 0o600
    recipients = ("--recipient", "agency", "--recipient", "auditor")
    answer = json.loads(said(*make, "2027-01-04", "--epochs", "2", *recipients, "--json")[1])
    assert (answer["serial"], len(answer["added"]), answer["until"]) == (2, 4, "2027-01-06T00:00:00+00:00")
    status, _, error = said(*make, "2027-01-02")
    assert status == 2
    assert "begin later with --from" in error


def test_a_reader_that_leaves_early_is_no_error_message(tmp_path: Path) -> None:
    """`plateseal ... | head` ends without a traceback."""
    command = f"{sys.executable} -m agent.cli.main --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
