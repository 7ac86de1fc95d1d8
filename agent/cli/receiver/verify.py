"""`plateseal receiver verify`: whether a store is complete and unaltered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.durations import parse_duration
from agent.cli.options import AsJson
from agent.cli.receiver.options import AnyStore
from agent.cli.receiver.telling import tell
from agent.errors import ReceiverError, VerificationError
from agent.receiver.admission.completeness import missing_end, why_empty
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.reports import ChainReport, FindingKind
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.missing import missing_parts_named
from agent.receiver.ports import StoreView
from agent.receiver.stores.integrity import PAGE_CHECK_S, check_pages, cure
from agent.receiver.stores.opening import open_store


def verify(
    directory: AnyStore,
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

    Example: plateseal receiver verify bench/receiver --json
    """
    limit = parse_duration(pages_within, "--pages-within")
    with missing_parts_named(directory):
        _verify(directory, limit.total_seconds(), as_json=as_json)


def _verify(directory: Path, pages_within_s: float, *, as_json: bool) -> None:
    layout, reports = ReceiverLayout(directory), None
    devices = DeviceBook(layout.devices)
    with open_store(layout.store, read_only=True) as store:
        epochs = store.epochs()
        faults = [*_faults_of_file(layout.store, pages_within_s), *store.faults()]
        try:
            faults += [f"{layout.store}: {sign}" for sign in _signs_of_loss(store, devices)]
            reports = verify_store(store, devices)
        except ReceiverError as error:
            if not faults:
                raise
            faults.append(str(error))
    if reports is not None:
        tell(reports, epochs, as_json=as_json)
        broken = sum(not report.is_continuous for report in reports)
        if broken:
            faults.append(
                f"{directory}: {broken} of {len(reports)} chains are not continuous; {_cure(layout, reports)}"
            )
    if faults:
        raise VerificationError("\n".join(faults))


def _faults_of_file(path: Path, within_s: float) -> list[str]:
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
