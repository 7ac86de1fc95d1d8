"""`plateseal upload`: from the spool to the receiver."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.options import UnitConfigFile
from agent.config.load import load_config
from agent.unit.process.unit_files import missing_files_named
from agent.unit.status.last_error import noted_errors
from agent.unit.upload.daemon import run_upload


def upload(
    config: UnitConfigFile,
    *,
    drain: Annotated[
        bool,
        typer.Option("--drain", help="End when nothing is left; fail if something is left that may not be sent now."),
    ] = False,
) -> None:
    """Deliver sealed reads from the spool and erase them against receipts.

    Example: plateseal upload --config /etc/plateseal/unit.toml --drain
    """
    unit = load_config(config)
    with noted_errors(unit.state_dir, "upload"), missing_files_named(unit):
        run_upload(unit, drain=drain)
