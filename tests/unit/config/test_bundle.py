"""Signed configurations: who signed them, that nothing changed, and that stock minisign agrees."""

from __future__ import annotations

import base64
import subprocess
import tomllib
from pathlib import Path

import minisign
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.config.bundle import (
    MAX_BUNDLE_BYTES,
    MAX_SERIAL,
    _secret_key,
    key_id,
    public_key,
    sign_bundle,
    verify_bundle,
)
from agent.config.check import on_any_machine
from agent.errors import BundleVerificationError, ConfigError, FormatError
from tests.fakes.fleet import FLEET

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
TABLE = tomllib.loads(FLEET) | {"camera_id": "gate", "source": {"uri": "/dev/video0"}}
BUNDLE = sign_bundle(TABLE, camera="gate", serial=7, key=KEY)


def test_what_is_signed_is_what_is_read() -> None:
    """Camera, serial and every setting."""
    bundle = verify_bundle(BUNDLE, KEY.public_key())
    assert (bundle.camera, bundle.serial, bundle.data) == ("gate", 7, BUNDLE)
    unit = bundle.unit(on_any_machine)
    assert (unit.camera_id, unit.source.uri) == ("gate", "/dev/video0")
    assert {key: value for key, value in bundle.content.table.items() if key != "signed"} == TABLE


def test_another_owner_is_named() -> None:
    """Both keys by their ids, so that it shows which is which."""
    with pytest.raises(
        BundleVerificationError, match=f"{key_id(KEY.public_key()).hex().upper()}, this unit's owner is"
    ):
        verify_bundle(BUNDLE, OTHER.public_key())


def test_a_key_id_alone_proves_nothing() -> None:
    """A bundle signed by another key under the owner's id is refused."""
    forged = bytearray(sign_bundle(TABLE, camera="gate", serial=9, key=OTHER))
    lines = bytes(forged).split(b"\n")
    own, theirs = BUNDLE.split(b"\n")[1], lines[1]
    lines[1] = own[:12] + theirs[12:]  # 9 bytes: the algorithm and 7 of the id's 8
    with pytest.raises(BundleVerificationError):
        verify_bundle(b"\n".join(lines), KEY.public_key())


@given(st.integers(0, len(BUNDLE) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    """But in the untrusted comment, which says so itself."""
    data = bytearray(BUNDLE)
    data[place] ^= change
    if place in range(len(b"untrusted comment: "), BUNDLE.index(b"\n")) and bytes(data).count(b"\n") == BUNDLE.count(
        b"\n"
    ):
        return
    with pytest.raises((FormatError, BundleVerificationError)):
        verify_bundle(bytes(data), KEY.public_key())


def test_a_signature_has_one_form() -> None:
    """Base64 has bits that no decoder looks at: they change nothing that is signed, and are refused all the same."""
    comment, own, rest = BUNDLE.split(b"\n", 2)
    assert own.endswith(b"I=")
    twin = own[:-2] + b"K="
    assert base64.b64decode(twin) == base64.b64decode(own)
    with pytest.raises(FormatError, match="not as minisign writes it"):
        verify_bundle(b"\n".join([comment, twin, rest]), KEY.public_key())


@given(st.binary(max_size=300) | st.integers(0, len(BUNDLE) - 1).map(lambda end: BUNDLE[:end]))
def test_what_is_no_bundle_is_one_error(data: bytes) -> None:
    """Whatever the bytes are, and wherever a copy was cut off."""
    with pytest.raises((FormatError, BundleVerificationError)):
        verify_bundle(data, KEY.public_key())


def test_the_old_kind_of_signature_is_refused() -> None:
    """With `Ed` minisign signs the file itself and not its digest."""
    content = BUNDLE.split(b"\n", 4)[4]
    with minisign.KeyPair.generate().secret_key as secret:
        old = bytes(secret.sign(content, prehash=False)) + b"\n" + content
    with pytest.raises(FormatError, match="old kind"):
        verify_bundle(old, KEY.public_key())


@pytest.mark.parametrize("content", [b"", b"a = ", b"a = 1\n", b"[signed]\ncamera = 1\nserial = 2\n", b"\xff"])
def test_signed_nonsense_is_no_bundle(content: bytes) -> None:
    """Also what the owner signed by mistake."""
    with pytest.raises(FormatError):
        verify_bundle(_signed(content), KEY.public_key())


def test_a_bundle_with_a_wrong_setting_says_which() -> None:
    """All of them on one line, for the unit's health report."""
    bundle = verify_bundle(
        sign_bundle(TABLE | {"site": "A B", "state_dir": "x"}, camera="gate", serial=1, key=KEY), KEY.public_key()
    )
    with pytest.raises(ConfigError, match=r"^state_dir: .*absolute.*; site: is 'A B'") as caught:
        bundle.unit()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("serial", [0, -1, MAX_SERIAL + 1])
def test_a_serial_has_a_range(serial: int) -> None:
    """From 1 to what every language holds exactly."""
    with pytest.raises(ConfigError, match="allowed"):
        sign_bundle(TABLE, camera="gate", serial=serial, key=KEY)


def test_a_file_without_end_is_not_read() -> None:
    """The limit comes before any check."""
    with pytest.raises(FormatError, match="longer than"):
        verify_bundle(BUNDLE + b"#" * MAX_BUNDLE_BYTES, KEY.public_key())


@pytest.mark.needs("minisign")
def test_stock_minisign_verifies_a_bundle(tmp_path: Path) -> None:
    """And shows camera and serial; a changed one fails."""
    path = tmp_path / "gate.bundle"
    path.write_bytes(BUNDLE)
    command = ["minisign", "-V", "-x", str(path), "-m", str(tmp_path / "content"), "-P", public_key(KEY.public_key())]
    content = BUNDLE.split(b"\n", 4)[4]
    (tmp_path / "content").write_bytes(content)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "plateseal configuration of gate, serial 7" in done.stdout
    (tmp_path / "content").write_bytes(content.replace(b"serial = 7", b"serial = 9"))
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode != 0


def _signed(content: bytes) -> bytes:
    """Sign with the owner's key what `sign_bundle` would never write."""
    with minisign.SecretKey.from_base64(_secret_key(KEY)) as secret:
        return bytes(secret.sign(content, trusted_comment="x")) + b"\n" + content
