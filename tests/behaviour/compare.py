"""Two recordings side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from tests.behaviour.scenario import Recording

NOT_THERE: Final = ("<not there>",)


@dataclass(frozen=True, slots=True)
class Difference:
    """Some lines, one after the other, that are others now.

    Attributes:
        where: The command or the file.
        was: In the older recording; `NOT_THERE` where it has no such command or file, empty where lines came in.
        now: In the newer one.
    """

    where: str
    was: tuple[str, ...]
    now: tuple[str, ...]


def differences(was: Recording, now: Recording) -> Iterator[Difference]:
    """Yield what differs, in the order of the older recording, then what is new."""
    for where in dict.fromkeys([*was, *now]):
        if where not in was or where not in now:
            yield Difference(where, _lines(was.get(where)), _lines(now.get(where)))
        else:
            yield from _of_lines(where, was[where], now[where])


def _lines(lines: Sequence[str] | None) -> tuple[str, ...]:
    return NOT_THERE if lines is None else tuple(lines)


def _of_lines(where: str, was: list[str], now: list[str]) -> Iterator[Difference]:
    for kind, was_from, was_to, now_from, now_to in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind != "equal":
            yield Difference(where, tuple(was[was_from:was_to]), tuple(now[now_from:now_to]))
