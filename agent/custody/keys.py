"""Making the owner's keys: one private key per recipient and epoch, and the signed keyring of their public halves.

Owns: which keys a request makes, and in what order things become durable: the entry in the audit log, every private
key, and last the keyring that names them. Leaves to others: the form of key files (`owner`, `locked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from agent.custody.audit import AuditLog, account_name
from agent.custody.audit_entry import Action, Mandate, Scope
from agent.custody.layout import OwnerLayout
from agent.custody.locked import DEFAULT_SCRYPT, KeyUse, ScryptParameters
from agent.custody.next_keyring import gone_keys, key_history, next_keyring, write_keyring
from agent.custody.opener import PrivateKey
from agent.custody.owner import Owner, create_owner, make_private_key, unlock_owner
from agent.errors import KeyFileError, UsageError
from agent.wire import suites
from agent.wire.keyring import MAX_KEYRING_KEYS, Keyring, RecipientKey

KEYRING: Final = "keyring.cose"
OWNER_PUBLIC: Final = "owner.pub"
MAX_EPOCH: Final = timedelta(days=366)
MIN_PASSPHRASE_BYTES: Final = 8
"""Shortest passphrase for new keys: NIST SP 800-63B's least. A short one is a weak one all the same."""


@dataclass(frozen=True, slots=True)
class MadeKeys:
    """What `make_keys` did.

    Attributes:
        keyring: The keyring as it is now, with the new keys.
        added: The new keys, in order of their epochs.
        new_owner: Whether the owner's signing key is new too.
        left_out: How many destroyed keys the keyring before listed and this one does not.
    """

    keyring: Keyring
    added: tuple[RecipientKey, ...]
    new_owner: bool
    left_out: int = 0


def make_keys(
    directory: Path,
    *,
    recipients: Sequence[str],
    key_type: suites.KeyType,
    start: datetime,
    epochs: int,
    epoch: timedelta,
    passphrase: bytes | None,
    recordings: bool | None = None,
    mandate: Mandate | None = None,
    scrypt: ScryptParameters = DEFAULT_SCRYPT,
    now: datetime | None = None,
) -> MadeKeys:
    """Make recipient keys for consecutive epochs and add them to the signed keyring.

    Every private key is durable before the keyring that names its public half is written. Keys that were destroyed are
    not listed any more.

    Args:
        directory: Where the owner's keys are, or will be.
        recipients: Names to make keys for, each with every epoch.
        key_type: Type of the new keys.
        start: Beginning of the first epoch, aware.
        epochs: How many epochs follow each other.
        epoch: Length of each.
        passphrase: Closes every private key file; None leaves them open, for a bench. One owner has one passphrase.
        recordings: Whether units may seal a recording to the day it was recorded on; None leaves it as it was.
        mandate: Who makes them, for the audit log; the account of this process if left out.
        scrypt: The cost of one guess at the passphrase, for a new owner; later keys keep it.
        now: Aware UTC time at which the keyring is signed; this computer's if None.

    Raises:
        UsageError: Nothing to make, too much, a short passphrase, epochs that overlap existing ones, or a clock
            that shows a time before that at which the keyring in place was signed.
        KeyFileError: The directory or a file in it cannot be used, or the passphrase is another.
        AuditVerificationError: The audit log does not verify; no key was made.
    """
    _check_request(recipients, epochs, epoch)
    _check_count(epochs * len(recipients))
    spans = _spans(start, epochs, epoch)
    owner, new_owner = _owner(directory, passphrase, scrypt)
    before, history = owner.keyring(), key_history(owner)
    gone = gone_keys(owner.layout, before, history)
    listed = [key for key in before.keys if key.kid not in gone]
    _check_count(len(listed) + epochs * len(recipients))
    _check_overlap(listed, recipients, spans[0][0], spans[-1][1])
    made = [_make_key(suites.SUITES[key_type], name, span) for span in spans for name in recipients]
    added = tuple(public for _, public in made)
    keyring = next_keyring(before, (*listed, *added), history, now=now, recorded=recordings)
    by, ids = mandate or Mandate(who=account_name()), [key.kid for key in added]
    AuditLog(owner).append(Action.KEYS, by, count=len(made), ids=ids, scope=Scope(serial=keyring.serial))
    for private, _ in made:
        owner.write_key(owner.layout.private_key(private.kid), private, use=KeyUse.EPOCH)
    write_keyring(owner, keyring)
    return MadeKeys(keyring=keyring, added=added, new_owner=new_owner, left_out=len(gone))


def load_private_keys(directory: Path, passphrase: bytes | None = None) -> dict[bytes, PrivateKey]:
    """Load every private key that has not been destroyed, by key id.

    Args:
        directory: The owner's directory.
        passphrase: Theirs; None where they are under none.

    Raises:
        KeyFileError: A key file cannot be read or is not one, the passphrase is wrong, or no key is left.
    """
    keys = unlock_owner(directory, passphrase).private_keys()
    if not keys:
        raise KeyFileError(f"{OwnerLayout(directory).private}: holds no private key (*.cose)")
    return keys


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


def _check_overlap(listed: Sequence[RecipientKey], recipients: Sequence[str], start: datetime, end: datetime) -> None:
    for key in listed:
        if key.recipient in recipients and key.valid_from < end and start < key.valid_until:
            raise UsageError(
                f"epochs: {key.recipient} has a key from {key.valid_from:%Y-%m-%d %H:%M} "
                f"to {key.valid_until:%Y-%m-%d %H:%M} UTC already; begin later with --from"
            )


def _check_count(total: int) -> None:
    if total > MAX_KEYRING_KEYS:
        raise UsageError(f"epochs: the keyring would hold {total} keys, at most {MAX_KEYRING_KEYS} are allowed")


def _owner(directory: Path, passphrase: bytes | None, scrypt: ScryptParameters) -> tuple[Owner, bool]:
    if OwnerLayout(directory).owner_key.exists():
        return unlock_owner(directory, passphrase), False
    if passphrase is not None and len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise UsageError(f"passphrase: shorter than {MIN_PASSPHRASE_BYTES} bytes")
    return create_owner(directory, passphrase, scrypt=scrypt), True


def _make_key(
    suite: suites.RecipientSuite, recipient: str, span: tuple[datetime, datetime]
) -> tuple[PrivateKey, RecipientKey]:
    private = make_private_key(suite)
    public = RecipientKey(
        suite=suite,
        public=suite.derive_public(private.raw),
        kid=private.kid,
        recipient=recipient,
        valid_from=span[0],
        valid_until=span[1],
    )
    return private, public
