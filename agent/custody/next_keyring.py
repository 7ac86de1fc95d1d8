"""Signing the owner's next keyring: which keys it lists, its serial and the time of its issue.

Owns: the rules of one keyring after another. Leaves to others: making keys (`keys`) and erasing them (`destroy`).

Invariants: a keyring lists no key whose destruction was entered, also where that was cut off before its file was gone.
Its serial is higher than any that the audit log or the keyring before it names. It is never issued before the one
before it, as units hold no earlier time for true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.audit import read_audit
from agent.custody.audit_entry import Action, AuditEntry
from agent.custody.layout import OwnerLayout
from agent.custody.owner import Owner
from agent.disk.durable import remove_file
from agent.errors import KeyFileError, UsageError
from agent.keys.keyfiles import PUBLIC_MODE, replace_file
from agent.wire.keyring import Keyring, RecipientKey, encode_keyring


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """What the audit log says of keys and keyrings.

    Attributes:
        destroyed: Ids of the keys whose destruction was entered, each with the newest entry that names it.
        serial: The highest serial of a keyring that was entered; 0 without one.
    """

    destroyed: Mapping[bytes, AuditEntry]
    serial: int


NO_HISTORY: Final = KeyHistory({}, 0)


def key_history(layout: OwnerLayout, owner_key: Ed25519PublicKey) -> KeyHistory:
    """Read the history of an owner's keys; nothing happened where there is no log yet.

    Raises:
        CustodyError: The log cannot be read.
    """
    if not layout.audit.exists():
        return NO_HISTORY
    return history_of(read_audit(layout.audit, owner_key).entries)


def history_of(entries: Sequence[AuditEntry]) -> KeyHistory:
    """Return what the entries of an audit log say of keys and keyrings."""
    destroyed = {kid: entry for entry in entries if entry.action is Action.DESTROY for kid in entry.ids}
    return KeyHistory(destroyed, max((entry.scope.serial or 0 for entry in entries), default=0))


def gone_keys(keyring: Keyring, history: KeyHistory) -> frozenset[bytes]:
    """Return the keys of a keyring whose destruction was entered, whether their files are gone yet or not."""
    return frozenset(key.kid for key in keyring.keys if key.kid in history.destroyed)


def next_keyring(
    before: Keyring, keys: Sequence[RecipientKey], history: KeyHistory, *, now: datetime | None, recorded: bool | None
) -> Keyring:
    """Return the keyring that follows another; it is not written yet.

    Args:
        before: The one in place; empty and of serial 0 where there is none.
        keys: What it lists, in any order.
        history: From the audit log.
        now: Aware UTC time of its issue; this computer's if None.
        recorded: Whether recordings may be sealed to the day they were recorded on; None leaves it as it was.

    Raises:
        UsageError: This computer's clock lies before the issue of the keyring before.
    """
    issued = _whole_ms(datetime.now(UTC) if now is None else now)
    if before.issued is not None and issued < before.issued:
        raise UsageError(
            f"clock: this computer shows {issued:%Y-%m-%d %H:%M} UTC, but the keyring in place was signed at "
            f"{before.issued:%Y-%m-%d %H:%M} UTC; set the clock right, nothing was done"
        )
    return Keyring(
        serial=max(before.serial, history.serial) + 1,
        keys=tuple(sorted(keys, key=lambda key: key.valid_from)),
        issued=issued,
        recorded=before.recorded if recorded is None else recorded,
    )


def write_keyring(owner: Owner, keyring: Keyring) -> None:
    """Put a signed keyring in place of the one before; one without keys is no keyring, and leaves none.

    Raises:
        KeyFileError: The disk refused. The keyring is the old one or the new one.
    """
    if keyring.keys:
        replace_file(owner.layout.keyring, encode_keyring(keyring, owner.signing_key), PUBLIC_MODE)
        return
    try:
        remove_file(owner.layout.keyring)
    except OSError as error:
        raise KeyFileError(f"{owner.layout.keyring}: cannot be removed: {error.strerror}") from None


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
