"""Which part of the fleet a page shows: some units, worst first; names alone; or one unit.

Owns: the page's query, and where one page ends and the next begins. Leaves to others: the order of the units
(`agent.receiver.fleet.overview`), the markup (`agent.receiver.fleet.page`).

| query | what is shown |
|---|---|
| none, `?page=2` | `ROWS` units with everything about them, worst first |
| `?names=1` | `NAMES` names in their order, each a link to its unit |
| `?unit=NAME` | one unit |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from agent.receiver.fleet.overview import UnitState

ROWS: Final = 200
"""Units on a page: 20 ms of processor time, and 10 kB on the wire."""
NAMES: Final = 1500
"""Names on a page: as much on the wire."""
_MAX_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class View:
    """What somebody asks to see.

    Attributes:
        number: Which page, from 1 on.
        is_names: Whether of the names alone.
        unit: The one unit that is asked for.
    """

    number: int = 1
    is_names: bool = False
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A way to another page: the query with its question mark, and the words; the page that is shown has no query."""

    query: str
    words: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of the fleet that a page shows.

    Attributes:
        units: Which, in the order in which they are shown.
        links: The ways to the other pages; none where everything is on this one.
    """

    units: Sequence[UnitState]
    links: Sequence[Link]


def view_of(query: Mapping[str, str]) -> View:
    """Return what a query asks for; what makes no sense is passed over."""
    if "unit" in query:
        return View(unit=query["unit"])
    is_names = "names" in query
    digits = query.get("names" if is_names else "page", "")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS
    return View(max(1, int(digits)) if is_number else 1, is_names)


def within(view: View, units: int) -> View:
    """Return the view, or the last page of its kind if the fleet has fewer."""
    last = max(1, -(-units // (NAMES if view.is_names else ROWS)))
    return replace(view, number=min(view.number, last))


def shown(view: View, units: Sequence[UnitState]) -> Shown:
    """Return what a page shows.

    Args:
        view: Which page.
        units: The fleet, worst first.
    """
    if view.unit is not None:
        return Shown([unit for unit in units if unit.name == view.unit], [Link("?", "all units")])
    view = within(view, len(units))
    ordered = sorted(units, key=lambda unit: unit.name) if view.is_names else units
    most = NAMES if view.is_names else ROWS
    first = (view.number - 1) * most
    return Shown(ordered[first : first + most], _links(view, ordered, most))


def _links(view: View, ordered: Sequence[UnitState], most: int) -> list[Link]:
    kind = "names" if view.is_names else "page"
    links = []
    for number, first in enumerate(range(0, len(ordered), most), start=1):
        span = f"{first + 1:,} to {min(first + most, len(ordered)):,}"
        words = f"{ordered[first].name} ..." if view.is_names else span
        links.append(Link("" if number == view.number else f"?{kind}={number}", words))
    if view.is_names:
        return [Link("?", "worst first"), *links]
    return [Link("?names=1", "by name"), *links] if len(links) > 1 else []


def unit_query(name: str) -> str:
    """Return the query that shows one unit."""
    return f"?unit={quote(name, safe='')}"
