"""`plateseal models fetch`: a published model, downloaded and checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBars

from agent.cli.models.options import JsonOption
from agent.errors import UsageError
from agent.vision.fetch import Progress, fetch_model
from agent.vision.manifest import MANIFEST_NAME, built_in_manifest, load_manifest, user_models_dir


def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model of `plateseal models list`.", show_default=False)
    ],
    *,
    models: Annotated[
        Path | None,
        typer.Option("--models", metavar="DIR", help="Where to put it; the user's folder of models if left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a model once, check it against its published digest, and put it where every command finds it.

    Example: plateseal models fetch cct-xs-v2-global
    """
    own = None if models is None else models / MANIFEST_NAME
    if models is not None and models.exists() and not models.is_dir():
        raise UsageError(f"--models {models}: must be a folder")
    manifest = load_manifest(own if own is not None and own.exists() else built_in_manifest())
    with _Downloads() as downloads:
        paths = fetch_model(name, models or user_models_dir(), manifest=manifest, progress=downloads.progress)
    if as_json:
        typer.echo(json.dumps({"name": name, "files": [str(path) for path in paths]}, indent=2))
    else:
        for path in paths:
            typer.echo(f"{path}: ok")


class _Downloads:
    """Progress on standard error while it is a terminal."""

    def __init__(self) -> None:
        self._bars = ProgressBars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @property
    def progress(self) -> Progress:
        """What `fetch_model` calls."""
        return self._advance

    def _advance(self, file: str, came: int, expected: int | None) -> None:
        if file not in self._tasks:
            self._tasks[file] = int(self._bars.add_task(file, total=expected))
        self._bars.update(TaskID(self._tasks[file]), completed=came)
