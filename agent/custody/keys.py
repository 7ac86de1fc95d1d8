"""Making and loading the owner's keys.

```
DIR/owner.key          the owner's signing key (PEM, mode 0600): signs keyrings
DIR/owner.pub          its public half, pinned on every device
DIR/keyring.cose       recipient public keys and their epochs, signed: copied to every device
DIR/private/KID.cose   one private key per epoch (COSE_Key, mode 0600): destroy the file, and the epoch is unreadable
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.opener import PrivateKey
from agent.envelope import cbor, cose, suites
from agent.envelope.keyring import (
    MAX_KEYRING_BYTES,
    MAX_KEYRING_KEYS,
    Keyring,
    RecipientKey,
    encode_keyring,
    parse_keyring,
)
from agent.errors import FormatError, KeyFileError, UsageError
from agent.seal.keyfiles import (
    PUBLIC_MODE,
    load_ed25519_private,
    read_private_file,
    read_public_file,
    replace_file,
    write_private,
    write_public,
)

OWNER_KEY: Final = "owner.key"
OWNER_PUBLIC: Final = "owner.pub"
KEYRING: Final = "keyring.cose"
PRIVATE: Final = "private"
SUFFIX: Final = ".cose"
MAX_EPOCH: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class MadeKeys:
    """What `make_keys` did.

    Attributes:
        keyring: The keyring as it is now, with the new keys.
        added: The new keys, in order of their epochs.
        new_owner: Whether the owner's signing key is new too.
    """

    keyring: Keyring
    added: tuple[RecipientKey, ...]
    new_owner: bool


def make_keys(
    directory: Path,
    *,
    recipients: Sequence[str],
    key_type: suites.KeyType,
    start: datetime,
    epochs: int,
    epoch: timedelta,
) -> MadeKeys:
    """Make recipient keys for consecutive epochs and add them to the signed keyring.

    Every private key is durable before the keyring that names its public half is written.

    Args:
        directory: Where the owner's keys are, or will be; its parent must exist.
        recipients: Names to make keys for, each with every epoch.
        key_type: Type of the new keys.
        start: Beginning of the first epoch, aware.
        epochs: How many.
        epoch: Length of each.

    Raises:
        UsageError: Nothing to make, too much, or epochs that overlap existing ones.
        KeyFileError: The directory or a file in it cannot be used.
    """
    _check_request(recipients, epochs, epoch)
    owner_key, new_owner = _owner_key(directory)
    before = _existing(directory, owner_key)
    _check_count(len(before.keys) + epochs * len(recipients))
    spans = _spans(start, epochs, epoch)
    _check_overlap(before, recipients, spans[0][0], spans[-1][1])
    added = tuple(
        _make_key(directory / PRIVATE, suites.SUITES[key_type], name, span) for span in spans for name in recipients
    )
    keys = tuple(sorted((*before.keys, *added), key=lambda key: key.valid_from))
    keyring = Keyring(serial=before.serial + 1, keys=keys)
    replace_file(directory / KEYRING, encode_keyring(keyring, owner_key), PUBLIC_MODE)
    return MadeKeys(keyring=keyring, added=added, new_owner=new_owner)


def load_private_keys(directory: Path) -> dict[bytes, PrivateKey]:
    """Load every private key that has not been destroyed, by key id.

    Args:
        directory: The owner's directory.

    Raises:
        KeyFileError: A key file cannot be read or is not one.
    """
    try:
        paths = sorted((directory / PRIVATE).glob(f"*{SUFFIX}"))
    except OSError as error:
        raise KeyFileError(f"{directory / PRIVATE}: {error.strerror or error}") from None
    if not paths:
        raise KeyFileError(f"{directory / PRIVATE}: holds no private key (*{SUFFIX})")
    return {key.kid: key for key in map(_load_private, paths)}


def _check_request(recipients: Sequence[str], epochs: int, epoch: timedelta) -> None:
    if not recipients or len(set(recipients)) != len(recipients):
        raise UsageError("recipients: give each name once, and at least one")
    if epochs < 1:
        raise UsageError(f"epochs: {epochs}, at least 1 is needed")
    if not timedelta(minutes=1) <= epoch <= MAX_EPOCH:
        raise UsageError(f"epoch: {epoch}, from one minute to {MAX_EPOCH.days} days are allowed")


def _spans(start: datetime, epochs: int, epoch: timedelta) -> list[tuple[datetime, datetime]]:
    try:
        return [(start + epoch * index, start + epoch * (index + 1)) for index in range(epochs)]
    except OverflowError:
        raise UsageError(f"epochs: {epochs} of {epoch} from {start:%Y-%m-%d} end after the year 9999") from None


def _check_overlap(before: Keyring, recipients: Sequence[str], start: datetime, end: datetime) -> None:
    for key in before.keys:
        if key.recipient in recipients and key.valid_from < end and start < key.valid_until:
            raise UsageError(
                f"epochs: {key.recipient} has a key from {key.valid_from:%Y-%m-%d %H:%M} "
                f"to {key.valid_until:%Y-%m-%d %H:%M} UTC already; begin later with --from"
            )


def _check_count(total: int) -> None:
    if total > MAX_KEYRING_KEYS:
        raise UsageError(f"epochs: the keyring would hold {total} keys, at most {MAX_KEYRING_KEYS} are allowed")


def _owner_key(directory: Path) -> tuple[Ed25519PrivateKey, bool]:
    path = directory / OWNER_KEY
    if path.exists():
        return load_ed25519_private(path), False
    try:
        (directory / PRIVATE).mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise KeyFileError(f"{directory}: cannot be made: {error.strerror or error}") from None
    key = Ed25519PrivateKey.generate()
    write_private(path, key)
    write_public(directory / OWNER_PUBLIC, key.public_key())
    return key, True


def _existing(directory: Path, owner_key: Ed25519PrivateKey) -> Keyring:
    path = directory / KEYRING
    if not path.exists():
        return Keyring(serial=0, keys=())
    try:
        return parse_keyring(read_public_file(path, max_bytes=MAX_KEYRING_BYTES), owner_key.public_key())
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _make_key(
    directory: Path, suite: suites.RecipientSuite, recipient: str, span: tuple[datetime, datetime]
) -> RecipientKey:
    raw = suite.generate()
    public = suite.derive_public(raw)
    kid = suite.kid(public)
    write_private(directory / (kid.hex() + SUFFIX), _encode_private(suite, kid, public, raw))
    return RecipientKey(
        suite=suite, public=public, kid=kid, recipient=recipient, valid_from=span[0], valid_until=span[1]
    )


def _encode_private(suite: suites.RecipientSuite, kid: bytes, public: bytes, raw: bytes) -> bytes:
    """Encode a COSE_Key: OKP for X25519, EC2 for P-256, AKP with a seed for the hybrid."""
    head: cbor.CborMap = {cose.KEY_KID: kid, cose.KEY_ALG: suite.alg, suite.private_label: raw}
    return cbor.encode(head | suite.cose_key(public))


def _load_private(path: Path) -> PrivateKey:
    data = read_private_file(path)
    try:
        key = cbor.as_map(cbor.decode(data, max_bytes=len(data), what="private key"), "private key")
        suite = suites.suite_by_alg(key.get(cose.KEY_ALG), what="private key")
        raw = cbor.as_bytes(key.get(suite.private_label), suites.PRIVATE_KEY_BYTES, "private key")
        kid = suite.kid(suite.derive_public(raw))
    except (FormatError, ValueError) as error:
        raise KeyFileError(f"{path}: {error}") from None
    if kid.hex() != path.name.removesuffix(SUFFIX):
        raise KeyFileError(f"{path}: holds another key than its name says")
    return PrivateKey(suite=suite, kid=kid, raw=raw)
