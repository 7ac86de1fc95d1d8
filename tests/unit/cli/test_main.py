"""The command line: one clear line per mistake, an exit code per family, never a traceback."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.config.test_load import GOOD


def plateseal(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "agent.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
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
    "device name that is none": (["device", "init", "--name", "A B", "--dir", "x"], 2, "A B"),
    "receiver that is not there": (["receiver", "serve", "missing"], 8, "missing"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_clear_message_and_its_exit_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What and where, on standard error; nothing on standard output; nothing made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    arguments, code, message = MISTAKES[name]
    done = plateseal(*arguments)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_configuration_names_every_key(tmp_path: Path) -> None:
    """Each mistake on a line of its own, with the program's name in front."""
    path = tmp_path / "unit.toml"
    path.write_text(GOOD.replace("max_bytes", "max_size").replace("https:", "http:"))
    done = plateseal("upload", "--config", path)
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"plateseal: {path}:") for line in lines)


def test_missing_keys_stop_a_daemon_with_the_path(tmp_path: Path) -> None:
    """The configuration is fine, a file it names is not there."""
    path = tmp_path / "unit.toml"
    path.write_text(GOOD)
    for daemon in ("capture", "upload"):
        done = plateseal(daemon, "--config", path)
        assert done.returncode == 8
        assert str(tmp_path) in done.stderr
        assert "Traceback" not in done.stderr


def test_version_and_help() -> None:
    """Both exit 0."""
    assert plateseal("--version").stdout.startswith("plateseal ")
    assert "Usage" in plateseal("--help").stdout
    assert "Usage" in plateseal("-h").stdout


def test_custody_keys_says_what_to_copy_and_what_to_keep(tmp_path: Path) -> None:
    """For people, and as JSON for programs."""
    owner = tmp_path / "owner"
    done = plateseal(
        "custody", "keys", "--dir", owner, "--from", "2027-01-01", "--epochs", "3", "--type", "x25519",
        "--no-passphrase",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 x25519 keys, 2027-01-01 00:00 to 2027-01-04 00:00 UTC" in done.stdout
    assert stat.S_IMODE((owner / "owner.key").stat().st_mode) == 0o600
    again = plateseal(
        "custody", "keys", "--dir", owner, "--from", "2027-01-04", "--epochs", "2", "--recipient", "agency",
        "--recipient", "auditor", "--no-passphrase", "--json",
    )  # fmt: skip
    answer = json.loads(again.stdout)
    assert (answer["serial"], len(answer["added"]), answer["until"]) == (2, 4, "2027-01-06T00:00:00+00:00")
    overlapping = plateseal("custody", "keys", "--dir", owner, "--from", "2027-01-02", "--no-passphrase")
    assert overlapping.returncode == 2
    assert "begin later with --from" in overlapping.stderr


def test_a_reader_that_leaves_early_is_no_error_message(tmp_path: Path) -> None:
    """`plateseal ... | head` ends without a traceback."""
    command = f"{sys.executable} -m agent.cli.main --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
