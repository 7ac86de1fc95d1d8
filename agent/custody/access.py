"""Opening and holding reads, each entered in the audit log first.

Invariant: nothing is decrypted before a `search` entry is on the disk, and no read leaves this module before the `open`
or `hold` entry that names it is. A large answer comes in batches, each with an entry of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate, Scope
from agent.custody.cases import hold, load_case_key, load_held, make_case_key
from agent.custody.closing import require_erased
from agent.custody.next_keyring import key_history
from agent.custody.opener import OpenedRead, PrivateKey
from agent.custody.owner import Owner
from agent.custody.search import Keys, Query, ReceiverView, Tally, search
from agent.errors import UsageError
from agent.wire.envelope import Envelope, RecipientSlot


@dataclass(frozen=True, slots=True)
class Held:
    """What a hold did.

    Attributes:
        reads: Envelope ids that are held for the case now, of those that were asked for.
        new_case: Whether the case's key was made for it.
        tally: What was met on the way.
    """

    reads: tuple[str, ...]
    new_case: bool
    tally: Tally


def open_reads(
    owner: Owner, receiver: ReceiverView, query: Query, mandate: Mandate, *, tally: Tally
) -> Iterator[list[OpenedRead]]:
    """Yield the reads that fit, in batches, each entered before it is yielded.

    Args:
        owner: The owner whose keys open the reads.
        receiver: The receiver whose store is looked through.
        query: What is looked for.
        mandate: Who opens, for which case, and why; case and reason are needed.
        tally: Counts on the way.

    Raises:
        UsageError: No case or reason, or the plate is written in them.
        AuditVerificationError: The audit log does not verify; nothing was opened.
        CustodyError: The audit log cannot be written; nothing more is shown.
        KeyFileError: A key file cannot be used.
    """
    check_mandate(mandate, query)
    keys = load_keys(owner, mandate.case)
    log = AuditLog(owner)
    _enter_search(log, receiver, query, mandate)
    for batch in search(receiver, keys, query, tally):
        log.append(Action.OPEN, mandate, count=len(batch), ids=[opened.envelope.digest for opened in batch])
        yield batch
    if not tally.matched:
        log.append(Action.OPEN, mandate, count=0)


def hold_reads(owner: Owner, receiver: ReceiverView, query: Query, mandate: Mandate) -> Held:
    """Hold the reads that fit for a case: seal their content keys to the case's key.

    Args:
        owner: The owner whose keys open the reads.
        receiver: The receiver whose store is looked through.
        query: What is held; it must have a filter.
        mandate: Who holds, for which case, and why; case and reason are needed.

    Raises:
        UsageError: No filter, case or reason, or the plate is written in them.
        AuditVerificationError: The audit log does not verify; nothing was held.
        CustodyError: The audit log cannot be written.
        KeyFileError: A key file cannot be used, or a held read cannot be written; those before it are held.
    """
    if not query.filters:
        raise UsageError("hold: say which reads, with --plate, --from, --to, --camera or --id")
    check_mandate(mandate, query)
    keys = load_keys(owner, mandate.case)
    require_erased(owner, mandate.case)
    case_key = _case_key(owner, mandate.case)
    log, tally = AuditLog(owner), Tally()
    _enter_search(log, receiver, query, mandate)
    held: list[str] = []
    new_case = False
    for batch in search(receiver, keys, query, tally):
        log.append(Action.HOLD, mandate, count=len(batch), ids=[opened.envelope.digest for opened in batch])
        if case_key is None:
            case_key, new_case = make_case_key(owner, mandate.case), True
        for opened in batch:
            hold(owner, mandate.case, opened, case_key)
            held.append(opened.envelope.envelope_id)
    return Held(reads=tuple(held), new_case=new_case, tally=tally)


def load_keys(owner: Owner, case: str) -> Keys:
    """Load what opens envelopes for a case: the epochs' keys that are left, and the case's own.

    A key whose destruction was entered opens nothing, whether its file is gone yet or not.

    Raises:
        KeyFileError: A key file cannot be used.
        CustodyError: The audit log cannot be read.
    """
    history = key_history(owner.layout, owner.public_key)
    destroyed = frozenset(history.destroyed)
    private = owner.private_keys(but=destroyed)
    case_key = None if case in history.closed else _case_key(owner, case)
    known = destroyed.union(key.kid for key in owner.keyring().keys)
    if case_key is None:
        return Keys(private=private, known=known, destroyed=destroyed, held=lambda _: ())

    def held(envelope: Envelope) -> tuple[RecipientSlot, ...]:
        slot = load_held(owner, case, envelope)
        return () if slot is None else (slot,)

    return Keys(private={**private, case_key.kid: case_key}, known=known, destroyed=destroyed, held=held)


def check_mandate(mandate: Mandate, query: Query | None = None) -> None:
    """Refuse to touch reads without a case and a reason, or with the plate written into them.

    Raises:
        UsageError: Says which.
    """
    if not mandate.case:
        raise UsageError("--case: needed; it goes into the audit log")
    if not mandate.reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    plate = None if query is None else query.plate
    if plate is not None and (plate.is_told_by(mandate.reason) or plate.is_told_by(mandate.case)):
        raise UsageError("--reason: leave the plate out; the audit log is for people who must not see it")


def _case_key(owner: Owner, case: str) -> PrivateKey | None:
    return load_case_key(owner, case) if case else None


def _enter_search(log: AuditLog, receiver: ReceiverView, query: Query, mandate: Mandate) -> None:
    log.append(
        Action.SEARCH,
        mandate,
        count=receiver.count(),
        scope=Scope(by=tuple(query.filters), start=query.start, until=query.end, camera=query.camera),
    )
