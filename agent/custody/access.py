"""Opening and holding reads, each entered in the audit log first.

Invariant: nothing is decrypted before a `search` entry is on the disk, and no read leaves this module before the `open`
or `hold` entry that names it is. A large answer comes in batches, each with an entry of its own.

Keys are loaded once for a command, those of the epochs that it looks at, and are gone with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate, Scope
from agent.custody.cases import held_for, hold, load_case_key, load_held, make_case_key
from agent.custody.closing import require_erased
from agent.custody.in_order import InOrder
from agent.custody.indexed import Candidates, index_files
from agent.custody.next_keyring import KeyHistory, key_history
from agent.custody.opener import OpenedRead, PrivateKey
from agent.custody.owner import Owner
from agent.custody.reach import keys_beyond
from agent.custody.search import Keys, Query, ReceiverView, Tally, Unopened, batches, open_stored, search
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
    owner: Owner,
    receiver: ReceiverView,
    query: Query,
    mandate: Mandate,
    *,
    tally: Tally,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Iterator[list[OpenedRead]]:
    """Yield the reads that fit, by time of capture, in batches, each entered before it is yielded.

    The first one comes when the whole store has been looked through.

    Args:
        owner: The owner whose keys open the reads.
        receiver: The receiver whose store is looked through.
        query: What is looked for.
        mandate: Who opens, for which case, and why; case and reason are needed.
        tally: Counts on the way.
        may_go_on: Asked before each envelope. Where it says no, the search ends with what was found so far.

    Raises:
        UsageError: No case or reason, or the plate is written in them.
        AuditVerificationError: The audit log does not verify; nothing was opened.
        CustodyError: The audit log cannot be written; nothing more is shown.
        KeyFileError: A key file cannot be used.
    """
    check_mandate(mandate, query)
    keys = load_keys(owner, mandate.case, query)
    log = AuditLog(owner)
    _enter_search(log, receiver, query, mandate)
    found = InOrder(lambda digest: _opened_again(digest, receiver, keys, tally))
    candidates = _candidates(owner, receiver, keys, query, tally)
    for opened in search(receiver, keys, query, tally, candidates=candidates, may_go_on=may_go_on):
        found.add(opened)
    for batch in batches(found):
        log.append(Action.OPEN, mandate, count=len(batch), ids=[opened.envelope.digest for opened in batch])
        yield batch
    if not tally.matched:
        log.append(Action.OPEN, mandate, count=0)


def hold_reads(
    owner: Owner,
    receiver: ReceiverView,
    query: Query,
    mandate: Mandate,
    *,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Held:
    """Hold the reads that fit for a case: seal their content keys to the case's key.

    Args:
        owner: The owner whose keys open the reads.
        receiver: The receiver whose store is looked through.
        query: What is held; it must have a filter.
        mandate: Who holds, for which case, and why; case and reason are needed.
        may_go_on: As `open_reads`.

    Raises:
        UsageError: No filter, case or reason, or the plate is written in them.
        AuditVerificationError: The audit log does not verify; nothing was held.
        CustodyError: The audit log cannot be written.
        KeyFileError: A key file cannot be used, or a held read cannot be written; those before it are held.
    """
    if not query.filters:
        raise UsageError("hold: say which reads, with --plate, --from, --to, --camera or --id")
    check_mandate(mandate, query)
    keys = load_keys(owner, mandate.case, query)
    require_erased(owner, mandate.case)
    case_key = _case_key(owner, mandate.case)
    log, tally = AuditLog(owner), Tally()
    _enter_search(log, receiver, query, mandate)
    held: list[str] = []
    new_case = False
    candidates = _candidates(owner, receiver, keys, query, tally)
    for batch in batches(search(receiver, keys, query, tally, candidates=candidates, may_go_on=may_go_on)):
        log.append(Action.HOLD, mandate, count=len(batch), ids=[opened.envelope.digest for opened in batch])
        if case_key is None:
            case_key, new_case = make_case_key(owner, mandate.case), True
        for opened in batch:
            hold(owner, mandate.case, opened, case_key)
            held.append(opened.envelope.envelope_id)
    return Held(reads=tuple(held), new_case=new_case, tally=tally)


def load_keys(owner: Owner, case: str, query: Query | None = None) -> Keys:
    """Load what opens envelopes for a case: the epochs' keys that are left, and the case's own.

    Of a query for a range of time, only those of the epochs that its reads can be sealed to.

    A key whose destruction was entered opens nothing, whether its file is gone yet or not.

    Raises:
        KeyFileError: A key file cannot be used.
        CustodyError: The audit log cannot be read.
    """
    history = key_history(owner.layout, owner.public_key)
    destroyed = frozenset(history.destroyed)
    beyond = _keys_beyond(owner, history, query)
    private = owner.private_keys(but=destroyed | beyond)
    case_key = None if case in history.closed else _case_key(owner, case)
    known = destroyed.union(key.kid for key in owner.keyring().keys)
    keys = Keys(private=private, known=known, destroyed=destroyed, held=lambda _: (), beyond=beyond)
    if query is not None and query.is_of_a_range:
        keys = replace(keys, asked=known.union(private) - destroyed - beyond)
    if case_key is None:
        return keys

    def held(envelope: Envelope) -> tuple[RecipientSlot, ...]:
        slot = load_held(owner, case, envelope)
        return () if slot is None else (slot,)

    of_case = {case_key.kid: case_key}
    return replace(keys, private={**private, **of_case}, held=held, held_ids=held_for(owner.layout, case))


def _candidates(owner: Owner, receiver: ReceiverView, keys: Keys, query: Query, tally: Tally) -> Candidates | None:
    """Return what an index says of a query; None where there is none, or where it does not help."""
    files = [] if query.ids or not query.filters else index_files(owner.layout, owner.public_key)
    return Candidates(receiver, keys, query, tally, files) if files else None


def _keys_beyond(owner: Owner, history: KeyHistory, query: Query | None) -> frozenset[bytes]:
    if query is None or not query.is_of_a_range:
        return frozenset()
    return keys_beyond(owner.keyring(), history.made, query.start, query.end)


def _opened_again(digest: bytes, receiver: ReceiverView, keys: Keys, tally: Tally) -> OpenedRead | None:
    data = receiver.envelope(digest)
    opened = Unopened.GONE if data is None else open_stored(data, receiver, keys)
    if isinstance(opened, OpenedRead):
        return opened
    tally.matched -= 1
    tally.unopened[opened or Unopened.GONE] += 1
    return None


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
