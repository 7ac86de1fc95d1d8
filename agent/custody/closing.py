"""Closing a case: its key is destroyed, and with it what was held for the case.

Owns: what closing a case takes and does, in the order audit log, key, held reads. As with a destruction the entry is
the act: from then on nothing opens with the case's key, and what a crash left is erased when it is run again. Leaves to
others: telling of it (`unfinished`), and epochs' keys (`destroy`).

A read that was held for the case opens on while its epoch's key is here, or for another case that holds it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate
from agent.custody.cases import held_reads, load_case_key
from agent.custody.destroy import erase_files, recipients_of
from agent.custody.layout import SUFFIX, OwnerLayout, case_folder
from agent.custody.next_keyring import KeyHistory, key_history
from agent.custody.owner import Owner, private_files
from agent.custody.search import ReceiverView
from agent.custody.unfinished import close_command, is_left
from agent.disk.durable import sync_directory
from agent.errors import CustodyError, KeyFileError, UsageError


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing a case would take. Nothing is touched by making one.

    Attributes:
        case: The case.
        kid: Its key's id; None where the closing was entered before and only what is left of it is erased.
        held: Envelope ids of the reads that are held for it.
    """

    case: str
    kid: bytes | None
    held: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What closing a case does to the reads of one store.

    Attributes:
        unreadable: Reads that open for this case alone, and would not any more.
        readable: Reads that are held for it and open all the same: by their epoch's key, or for another case.
        elsewhere: Reads that are held for it and are not in this store.
    """

    unreadable: int
    readable: int
    elsewhere: int


def plan_closing(owner: Owner, case: str) -> Closing:
    """Return what closing a case would take.

    Raises:
        UsageError: The case has no key here.
        KeyFileError: A folder or file of the case cannot be read.
        CustodyError: The audit log cannot be read.
    """
    layout, history = owner.layout, key_history(owner.layout, owner.public_key)
    if case in history.closed:
        if not is_left(layout, case):
            raise UsageError(
                f"--case {case}: is closed already (entry {history.closed[case].seq}), and nothing is left"
            )
        return Closing(case, None, frozenset(path.stem for path in layout.held(case).glob(f"*{SUFFIX}")))
    key = load_case_key(owner, case)
    if key is None:
        raise UsageError(f"--case {case}: has no key in {layout.directory}; nothing is held for it")
    return Closing(case, key.kid, held_reads(layout, closed=history.closed)[case_folder(case)])


def weigh_closing(plan: Closing, owner: Owner, receiver: ReceiverView) -> Outcome:
    """Count what closing a case does to the reads in a store. Opens none of them.

    Raises:
        ReceiverError: The store cannot be read.
        KeyFileError: A folder of the owner cannot be read.
        CustodyError: The audit log cannot be read.
    """
    history = key_history(owner.layout, owner.public_key)
    there = {kid for kid, _ in private_files(owner.layout)} - history.destroyed.keys()
    others = _held_for_others(owner.layout, plan.case, history)
    found, readable = set[str](), 0
    for data in receiver.envelopes():
        sealed = recipients_of(data)
        if sealed is None or sealed[0].envelope_id not in plan.held:
            continue
        found.add(sealed[0].envelope_id)
        readable += bool(sealed[1] & there or sealed[0].envelope_id in others)
    return Outcome(len(found) - readable, readable, len(plan.held) - len(found))


def close_case(owner: Owner, plan: Closing, mandate: Mandate) -> None:
    """Erase a case's key and what is held for it, after entering that in the audit log.

    Args:
        owner: The owner.
        plan: From `plan_closing`.
        mandate: Who closes it and why; a reason is needed.

    Raises:
        UsageError: No reason.
        AuditVerificationError: The audit log does not verify; nothing was erased.
        CustodyError: The disk refused; running it again goes on.
    """
    if not mandate.reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    ids = () if plan.kid is None else (plan.kid,)
    AuditLog(owner).append(Action.CLOSE, mandate, count=len(plan.held), ids=ids)
    layout = owner.layout
    folder = layout.held(plan.case)
    key = layout.case_key(plan.case)
    try:
        erase_files([key, *sorted(folder.glob("*"))])
        for empty in (folder, key.parent):
            with suppress(FileNotFoundError):
                empty.rmdir()
        sync_directory(layout.cases)
    except OSError as error:
        raise CustodyError(f"{key.parent}: cannot be erased: {error.strerror or error}; run it again") from None


def require_erased(owner: Owner, case: str) -> None:
    """Refuse to hold for a case whose closing was cut off: its new key would lie where the old one is.

    Raises:
        KeyFileError: Something of it is left.
        CustodyError: The audit log cannot be read.
    """
    history = key_history(owner.layout, owner.public_key)
    if case in history.closed and is_left(owner.layout, case):
        raise KeyFileError(
            f"{owner.layout.case_key(case).parent}: is left of a closing that was cut off (entry "
            f"{history.closed[case].seq}); first: {close_command(owner.layout, case)}"
        )


def _held_for_others(layout: OwnerLayout, case: str, history: KeyHistory) -> set[str]:
    held = held_reads(layout, closed=history.closed)
    return {each for folder, ids in held.items() if folder != case_folder(case) for each in ids}


__all__ = ["Closing", "Outcome", "close_case", "plan_closing", "require_erased", "weigh_closing"]
