"""A command that is given another kind of folder says what the folder is and what fits there, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.bench.demo import device_config, set_up_parts
from agent.cli.folders import Kind, kinds_of
from agent.cli.main import app
from agent.disk.files import LocalFiles
from agent.errors import UsageError
from agent.keys.identity import create_identity
from agent.keys.keyfiles import load_ed25519_private
from agent.keys.known_keys import KnownKeys
from agent.receiver.backup import back_up
from agent.spool.spool import FileSpool

RUN = CliRunner()
ASK = ("--case", "7", "--reason", "test")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds one of each kind, made by who makes them."""
    root = tmp_path_factory.mktemp("folders") / "bench"
    set_up_parts(root)
    unit = root / "device"
    (unit / "unit.toml").write_text(device_config(root / "receiver", port=1, clip=Path("x.mp4"), models=None))
    create_identity(root / "identity", name="other")
    FileSpool(unit / "spool", max_bytes=1 << 20, files=LocalFiles())
    (unit / "state").mkdir(mode=0o700)
    KnownKeys(unit / "state").record(load_ed25519_private(unit / "identity" / "signing.key").public_key())
    back_up(root / "receiver", root / "backup", with_keys=False, watch=lambda *_: None)
    (root / "fleet" / "cameras").mkdir(parents=True)
    (root / "export").mkdir()
    for name in ("envelope.cose", "VERIFY.md", "receipt.pub"):
        (root / "export" / name).touch()
    (root / "empty").mkdir()
    return root


KINDS = {
    "receiver": Kind.RECEIVER,
    "backup": Kind.COPY,
    "owner": Kind.OWNER,
    "device": Kind.UNIT,
    "identity": Kind.IDENTITY,
    "device/spool": Kind.SPOOL,
    "device/state": Kind.STATE,
    "fleet": Kind.FLEET,
    "export": Kind.EXPORT,
}


def test_each_kind_is_recognised(folders: Path) -> None:
    """As its own command makes it; nothing else is anything."""
    assert {name: kinds_of(folders / name)[:1] for name in KINDS} == {name: [kind] for name, kind in KINDS.items()}
    assert kinds_of(folders / "empty") == kinds_of(folders / "missing") == kinds_of(folders / "owner/owner.pub") == []


@pytest.mark.parametrize(
    ("command", "takes"),
    [
        (("receiver", "serve", "{}"), "receiver"),
        (("receiver", "init", "{}"), "receiver"),
        (("receiver", "enrol", "{}", "enrolment.json"), "receiver"),
        (("receiver", "renew", "{}"), "receiver"),
        (("receiver", "receipt-key", "{}"), "receiver"),
        (("receiver", "revoke", "{}", "demo", "--reason", "test"), "receiver"),
        (("receiver", "operator", "{}", "anna"), "receiver"),
        (("receiver", "verify", "{}"), "receiver backup"),
        (("receiver", "backup", "{}", "out"), "receiver backup"),
        (("custody", "keys", "--dir", "{}", "--no-passphrase"), "owner"),
        (("custody", "audit", "--dir", "{}"), "owner"),
        (("custody", "copy", "--dir", "{}", "--out", "out"), "owner"),
        (("custody", "passphrase", "--dir", "{}"), "owner"),
        (("custody", "close", "--dir", "{}", *ASK), "owner"),
        (("custody", "destroy", "--dir", "{}", "--before", "30d", "--reason", "test"), "owner"),
        (("custody", "open", "--dir", "{}", "--store", "empty", *ASK), "owner"),
        (("custody", "open", "--dir", "empty", "--store", "{}", *ASK), "receiver backup"),
        (("custody", "hold", "--dir", "empty", "--store", "{}", *ASK), "receiver backup"),
        (("custody", "destroy", "--dir", "empty", "--before", "1d", *ASK[2:], "--store", "{}"), "receiver backup"),
        (("device", "init", "--name", "x", "--dir", "{}"), "device identity"),
        (("device", "rotate", "--dir", "{}"), "device identity"),
        (("config", "check", "{}"), "fleet"),
        (("config", "show", "demo", "--dir", "{}"), "fleet"),
        (("status", "--config", "{}"), ""),
        (("doctor", "--config", "{}"), ""),
        (("capture", "--config", "{}"), ""),
        (("upload", "--config", "{}"), ""),
        (("run", "--config", "{}"), ""),
        (("spool", "list", "--config", "{}"), ""),
        (("device", "rotate", "--config", "{}"), ""),
        (("read", "x.jpg", "--config", "{}"), ""),
    ],
)  # fmt: skip
def test_a_folder_of_another_kind_is_told_by_name(
    folders: Path, command: tuple[str, ...], takes: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every command that takes a folder or a unit's file, with every kind that it does not take."""
    monkeypatch.chdir(tmp_path)
    before = sorted(folders.rglob("*"))
    for name in set(KINDS) - set(takes.split()):
        folder = folders / name
        done = RUN.invoke(app, [word.replace("{}", str(folder)) for word in command])
        assert isinstance(done.exception, UsageError), (name, done.exception, done.output)
        said = str(done.exception)
        assert said.startswith(f"{folder}: ")
        assert KINDS[name].words in said
        assert str(folder) in said.removeprefix(f"{folder}: ") or "FILE" in said
        assert "\n" not in said
    assert sorted(folders.rglob("*")) == before
    assert not list(tmp_path.iterdir())
