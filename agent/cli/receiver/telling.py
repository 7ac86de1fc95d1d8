"""What `plateseal receiver verify` prints.

Owns: the words, the table of days, the keys in JSON. Leaves to others: what was found (`agent.receiver.intake`).
"""

from __future__ import annotations

import json

import typer
from rich.table import Table

from agent.cli.config.fleet_files import print_table
from agent.receiver.intake.reports import DAY_MS, ChainReport, Day, days_of_units, finding_lines
from agent.receiver.intake.since import Verified
from agent.receiver.ports import Epoch
from agent.wire.times import MAX_TIME_MS, from_ms
from agent.wire.tombstone import LossReason

LOSSES = {LossReason.OVERFLOW: "overflowed", LossReason.EXPIRED: "expired", LossReason.EVICTED: "evicted"}
"""What became of reads that a unit's own bounds forced out; also the names in the JSON report."""

WHAT_PROVES_WHAT = (
    "Signatures and links prove what the units made and in which order; kept receipts, when the receiver said it had "
    "it. Without a receipt a time is the store's word alone."
)


def tell(found: Verified, epochs: list[Epoch], *, as_json: bool) -> None:
    """Print what was found, for a person or as JSON."""
    reports = found.reports
    if as_json:
        units = [_unit_json(device, days) for device, days in days_of_units(reports).items()]
        chains = [_report_json(report) for report in reports]
        typer.echo(json.dumps({"chains": chains, "units": units, "since": _since_json(found)}))
        return
    _print_reports(reports)
    _print_days(reports)
    for epoch in epochs:
        if epoch.dropped_at is not None:
            kids = ", ".join(kid.hex()[:16] for kid in epoch.kids)
            typer.echo(f"dropped by policy on {epoch.dropped_at:%Y-%m-%d}: {epoch.reads} reads sealed to {kids}")
    _print_since(found)


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


def _since_json(found: Verified) -> dict[str, int] | None:
    if not found.after:
        return None
    return {"log": found.after, "new": found.new, "chains_whole": found.whole, "read_again": found.sampled}


def _print_since(found: Verified) -> None:
    if not found.after:
        return
    whole = f", and {found.whole} chains whole" if found.whole else ""
    typer.echo(
        f"checked now: {found.new} entries behind entry {found.after} of the log{whole}. Of those before, entries and "
        f"receipts are the ones that were verified; {found.sampled} envelopes, drawn at random, were read again: where "
        f"1 % were altered, that finds it with a probability of {1 - 0.99**found.sampled:.1%}. The others, and the "
        "file's pages, are checked with --full"
    )


def _unit_json(device: str, days: dict[int, Day]) -> dict[str, object]:
    return {"device": device, "days": [{"day": _shown_day(number), **_counts(day)} for number, day in days.items()]}


def _counts(day: Day) -> dict[str, int]:
    """Return the counts of a day by name, in the order of the table's columns."""
    losses = {name: day.lost[reason] for reason, name in LOSSES.items()}
    return {"envelopes": day.envelopes, "dropped": day.dropped, **losses}


def _print_days(reports: list[ChainReport]) -> None:
    units = days_of_units(reports)
    if not units:
        return
    table = Table("unit", "stored on (UTC)", box=None, padding=(0, 2, 0, 0))
    for name in _counts(Day()):
        table.add_column(name, justify="right")
    for device, days in units.items():
        for number, day in days.items():
            table.add_row(device, _shown_day(number), *map(str, _counts(day).values()))
        table.add_row(device, "all", *(str(sum(column)) for column in zip(*map(_values, days.values()), strict=True)))
    print_table(table)


def _values(day: Day) -> list[int]:
    return list(_counts(day).values())


def _shown_day(number: int) -> str:
    """Return the date of a day, by the number of days since 1970. A damaged store may have any number."""
    milliseconds = number * DAY_MS
    return f"{from_ms(milliseconds):%Y-%m-%d}" if 0 <= milliseconds <= MAX_TIME_MS else f"day {number}"


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
