"""`plateseal models list`: the models of the manifest."""

from __future__ import annotations

import json
from typing import TypedDict

import typer
from rich.console import Console
from rich.table import Table

from agent.cli.models.options import JsonOption, ModelsOption
from agent.vision.manifest import AnyEntry, DetectorEntry, ModelLibrary, is_fetchable, open_library


class _Listed(TypedDict):
    kind: str
    name: str
    file: str
    sha256: str
    present: bool
    built_in: bool
    fetchable: bool
    licence: str
    origin: str


def list_models(models: ModelsOption = None, *, as_json: JsonOption = False) -> None:
    """List the models of the manifest in order of preference, and which of them are here.

    Example: plateseal models list --json
    """
    library = open_library(models)
    listed = [_describe(library, entry) for entry in library.manifest.entries]
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return

    table = Table("kind")
    table.add_column("name", no_wrap=True)
    for heading in ("here", "licence", "how to get it"):
        table.add_column(heading)
    for model in listed:
        remedy = "built in" if model["built_in"] else "models fetch" if model["fetchable"] else "not published"
        table.add_row(model["kind"], model["name"], "yes" if model["present"] else "no", model["licence"], remedy)
    Console().print(table)


def _describe(library: ModelLibrary, entry: AnyEntry) -> _Listed:
    return _Listed(
        kind="detector" if isinstance(entry, DetectorEntry) else "reader",
        name=entry.name,
        file=entry.file,
        sha256=entry.sha256,
        present=library.is_present(entry),
        built_in=entry.built_in,
        fetchable=is_fetchable(entry),
        licence=entry.licence,
        origin=entry.origin,
    )
