"""`plateseal config schema`: the JSON Schema of a layer's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.config.schema import Layer, layer_schema
from agent.errors import UsageError


def schema(
    layer: Annotated[Layer | None, typer.Argument(help="Which file it is for.", show_default=False)] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the schemas of all layers into this folder.")
    ] = None,
) -> None:
    """Print the JSON Schema of a layer's files, from which editors complete and check.

    Example: plateseal config schema --out config/.schema
    """
    if (layer is None) == (out is None):
        raise UsageError(f"one of a LAYER ({', '.join(Layer)}) and --out DIR is needed")
    if layer is not None:
        typer.echo(json.dumps(layer_schema(layer), indent=2))
    if out is not None:
        try:
            out.mkdir(exist_ok=True)
            for each in Layer:
                (out / f"{each}.json").write_text(json.dumps(layer_schema(each), indent=2) + "\n")
        except OSError as error:
            raise UsageError(f"--out {out}: {error.strerror or error}") from None
        typer.echo(f"{out}: {', '.join(f'{each}.json' for each in Layer)}")
