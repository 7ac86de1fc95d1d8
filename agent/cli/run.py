"""`plateseal run`: capture and upload together."""

from __future__ import annotations

from agent.cli.options import UnitConfigFile
from agent.unit.process.run import run_unit


def run(config: UnitConfigFile) -> None:
    """Run capture and upload together, each as its own process; ends when a recording is through and delivered.

    Example: plateseal run --config unit.toml
    """
    run_unit(config)
