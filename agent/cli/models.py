"""`plateseal models`: which models there are, whether their files are right, and getting one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypedDict

import typer

from agent.errors import ModelError, ModelMismatchError, ModelMissingError, UsageError

if TYPE_CHECKING:
    from agent.vision.fetch import Progress
    from agent.vision.manifest import AnyEntry, ModelLibrary

app = typer.Typer(help="List, verify and fetch models. Only `fetch` uses the network.", no_args_is_help=True)

ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", metavar="DIR", help="Folder of model files; its own manifest.toml is used if any."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


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


class _Verified(TypedDict):
    name: str
    state: str
    fault: str | None


@app.command("list")
def list_models(models: ModelsOption = None, *, as_json: JsonOption = False) -> None:
    """List the models of the manifest in order of preference, and which of them are here.

    Example: plateseal models list --json
    """
    from agent.vision.manifest import open_library  # noqa: PLC0415

    library = open_library(models)
    listed = [_describe(library, entry) for entry in library.manifest.entries]
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("kind")
    table.add_column("name", no_wrap=True)
    for heading in ("here", "licence", "how to get it"):
        table.add_column(heading)
    for model in listed:
        remedy = "built in" if model["built_in"] else "models fetch" if model["fetchable"] else "not published"
        table.add_row(model["kind"], model["name"], "yes" if model["present"] else "no", model["licence"], remedy)
    Console().print(table)


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all that are here if left out.")
    ] = None,
    *,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check model files against the digests of the manifest.

    Example: plateseal models verify cct-xs-v1-global --models ../models
    """
    from agent.vision.manifest import open_library  # noqa: PLC0415

    library = open_library(models)
    entries = [library.entry(name) for name in names or ()]
    entries = entries or [entry for entry in library.manifest.entries if library.is_present(entry)]
    if not entries:
        places = " or ".join(str(folder) for folder in library.folders)
        raise ModelMissingError(f"no model of the manifest is in {places}; see `plateseal models list`")
    faults = {entry.name: _fault(library, entry) for entry in entries}
    if as_json:
        answer = [
            _Verified(name=name, state=_state(fault), fault=None if fault is None else str(fault))
            for name, fault in faults.items()
        ]
        typer.echo(json.dumps(answer, indent=2))
    else:
        for name, fault in faults.items():
            typer.echo(f"{name}: {_state(fault)}")
    wrong = [fault for fault in faults.values() if fault is not None]
    if wrong:
        raise type(wrong[0])("\n".join(str(fault) for fault in wrong))


@app.command()
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
    from agent.vision.fetch import fetch_model  # noqa: PLC0415
    from agent.vision.manifest import MANIFEST_NAME, built_in_manifest, load_manifest, user_models_dir  # noqa: PLC0415

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
            typer.echo(f"{path}: right")


class _Downloads:
    """Progress on standard error while it is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

        self._bars = Progress(
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
        from rich.progress import TaskID  # noqa: PLC0415

        if file not in self._tasks:
            self._tasks[file] = int(self._bars.add_task(file, total=expected))
        self._bars.update(TaskID(self._tasks[file]), completed=came)


def _describe(library: ModelLibrary, entry: AnyEntry) -> _Listed:
    from agent.vision.manifest import DetectorEntry, is_fetchable  # noqa: PLC0415

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


def _fault(library: ModelLibrary, entry: AnyEntry) -> ModelError | None:
    try:
        library.load(entry)
    except ModelError as error:
        return error
    return None


def _state(fault: ModelError | None) -> str:
    if fault is None:
        return "right"
    return {ModelMissingError: "missing", ModelMismatchError: "wrong"}.get(type(fault), "unreadable")
