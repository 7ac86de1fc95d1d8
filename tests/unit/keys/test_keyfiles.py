"""Key files: what is refused, what is written, what is left after a failure."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from agent.errors import KeyFileError
from agent.keys import keyfiles

PEM_LABEL = b" ".join([b"PRIVATE", b"KEY"])


def _pem(key: rsa.RSAPrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _encrypted() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )


def test_private_key_round_trip_and_mode(tmp_path: Path) -> None:
    """A written private key is the key that was given, mode 0600 whatever the umask is."""
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "signing.key"
    before = os.umask(0)
    try:
        keyfiles.write_private(path, key)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keyfiles.load_ed25519_private(path).private_bytes_raw() == key.private_bytes_raw()


def test_public_key_round_trip_and_mode(tmp_path: Path) -> None:
    """A written public key is the key that was given, mode 0644 even under a strict umask."""
    key = Ed25519PrivateKey.generate().public_key()
    path = tmp_path / "owner.pub"
    before = os.umask(0o077)
    try:
        keyfiles.write_public(path, key)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert keyfiles.load_ed25519_public(path) == key


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: b"", "not a PEM private key"),
        (lambda: b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n" % (PEM_LABEL, PEM_LABEL), "not a PEM private key"),
        (lambda: bytes(range(256)), "not a PEM private key"),
        (lambda: keyfiles.private_pem(ec.generate_private_key(ec.SECP256R1())), "holds an ECDSA secp256r1 key"),
        (lambda: _pem(rsa.generate_private_key(65537, 2048)), "holds an RSA key"),
        (lambda: _pem(x25519.X25519PrivateKey.generate()), "holds another kind of key"),
        (_encrypted, "is encrypted"),
        (lambda: bytes(keyfiles.MAX_KEY_FILE_BYTES + 1), "longer than"),
    ],
)
def test_what_is_no_ed25519_private_key_is_named(tmp_path: Path, content: Callable[[], bytes], expected: str) -> None:
    """Another kind of file or key is refused by one line that names the file and holds none of its content."""
    path = tmp_path / "signing.key"
    path.write_bytes(content())
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=expected) as caught:
        keyfiles.load_ed25519_private(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "BEGIN" not in message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o611, 0o666, 0o777])
def test_private_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Any permission of group or others is refused, with the command that mends it."""
    path = tmp_path / "signing.key"
    keyfiles.write_private(path, Ed25519PrivateKey.generate())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o} .*chmod 600"):
        keyfiles.load_ed25519_private(path)


def test_link_to_a_private_key_is_refused(tmp_path: Path) -> None:
    """A private key is not taken through a symbolic link."""
    keyfiles.write_private(tmp_path / "real.key", Ed25519PrivateKey.generate())
    (tmp_path / "signing.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(KeyFileError, match="is a link"):
        keyfiles.load_ed25519_private(tmp_path / "signing.key")


def test_fifo_and_directory_are_refused_without_waiting(tmp_path: Path) -> None:
    """What is no regular file is refused, and a FIFO does not hold the caller."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("fifo", "folder"):
        with pytest.raises(KeyFileError, match="not a regular file"):
            keyfiles.load_ed25519_private(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A missing file is named, for private and public keys."""
    for load in (keyfiles.load_ed25519_private, keyfiles.load_p256_private, keyfiles.load_ed25519_public):
        with pytest.raises(KeyFileError, match="absent: No such file"):
            load(tmp_path / "absent")


def test_another_kind_of_public_key_is_named(tmp_path: Path) -> None:
    """A public key of another kind, and what is no key, are refused."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    keyfiles.write_public(tmp_path / "p256", other)
    (tmp_path / "text").write_text("hello")
    x25519_public = x25519.X25519PrivateKey.generate().public_key()
    (tmp_path / "x25519").write_bytes(x25519_public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name, expected in (("p256", "ECDSA"), ("text", "not a PEM public key"), ("x25519", "another kind")):
        with pytest.raises(KeyFileError, match=expected):
            keyfiles.load_ed25519_public(tmp_path / name)


def test_p256_loader_refuses_other_curves_and_kinds(tmp_path: Path) -> None:
    """Only P-256 is taken where P-256 is needed."""
    keyfiles.write_private(tmp_path / "p384", ec.generate_private_key(ec.SECP384R1()))
    keyfiles.write_private(tmp_path / "ed25519", Ed25519PrivateKey.generate())
    for name, expected in (("p384", "secp384r1"), ("ed25519", "Ed25519")):
        with pytest.raises(KeyFileError, match=expected):
            keyfiles.load_p256_private(tmp_path / name)


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """A second write of the same name is refused and changes nothing, dangling links included."""
    path = tmp_path / "signing.key"
    path.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for target in (path, tmp_path / "link"):
        with pytest.raises(KeyFileError, match="is there already"):
            keyfiles.write_new_file(target, b"other", 0o600)
    assert path.read_bytes() == b"precious"
    assert not (tmp_path / "elsewhere").exists()


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """Writing into a folder that is not there says which file cannot be made."""
    with pytest.raises(KeyFileError, match="cannot be written: No such file"):
        keyfiles.write_new_file(tmp_path / "absent" / "key", b"x", 0o600)


def test_failed_sync_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses the sync, no new file is left and an old one stays as it was."""
    old = tmp_path / "old"
    old.write_bytes(b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(KeyFileError, match="No space left"):
        keyfiles.write_new_file(tmp_path / "new", b"x", 0o600)
    with pytest.raises(KeyFileError, match="No space left"):
        keyfiles.replace_file(old, b"x", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert old.read_bytes() == b"old"


def test_file_and_directory_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file's content is synced, then its directory."""
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    keyfiles.write_new_file(tmp_path / "new", b"x", 0o600)
    assert synced == [False, True]


def test_replace_puts_the_new_content_and_mode(tmp_path: Path) -> None:
    """Replacing leaves one file, with the new content and mode, also where none was."""
    path = tmp_path / "port"
    for content in (b"1\n", b"22\n"):
        keyfiles.replace_file(path, content, 0o644)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["port"]


def test_replace_over_a_directory_is_an_error_of_ours(tmp_path: Path) -> None:
    """Where a folder has the name, the message says so and nothing is left beside it."""
    (tmp_path / "port").mkdir()
    with pytest.raises(KeyFileError, match="port: cannot be written"):
        keyfiles.replace_file(tmp_path / "port", b"1\n", 0o644)
    assert [entry.name for entry in tmp_path.iterdir()] == ["port"]
