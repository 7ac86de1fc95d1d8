"""`plateseal config plates`: the formats of number plates that are known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agent.cli.config.fleet_files import print_table
from agent.cli.options import AsJson
from agent.config.plate_formats import PlateFormat, all_formats, choose_formats
from agent.errors import ConfigError, UsageError


def plates(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PLACE]...", help="Codes such as PT or US-TX; their formats are shown.", show_default=False
        ),
    ] = None,
    *,
    own: Annotated[
        Path | None,
        typer.Option("--formats", metavar="FILE", help="A file of your own, as vision.plate_formats names it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the countries and states whose formats of number plates are known, or the formats of those that are named.

    Example: plateseal config plates ES PT
    """
    known = all_formats(own)
    chosen: Sequence[PlateFormat] = list(known.values())
    if places:
        try:
            chosen = choose_formats(places, known)
        except ConfigError as error:
            raise UsageError(str(error)) from None
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in chosen], indent=2, ensure_ascii=False))
    elif places:
        _print_formats(chosen)
    else:
        _print_places(chosen)


def _as_json(each: PlateFormat) -> dict[str, object]:
    return {
        "name": each.name,
        "place": each.place,
        "place_name": each.place_name,
        "pattern": each.pattern,
        "vanity": each.is_vanity,
        "period": each.period,
        "note": each.note,
        "source": each.source,
        "looked_at": None if each.looked_at is None else each.looked_at.isoformat(),
    }


def _print_places(formats: Sequence[PlateFormat]) -> None:
    names = {each.place: each.place_name for each in formats}
    counts = Counter(each.place for each in formats)
    table = Table("code", "place", "formats")
    for code in sorted(names):
        table.add_row(code, escape(names[code]), str(counts[code]))
    print_table(table)


def _print_formats(formats: Sequence[PlateFormat]) -> None:
    table = Table("format", "pattern", "period", "note")
    for each in formats:
        note = ", ".join(filter(None, [each.note, "settles nothing" if each.is_vanity else None]))
        table.add_row(each.name, escape(each.pattern), escape(each.period), escape(note))
    print_table(table)
    for source in dict.fromkeys(f"{each.place}: {each.source}, {each.looked_at}" for each in formats if each.source):
        typer.echo(source)
