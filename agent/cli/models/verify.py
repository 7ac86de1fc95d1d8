"""`plateseal models verify`: model files against their digests."""

from __future__ import annotations

import json
from typing import Annotated, TypedDict

import typer

from agent.cli.models.options import JsonOption, ModelsOption
from agent.errors import ModelError, ModelMismatchError, ModelMissingError
from agent.vision.manifest import AnyEntry, ModelLibrary, open_library


class _Verified(TypedDict):
    name: str
    state: str
    fault: str | None


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


def _fault(library: ModelLibrary, entry: AnyEntry) -> ModelError | None:
    try:
        library.load(entry)
    except ModelError as error:
        return error
    return None


def _state(fault: ModelError | None) -> str:
    if fault is None:
        return "ok"
    return {ModelMissingError: "missing", ModelMismatchError: "digest mismatch"}.get(type(fault), "unreadable")
