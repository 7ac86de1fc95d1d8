"""What `--json FILE` of a command that also talks to people writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import typer

from agent.errors import UsageError

STDOUT: Final = "-"


def write_json(value: object, target: str | None) -> None:
    """Write one JSON object to a file, or to standard output for `-`; nowhere where no target was named.

    Raises:
        UsageError: It cannot be written.
    """
    if target is None:
        return
    if target == STDOUT:
        typer.echo(json.dumps(value))
        return
    try:
        Path(target).write_text(json.dumps(value) + "\n")
    except OSError as error:
        raise UsageError(f"--json {target}: {error.strerror or error}") from None
