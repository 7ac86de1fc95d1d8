"""`plateseal config check`: all mistakes of a fleet's files at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agent.cli.config.fleet_files import FLEET_DIR, print_table
from agent.cli.folders import Kind, kind_check
from agent.cli.options import AsJson
from agent.config.fleet import Fleet, load_fleet
from agent.config.load import listed, load_config
from agent.errors import ConfigError


def check(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="[DIR]",
            help="The fleet's folder; or the file of one unit.",
            show_default=True,
            callback=kind_check(Kind.FLEET),
        ),
    ] = FLEET_DIR,
    *,
    as_json: AsJson = False,
) -> None:
    """Check every file of a fleet, or one unit's file, and name all mistakes at once. Exits 0 only if there are none.

    Example: plateseal config check config
    """
    if directory.is_file():
        unit = load_config(directory)
        typer.echo(json.dumps({"units": [{"camera": unit.camera_id, "ok": True}], "problems": []}) if as_json else "ok")
        return
    fleet = load_fleet(directory)
    if as_json:
        typer.echo(json.dumps(_fleet_json(fleet)))
    else:
        _print_fleet(fleet)
    if fleet.problems:
        count = len(fleet.problems)
        lines = listed(list(fleet.problems))
        raise ConfigError(f"{lines}\n{directory}: {count} {'mistake' if count == 1 else 'mistakes'}")


def _fleet_json(fleet: Fleet) -> dict[str, object]:
    return {
        "units": [{"camera": unit.name, "site": unit.site, "ok": unit.config is not None} for unit in fleet.units],
        "problems": [
            {"file": str(each.file), "line": each.line, "key": each.key, "message": each.message}
            for each in fleet.problems
        ],
    }


def _print_fleet(fleet: Fleet) -> None:
    table = Table("camera", "site", "source", "receiver", "")
    for unit in fleet.units:
        if unit.config is None:
            table.add_row(escape(unit.name), escape(unit.site or ""), "", "", "[red]mistakes[/red]")
            continue
        sources = [_shown_source(camera.source.uri) for camera in unit.config.cameras]
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        receiver = unit.config.upload.url.removeprefix("https://")
        table.add_row(unit.name, unit.site or "", escape(sources[0] + more), receiver, "[green]ok[/green]")
    print_table(table)


def _shown_source(uri: str) -> str:
    """Return a source without what may be long or secret; `agent.capture` would too, and loads OpenCV for it."""
    scheme, separator, rest = uri.partition("://")
    if separator:
        return f"{scheme}://{rest.partition('/')[0]}"
    return "gst: pipeline" if uri.startswith("gst:") else uri
