"""`plateseal config show`: what holds for one unit, and where each value comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agent.cli.config.fleet_files import FLEET_DIR, FleetOption, print_table, sound_unit
from agent.cli.options import AsJson
from agent.config.bundle import unit_toml
from agent.config.fleet import load_fleet
from agent.config.provenance import Setting, settings_of


def show(
    camera: Annotated[
        str, typer.Argument(metavar="CAMERA", help="The unit, by its camera's name.", show_default=False)
    ],
    *,
    directory: FleetOption = FLEET_DIR,
    as_toml: Annotated[bool, typer.Option("--toml", help="Print a unit's own file, as it starts with.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what holds for one unit, and the file and line that each value comes from.

    Example: plateseal config show bridge-north --dir config
    """
    unit, effective = sound_unit(load_fleet(directory), camera)
    if as_toml:
        typer.echo(unit_toml(unit.table), nl=False)
        return
    settings = settings_of(unit, effective)
    if as_json:
        typer.echo(json.dumps({"camera": camera, "settings": {each.key: _setting_json(each) for each in settings}}))
        return
    table = Table("setting", "value", "from")
    for each in settings:
        style = "dim" if each.file is None else ""
        table.add_row(each.key, escape(json.dumps(each.value, ensure_ascii=False)), escape(each.source), style=style)
    print_table(table)


def _setting_json(setting: Setting) -> dict[str, object]:
    return {
        "value": setting.value,
        "file": None if setting.file is None else str(setting.file),
        "line": setting.line,
    }
