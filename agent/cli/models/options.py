"""Options of the commands on models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", metavar="DIR", help="Folder of model files; its own manifest.toml is used if any."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
