"""Destroying the private keys of old epochs, after saying what becomes unreadable.

Owns: which keys a destruction takes, what hangs on them, and erasing their files. A new keyring without them is signed,
so that nothing is sealed to them any more. The order is audit log, files, keyring; the log says what was begun, so a
destruction that a crash cut off goes on when it is run again.

What it cannot do: erase copies and backups, which are the owner's business; reach the old cells of flash memory, which
a controller keeps when a file is overwritten. The files are under a passphrase for that reason too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate, Scope
from agent.custody.cases import held_reads
from agent.custody.layout import OwnerLayout
from agent.custody.next_keyring import NO_HISTORY, KeyHistory, gone_keys, key_history, next_keyring, write_keyring
from agent.custody.owner import Owner, private_files
from agent.custody.search import ReceiverView
from agent.disk.durable import erase_file
from agent.errors import CustodyError, FormatError, UsageError
from agent.wire.envelope import Envelope, parse_envelope, sealed_content
from agent.wire.keyring import Keyring, RecipientKey


@dataclass(frozen=True, slots=True)
class Destruction:
    """What a destruction would take. Nothing is touched by making one.

    Attributes:
        before: Aware UTC time; epochs that ended by then are taken.
        keys: The keys whose private files would be erased, in order of their epochs.
        newest: Those of them that no newer key of the same recipient follows: units seal to them until they have a
            keyring with newer ones.
        again: Ids of keys that were destroyed before, whose files are back: a copy was restored. They are erased too.
        gone: Ids of keys that the keyring lists although they were destroyed: by an older version, or before a crash.
        left: Private keys that stay.
        not_in_keyring: Of these, how many the keyring does not name.
        held: Reads held for cases, which stay readable.
    """

    before: datetime
    keys: tuple[RecipientKey, ...]
    newest: tuple[RecipientKey, ...]
    again: tuple[bytes, ...]
    gone: frozenset[bytes]
    left: int
    not_in_keyring: int
    held: int

    @property
    def is_due(self) -> bool:
        """Whether there is anything to erase, or a keyring to sign."""
        return bool(self.keys or self.again or self.gone)

    @property
    def kids(self) -> tuple[bytes, ...]:
        """Ids of all keys whose files would be erased."""
        return (*(key.kid for key in self.keys), *self.again)

    def listed_after(self, keyring: Keyring) -> tuple[RecipientKey, ...]:
        """Return the keys that the keyring after this destruction lists; may be empty."""
        taken = {*self.kids, *self.gone}
        return tuple(key for key in keyring.keys if key.kid not in taken)


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a destruction does to the reads of one store.

    Attributes:
        unreadable: Reads that open now and would not any more.
        held: Reads that lose their epoch's key and stay readable for a case.
        readable: Reads that open now and go on to.
        unreadable_already: Reads whose keys are gone, or never were here.
    """

    unreadable: int
    held: int
    readable: int
    unreadable_already: int


def plan_destruction(
    layout: OwnerLayout, keyring: Keyring, before: datetime, history: KeyHistory = NO_HISTORY
) -> Destruction:
    """Return what destroying all epochs that ended before a moment would take.

    An epoch ends when nothing is sealed to its key any more: where the next epoch of its recipient begins later than
    it ends, that is the next one's beginning.

    Args:
        layout: The owner's files.
        keyring: The owner's keyring.
        before: The keys of epochs that ended by this aware UTC time go.
        history: What the audit log says of destructions before this one.

    Raises:
        KeyFileError: The folder of private keys cannot be read.
    """
    there = {kid for kid, _ in private_files(layout)}
    known = [key for key in keyring.keys if key.kid in there]
    again = sorted(kid for kid in there & history.destroyed if kid not in {key.kid for key in known})
    doomed = [key for key in known if max(key.valid_until, _next_start(key, keyring) or key.valid_until) <= before]
    return Destruction(
        before=before,
        keys=tuple(doomed),
        newest=tuple(key for key in doomed if _next_start(key, keyring) is None),
        again=tuple(again),
        gone=gone_keys(layout, keyring, history),
        left=len(there) - len(doomed) - len(again),
        not_in_keyring=len(there) - len(known) - len(again),
        held=sum(len(ids) for ids in held_reads(layout).values()),
    )


def weigh(plan: Destruction, layout: OwnerLayout, receiver: ReceiverView) -> Consequence:
    """Count what a destruction does to the reads in a store. Opens none of them.

    Raises:
        ReceiverError: The store cannot be read.
        KeyFileError: A folder of the owner cannot be read.
    """
    there = {kid for kid, _ in private_files(layout)}
    after = there - set(plan.kids)
    held: frozenset[str] = frozenset().union(*held_reads(layout).values())
    unreadable = kept = readable = already = 0
    for data in receiver.envelopes():
        recipients = _recipients(data)
        if recipients is None:
            continue
        envelope, kids = recipients
        if kids & after:
            readable += 1
        elif envelope.envelope_id in held:
            kept += 1
        elif kids & there:
            unreadable += 1
        else:
            already += 1
    return Consequence(unreadable=unreadable, held=kept, readable=readable, unreadable_already=already)


def destroy(owner: Owner, plan: Destruction, mandate: Mandate, *, now: datetime | None = None) -> int:
    """Erase the private keys of a plan, after entering it in the audit log; then sign a keyring without them.

    Where no key is left, the keyring is removed: the format allows none that is empty. `make_keys` goes on with the
    serial that follows.

    Args:
        owner: The owner whose keys open the reads.
        plan: From `plan_destruction`.
        mandate: Who destroys and why; a reason is needed, a case is not.
        now: Aware UTC time at which the new keyring is signed; this computer's if None.

    Returns:
        How many were erased.

    Raises:
        UsageError: No reason, nothing to destroy, or a clock that shows a time before that at which the keyring in
            place was signed.
        AuditVerificationError: The audit log does not verify; nothing was destroyed.
        CustodyError, KeyFileError: The disk refused; keys before the one it names are gone. Running it again goes on.
    """
    if not mandate.reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    if not plan.is_due:
        raise UsageError(f"--before: no epoch ended by {plan.before:%Y-%m-%d %H:%M} UTC whose key is still here")
    before = owner.keyring()
    listed = plan.listed_after(before)
    is_new = len(listed) < len(before.keys)
    keyring = next_keyring(before, listed, key_history(owner), now=now, recorded=None) if is_new else None
    AuditLog(owner).append(
        Action.DESTROY,
        mandate,
        count=len(plan.kids),
        ids=plan.kids,
        scope=Scope(before=plan.before, serial=keyring.serial if keyring and listed else None),
    )
    erase_files([owner.layout.private_key(kid) for kid in plan.kids])
    if keyring is not None:
        write_keyring(owner, keyring)
    return len(plan.kids)


def erase_files(paths: Sequence[Path]) -> None:
    """Overwrite files with zeros, sync them, unlink them, and sync their folders. One that is gone is fine.

    Raises:
        CustodyError: The disk refused; the files before the one it names are gone.
    """
    for path in paths:
        try:
            erase_file(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CustodyError(f"{path}: cannot be erased: {error.strerror or error}") from None


def _next_start(key: RecipientKey, keyring: Keyring) -> datetime | None:
    starts = [
        other.valid_from
        for other in keyring.keys
        if other.recipient == key.recipient and other.valid_from > key.valid_from
    ]
    return min(starts, default=None)


def _recipients(data: bytes) -> tuple[Envelope, set[bytes]] | None:
    """Return a sealed read with the ids of the keys it is sealed to; None for anything else."""
    try:
        envelope = parse_envelope(data)
    except FormatError:
        return None
    if envelope.tombstone is not None:
        return None
    content, _ = sealed_content(envelope)
    return envelope, {slot.kid for slot in content.recipients}
