"""`plateseal doctor`: what is wrong with a unit, why it matters, and the command that mends it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from agent.cli.options import AsJson, UnitConfigFile
from agent.unit.doctor.diagnosis import examine, load_unit, require_access, require_sound
from agent.unit.doctor.finding import Finding, Outcome, worst_first

_MARKS: Final = {
    Outcome.GOOD: ("ok", "green"),
    Outcome.WARNING: ("warn", "yellow"),
    Outcome.FAULT: ("FAULT", "bold red"),
    Outcome.SKIPPED: ("skip", "dim"),
}


def doctor(
    config: UnitConfigFile,
    *,
    credentials: Annotated[
        Path, typer.Option("--credentials", metavar="DIR", help="Where the services' credentials lie in the file.")
    ] = Path("/etc/plateseal/identity"),
    as_json: AsJson = False,
) -> None:
    """Look the unit over: cameras, models, clock, disk, permissions, keys, receiver, sockets, swap, services.

    It proves the way: a sample is sealed, a file is written, synced and erased in the spool, and the receiver
    answers a signed probe with its receipt key. Nothing is stored and nothing is changed. Faults come first. Run it
    as root: it looks at what belongs to the daemons, and opens cameras, models and the network with their rights.
    Exits 0 if there is no fault, 18 if there is one; a warning is no fault.

    Example: plateseal doctor --config /etc/plateseal/unit.toml
    """
    unit = load_unit(config, credentials=credentials)
    require_access(unit)
    findings = worst_first(_watched(examine(unit, config, credentials=credentials)))
    if as_json:
        typer.echo(json.dumps({"unit": unit.camera_id, "findings": [asdict(finding) for finding in findings]}))
    else:
        _print(findings)
    require_sound(findings)


def _watched(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Show on a terminal's standard error what has been looked at: cameras and receiver take seconds."""
    console = Console(stderr=True, highlight=False)
    with console.status("looking") if console.is_terminal else nullcontext() as status:
        for finding in findings:
            if status is not None:
                status.update(f"looking: {finding.check} {_MARKS[finding.outcome][0]}")
            yield finding


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        mark, style = _MARKS[finding.outcome]
        console.print(Text.assemble((f"{mark:<6}", style), (f"{finding.check}: ", "bold"), finding.what))
        for label, text in (("why", finding.why), ("mend", finding.mend)):
            if text:
                console.print(Padding(Text.assemble((f"{label:<5}", "dim"), text), (0, 0, 0, 6)))
