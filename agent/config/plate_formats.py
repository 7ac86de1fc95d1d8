r"""Which texts a country's number plates have: the formats that come along, and a user's own.

Owns: the files' form and its checks, and the choice by country. Leaves to others: what a format does to a read
(`agent.vision.settling`).

A file holds a table for each country or part of one, named by its code in ISO 3166, and in it formats with a pattern
each: a regular expression in which `\d` is a digit, `\l` one of the country's letters, `\w` either of them, and
`<name>` one of the texts of the list `lists.name`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.config.document import Document
from agent.errors import ConfigError

BUILT_IN: Final = Path(__file__).parent / "plates"
"""The folder of the files that come along."""
MAX_NAME_CHARS: Final = 24
"""A format's name is sealed with each read; one up to this does not show in the length (`USUAL_NAME_CHARS`)."""
MAX_FORMATS: Final = 4096
PLACE_PATTERN: Final = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
"""A code of ISO 3166-1 (alpha-2) or ISO 3166-2, such as PT or US-TX."""
ALL_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

PlaceCode = Annotated[str, Field(pattern=PLACE_PATTERN)]
Words = Annotated[str, Field(min_length=1, max_length=300)]
_LIST: Final = re.compile(r"<(\w+)>")
_CLASS: Final = re.compile(r"\\([dlw])")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FormatTable(_Table):
    """One format in a file.

    Attributes:
        name: What a read says of it; of all files the only one with this name.
        pattern: The whole text of a plate.
        period: When such plates were issued, and whether they are valid.
        note: What else there is to know.
        vanity: Whether owners choose such texts, so that any of them is as likely as its look-alikes: a text fits, and
            none is settled.
        source, looked_at: As of the table around it, where this format has its own.
    """

    name: str = Field(pattern=r"^[A-Z]{2}[A-Za-z0-9-]*$", max_length=MAX_NAME_CHARS)
    pattern: str = Field(min_length=1, max_length=1000)
    period: Words
    note: Words | None = None
    vanity: bool = False
    source: Words | None = None
    looked_at: date | None = None


class PlaceTable(_Table):
    r"""A country, or a part of one that has formats of its own.

    Attributes:
        name: In English; may be left out by a user's file for a place that is known.
        letters: Those that occur; what `\l` stands for. All 26 if left out.
        lists: Texts by name, for `<name>` in patterns.
        source: The law, authority or encyclopedia that says so.
        looked_at: The day on which that was looked at.
        format: Its formats, in the order in which they are preferred where a text fits several.
    """

    name: Words | None = None
    letters: str = Field(default=ALL_LETTERS, pattern=r"^[A-Z]+$")
    lists: dict[str, Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z0-9]+$")], ...], Field(strict=False)]] = {}
    source: Words | None = None
    looked_at: date | None = None
    format: Annotated[tuple[FormatTable, ...], Field(strict=False)] = Field(max_length=MAX_FORMATS)


_FILE: Final[TypeAdapter[dict[PlaceCode, PlaceTable]]] = TypeAdapter(dict[PlaceCode, PlaceTable])


@dataclass(frozen=True, slots=True)
class PlateFormat:
    """One format.

    Attributes:
        name: Its name.
        place: The code of its country or part of one.
        place_name: That in English.
        pattern: As it stands in the file.
        allows: Returns whether a text is wholly of this format.
        is_vanity: Whether texts are chosen by owners, so that none is settled by it.
        period, note, source, looked_at: As in the file.
    """

    name: str
    place: str
    place_name: str
    pattern: str
    allows: Callable[[str], object]
    is_vanity: bool
    period: str
    note: str | None
    source: str | None
    looked_at: date | None


@cache
def built_in_formats() -> Mapping[str, PlateFormat]:
    """Return the formats that come along, by name, in the order of the files.

    Raises:
        ConfigError: A file is wrong.
    """
    found: dict[str, PlateFormat] = {}
    for path in sorted(BUILT_IN.glob("*.toml")):
        found |= _load(path, found)
    return found


def all_formats(own: Path | None = None) -> Mapping[str, PlateFormat]:
    """Return all formats by name: a user's own, then those that come along and are not replaced by one of its name.

    Args:
        own: The user's file; None if there is none.

    Raises:
        ConfigError: The file cannot be read or is wrong; one line.
    """
    built_in = built_in_formats()
    if own is None:
        return built_in
    found = _load(own, {})
    return found | {name: each for name, each in built_in.items() if name not in found}


def choose_formats(codes: Iterable[str], known: Mapping[str, PlateFormat]) -> tuple[PlateFormat, ...]:
    """Return the formats of countries, in the order of the codes.

    Args:
        codes: Codes; that of a country alone stands for all its parts where it has no formats of its own.
        known: All formats.

    Raises:
        ConfigError: No format is known of a place; one line that says which there are.
    """
    chosen: dict[str, PlateFormat] = {}
    for code in codes:
        found = [each for each in known.values() if each.place == code]
        found = found or [each for each in known.values() if each.place.startswith(f"{code}-")]
        if not found:
            raise ConfigError(_no_such_place(code, known))
        chosen |= {each.name: each for each in found}
    return tuple(chosen.values())


def _no_such_place(code: str, known: Mapping[str, PlateFormat]) -> str:
    places = sorted({each.place for each in known.values()})
    near = difflib.get_close_matches(code.upper(), places, n=1)
    perhaps = f"; did you mean {near[0]}?" if near else ""
    return f"no formats of {code!r:.12} are known{perhaps}; there are {', '.join(places)}"


def _load(path: Path, before: Mapping[str, PlateFormat]) -> dict[str, PlateFormat]:
    """Read one file; no name of `before` may occur in it again."""
    document = Document.load(path)
    try:
        tables = _FILE.validate_python(document.table)
    except ValidationError as error:
        raise ConfigError(_told(document, error)) from None
    found: dict[str, PlateFormat] = {}
    for code, table in tables.items():
        for index, each in enumerate(table.format):
            if each.name in found or each.name in before:
                raise ConfigError(_at(document, (code, "format", index), f"the name {each.name} is there twice"))
            found[each.name] = _format(document, (code, "format", index), code, table, each)
    return found


def _format(
    document: Document, place: tuple[str | int, ...], code: str, table: PlaceTable, each: FormatTable
) -> PlateFormat:
    try:
        compiled = re.compile(_expanded(each.pattern, table), re.ASCII)
    except (re.error, KeyError) as error:
        what = f"no list of the name {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(_at(document, place, f"{each.name}: pattern is no regular expression: {what}")) from None
    return PlateFormat(
        name=each.name,
        place=code,
        place_name=table.name or next((one.place_name for one in _known_of(code)), code),
        pattern=each.pattern,
        allows=compiled.fullmatch,
        is_vanity=each.vanity,
        period=each.period,
        note=each.note,
        source=each.source or table.source,
        looked_at=each.looked_at or table.looked_at,
    )


def _known_of(code: str) -> Iterable[PlateFormat]:
    return (each for each in built_in_formats().values() if each.place == code)


def _expanded(pattern: str, table: PlaceTable) -> str:
    """Return the regular expression that a pattern stands for."""
    classes = {"d": "[0-9]", "l": f"[{table.letters}]", "w": f"[{table.letters}0-9]"}
    with_lists = _LIST.sub(lambda found: f"(?:{'|'.join(table.lists[found[1]])})", pattern)
    return _CLASS.sub(lambda found: classes[found[1]], with_lists)


def _told(document: Document, error: ValidationError) -> str:
    """Return the first mistake of a file in one line."""
    detail = error.errors(include_url=False)[0]
    place = tuple(part for part in detail["loc"] if part != "[key]")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return _at(document, place, message[:1].lower() + message[1:])


def _at(document: Document, place: tuple[str | int, ...], message: str) -> str:
    line = document.line_of(place)
    key = ".".join(map(str, place))
    return f"{document.path}{'' if line is None else f':{line}'}: {key}: {message}"
