"""Signing the owner's next keyring: which keys it lists, its serial and the time of its issue.

Owns: the rules of one keyring after another. Leaves to others: making keys (`keys`) and erasing them (`destroy`).

Invariants: a keyring lists no key whose destruction was entered, also where that was cut off before its file was gone.
Its serial is higher than any that the audit log or the keyring before it names. Its time of issue is not before that of
the keyring before it, because units that have had that one take every earlier time for over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.audit import read_audit
from agent.custody.audit_entry import Action, AuditEntry
from agent.custody.layout import OwnerLayout, case_folder
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
        closed: Cases whose key's destruction was entered, with no hold after it; each with the entry.
        held: Cases whose newest such entry is a hold: they have a key, and reads that are held; each with the entry.
        has_keyring: Whether a keyring must be there: one was signed, more was entered since, and no destruction has
            left it without keys.
        made: Ids of the keys that were made together, for each entry of that, in their order.
    """

    destroyed: Mapping[bytes, AuditEntry]
    serial: int
    closed: Mapping[str, AuditEntry] = field(default_factory=dict)
    held: Mapping[str, AuditEntry] = field(default_factory=dict)
    has_keyring: bool = False
    made: tuple[frozenset[bytes], ...] = ()

    def is_closed(self, folder: str) -> bool:
        """Whether a folder is that of a case whose key's destruction was entered."""
        return any(case_folder(case) == folder for case in self.closed)


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
    cases = {entry.case: entry for entry in entries if entry.action in (Action.HOLD, Action.CLOSE)}
    signed = [entry.scope.serial for entry in entries if entry.action in (Action.KEYS, Action.DESTROY)]
    return KeyHistory(
        destroyed,
        serial=max((entry.scope.serial or 0 for entry in entries), default=0),
        closed={case: entry for case, entry in cases.items() if entry.action is Action.CLOSE},
        held={case: entry for case, entry in cases.items() if entry.action is Action.HOLD},
        has_keyring=len(entries) > 1 and bool(signed) and signed[-1] is not None,
        made=tuple(frozenset(entry.ids) for entry in entries if entry.action is Action.KEYS),
    )


def gone_keys(keyring: Keyring, history: KeyHistory) -> frozenset[bytes]:
    """Return the keys of a keyring whose destruction was entered, whether their files are gone yet or not."""
    return frozenset(key.kid for key in keyring.keys if key.kid in history.destroyed)


def keyring_missing(layout: OwnerLayout, history: KeyHistory) -> str | None:
    """Return what to say where the keyring that must be there is missing; None where it is there, or none is due."""
    if layout.keyring.exists() or not history.has_keyring:
        return None
    return (
        f"{layout.keyring}: is missing, though serial {history.serial} was signed: half a copy of the folder. "
        "Bring it back from a whole copy, or from a unit, which has the same file"
    )


def require_keyring(layout: OwnerLayout, history: KeyHistory) -> None:
    """Refuse to go on without the keyring that must be there: the next one would leave out all keys before it.

    Raises:
        KeyFileError: It is missing.
    """
    missing = keyring_missing(layout, history)
    if missing is not None:
        raise KeyFileError(missing)


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
