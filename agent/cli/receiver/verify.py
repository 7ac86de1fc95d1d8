"""`plateseal receiver verify`: whether a store is complete and unaltered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.durations import parse_duration
from agent.cli.options import AsJson
from agent.cli.receiver.options import AnyStore
from agent.cli.receiver.state import OUT_OF_IT, VerifierState
from agent.cli.receiver.telling import tell
from agent.errors import ReceiverError, UsageError, VerificationError
from agent.receiver.admission.completeness import missing_end, why_empty
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.memory import Memory
from agent.receiver.intake.reports import ChainReport, FindingKind
from agent.receiver.intake.since import Verified, may_go_on, verify_since
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.missing import missing_parts_named
from agent.receiver.ports import StoreView, WholeStore
from agent.receiver.stores.integrity import PAGE_CHECK_S, check_pages, cure
from agent.receiver.stores.opening import open_store, store_of


def verify(
    directory: AnyStore,
    *,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Remember in FILE what was verified; next time check what is new since."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The verifier's private key, which signs --state; else one is made beside it."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="With --state: check everything all the same.")] = False,
    pages_within: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long the check of the file's pages may take; a number and m, h or d."),
    ] = f"{PAGE_CHECK_S / 3600:.0f}h",
    as_json: AsJson = False,
) -> None:
    """Check every stored envelope, and name what is missing, altered, forged, reordered or replayed.

    Also what is forked, and what a key signed after its end (revoked, rotated). Each kept receipt is checked with
    receipt.pub and compared with its row and with the order of the log (receipt), and with what the units have signed
    about it (contradicted). The file itself is checked first: its pages, and its indices, through which envelopes are
    found.

    Exits 0 only if every chain is continuous, the file is whole, and nothing says that entries are missing. Reads that
    a unit's own bounds forced out are listed as overflowed (never accepted: the spool was full), expired (waited too
    long) or evicted (the oldest in a full spool): the unit has signed for them. Reads that `receiver drop-epoch` has
    dropped are counted; their receipts are checked. What follows a chain's last stored envelope is not known here.

    The last table has what each day brought, by unit; a day is the one on which it was stored, in UTC.

    With --state, the first run checks everything, and the next ones what is new. Of the rest they check that every
    entry and receipt is the one that was verified, and read some envelopes again, drawn at random. An old envelope that
    was altered where it lies, and a damaged page, is found for certain with --full only.

    Example: plateseal receiver verify bench/receiver --state verified.state
    """
    limit = parse_duration(pages_within, "--pages-within")
    if state is None and (full or key is not None):
        raise UsageError("--full and --key go with --state")
    with missing_parts_named(directory):
        kept = None if state is None else VerifierState(state, key)
        _verify(directory, kept, limit.total_seconds(), is_full=full, as_json=as_json)


def _verify(
    directory: Path, state: VerifierState | None, pages_within_s: float, *, is_full: bool, as_json: bool
) -> None:
    layout, found = ReceiverLayout(directory), None
    devices = DeviceBook(layout.devices)
    where = store_of(layout)
    with open_store(where, read_only=True) as store:
        memory = None if state is None or is_full else state.load()
        epochs = store.epochs()
        goes_on = memory is not None and may_go_on(memory, devices.receipt_keys())
        faults = [*([] if goes_on else _faults_of_file(where, pages_within_s)), *store.faults()]
        try:
            faults += [f"{where}: {sign}" for sign in _signs_of_loss(store, devices)]
            found = _found(store, devices, state, memory)
        except (ReceiverError, VerificationError) as error:
            if not faults:
                raise
            faults.append(str(error))
    if found is not None:
        tell(found, epochs, as_json=as_json)
        faults += found.faults
        if state is not None and found.memory is not None and not faults:
            state.save(found.memory)
        faults += _broken(directory, layout, found.reports)
    if faults:
        raise VerificationError("\n".join(faults))


def _found(store: WholeStore, devices: DeviceBook, state: VerifierState | None, memory: Memory | None) -> Verified:
    """Verify all, or what is new.

    Raises:
        ReceiverError: The store or the folder of devices cannot be read.
        VerificationError: The store is not the one that is remembered, or not as it was.
    """
    if state is None:
        return Verified(verify_store(store, devices))
    try:
        return verify_since(store, devices, memory)
    except VerificationError as error:
        raise VerificationError(f"{state.path}: {error}; to see what is wrong, {OUT_OF_IT}") from None


def _broken(directory: Path, layout: ReceiverLayout, reports: list[ChainReport]) -> list[str]:
    broken = sum(not report.is_continuous for report in reports)
    if not broken:
        return []
    return [f"{directory}: {broken} of {len(reports)} chains are not continuous; {_cure(layout, reports)}"]


def _faults_of_file(path: Path | str, within_s: float) -> list[str]:
    """Look through the file of an SQLite store; a database server checks each page as it is read."""
    if isinstance(path, str):
        return []
    check = check_pages(path, within_s=within_s)
    if not check.is_complete:
        return [f"{path}: its pages were not all checked within {within_s:.0f} s; give --pages-within more"]
    damage = [f"{path}: the file is damaged: {line}" for line in check.damage]
    return [*damage, f"{path}: {cure(path, check.damage)}"] if damage else []


def _cure(layout: ReceiverLayout, reports: list[ChainReport]) -> str:
    """Return what helps against what was found, by its worst kind."""
    kinds = {finding.kind for report in reports for finding in report.findings}
    if not layout.receipt_public.exists():
        return f"put the receiver's own {layout.receipt_public.name} back beside the store, and verify again"
    if kinds <= {FindingKind.MISSING}:
        return (
            "wait until its unit has delivered what it still has, and verify again; if the store lost them, restore "
            "the newest backup that verifies (docs/BACKUP.md, Restore)"
        )
    if kinds & {FindingKind.ALTERED, FindingKind.FORGED, FindingKind.REORDERED, FindingKind.REPLAYED}:
        return (
            "keep a copy of the folder as it is, and restore the newest backup that verifies: the store, or the "
            f"records in {layout.devices.name} (docs/BACKUP.md, Restore)"
        )
    return "what each finding means, and what to do: docs/RUNBOOK.md, At the receiver"


def _signs_of_loss(store: StoreView, devices: DeviceBook) -> list[str]:
    empty = why_empty(store, devices)
    return [*([] if empty is None else [empty]), *missing_end(store, devices)]
