"""`plateseal doctor`: what is wrong with a unit, why it matters, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from agent.cli.options import AsJson, UnitConfigFile
from agent.unit.doctor.diagnosis import examine, load_unit, require_access, require_sound
from agent.unit.doctor.finding import Outcome


def doctor(
    config: UnitConfigFile,
    *,
    credentials: Annotated[
        Path, typer.Option("--credentials", metavar="DIR", help="Where the services' credentials lie in the file.")
    ] = Path("/etc/plateseal/identity"),
    as_json: AsJson = False,
) -> None:
    """Look the unit over: cameras, models, clock, disk, permissions, keys, receiver, sockets, swap, services.

    It changes nothing. Run it as root: it looks at what belongs to the daemons. Exits 0 if there is no fault, 18 if
    there is one; a warning is no fault.

    Example: plateseal doctor --config /etc/plateseal/unit.toml
    """
    unit = load_unit(config, credentials=credentials)
    require_access(unit)
    if as_json:
        findings = list(examine(unit, config))
        typer.echo(json.dumps({"unit": unit.camera_id, "findings": [asdict(finding) for finding in findings]}))
        require_sound(findings)
        return
    console = Console(highlight=False)
    marks = {
        Outcome.GOOD: ("ok", "green"),
        Outcome.WARNING: ("warn", "yellow"),
        Outcome.FAULT: ("FAULT", "bold red"),
        Outcome.SKIPPED: ("skip", "dim"),
    }
    findings = []
    for finding in examine(unit, config):
        findings.append(finding)
        mark, style = marks[finding.outcome]
        console.print(Text.assemble((f"{mark:<6}", style), (f"{finding.check}: ", "bold"), finding.what))
        for label, text in (("why", finding.why), ("mend", finding.mend)):
            if text:
                console.print(Padding(Text.assemble((f"{label:<5}", "dim"), text), (0, 0, 0, 6)))
    require_sound(findings)
