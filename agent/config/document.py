"""A TOML file with the line on which each setting stands.

Owns: reading the file within its limit, and finding lines. No TOML library for Python keeps positions, so a file that
`tomllib` has taken as a whole is taken apart once more: lines are joined until they are a statement for `tomllib`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from agent.errors import ConfigError

MAX_CONFIG_BYTES: Final = 1 << 20

Place = tuple[str | int, ...]
"""Where a setting stands in its table: keys, and indices of arrays of tables."""
Table = dict[str, object]


@dataclass(frozen=True)  # no slots: `lines` is kept once it is asked for
class Document:
    """One TOML file.

    Attributes:
        path: The file.
        text: Its content.
        table: What it says.
    """

    path: Path
    text: str = field(repr=False)
    table: Table = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Document:
        """Read a file.

        Raises:
            ConfigError: It cannot be read, is too long, or is not TOML.
        """
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_CONFIG_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
        if len(raw) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: longer than {MAX_CONFIG_BYTES} bytes, which is what is allowed")
        return cls.parse(raw, path)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> Document:
        """Parse the content of a file.

        Raises:
            ConfigError: It is not TOML.
        """
        try:
            text = raw.decode("utf-8")
            return cls(path, text, tomllib.loads(text))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        except RecursionError:
            raise ConfigError(f"{path}: not TOML: nested too deeply") from None

    @cached_property
    def lines(self) -> dict[Place, int]:
        """The line, from 1, of every setting and every section; of an inline table's settings that of its beginning."""
        found: dict[Place, int] = {}
        section: Place = ()
        counts: dict[Place, int] = {}
        for number, statement, is_header in _statements(self.text):
            if is_header:
                section = _header(statement, counts)
                found.setdefault(section, number)
                continue
            for place in _places(statement):
                found.setdefault((*section, *place), number)
        return found

    def line_of(self, place: Place) -> int | None:
        """Return the line of a setting; where it is missing that of its section, and None where that is missing too."""
        while place:
            line = self.lines.get(place, self.lines.get((*place, 0)))  # an array of tables begins with its first
            if line is not None:
                return line
            place = place[:-1]
        return None


def reach(table: object, place: Place) -> tuple[int, object]:
    """Follow a place as far as it goes; return how many of its parts that is, and what is there."""
    for depth, part in enumerate(place):
        is_key = isinstance(table, dict) and part in table
        is_index = isinstance(table, list) and isinstance(part, int) and part < len(table)
        if not (is_key or is_index):
            return depth, table
        table = table[part]  # type: ignore[index]
    return len(place), table


def _statements(text: str) -> Iterator[tuple[int, Table, bool]]:
    """Yield each header and each `key = value`: its first line, what it says alone, and whether it is a header."""
    pending: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        pending.append(line)
        try:
            statement = tomllib.loads("\n".join(pending))
        except tomllib.TOMLDecodeError:
            continue  # a value that goes on: the file as a whole is TOML
        if statement:
            yield number - len(pending) + 1, statement, pending[0].lstrip().startswith("[")
        pending.clear()


def _header(statement: Table, counts: dict[Place, int]) -> Place:
    """Return the place of a section; inside an array of tables that is its last table so far."""
    place: Place = ()
    value: object = statement
    while isinstance(value, dict) and value:
        key, value = next(iter(value.items()))
        place = (*place, key)
        if isinstance(value, list):
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _places(table: Table) -> Iterator[Place]:
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *place) for place in _places(value))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield (key, index)
                if isinstance(item, dict):
                    yield from ((key, index, *place) for place in _places(item))
