"""What the commands on a fleet's files have in common: the folder, one sound unit of it, and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agent.cli.folders import Kind, kind_check
from agent.config.fleet import Fleet, FleetUnit
from agent.config.load import listed
from agent.config.models import UnitConfig
from agent.errors import ConfigError

FLEET_DIR = Path("config")
PIPE_WIDTH = 200
FleetOption = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="The fleet's folder.", callback=kind_check(Kind.FLEET))
]


def sound_unit(fleet: Fleet, name: str) -> tuple[FleetUnit, UnitConfig]:
    """Return a unit whose files have no mistake, and what they say.

    Raises:
        ConfigError: A file has a mistake, or no unit has this name.
    """
    unit = fleet.unit(name)
    files = {layer.path for layer in unit.layers} | unit.unread
    problems = [problem for problem in fleet.problems if problem.file in files]
    if problems or unit.config is None:
        raise ConfigError(listed(problems))
    return unit, unit.config


def print_table(table: Table) -> None:
    """Print a table as wide as it needs where nobody's terminal sets a width."""
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_WIDTH)).print(table)
