"""The one way in which a test waits: for something to come about, with so much time that only a hang uses it up.

Nothing else in the tests looks at a clock or sleeps; `tests/test_rules_of_tests.py` sees to that.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

WITHIN_S: Final = 300.0
"""For whatever a test waits for. A machine that is slow a hundred times over still passes; a hang fails one test."""
LOOK_EVERY_S: Final = 0.005
LOOK_LATER: Final = 0.05
"""What takes long is looked at more rarely: the time between two looks is at least this share of what was waited."""
LOOK_AT_LEAST_EVERY_S: Final = 0.05

TURNS: Final = 20
"""Of an event loop: more than anything takes that waits for nothing outside."""

_Item = TypeVar("_Item")


def patiently(
    items: Iterable[_Item], *, otherwise: str | Callable[[], str], within_s: float = WITHIN_S
) -> Iterator[_Item]:
    """Hand items on; fail the test with `otherwise` if the reader still asks for more after `within_s` seconds."""
    ends_s = time.monotonic() + within_s
    for item in items:
        yield item
        assert time.monotonic() < ends_s, otherwise if isinstance(otherwise, str) else otherwise()


def wait_until(
    done: Callable[[], object],
    *,
    otherwise: str | Callable[[], str] = "nothing came of it in time",
    meanwhile: Callable[[], object] = lambda: None,
    within_s: float = WITHIN_S,
    every_s: float = LOOK_EVERY_S,
) -> None:
    """Return once `done()` is true.

    Args:
        done: Asked again and again.
        otherwise: What the test fails with if it never is, or what tells it then.
        meanwhile: Called after each look in vain; may fail the test itself.
        within_s: Time for all of it, seconds.
        every_s: Time between the first looks, seconds.
    """
    began_s = time.monotonic()
    for _ in patiently(itertools.count(), otherwise=otherwise, within_s=within_s):
        if done():
            return
        meanwhile()
        later_s = min(LOOK_LATER * (time.monotonic() - began_s), LOOK_AT_LEAST_EVERY_S)
        time.sleep(max(every_s, later_s))


async def turns(count: int = TURNS) -> None:
    """Let the event loop go round, so that everything happens that can happen by itself."""
    for _ in range(count):
        await asyncio.sleep(0)
