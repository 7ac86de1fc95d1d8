"""`plateseal capture`: from frames to sealed reads in the spool."""

from __future__ import annotations

from agent.cli.options import UnitConfigFile
from agent.config.load import load_config
from agent.unit.capture.daemon import run_capture
from agent.unit.process.unit_files import missing_files_named
from agent.unit.status.last_error import noted_errors


def capture(config: UnitConfigFile) -> None:
    """Read frames, read plates, and put sealed reads into the spool.

    Example: plateseal capture --config /etc/plateseal/unit.toml
    """
    unit = load_config(config)
    with noted_errors(unit.state_dir, "capture"), missing_files_named(unit):
        run_capture(unit)
