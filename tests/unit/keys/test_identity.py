"""A device's identity: what is made, and what is never overwritten."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from agent.cli.device import app
from agent.errors import KeyFileError, UsageError
from agent.keys import keyfiles
from agent.keys.identity import check_device_name, create_identity
from agent.wire import cbor, cose


def test_identity_holds_two_keys_and_a_request_that_ties_them(tmp_path: Path) -> None:
    """enrolment.json names the signing key, and the proof is its signature of the TLS key's request, for this."""
    identity = create_identity(tmp_path / "id", name="cam-1")
    signing_key = keyfiles.load_ed25519_private(tmp_path / "id" / "signing.key")
    tls_key = keyfiles.load_p256_private(tmp_path / "id" / "tls.key")
    value = json.loads(identity.enrolment.read_text())
    request = x509.load_pem_x509_csr((tmp_path / "id" / "tls.csr").read_bytes())
    public = signing_key.public_key()
    assert identity.key_id == cose.ed25519_kid(public)
    assert value["v"] == 2
    assert value["device"] == "cam-1"
    assert value["key_id"] == identity.key_id.hex()
    assert base64.b64decode(value["public_key"]) == public.public_bytes_raw()
    assert value["csr"].encode() == (tmp_path / "id" / "tls.csr").read_bytes()
    assert request.public_key() == tls_key.public_key()
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=cam-1"
    proven = cbor.encode(["plateseal enrolment 2", identity.key_id, "cam-1", request.public_bytes(Encoding.DER)])
    public.verify(base64.b64decode(value["proof"]), proven)


def test_private_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """Both private keys have mode 0600, their new folder 0700."""
    create_identity(tmp_path / "id", name="cam-1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "id").iterdir()}
    assert modes == {"signing.key": 0o600, "tls.key": 0o600, "tls.csr": 0o644, "enrolment.json": 0o644}
    assert stat.S_IMODE((tmp_path / "id").stat().st_mode) == 0o700


def test_no_private_key_leaves_its_file(tmp_path: Path) -> None:
    """Neither private key's secret bytes are in any other file."""
    create_identity(tmp_path, name="cam-1")
    secret = keyfiles.load_ed25519_private(tmp_path / "signing.key").private_bytes_raw()
    others = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".key")
    assert secret not in others
    assert base64.b64encode(secret) not in others
    assert b"PRIVATE" not in others


def test_identity_is_not_overwritten(tmp_path: Path) -> None:
    """A second run is refused and changes no file."""
    create_identity(tmp_path, name="cam-1")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyFileError, match="holds a device identity already"):
        create_identity(tmp_path, name="cam-2")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_cut_off_run_is_diagnosed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Whatever file the first run stopped at, the second names what is there; after removal it works."""
    write = keyfiles.write_new_file
    calls = 0

    def cut_off(path: Path, data: bytes, mode: int) -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            path.write_bytes(data[:10])
            raise KeyboardInterrupt
        write(path, data, mode)

    monkeypatch.setattr(keyfiles, "write_new_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        create_identity(tmp_path, name="cam-1")
    monkeypatch.undo()
    with pytest.raises(KeyFileError, match=r"cut off|holds a device identity"):
        create_identity(tmp_path, name="cam-1")
    for path in list(tmp_path.iterdir()):
        path.unlink()
    assert create_identity(tmp_path, name="cam-1").enrolment.exists()


@pytest.mark.parametrize("name", ["a", "0", "cam-1", "north.gate_2", "a" * 64])
def test_device_names_that_are_allowed(name: str) -> None:
    """Lower-case letters, digits, dot, dash, underscore, up to 64."""
    assert check_device_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "_a", "a b", "a/b", "..", "a\n", "é", "a" * 65, "a,CN=b", "a\x00"]
)
def test_device_names_that_are_not_allowed(tmp_path: Path, name: str) -> None:
    """Anything else is refused before a file is made."""
    with pytest.raises(UsageError, match="device name"):
        create_identity(tmp_path / "id", name=name)
    assert not (tmp_path / "id").exists()


def test_missing_parent_is_named(tmp_path: Path) -> None:
    """A folder whose parent is missing is not made."""
    with pytest.raises(KeyFileError, match="cannot be made: No such file"):
        create_identity(tmp_path / "absent" / "id", name="cam-1")


def test_command_prints_the_key_and_what_is_next(tmp_path: Path) -> None:
    """`device init` makes an identity and says where its request goes."""
    done = CliRunner().invoke(app, ["init", "--name", "cam-1", "--dir", str(tmp_path / "id")])
    assert done.exit_code == 0
    assert "cam-1: key " in done.stdout
    assert "receiver enrol" in done.stdout


def test_command_answers_a_program(tmp_path: Path) -> None:
    """`device init --json` prints one object with the key id and the enrolment's path."""
    done = CliRunner().invoke(app, ["init", "--name", "cam-1", "--dir", str(tmp_path / "id"), "--json"])
    value = json.loads(done.stdout)
    assert value["name"] == "cam-1"
    assert Path(value["enrolment"]).is_file()
    assert len(value["key_id"]) == 64


def test_help_has_an_example() -> None:
    """`device init --help` shows how it is used."""
    assert "Example: plateseal device init" in " ".join(CliRunner().invoke(app, ["init", "--help"]).stdout.split())
