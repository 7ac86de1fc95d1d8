"""Options that commands of several groups have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.folders import require_file

UnitConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The unit's configuration (TOML).",
        show_default=False,
        callback=require_file,
    ),
]
ModelsFolder = Annotated[
    Path | None, typer.Option("--models", metavar="DIR", help="Folder of model files; the built-in models if left out.")
]
TruthFile = Annotated[
    Path | None, typer.Option("--truth", metavar="FILE", help="Its ground truth; CLIP.truth.json beside it if there.")
]
Plates = Annotated[
    str | None,
    typer.Option(
        "--plates",
        metavar="CC,..",
        help="Countries, and states of the US, whose plates are seen, such as ES,PT or US-TX; "
        "`plateseal config plates` lists them.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
