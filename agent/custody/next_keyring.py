"""Signing the owner's next keyring: which keys it lists, its serial and the time of its issue.

Owns: the rules of one keyring after another. Leaves to others: making keys (`keys`) and erasing them (`destroy`).

Invariants: a keyring lists no key whose private half was destroyed. Its serial is higher than any that the audit log or
the keyring before it names. Its time of issue is not before that of the keyring before it, because units that have had
that one take every earlier time for over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agent.custody.audit import read_audit
from agent.custody.audit_entry import Action
from agent.custody.layout import OwnerLayout
from agent.custody.owner import Owner, private_files
from agent.disk.durable import remove_file
from agent.errors import KeyFileError, UsageError
from agent.keys.keyfiles import PUBLIC_MODE, replace_file
from agent.wire.keyring import Keyring, RecipientKey, encode_keyring


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """What the audit log says of keys and keyrings.

    Attributes:
        destroyed: Ids of the keys whose destruction was entered.
        serial: The highest serial of a keyring that was entered; 0 without one.
    """

    destroyed: frozenset[bytes]
    serial: int


NO_HISTORY: Final = KeyHistory(frozenset(), 0)


def key_history(owner: Owner) -> KeyHistory:
    """Read the history of an owner's keys; nothing happened where there is no log yet.

    Raises:
        CustodyError: The log cannot be read.
    """
    if not owner.layout.audit.exists():
        return NO_HISTORY
    entries = read_audit(owner.layout.audit, owner.signing_key.public_key()).entries
    destroyed = {kid for entry in entries if entry.action is Action.DESTROY for kid in entry.ids}
    return KeyHistory(frozenset(destroyed), max((entry.scope.serial or 0 for entry in entries), default=0))


def gone_keys(layout: OwnerLayout, keyring: Keyring, history: KeyHistory) -> frozenset[bytes]:
    """Return the ids of keys in a keyring whose destruction is in the audit log and whose private files are gone.

    Raises:
        KeyFileError: The folder of private keys cannot be read.
    """
    there = {kid for kid, _ in private_files(layout)}
    return frozenset(key.kid for key in keyring.keys if key.kid in history.destroyed and key.kid not in there)


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
        UsageError: This computer's clock shows a time before that at which the keyring in place was signed.
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
    """Sign a keyring and put it in the place of the one before.

    The format allows no keyring without keys. Where no key is left, the file of the keyring before is removed.

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
