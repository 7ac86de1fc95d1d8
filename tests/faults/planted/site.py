"""A whole site in one folder: a unit, its receiver and its owner, made by the product's own code, with reads delivered.

```
SITE/device      the unit: identity, unit.toml, spool, state, and what came from the receiver and the owner
SITE/receiver    the receiver's folder; a running one keeps to the folder that it was started on
SITE/owner       the owner's keys, under the passphrase in SITE/passphrase
```

Owns: making a site, copying it for a fault, and running commands on it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from unittest import mock

from agent.bench.demo import CAMERA, DEMO_CLIP, device_config
from agent.cli.main import main
from agent.custody.keys import make_keys
from agent.disk.files import LocalFiles
from agent.keys.identity import create_identity
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public, write_public
from agent.keys.keyring import KeyringBook
from agent.keys.known_keys import KnownKeys
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.intake import server
from agent.receiver.layout import ReceiverLayout
from agent.seal.sealer import Sealer
from agent.spool.spool import FileSpool
from agent.wire.envelope import Envelope
from agent.wire.header import ChainPosition
from agent.wire.suites import ContentCipher, KeyType
from tests.e2e.test_receiver_tls import running
from tests.fakes.envelopes import first_position, next_position
from tests.fakes.owner import PASSPHRASE, QUICK
from tests.fakes.pki import Bench, BenchDevice
from tests.fakes.programs import NEW
from tests.fakes.reads import make_plaintext

EPOCH: Final = timedelta(days=20)
BEGINS: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 2 * EPOCH
"""Two epochs are over, and four are to come."""
WIDTH: Final = "1000"
"""Columns of what commands print, so that no command in a message is broken into lines."""
_COMMAND_END: Final = re.compile(r"; |, |[`\n]|\. |\.$| says ")


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: What it printed on standard output.
        err: What it printed on standard error.
        findings: Of the doctor: outcome and words of each finding that is not good, by check.
        mends: Of the doctor: the mend of each of these.
    """

    code: int
    out: str
    err: str
    findings: dict[str, tuple[str, str]] = field(default_factory=dict)
    mends: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """A copy of the site, which a fault may spoil.

    Attributes:
        root: Everything is in it.
        running: The folder of the receiver that runs, which this site's unit delivers to.
        stack: What a fault starts is stopped with it.
    """

    root: Path
    running: Path
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def device(self) -> Path:
        """The unit's folder."""
        return self.root / "device"

    @property
    def config(self) -> Path:
        """The unit's configuration."""
        return self.device / "unit.toml"

    @property
    def identity(self) -> Path:
        """The unit's keys."""
        return self.device / "identity"

    @property
    def state(self) -> Path:
        """The unit's notes."""
        return self.device / "state"

    @property
    def spool(self) -> Path:
        """The unit's spool."""
        return self.device / "spool"

    @property
    def receiver(self) -> Path:
        """The receiver's folder of this copy."""
        return self.root / "receiver"

    @property
    def owner(self) -> Path:
        """The owner's folder."""
        return self.root / "owner"

    @property
    def passphrase(self) -> Path:
        """The file with the passphrase of the owner's keys."""
        return self.root / "passphrase"

    def words(self, command: str, **more: object) -> list[str]:
        """Return a command's words with the site's places filled in, as `{receiver}` or `{config}`."""
        names = ("root", "device", "config", "identity", "state", "spool", "receiver", "owner", "passphrase", "running")
        places = {name: getattr(self, name) for name in names}
        return [word.format(**places, **more) for word in shlex.split(command)]

    def run(self, command: str, **more: object) -> Said:
        """Run a command of plateseal in this process, as the console script does; `serve` until it could listen.

        The doctor is run with `--json`, which says the same.
        """
        words = self.words(command, **more)
        if words[0] == "doctor":
            return _doctor(*_run(*words, "--json"))
        return Said(*_run(*words))

    def process(self, command: str, **more: object) -> Said:
        """Run a command of plateseal as a process of its own, to its end."""
        done = NEW.run(*self.words(command, **more), cwd=self.root)
        return Said(done.returncode, done.stdout, done.stderr)

    def change_config(self, old: str, new: str) -> None:
        """Change the unit's configuration as somebody with an editor does."""
        text = self.config.read_text()
        assert text.count(old) == 1, f"{old!r} is not in {text}"
        self.config.write_text(text.replace(old, new))

    def change_setting(self, key: str, value: str) -> None:
        """Give a setting of the unit's configuration, which stands there once, another value (TOML)."""
        text, count = re.subn(rf"(?m)^{key} = .*$", lambda _: f"{key} = {value}", self.config.read_text())
        assert count == 1, key
        self.config.write_text(text)

    def pending(self) -> list[Path]:
        """Return the files of reads that wait."""
        return sorted(path for path in (self.spool / "pending").iterdir() if path.is_file())


def command_in(text: str, start: str) -> list[str]:
    """Return the words of the command that a message gives, from its first words to where the sentence goes on."""
    at = text.find(start)
    assert at >= 0, f"no command {start!r} in: {text}"
    return shlex.split(_COMMAND_END.split(text[at:], maxsplit=1)[0])


def execute(words: list[str], *, cwd: Path, text: str = "") -> Said:
    """Run the words of a printed command: one of plateseal in this process, any other as a program, in a folder."""
    if words[0] == "plateseal":
        with contextlib.chdir(cwd):
            said = Said(*_run(*words[1:]))
    else:
        done = subprocess.run(words, cwd=cwd, input=text, capture_output=True, text=True, check=False)
        said = Said(done.returncode, done.stdout, done.stderr)
    return said


def make_site(root: Path) -> None:
    """Make a site in a new folder; nothing has been sent yet, and two reads wait in the spool."""
    device, owner = root / "device", root / "owner"
    device.mkdir(mode=0o700, parents=True)
    receiver = init_receiver(root / "receiver")
    create_identity(device / "identity", name=CAMERA)
    write_public(device / "identity" / "tls.pem", enrol(receiver.directory, device / "identity/enrolment.json").pem)
    make_keys(
        owner, recipients=["agency"], key_type=KeyType.HYBRID, start=BEGINS, epochs=6, epoch=EPOCH,
        passphrase=PASSPHRASE, scrypt=QUICK, now=BEGINS,
    )  # fmt: skip
    (root / "passphrase").write_bytes(PASSPHRASE + b"\n")
    (root / "passphrase").chmod(0o600)
    for source in (owner / "keyring.cose", owner / "owner.pub", receiver.ca, receiver.receipt_public):
        shutil.copyfile(source, device / source.name)
    for name in ("state", "spool"):
        (device / name).mkdir(mode=0o700)
    KnownKeys(device / "state").record(load_ed25519_private(device / "identity/signing.key").public_key())
    last = fill_spool(device, first_position(run=0), BEGINS + timedelta(days=1), BEGINS + timedelta(days=25))
    fill_spool(device, next_position(last), datetime.now(UTC), datetime.now(UTC))


def write_config(root: Path, port: int) -> None:
    """Write the unit's configuration for a receiver on this machine."""
    text = device_config(root / "receiver", port=port, clip=DEMO_CLIP, models=None)
    (root / "device" / "unit.toml").write_text(text.replace("127.0.0.1", "localhost"))


def fill_spool(device: Path, position: ChainPosition, *times: datetime) -> Envelope:
    """Seal a read for each time as capture does, put them into the unit's spool, and return the last one."""
    sealer = Sealer(
        signing_key=load_ed25519_private(device / "identity/signing.key"),
        book=KeyringBook.load(device / "keyring.cose", load_ed25519_public(device / "owner.pub")),
        cipher=ContentCipher.AES_256_GCM,
    )
    spool = FileSpool(device / "spool", max_bytes=1 << 30, files=LocalFiles())
    for number, at in enumerate(times):
        envelope = sealer.seal(make_plaintext(f"AB{number}", captured_at=at, camera=CAMERA), position)
        spool.put(envelope)
        position = next_position(envelope)
    return envelope


def _run(*words: str) -> tuple[int, str, str]:
    """Run the console script's entry; a traceback goes to standard error, as Python writes it, with exit code 1."""
    out, err = io.StringIO(), io.StringIO()
    with _entry(words), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:  # noqa: BLE001  a fault of ours, which is told as Python tells it
            traceback.print_exc(file=err)
            code = 1
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _entry(words: tuple[str, ...]) -> Iterator[None]:
    """Stand for a new process: its arguments, a wide terminal, and a receiver that ends once it could listen."""
    with (
        mock.patch.object(sys, "argv", ["plateseal", *words]),
        mock.patch.dict(os.environ, {"COLUMNS": WIDTH}),
        mock.patch.object(server, "_run"),
    ):
        yield


def _doctor(code: int, out: str, err: str) -> Said:
    told = json.loads(out)["findings"] if out.startswith("{") else []
    bad = [each for each in told if each["outcome"] in ("warning", "fault")]
    findings: dict[str, tuple[str, str]] = {}
    mends: dict[str, str] = {}
    for each in bad:
        outcome, what = findings.get(each["check"], (each["outcome"], ""))
        findings[each["check"]] = outcome, f"{what}; {each['what']}".removeprefix("; ")
        mends[each["check"]] = f"{mends.get(each['check'], '')}; {each['mend']}".removeprefix("; ")
    return Said(code, out, err, findings, mends)


@dataclass(frozen=True, slots=True)
class Sites:
    """Copies of one site, whose receiver runs.

    Attributes:
        running: The site that the receiver runs on.
        whole: What each copy is made of.
        port: Where it listens.
        copies: Where copies are made.
    """

    running: Path
    whole: Path
    port: int
    copies: Path

    @contextlib.contextmanager
    def copy(self) -> Iterator[Site]:
        """Give a new copy, and take it away at the end; the running receiver knows the devices that it knew before."""
        root = self.copies / "site"
        shutil.copytree(self.whole, root)
        write_config(root, self.port)
        try:
            with contextlib.ExitStack() as stack:
                yield Site(root, running=self.running / "receiver", stack=stack)
        finally:
            self._tidy(root)

    def _tidy(self, root: Path) -> None:
        shutil.rmtree(root)
        for name in ("devices", "renewals", "operators"):
            shutil.rmtree(self.running / "receiver" / name, ignore_errors=True)
            if (self.whole / "receiver" / name).exists():
                shutil.copytree(self.whole / "receiver" / name, self.running / "receiver" / name)


@contextlib.contextmanager
def whole_sites(folder: Path) -> Iterator[Sites]:
    """Make a site in an empty folder, run its receiver as a process, deliver its reads, and give copies of it."""
    running_root, whole = folder / "running", folder / "whole"
    make_site(running_root)
    bench = Bench(
        running_root, ReceiverLayout(running_root / "receiver"), BenchDevice(CAMERA, running_root / "device", b"")
    )
    with running(bench) as (_, port):
        write_config(running_root, port)
        done = Site(running_root, running_root / "receiver").process("upload --config {config} --drain")
        assert done.code == 0, done.err
        with contextlib.closing(sqlite3.connect(running_root / "receiver" / "envelopes.db")) as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that a copy of the files is whole
        shutil.copytree(running_root, whole)
        yield Sites(running_root, whole, port, folder)
