"""`plateseal spool`: list, verify and release."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from agent.cli.spool import app
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.errors import EnvelopeVerificationError, SpoolError, SpoolMissingError
from agent.keys.known_keys import KnownKeys
from agent.spool.spool import FileSpool
from agent.wire.envelope import parse_envelope
from tests.fakes.envelopes import make_chain, make_envelope

KEY = Ed25519PrivateKey.generate()
CONFIG = """
camera_id = "gate"
state_dir = "state"
[source]
uri = "clip.mp4"
[seal]
keyring = "keyring"
owner_key = "owner.pub"
signing_key = "signing.key"
[spool]
directory = "spool"
[upload]
url = "https://localhost:1"
ca = "ca.pem"
certificate = "tls.pem"
key = "tls.key"
receiver_key = "receipt.pub"
"""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return a unit's folder with a configuration, an empty spool and a record of its key."""
    (tmp_path / "unit.toml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    KnownKeys(tmp_path / "state").record(KEY.public_key())
    open_spool(tmp_path)
    return tmp_path


def open_spool(unit: Path) -> FileSpool:
    """Open a unit's spool."""
    return FileSpool(unit / "spool", max_bytes=1 << 20, files=LocalFiles())


def run(unit: Path, *arguments: str) -> Result:
    """Run one command on a unit."""
    return CliRunner().invoke(app, [*arguments, "--config", str(unit / "unit.toml")])


def test_an_empty_spool_is_listed_as_empty(unit: Path) -> None:
    """In words and as JSON."""
    assert run(unit, "list").stdout.splitlines() == [f"{unit / 'spool'}: 0 pending, 0 bytes", "0 set aside, 0 bytes"]
    assert json.loads(run(unit, "list", "--json").stdout) == {
        "directory": str(unit / "spool"),
        "pending": 0,
        "pending_bytes": 0,
        "oldest": None,
        "quarantined": 0,
        "quarantined_bytes": 0,
        "quarantine": [],
    }


def test_list_counts_what_waits_and_gives_reasons(unit: Path) -> None:
    """The oldest of the pending ones by its time; each one set aside by its id."""
    spool, (first, second, third) = open_spool(unit), make_chain(KEY, 3)
    for envelope in (first, second, third):
        spool.put(envelope)
    os.utime(unit / "spool" / "pending" / second.envelope_id, (0, 0))
    spool.quarantine(third.envelope_id, reason="refused: too old")
    listed = json.loads(run(unit, "list", "--json").stdout)
    assert (listed["pending"], listed["pending_bytes"]) == (2, len(first.data) + len(second.data))
    assert listed["oldest"] == "1970-01-01T00:00:00+00:00"
    (aside,) = listed["quarantine"]
    assert (aside["id"], aside["bytes"], aside["reason"]) == (third.envelope_id, len(third.data), "refused: too old")
    shown = run(unit, "list").stdout
    assert f"{unit / 'spool'}: 2 pending" in shown
    assert "since 1970-01-01 00:00:00 UTC" in shown
    assert third.envelope_id in shown
    assert "refused: too old" in shown


def test_list_makes_no_spool_where_there_is_none(unit: Path) -> None:
    """A look changes nothing."""
    for name in ("incoming", "pending", "shredding", "quarantine"):
        (unit / "spool" / name).rmdir()
    (unit / "spool").rmdir()
    assert isinstance(run(unit, "list").exception, SpoolError)
    assert not (unit / "spool").exists()


def test_verify_passes_a_whole_spool(unit: Path) -> None:
    """And says what was checked."""
    spool = open_spool(unit)
    for envelope in make_chain(KEY, 3):
        spool.put(envelope)
    done = run(unit, "verify")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["3 pending envelopes checked (form, digest and signature), 0 bad"]


def test_verify_names_everything_that_is_bad(unit: Path) -> None:
    """A damaged one, another's, one of another unit, a name that is none; the good one is not named."""
    spool, (good, damaged, cut) = open_spool(unit), make_chain(KEY, 3)
    stranger = make_envelope(Ed25519PrivateKey.generate())
    pending = unit / "spool" / "pending"
    for envelope in (good, damaged, cut, stranger):
        spool.put(envelope)
    (pending / damaged.envelope_id).write_bytes(good.data)
    (pending / cut.envelope_id).write_bytes(cut.data[:-1])
    (pending / "README").touch()
    done = run(unit, "verify", "--json")
    assert isinstance(done.exception, EnvelopeVerificationError)
    assert "4 of 5 pending envelopes are bad" in str(done.exception)
    told = json.loads(done.stdout)
    assert (told["checked"], told["signatures"]) == (5, True)
    flaws = {bad["name"]: bad["flaw"] for bad in told["bad"]}
    assert set(flaws) == {damaged.envelope_id, cut.envelope_id, stranger.envelope_id, "README"}
    assert "a key that this unit does not know" in flaws[stranger.envelope_id]
    assert stranger.envelope_id in run(unit, "verify").stdout


def test_verify_finds_a_forged_signature(unit: Path) -> None:
    """The digest fits, the key is known, the signature is not its."""
    envelope = make_envelope(KEY)
    forged = envelope.data[:-1] + bytes([envelope.data[-1] ^ 1])
    open_spool(unit).put(parse_envelope(forged))
    assert isinstance(run(unit, "verify").exception, EnvelopeVerificationError)


def test_verify_says_that_it_cannot_check_signatures(unit: Path) -> None:
    """A unit whose capture has not run has no record of keys."""
    for path in (unit / "state" / "signing-keys").iterdir():
        path.unlink()
    open_spool(unit).put(make_envelope(KEY))
    done = run(unit, "verify")
    assert done.exit_code == 0
    assert "the unit has recorded no signing key" in done.stdout


def test_release_brings_an_envelope_back(unit: Path) -> None:
    """Once; the second time it is not there."""
    spool, envelope = open_spool(unit), make_envelope(KEY)
    spool.put(envelope)
    spool.quarantine(envelope.envelope_id, reason="refused")
    assert run(unit, "release", envelope.envelope_id).exit_code == 0
    assert spool.get(envelope.envelope_id) == envelope
    assert isinstance(run(unit, "release", envelope.envelope_id).exception, SpoolMissingError)


@pytest.mark.parametrize("wrong", ["", "../pending/x", "A" * 64])
def test_release_takes_ids_only(unit: Path, wrong: str) -> None:
    """No path can be smuggled in."""
    assert isinstance(run(unit, "release", wrong).exception, SpoolError)


def test_release_waits_for_no_upload(unit: Path) -> None:
    """Upload would see the envelope in two places."""
    spool, envelope = open_spool(unit), make_envelope(KEY)
    spool.put(envelope)
    spool.quarantine(envelope.envelope_id, reason="refused")
    with SpoolLock(unit / "spool", SpoolPart.UPLOAD):
        refused = run(unit, "release", envelope.envelope_id)
    assert isinstance(refused.exception, SpoolError)
    assert "another process holds the upload side" in str(refused.exception)
