"""Key files: how a key lies on disk, and reading it with care.

Owns: how a key lies on disk (PEM: PKCS#8 for private keys, SubjectPublicKeyInfo for public ones), the permissions a
private key must have, and telling a disk that refuses as a `KeyFileError`. Leaves to others: which keys there are, and
how a file becomes durable (`agent.disk.durable`).

Invariants: a private key is taken only from a regular file that its group and others cannot touch, looked at through
the descriptor it is read from. A systemd credential is the one exception: its group may read it, because systemd lets
the service's user in by the group or by an access list (which shows as the group's bits), and keeps its folder closed
to everyone else. A file that is there is never overwritten. No message carries key material.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from agent.config.credentials import credentials_directory
from agent.disk import durable
from agent.errors import KeyFileError

MAX_KEY_FILE_BYTES: Final = 64 << 10
"""Longest key or certificate file looked at. A PEM Ed25519 key has 119 bytes, an RSA-4096 key 3.3 kB."""
PRIVATE_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
_TOO_OPEN: Final = 0o077
"""Permission bits that give a file to its group or to others."""
_CREDENTIAL_TOO_OPEN: Final = 0o037
"""The same for a systemd credential, which its group may read (mode 0440)."""

TLS_CURVES: Final = ("secp256r1", "secp384r1")
MIN_RSA_BITS: Final = 2048
"""What a TLS server's key may be: ECDSA on one of these curves, or RSA of at least so many bits."""

_PUBLIC_BLOCK: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey


def load_ed25519_private(path: Path) -> Ed25519PrivateKey:
    """Load an Ed25519 private key from a PEM file (PKCS#8, unencrypted).

    Raises:
        KeyFileError: Missing, unreadable, too long, a link, open to group or others, or another kind of key.
    """
    key = _parse_private(read_private_file(path), path)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: holds {_kind(key)}, an Ed25519 private key is needed")
    return key


def load_p256_private(path: Path) -> EllipticCurvePrivateKey:
    """Load an ECDSA P-256 private key from a PEM file (PKCS#8, unencrypted).

    Raises:
        KeyFileError: As `load_ed25519_private`.
    """
    key = _parse_private(read_private_file(path), path)
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise KeyFileError(f"{path}: holds {_kind(key)}, an ECDSA P-256 private key is needed")
    return key


def load_server_private(path: Path) -> EllipticCurvePrivateKey | RSAPrivateKey:
    """Load the private key of a TLS server from a PEM file (unencrypted): ECDSA P-256 or P-384, or RSA.

    Raises:
        KeyFileError: As `load_ed25519_private`.
    """
    key = _parse_private(read_private_file(path), path)
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in TLS_CURVES:
        return key
    if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise KeyFileError(
        f"{path}: holds {_kind(key)}, an ECDSA P-256 or P-384 private key is needed, or an RSA one of "
        f"{MIN_RSA_BITS} bits or more"
    )


def load_ed25519_public(path: Path) -> Ed25519PublicKey:
    """Load an Ed25519 public key from a PEM file (SubjectPublicKeyInfo).

    Raises:
        KeyFileError: Missing, unreadable, too long, or another kind of key.
    """
    return _parse_ed25519_public(read_public_file(path), path)


def _parse_ed25519_public(pem: bytes, path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: not a PEM public key (SubjectPublicKeyInfo)") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: holds {_kind(key)}, an Ed25519 public key is needed")
    return key


def load_ed25519_publics(path: Path, *, most: int) -> tuple[Ed25519PublicKey, ...]:
    """Load 1 to `most` Ed25519 public keys from one file of PEM blocks (SubjectPublicKeyInfo), in their order.

    Raises:
        KeyFileError: As `load_ed25519_public`, or another number of keys.
    """
    blocks = _PUBLIC_BLOCK.findall(read_public_file(path))
    if not 1 <= len(blocks) <= most:
        allowed = "one is" if most == 1 else f"1 to {most} are"
        raise KeyFileError(f"{path}: holds {len(blocks)} PEM public keys (SubjectPublicKeyInfo), {allowed} allowed")
    return tuple(_parse_ed25519_public(block, path) for block in blocks)


def read_private_file(path: Path, *, what: str = "a private key") -> bytes:
    """Read a file that only its owner may touch, or a credential that systemd has given this service.

    Args:
        path: The file.
        what: What it holds, for messages.

    Raises:
        KeyFileError: Missing, unreadable, too long, not a regular file, a link, or open to group or others.
    """
    forbidden = _CREDENTIAL_TOO_OPEN if _is_credential(path) else _TOO_OPEN
    return _read(path, os.O_NOFOLLOW, forbidden_mode=forbidden, what=what)


def read_public_file(path: Path, *, max_bytes: int = MAX_KEY_FILE_BYTES) -> bytes:
    """Read a key, certificate or keyring file of at most `max_bytes` that anyone may read.

    Raises:
        KeyFileError: Missing, unreadable, too long, or not a regular file.
    """
    return _read(path, 0, forbidden_mode=0, max_bytes=max_bytes)


def is_another_private(path: Path, copy: Path) -> bool:
    """Whether a private key file and a copy of it can both be read and differ."""
    try:
        return path.read_bytes() != copy.read_bytes()
    except OSError:
        return False


def private_pem(key: PrivateKey) -> bytes:
    """Return the PEM (PKCS#8, unencrypted) of a private key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: PublicKey) -> bytes:
    """Return the PEM (SubjectPublicKeyInfo) of a public key."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_private(path: Path, key: PrivateKey | bytes) -> None:
    """Write a private key, or the PEM of one, to a new file of mode 0600, durably.

    Raises:
        KeyFileError: The file is there already, or the disk refused; then no new file is left.
    """
    write_new_file(path, key if isinstance(key, bytes) else private_pem(key), PRIVATE_MODE)


def write_private_beside(path: Path, target: Path, key: PrivateKey) -> None:
    """Write a private key that is to follow the one at `path`, for the same user.

    Raises:
        KeyFileError: As `write_private`, or it cannot be given to that user.
    """
    write_private(target, key)
    try:
        owner, own = path.stat(), target.stat()
        if (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid):
            os.chown(target, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise KeyFileError(f"{target}: cannot be given to the user of {path.name}: {error.strerror}") from None


def write_public(path: Path, key: PublicKey | bytes) -> None:
    """Write a public key, or the PEM of one or of a certificate, to a new file of mode 0644, durably.

    Raises:
        KeyFileError: The file is there already, or the disk refused; then no new file is left.
    """
    write_new_file(path, key if isinstance(key, bytes) else public_pem(key), PUBLIC_MODE)


def write_new_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file that was not there, and sync it and its directory.

    Args:
        path: The new file.
        data: All of its content.
        mode: Permission bits, whatever the umask is.

    Raises:
        KeyFileError: The file is there already, or the disk refused; then no new file is left. A power cut before
            the return may leave it empty or in part, which loading it names.
    """
    try:
        durable.create_file(path, data, mode=mode)
    except FileExistsError:
        raise KeyFileError(f"{path}: is there already and is not overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Put a file in the place of the one that may be there: whoever looks finds the old one or the new, whole.

    Raises:
        KeyFileError: The disk refused. The old file may be there still, or the new one.
    """
    try:
        durable.replace_file(path, data, mode=mode)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def _is_credential(path: Path) -> bool:
    """Whether a file lies directly in the folder of this service's credentials."""
    directory = credentials_directory()
    return directory is not None and path.parent == directory


def _read(
    path: Path, flags: int, *, forbidden_mode: int, max_bytes: int = MAX_KEY_FILE_BYTES, what: str = "the file"
) -> bytes:
    try:
        # O_NONBLOCK: a FIFO under this name must not hold the caller for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            raise KeyFileError(f"{path}: is a link; {what} must be a regular file") from None
        raise KeyFileError(f"{path}: {error.strerror}") from None
    try:
        _check_stat(path, os.fstat(descriptor), forbidden_mode, what)
        data = _read_within_limit(descriptor, max_bytes)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise KeyFileError(f"{path}: longer than {max_bytes} bytes, which no such file is")
    return data


def _read_within_limit(descriptor: int, max_bytes: int) -> bytes:
    """Read to the end, or one byte past the limit."""
    data = bytearray()
    while len(data) <= max_bytes:
        part = os.read(descriptor, max_bytes + 1 - len(data))
        if not part:
            break
        data += part
    return bytes(data)


def _check_stat(path: Path, status: os.stat_result, forbidden_mode: int, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: is not a regular file")
    if status.st_mode & forbidden_mode:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyFileError(f"{path}: mode {mode:04o} lets others at {what}, run: chmod 600 {path}")


def _parse_private(pem: bytes, path: Path) -> object:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise KeyFileError(f"{path}: is encrypted, an unencrypted PEM private key is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: not a PEM private key (PKCS#8)") from None


def _kind(key: object) -> str:
    match key:
        case EllipticCurvePrivateKey() | EllipticCurvePublicKey():
            return f"an ECDSA {key.curve.name} key"
        case RSAPrivateKey() | RSAPublicKey():
            return f"an RSA key of {key.key_size} bits"
        case Ed25519PrivateKey() | Ed25519PublicKey():
            return "an Ed25519 key"
        case _:
            return "another kind of key"
