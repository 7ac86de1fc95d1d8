"""`plateseal status`: the live unit on one screen."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.cli.options import AsJson, UnitConfigFile
from agent.health.assess import Finding
from agent.unit.doctor.diagnosis import load_unit, require_access
from agent.unit.status.findings import status_findings
from agent.unit.status.metrics import read_snapshot
from agent.unit.status.report import read_health
from agent.unit.status.text import status_lines, was_answered


def status(
    config: UnitConfigFile,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what the unit does now: cameras, reads, backlog, receiver, clock, keys.

    It reads what the daemons write, so it needs their rights (sudo), and nothing of it is older than a second. What
    somebody should look at is marked, in the words of `plateseal doctor`, with what mends it.

    Example: plateseal status --config /etc/plateseal/unit.toml
    """
    unit = load_unit(config)
    require_access(unit)
    report = read_health(unit)
    found = status_findings(unit, report)
    if as_json:
        value = asdict(report) | {"versions": dict(report.versions), "findings": [_as_json(each) for each in found]}
        typer.echo(json.dumps(value, default=str))
        return
    receiver_up = was_answered(read_snapshot(unit.metrics_dir, "upload")[0]) if report.upload_up else None
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    lines = list(status_lines(report, found, receiver_up=receiver_up, now=report.at))
    for line in lines:
        style = "" if line.is_good else "bold red"
        mend = [("\n" + line.mend, "dim")] if line.mend else []
        table.add_row(Text("" if line.is_good else "!", style), line.name, Text.assemble((line.text, style), *mend))
    console = Console(highlight=False)
    marked = sum(not line.is_good for line in lines)
    summary = f"{marked} to look at" if marked else "nothing to look at"
    console.print(Text(f"{unit.camera_id}  {report.at:%Y-%m-%d %H:%M:%S} UTC  {summary}", "bold"))
    console.print(table)


def _as_json(finding: Finding) -> dict[str, str]:
    return asdict(finding) | {"level": finding.level.name.lower()}
