"""Options that commands of several groups have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

UnitConfigFile = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The unit's configuration (TOML).", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
