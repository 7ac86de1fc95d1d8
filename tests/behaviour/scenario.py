"""A walk through plateseal's commands on recorded input: receiver, unit, owner, fleet, and typical mistakes.

The commands are those of one `plateseal`, which may be another commit's; nothing of this repository's `agent` is used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.behaviour.files import describe_tree
from tests.behaviour.plain import Plain
from tests.fakes.clip import short_clip
from tests.fakes.fleet import write_fleet
from tests.fakes.waiting import WITHIN_S, wait_until

Recording = dict[str, list[str]]
"""Lines by what they are of: a command line, or a file at some time. Nothing in it differs from run to run."""
MANDATE: Final = ("--as", "anna", "--case", "2027-08", "--reason", "hit and run")
WALK: Final = ("--as", "anna", "--dir", "owner")
UNIT: Final = ("--config", "unit/unit.toml")
UNIT_TOML: Final = """camera_id = "north-gate"
state_dir = "state"
[source]
uri = "road.mp4"
started_at = {today}T00:00:00Z
[seal]
keyring = "keyring.cose"
owner_key = "owner.pub"
signing_key = "identity/signing.key"
[spool]
directory = "spool"
[upload]
url = "https://localhost:{port}"
ca = "ca.pem"
certificate = "identity/tls.pem"
key = "identity/tls.key"
receiver_key = "receipt.pub"
"""
BAD_TOML: Final = UNIT_TOML.replace('"spool"', "7").replace("camera_id", "camra_id").replace("https://localhost", "x")
MACHINES_CHECKS: Final = frozenset({"clock", "disk", "swap", "core dumps", "capture service", "upload service"})
"""What the doctor finds there is the machine's."""
MACHINES_LINE: Final = re.compile(r"[! ] (clock|disk|temperature) |.*(\d+|nothing) to look at$")
"""Lines of `plateseal status` that are."""
WORDS_LINE: Final = re.compile(r".*\.(description|title) = ")
"""A schema's descriptions are sentences for people, which may be put better; nothing reads them."""


class Walk:
    """Runs commands in one folder and records what they print."""

    def __init__(self, plateseal: Path, folder: Path) -> None:
        """Prepare; `folder` is empty."""
        self.folder = folder
        self.plain = Plain()
        self.recording: Recording = {}
        self.today = f"{datetime.now(UTC):%F}"
        self._plateseal = plateseal
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "COLUMNS": "140",
            "TERM": "dumb",
            "USER": "anna",
        }
        if "PYTHONDONTWRITEBYTECODE" in os.environ:
            self._environment["PYTHONDONTWRITEBYTECODE"] = os.environ["PYTHONDONTWRITEBYTECODE"]
        self.plain.know(str(folder), "<folder>")

    def run(self, *arguments: str) -> str:
        """Run one command, record its exit status and all that it printed, and return what it printed."""
        done = subprocess.run(
            [self._plateseal, *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )
        told = self._told(arguments, done.stdout)
        errors = [f"error: {line}" for line in self.plain.lines(done.stderr)]
        if arguments[0] == "run":
            errors.sort()  # of three processes, whose lines come in any order
        self._record_command(arguments, [f"exit {done.returncode}", *told, *errors])
        return done.stdout

    def files(self, folder: str, when: str) -> None:
        """Record what lies in a folder now."""
        for name, lines in describe_tree(self.folder / folder, self.plain).items():
            self._record(f"{when}: {folder}/{name}", lines)

    @contextmanager
    def beside(self, *arguments: str) -> Iterator[None]:
        """Have a command run meanwhile; then stop it and record what it printed on standard error."""
        log = self.folder / "beside.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [self._plateseal, *arguments],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(WITHIN_S)
        lines = self.plain.lines(log.read_text())
        log.unlink()
        self._record_command(arguments, [f"exit {code}", *lines])

    def copy(self, *names: str, to: str) -> None:
        """Copy files into a folder."""
        for name in names:
            shutil.copy(self.folder / name, self.folder / to)

    def _told(self, arguments: tuple[str, ...], stdout: str) -> list[str]:
        if not {"--json", "--jsonl", "schema"} & set(arguments):
            return [line for line in self.plain.lines(stdout) if not MACHINES_LINE.match(line)]
        try:
            value = _values(arguments, stdout)
        except ValueError:
            return ["no JSON:", *self.plain.lines(stdout)]
        return [line for line in self.plain.json_lines(value) if not WORDS_LINE.match(line)]

    def _record_command(self, arguments: tuple[str, ...], lines: list[str]) -> None:
        self._record("$ " + self.plain.text(" ".join(("plateseal", *arguments))), lines)

    def _record(self, name: str, lines: list[str]) -> None:
        unused = name
        number = 1
        while unused in self.recording:
            number += 1
            unused = f"{name} #{number}"
        self.recording[unused] = lines


def _values(arguments: tuple[str, ...], stdout: str) -> object:
    """Return the JSON that a command printed, without what is the machine's, in an order that holds for any run.

    Raises:
        ValueError: It is no JSON.
    """
    if arguments[:2] == ("custody", "open") or "--jsonl" in arguments:
        return [json.loads(line) for line in stdout.splitlines()]
    value = json.loads(stdout)
    if arguments[0] == "doctor":
        findings = [
            one if one["check"] not in MACHINES_CHECKS else {"check": one["check"]} for one in value["findings"]
        ]
        return {**value, "findings": findings}
    if arguments[:2] == ("receiver", "verify"):
        chains = sorted(value["chains"], key=lambda report: report["envelopes"])  # in the order of random ids
        return {**value, "chains": chains}
    return value


def record(plateseal: Path, folder: Path) -> Recording:
    """Walk through all commands in an empty folder.

    Args:
        plateseal: The command, by its path.
        folder: Empty; what the commands make stays there.
    """
    walk = Walk(plateseal, folder)
    short_clip(folder / "road.mp4")
    _set_up(walk)
    _fleet(walk)
    _capture(walk)
    _deliver(walk)
    _open(walk)
    _end_epochs(walk)
    _mistakes(walk)
    return walk.recording


def _set_up(walk: Walk) -> None:
    (walk.folder / "unit").mkdir()
    walk.run("receiver", "init", "receiver", "--json")
    walk.run("receiver", "init", "other", "--host", "reads.example")
    walk.run("receiver", "init", "receiver")
    walk.run("device", "init", "--name", "north-gate", "--dir", "unit/identity", "--json")
    walk.run("device", "init", "--name", "north-gate", "--dir", "second")
    walk.run("device", "init", "--name", "north-gate", "--dir", "second")
    walk.run("receiver", "enrol", "receiver", "unit/identity/enrolment.json", "--json")
    walk.run("receiver", "enrol", "receiver", "unit/identity/enrolment.json")
    walk.run("receiver", "enrol", "receiver", "second/enrolment.json")
    walk.run("receiver", "operator", "receiver", "anna", "--json")
    walk.run("receiver", "operator", "receiver", "ben", "--out", "ben.p12")
    passphrase = walk.folder / "owner.pass"
    passphrase.write_text("only for this bench\n")
    passphrase.chmod(0o600)
    keys = ("--from", walk.today, "--epochs", "2")
    walk.run("custody", "keys", *WALK, "--no-passphrase", *keys, "--json")
    walk.run("custody", "keys", "--dir", "closed", "--as", "anna", "--passphrase-file", "owner.pass", *keys[:3], "1")
    walk.copy("owner/keyring.cose", "owner/owner.pub", "receiver/ca.pem", "receiver/receipt.pub", "road.mp4", to="unit")


def _fleet(walk: Walk) -> None:
    write_fleet(walk.folder / "fleet", sites=2, cameras=2)
    for arguments in (("check", "fleet"), ("check", "fleet", "--json"), ("schema", "camera")):
        walk.run("config", *arguments)
    for form in ("--json", "--toml"):
        walk.run("config", "show", "camera-0", "--dir", "fleet", form)
    sign = ("config", "sign", "--all", "--dir", "fleet", "--key", "owner/owner.key", "--out", "bundles", "--serial")
    walk.run(*sign, "7", "--json")
    walk.run(*sign, "7")
    verify = ("config", "verify", "bundles/camera-0.bundle", "--key")
    walk.run(*verify, "owner/owner.pub", "--json")
    walk.run(*verify, "owner/owner.pub", "--camera", "camera-1")
    walk.run(*verify, "closed/owner.pub")
    (walk.folder / "fleet" / "cameras" / "camera-1.toml").write_text('site = "nowhere"\n[vision]\nmin_votes = "x"\n')
    walk.run("config", "check", "fleet", "--json")
    walk.run("models", "list", "--json")
    walk.run("models", "verify", "--json")
    walk.run("models", "verify", "plate-reader")


def _capture(walk: Walk) -> None:
    config = walk.folder / "unit" / "unit.toml"
    config.write_text(UNIT_TOML.format(today=walk.today, port=1))
    walk.run("config", "check", "unit/unit.toml", "--json")
    walk.run("read", "road.mp4", "--jsonl", "-")
    walk.run("doctor", *UNIT, "--json")
    walk.run("capture", *UNIT)
    for command in (("spool", "list"), ("spool", "verify")):
        walk.run(*command, *UNIT, "--json")
        walk.run(*command, *UNIT)
    _set_aside(walk)
    walk.files("unit", "after capture")


def _set_aside(walk: Walk) -> None:
    """Set a read aside as upload does, look at it, and take it back; and have a bad file among the pending ones."""
    spool = walk.folder / "unit" / "spool"
    pending = next((spool / "pending").iterdir())
    aside = spool / "quarantine"
    aside.mkdir(mode=0o700, exist_ok=True)
    pending.rename(aside / pending.name)
    (aside / f"{pending.name}.reason").write_text("the receiver refuses it: try")
    walk.run("spool", "list", *UNIT, "--json")
    walk.run("spool", "release", pending.name, *UNIT)
    bad = spool / "pending" / ("0" * 64)
    bad.write_bytes(b"no envelope")
    walk.run("spool", "verify", *UNIT, "--json")
    bad.unlink()


def _deliver(walk: Walk) -> None:
    port_file = walk.folder / "port"
    with walk.beside("receiver", "serve", "receiver", "--port", "0", "--port-file", "port"):
        wait_until(lambda: port_file.exists() and port_file.read_text())
        port = port_file.read_text().strip()
        walk.plain.know(port, "<port>")
        (walk.folder / "unit" / "unit.toml").write_text(UNIT_TOML.format(today=walk.today, port=port))
        walk.run("upload", *UNIT, "--drain")
        walk.run("device", "rotate", "--dir", "unit/identity", "--json")
        walk.run("device", "rotate", "--dir", "unit/identity")
        walk.run("receiver", "enrol", "receiver", "unit/identity/rotation.cose", "--json")
        walk.run("device", "rotate", "--dir", "unit/identity", "--json")
        walk.run("run", *UNIT)
        _age(walk.folder / "unit" / "state")
        walk.run("status", *UNIT, "--json")
        walk.run("status", *UNIT)
        walk.run("doctor", *UNIT, "--json")
    port_file.unlink()
    walk.files("unit", "at the end")
    walk.files("receiver", "at the end")
    walk.run("receiver", "verify", "receiver", "--json")
    walk.run("receiver", "verify", "receiver")


def _age(folder: Path) -> None:
    """Let the daemons have ended long ago, as far as their files' times tell."""
    for path in folder.rglob("*"):
        if path.suffix in (".prom", ".json"):
            os.utime(path, (0, 0))


def _open(walk: Walk) -> None:
    at = (*WALK, "--store", "receiver", *MANDATE[2:])
    opened = walk.run("custody", "open", *at, "--json")
    walk.run("custody", "open", *at, "--crops", "crops")
    walk.run("custody", "open", *at, "--plate", "ZZ*", "--from", walk.today)
    walk.run("custody", "hold", *at, "--plate", "*", "--json")
    envelope_id = json.loads(opened.splitlines()[0])["envelope"]
    walk.run("custody", "export", *at, "--id", envelope_id, "--out", "trial", "--json")
    walk.run("custody", "export", *at, "--id", envelope_id, "--out", "trial")
    walk.run("custody", "destroy", *WALK, "--before", "30d", "--reason", "retention", "--yes", "--json")
    walk.run("custody", "audit", "--dir", "owner", "--json")
    walk.run("custody", "audit", "--dir", "owner")
    walk.run("custody", "audit", "--dir", "owner", "--expect-head", "00" * 32)
    for folder in ("owner", "trial", "crops", "closed"):
        walk.files(folder, "at the end")


def _end_epochs(walk: Walk) -> None:
    """Destroy keys of epochs that have ended, of an owner of its own."""
    old = ("--dir", "old", "--as", "anna")
    epochs = ("--from", "2020-01-01", "--epochs", "3", "--type", "x25519")
    walk.run("custody", "keys", *old, "--no-passphrase", *epochs)
    end = ("custody", "destroy", *old, "--before", "2020-01-02", "--reason", "retention", "--store", "receiver")
    walk.run(*end, "--yes", "--json")
    walk.run(*end, "--yes")
    walk.run("custody", "destroyed", "--dir", "old", "--out", "destroyed.json")
    walk.run("receiver", "drop-epoch", "receiver", "--destroyed", "destroyed.json")
    walk.run("receiver", "drop-epoch", "receiver")
    walk.files("old", "at the end")


def _mistakes(walk: Walk) -> None:
    (walk.folder / "bad.toml").write_text(BAD_TOML.format(today=walk.today, port=1))
    (walk.folder / "no.jpg").write_text("no picture")
    for arguments in (
        ("nosuch",),
        ("receiver", "verify"),
        ("receiver", "verify", "nowhere"),
        ("receiver", "enrol", "receiver", "no.jpg"),
        ("status", "--config", "nowhere.toml"),
        ("config", "check", "bad.toml"),
        ("config", "verify", "no.jpg", "--key", "owner/owner.pub"),
        ("custody", "keys", "--dir", "x", "--no-passphrase", "--epoch", "5y"),
        ("custody", "open", *WALK, "--store", "receiver", *MANDATE[2:], "--plate", "["),
        ("custody", "open", *WALK, "--store", "receiver", *MANDATE[2:], "--from", "soon"),
        ("custody", "open", *WALK, "--store", "receiver", "--case", "", "--reason", ""),
        ("custody", "open", "--dir", "closed", "--store", "receiver", *MANDATE, "--passphrase-file", "no.jpg"),
        ("device", "init", "--dir", "y", "--name", "No Name"),
        ("device", "rotate", "--dir", "nowhere"),
        ("models", "verify", "nosuch"),
        ("models", "list", "--models", "no.jpg"),
        ("read", "no.jpg"),
        ("spool", "release", "xyz", *UNIT),
        ("demo", "--clip", "nowhere.mp4"),
    ):
        walk.run(*arguments)
    (walk.folder / "unit" / "keyring.cose").write_bytes(b"no keyring")
    walk.run("capture", *UNIT)
    _cut(walk.folder / "receiver" / "bodies")
    walk.run("receiver", "verify", "receiver", "--json")


def _cut(bodies: Path) -> None:
    """Damage an envelope in a receiver's store."""
    file = max(bodies.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"application/plateseal+cbor")
    data[at + 40] ^= 1
    file.write_bytes(data)
