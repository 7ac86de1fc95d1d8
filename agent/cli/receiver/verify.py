"""`plateseal receiver verify`: whether a store is complete and unaltered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.durations import parse_duration
from agent.cli.options import AsJson
from agent.cli.receiver.options import AnyStore
from agent.errors import ReceiverError, VerificationError
from agent.receiver.admission.completeness import missing_end, why_empty
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.reports import ChainReport, FindingKind, finding_lines
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.missing import missing_parts_named
from agent.receiver.ports import Epoch, StoreView
from agent.receiver.stores.integrity import PAGE_CHECK_S, check_pages, cure
from agent.receiver.stores.opening import open_store
from agent.wire.tombstone import LossReason

LOSSES = {LossReason.OVERFLOW: "overflowed", LossReason.EXPIRED: "expired", LossReason.EVICTED: "evicted"}
"""What became of reads that a unit's own bounds forced out; also the names in the JSON report."""

WHAT_PROVES_WHAT = (
    "Signatures and links prove what the units made and in which order; kept receipts, when the receiver said it had "
    "it. Without a receipt a time is the store's word alone."
)


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
        _tell(reports, epochs, as_json=as_json)
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


def _tell(reports: list[ChainReport], epochs: list[Epoch], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_report_json(report) for report in reports]))
        return
    _print_reports(reports)
    for epoch in epochs:
        if epoch.dropped_at is not None:
            kids = ", ".join(kid.hex()[:16] for kid in epoch.kids)
            typer.echo(f"dropped by policy on {epoch.dropped_at:%Y-%m-%d}: {epoch.reads} reads sealed to {kids}")


def _report_json(report: ChainReport) -> dict[str, object]:
    return {
        "device": report.device,
        "key_id": report.device_kid.hex(),
        "chain": report.chain.hex(),
        "envelopes": report.envelopes,
        "receipted": report.receipted,
        "last_seq": report.last_seq,
        "dropped": report.dropped,
        "explained": report.explained,
        **{name: report.lost[reason] for reason, name in LOSSES.items()},
        "continuous": report.is_continuous,
        "findings": [
            {"kind": finding.kind, "from": finding.first_seq, "to": finding.last_seq, "detail": finding.detail}
            for finding in report.findings
        ],
    }


def _print_reports(reports: list[ChainReport]) -> None:
    for report in reports:
        state = "continuous" if report.is_continuous else "NOT CONTINUOUS"
        losses = [(report.lost[reason], name) for reason, name in LOSSES.items()]
        dropped = f", {report.dropped} dropped by policy" if report.dropped else ""
        by_policy = dropped + "".join(f", {count} {what} by the unit's own bounds" for count, what in losses if count)
        typer.echo(
            f"{report.device} chain {report.chain.hex()[:8]}: {report.envelopes} envelopes, "
            f"seq 0 to {report.last_seq}, {state}{by_policy}{_receipts(report)}"
        )
        for line in finding_lines(report):
            typer.echo(f"  {line}")
    if not reports:
        typer.echo("the store is empty")
    else:
        typer.echo(WHAT_PROVES_WHAT)


def _receipts(report: ChainReport) -> str:
    if report.receipted == report.envelopes:
        return ""
    return f", {report.envelopes - report.receipted} without a kept receipt that holds"
