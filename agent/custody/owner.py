"""The owner's key files: unlocking the directory, and reading and writing the keys in it.

Owns: which key lies in which file and in which form. A directory is under one passphrase or, for a bench, under none;
a mix is refused. Leaves to others: when keys are made (`keys`, `cases`) and destroyed (`destroy`).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.custody.layout import SUFFIX, OwnerLayout
from agent.custody.locked import DEFAULT_SCRYPT, KeyLock, KeyUse, ScryptParameters, is_locked, parse_locked
from agent.custody.opener import PrivateKey
from agent.disk.durable import make_directory
from agent.errors import FormatError, KeyFileError, KeyringVerificationError
from agent.keys.keyfiles import (
    load_ed25519_public,
    read_private_file,
    read_public_file,
    write_private,
    write_public,
)
from agent.wire import cbor, cose, suites
from agent.wire.keyring import MAX_KEYRING_BYTES, Keyring, parse_keyring

DIRECTORY_MODE: Final = 0o700
_NEWEST_KEYRING: Final = "bring the newest one back from a copy of the folder, or from a unit"


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner's directory, unlocked.

    Attributes:
        layout: Its files.
        signing_key: The owner's signing key.
        lock: Opens and closes its key files; None where they are under no passphrase.
    """

    layout: OwnerLayout
    signing_key: Ed25519PrivateKey = field(repr=False)
    lock: KeyLock | None = field(repr=False)

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The public half of the signing key."""
        return self.signing_key.public_key()

    def write_key(self, path: Path, key: PrivateKey, *, use: KeyUse) -> None:
        """Write a recipient private key to a new file, durably.

        Raises:
            KeyFileError: The file is there already, or the disk refused.
        """
        write_private(path, closed_key(_encode_recipient_key(key), use=use, kid=key.kid, lock=self.lock))

    def load_key(self, path: Path, *, use: KeyUse, kid: bytes | None = None) -> PrivateKey:
        """Load a recipient private key.

        Args:
            path: File of the private key.
            use: What it must be for.
            kid: Which one it must be; None where the file alone says it.

        Raises:
            KeyFileError: Missing, unsafe, of another passphrase, damaged, or another key.
        """
        encoded, named = opened_key(read_private_file(path), path, use=use, kid=kid, lock=self.lock)
        try:
            key = _parse_recipient_key(encoded)
        except (FormatError, ValueError) as error:
            raise KeyFileError(f"{path}: {error}") from None
        _check_name(path, named, key.kid)
        return key

    def private_keys(self, *, but: Container[bytes] = ()) -> dict[bytes, PrivateKey]:
        """Load every epoch's private key whose file is there, by key id; none may be left.

        Args:
            but: Ids of keys that are not to be touched: those whose destruction was entered. One that was cut off may
                have left such a file overwritten.

        Raises:
            KeyFileError: A key file cannot be read or is not one.
        """
        files = [(kid, path) for kid, path in private_files(self.layout) if kid not in but]
        keys = (self.load_key(path, use=KeyUse.EPOCH, kid=kid) for kid, path in files)
        return {key.kid: key for key in keys}

    def keyring(self) -> Keyring:
        """Load the keyring; an empty one of serial 0 if none has been made.

        Raises:
            KeyFileError: It cannot be read, or is no keyring.
            KeyringVerificationError: Another owner's, or a wrong signature.
        """
        return load_keyring(self.layout, self.signing_key.public_key())


def load_keyring(layout: OwnerLayout, public_key: Ed25519PublicKey) -> Keyring:
    """Load the keyring in an owner's directory; an empty one of serial 0 if none has been made.

    Raises:
        KeyFileError: It cannot be read, or is no keyring.
        KeyringVerificationError: Another owner's, or a wrong signature.
    """
    path = layout.keyring
    if not path.exists():
        return Keyring(serial=0, keys=())
    try:
        return parse_keyring(read_public_file(path, max_bytes=MAX_KEYRING_BYTES), public_key)
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}; {_NEWEST_KEYRING}") from None
    except KeyringVerificationError as error:
        raise KeyringVerificationError(f"{path}: {error}; {_NEWEST_KEYRING}") from None


def private_files(layout: OwnerLayout) -> list[tuple[bytes, Path]]:
    """Return key id and file of every epoch's private key that is there, in order of name. Opens none.

    Raises:
        KeyFileError: The folder cannot be read, or a file's name is no key id.
    """
    if not layout.private.exists():
        raise KeyFileError(
            f"{layout.private}: is missing: half a copy of the folder. Bring it back from a whole copy; without its "
            "keys no read opens"
        )
    try:
        paths = sorted(path for path in layout.private.iterdir() if path.suffix == SUFFIX)
    except OSError as error:
        raise KeyFileError(f"{layout.private}: {error.strerror or error}") from None
    try:
        return [(cbor.as_bytes(bytes.fromhex(path.stem), cose.KID_BYTES, path.name), path) for path in paths]
    except (ValueError, FormatError):
        raise KeyFileError(f"{layout.private}: holds a file whose name is no key id") from None


def is_under_passphrase(directory: Path) -> bool:
    """Whether an owner's key files are under a passphrase.

    Raises:
        KeyFileError: There is no owner key, or it cannot be read.
    """
    layout = OwnerLayout(directory)
    if not layout.owner_key.exists():
        require_no_remains(layout)
        raise KeyFileError(f"{directory}: holds no owner.key; `plateseal custody keys` makes one")
    data = read_private_file(layout.owner_key)
    if not any(data):
        raise KeyFileError(
            f"{layout.owner_key}: is empty: half a copy of the folder, or a write that was cut off. Bring it back from "
            "a whole copy"
        )
    return is_locked(data)


def require_no_remains(layout: OwnerLayout) -> None:
    """Refuse a folder without owner.key that has other files of an owner: new keys would be mixed with them.

    Raises:
        KeyFileError: It has some.
    """
    files = (layout.owner_public, layout.keyring, layout.audit, layout.audit_head)
    there = [path.name for path in files if path.exists()]
    if any(layout.private.glob(f"*{SUFFIX}")):
        there.append(f"{layout.private.name}/")
    if any(layout.cases.glob("*")):
        there.append(f"{layout.cases.name}/")
    if there:
        raise KeyFileError(
            f"{layout.owner_key}: is missing, though {', '.join(there)} of an owner are here: half a copy of the "
            "folder. Bring it back from a whole copy; without it the other files are of no use"
        )


def owner_public(layout: OwnerLayout) -> Ed25519PublicKey:
    """Load the owner's public key.

    Raises:
        KeyFileError: It cannot be loaded; where it is missing, the message says what writes it again.
    """
    if not layout.owner_public.exists() and layout.owner_key.exists():
        raise KeyFileError(
            f"{layout.owner_public}: is missing: half a copy of the folder. Every command that unlocks the folder, as "
            "plateseal custody open, writes it again from owner.key"
        )
    return load_ed25519_public(layout.owner_public)


def unlock_owner(directory: Path, passphrase: bytes | None) -> Owner:
    """Unlock an owner's directory.

    Args:
        directory: Where the owner's keys are.
        passphrase: Theirs; None where they are under none.

    Raises:
        KeyFileError: No owner key, a wrong passphrase, one too many or too few, or damaged files. Nothing was changed.
            (A missing `owner.pub` is written again.)
    """
    layout = OwnerLayout(directory)
    path = layout.owner_key
    is_locked_now = is_under_passphrase(directory)
    if layout.passphrase_change.exists():
        raise KeyFileError(
            f"{directory}: a change of the passphrase was cut off, so some key files are under the old one and some "
            f"under the new. To finish it, with the same two: plateseal custody passphrase --dir {directory}"
        )
    if is_locked_now != (passphrase is not None):
        raise KeyFileError(
            f"{path}: is under a passphrase, and none was given"
            if passphrase is None
            else f"{path}: is under no passphrase, and one was given"
        )
    data = read_private_file(path)
    lock = None if passphrase is None else _lock_of(data, path, passphrase)
    encoded, named = opened_key(data, path, use=KeyUse.OWNER, kid=None, lock=lock)
    try:
        signing_key = parse_owner_key(encoded)
    except (FormatError, ValueError) as error:
        raise KeyFileError(f"{path}: {error}") from None
    _check_name(path, named, cose.ed25519_kid(signing_key.public_key()))
    if not layout.owner_public.exists():  # a making that was cut off between the two
        write_public(layout.owner_public, signing_key.public_key())
    public = load_ed25519_public(layout.owner_public)
    if public.public_bytes_raw() != signing_key.public_key().public_bytes_raw():
        raise KeyFileError(
            f"{layout.owner_public}: is not the public half of {path.name}; remove it: the next command writes it again"
        )
    return Owner(layout=layout, signing_key=signing_key, lock=lock)


def create_owner(directory: Path, passphrase: bytes | None, *, scrypt: ScryptParameters = DEFAULT_SCRYPT) -> Owner:
    """Make an owner's directory with a new signing key.

    Args:
        directory: Made with its parents if it is missing.
        passphrase: Closes all key files of this owner; None leaves them open, for a bench.
        scrypt: The cost of one guess at it.

    Raises:
        KeyFileError: The directory cannot be made, or holds an owner key.
    """
    layout = OwnerLayout(directory)
    make_folder(layout.private, parents=True)
    try:
        directory.chmod(DIRECTORY_MODE)
    except OSError as error:
        raise KeyFileError(f"{directory}: cannot be made: {error.strerror or error}") from None
    lock = None if passphrase is None else KeyLock(passphrase, scrypt=scrypt)
    key = Ed25519PrivateKey.generate()
    kid = cose.ed25519_kid(key.public_key())
    write_private(layout.owner_key, closed_key(_encode_owner_key(key), use=KeyUse.OWNER, kid=kid, lock=lock))
    write_public(layout.owner_public, key.public_key())
    return Owner(layout=layout, signing_key=key, lock=lock)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Make a folder of mode 0700 if it is missing, durably.

    Raises:
        KeyFileError: It cannot be made.
    """
    try:
        if parents and not path.parent.exists():
            make_folder(path.parent, parents=True)
        make_directory(path, mode=DIRECTORY_MODE)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be made: {error.strerror or error}") from None


def make_private_key(suite: suites.RecipientSuite) -> PrivateKey:
    """Draw a new private key."""
    raw = suite.generate()
    return PrivateKey(suite=suite, kid=suite.kid(suite.derive_public(raw)), raw=raw)


def _lock_of(data: bytes, path: Path, passphrase: bytes) -> KeyLock:
    """Return a lock with the salt and cost of the owner key's file, which all later files share."""
    try:
        locked = parse_locked(data)
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None
    return KeyLock(passphrase, salt=locked.salt, scrypt=locked.scrypt)


def closed_key(cose_key: bytes, *, use: KeyUse, kid: bytes, lock: KeyLock | None) -> bytes:
    """Return the file that holds a COSE_Key, under the lock's passphrase or under none."""
    return cose_key if lock is None else lock.close(cose_key, use=use, kid=kid)


def opened_key(
    data: bytes, path: Path, *, use: KeyUse, kid: bytes | None, lock: KeyLock | None
) -> tuple[bytes, bytes | None]:
    """Return the COSE_Key in a file, and the id that it must have, where the file's name or its header says one.

    Raises:
        KeyFileError: Under a passphrase though `lock` is None, or the other way round; damaged, or another passphrase.
    """
    if is_locked(data) != (lock is not None):
        state = "is under a passphrase" if lock is None else "is under no passphrase"
        lost = "" if any(data) else ": it is empty, as half a copy leaves it; bring it back from a whole one"
        raise KeyFileError(f"{path}: {state}, unlike owner.key{lost}")
    if lock is None:
        return data, kid
    try:
        locked = parse_locked(data)
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None
    return lock.open(locked, use=use, kid=kid, what=str(path)), locked.kid


def _check_name(path: Path, named: bytes | None, kid: bytes) -> None:
    if named is not None and kid != named:
        raise KeyFileError(
            f"{path}: holds another key than its name says; bring it back from a whole copy of the folder"
        )


def _encode_recipient_key(key: PrivateKey) -> bytes:
    """Encode a COSE_Key: OKP for X25519, EC2 for P-256, AKP with a seed for the hybrid."""
    suite = key.suite
    head: cbor.CborMap = {cose.KEY_KID: key.kid, cose.KEY_ALG: suite.alg, suite.private_label: key.raw}
    return cbor.encode(head | suite.cose_key(suite.derive_public(key.raw)))


def _parse_recipient_key(data: bytes) -> PrivateKey:
    value = cbor.as_map(cbor.decode(data, max_bytes=len(data), what="private key"), "private key")
    suite = suites.suite_by_alg(value.get(cose.KEY_ALG), what="private key")
    raw = cbor.as_bytes(value.get(suite.private_label), suites.PRIVATE_KEY_BYTES, "private key")
    key = PrivateKey(suite=suite, kid=suite.kid(suite.derive_public(raw)), raw=raw)
    if _encode_recipient_key(key) != data:
        raise FormatError("private key: a field is unknown, missing or another key's")
    return key


def _encode_owner_key(key: Ed25519PrivateKey) -> bytes:
    """Encode a COSE_Key: OKP with crv Ed25519, x and d."""
    public = key.public_key()
    return cbor.encode(
        {
            cose.KEY_KTY: cose.KTY_OKP,
            cose.KEY_KID: cose.ed25519_kid(public),
            cose.KEY_ALG: cose.ALG_EDDSA,
            -1: cose.CRV_ED25519,
            -2: public.public_bytes_raw(),
            -4: key.private_bytes_raw(),
        }
    )


def parse_owner_key(data: bytes) -> Ed25519PrivateKey:
    """Parse the COSE_Key of an owner's signing key.

    Raises:
        FormatError, ValueError: It is none.
    """
    what = "owner key"
    value = cbor.as_map(cbor.decode(data, max_bytes=len(data), what=what), what)
    if value.get(cose.KEY_ALG) != cose.ALG_EDDSA or value.get(-1) != cose.CRV_ED25519:
        raise FormatError(f"{what}: not an Ed25519 key")
    key = Ed25519PrivateKey.from_private_bytes(cbor.as_bytes(value.get(-4), suites.PRIVATE_KEY_BYTES, what))
    if _encode_owner_key(key) != data:
        raise FormatError(f"{what}: a field is unknown, missing or another key's")
    return key
