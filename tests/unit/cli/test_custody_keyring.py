"""Which keyring the commands `custody keys` and `custody destroy` leave: what it lists and allows, and its serial."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.custody.opener import open_envelope
from agent.custody.owner import Owner, unlock_owner
from agent.disk.files import LocalFiles
from agent.unit.process.clock import SystemClock
from agent.unit.process.clock_trust import ClockTrust
from agent.wire.envelope import sealed_content
from agent.wire.keyring import Keyring
from agent.wire.plaintext import ClockState
from tests.fakes.envelopes import first_position
from tests.fakes.owner import DAY, make_owner_keys
from tests.fakes.reads import make_plaintext
from tests.fakes.waiting import WITHIN_S
from tests.unit.seal.test_wrong_clocks import rig

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
"""Midnight of a day whose epoch is over."""
MAKE = ("--no-passphrase", "--type", "x25519", "--json")
RETENTION = ("--reason", "retention", "--yes")


class Commands:
    """Runs `plateseal custody` on one owner's folder, in this process."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Keep what is needed."""
        self.directory = directory
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run a command and return its exit status, and what it printed on standard output and standard error."""
        argv = ["plateseal", "custody", command, "--dir", str(self.directory), *arguments]
        self._monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *self._capsys.readouterr()

    def succeed(self, command: str, *arguments: str) -> str:
        """Run a command that must succeed, and return what it printed."""
        code, said, errors = self.run(command, *arguments)
        assert (code, errors) == (0, "")
        return said

    def make(self, first_day: datetime, *options: str) -> dict[str, object]:
        """Make keys of two days, and return the answer."""
        made: dict[str, object] = json.loads(
            self.succeed("keys", "--from", f"{first_day:%Y-%m-%d}", "--epochs", "2", *MAKE, *options)
        )
        return made

    def killed_destroying(self, before: datetime, at: str) -> None:
        """Run `custody destroy` for what ended before a day, in a process of its own that dies as it calls `at`."""
        program = (
            "import os, signal, sys\n"
            "import agent.custody.destroy as destroy\n"
            "from agent.cli.main import main\n"
            f"destroy.{at} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "main()\n"
        )
        command = ["custody", "destroy", "--dir", str(self.directory), "--before", f"{before:%Y-%m-%d}"]
        done = subprocess.run([sys.executable, "-c", program, *command, *RETENTION], check=False, timeout=WITHIN_S)
        assert done.returncode == -signal.SIGKILL

    @property
    def owner(self) -> Owner:
        """The owner, unlocked."""
        return unlock_owner(self.directory, None)

    @property
    def keyring(self) -> Keyring:
        """The keyring in place."""
        return self.owner.keyring()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Return the commands of an owner that is not there yet."""
    return Commands(tmp_path / "owner", monkeypatch, capsys)


def today() -> datetime:
    """Return the midnight before now."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def opens_with(commands: Commands, tmp_path: Path) -> datetime:
    """Seal a recording of long ago as a unit does now, and return the beginning of the epoch whose key opens it."""
    sealer = rig(tmp_path, ClockTrust(SystemClock(), state_dir=tmp_path, files=LocalFiles()), commands.owner)
    read = make_plaintext(captured_at=LONG_AGO + timedelta(hours=3), clock=ClockState.RECORDED)
    envelope = sealer.seal(read, first_position(run=0))
    private = commands.owner.private_keys()
    slots = {slot.kid for slot in sealed_content(envelope)[0].recipients}
    (key,) = [key for key in commands.keyring.keys if key.kid in slots]
    assert open_envelope(envelope, {key.kid: private[key.kid]}) == read
    return key.valid_from


def test_recordings_stay_allowed_until_they_are_not(commands: Commands, tmp_path: Path) -> None:
    """At first no; once set, the value stays. Allowed, a recording is sealed to its own day, else to today."""
    assert commands.make(LONG_AGO)["recordings"] is False
    day = today()
    assert commands.make(day)["recordings"] is False
    assert opens_with(commands, tmp_path) in (day, day + DAY)
    assert commands.make(day + 2 * DAY, "--recordings")["recordings"] is True
    assert commands.make(day + 4 * DAY)["recordings"] is True
    assert commands.keyring.recorded
    assert opens_with(commands, tmp_path) == LONG_AGO
    assert commands.make(day + 6 * DAY, "--no-recordings")["recordings"] is False
    assert opens_with(commands, tmp_path) in (day, day + DAY)


@pytest.mark.parametrize("at", ["erase_files", "write_keyring"])
def test_a_destruction_that_was_killed_goes_on(commands: Commands, at: str) -> None:
    """Run again, it erases what is left, and the keyring lists none of the destroyed keys; the same for good."""
    day = today()
    commands.make(day - 2 * DAY)
    commands.make(day)
    before = commands.keyring
    commands.killed_destroying(day, at)
    assert commands.keyring == before
    assert len(commands.owner.private_keys()) == (4 if at == "erase_files" else 2)
    arguments = ("destroy", "--before", f"{day:%Y-%m-%d}", *RETENTION)
    assert "without the destroyed keys" in commands.succeed(*arguments)
    after = commands.keyring
    assert after.serial > before.serial
    assert [key.kid for key in after.keys] == [key.kid for key in before.keys[2:]]
    assert commands.owner.private_keys().keys() == {key.kid for key in after.keys}
    commands.succeed(*arguments)
    assert commands.keyring == after


def test_making_keys_after_a_killed_destruction_lists_no_destroyed_key(commands: Commands) -> None:
    """Also where nobody ran the destruction again; the answer says how many were left out."""
    commands.make(LONG_AGO)
    commands.killed_destroying(LONG_AGO + 2 * DAY, "write_keyring")
    assert commands.make(today())["left_out"] == 2
    assert {key.kid for key in commands.keyring.keys} == commands.owner.private_keys().keys()


def test_the_last_key_takes_the_keyring_with_it(commands: Commands) -> None:
    """The command says what that means for units; later keys get the serial that follows the last keyring's."""
    commands.make(LONG_AGO)
    commands.make(LONG_AGO + 2 * DAY)
    said = commands.succeed("destroy", "--before", f"{LONG_AGO + 4 * DAY:%Y-%m-%d}", *RETENTION)
    assert f"no key is left, so {commands.directory / 'keyring.cose'} is removed" in said
    assert not (commands.directory / "keyring.cose").exists()
    assert commands.make(today())["serial"] == 3
    assert len(commands.keyring.keys) == 2


@pytest.mark.parametrize(
    "command",
    [("keys", "--from", "2025-03-01", *MAKE), ("destroy", "--before", "2025-01-02", *RETENTION)],
    ids=["keys", "destroy"],
)
def test_a_clock_before_the_keyrings_issue_is_refused(commands: Commands, command: tuple[str, ...]) -> None:
    """One line that names the clock; no key, no keyring and no entry is made, and nothing is destroyed."""
    issued = today() + 2 * DAY
    make_owner_keys(commands.directory, start=LONG_AGO, epochs=3, passphrase=None, now=issued)
    before = {path: path.read_bytes() for path in commands.directory.rglob("*") if path.is_file()}
    code, said, errors = commands.run(*command)
    assert (code, "keys are destroyed" in said) == (2, False)
    assert errors.startswith("plateseal: clock: this computer shows ")
    assert f"was signed at {issued:%Y-%m-%d} 00:00 UTC; set the clock right, nothing was done" in errors
    assert errors.count("\n") == 1
    assert {path: path.read_bytes() for path in commands.directory.rglob("*") if path.is_file()} == before
