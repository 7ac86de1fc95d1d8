"""Whose turn it is to have the receiver's time, so that one unit cannot take that of the others.

Owns: how much time each certificate has had, and how long one that has had more than its share waits for the others.
Leaves to others: memory (`bodies`), and what the work is (`service`).

Python runs one thread at a time, and the store has one writer: whatever is done for one unit is not done for another
meanwhile. A unit that has had more than its share is still served whenever nobody else asks, so a lone unit with a
backlog is as fast as ever. While others ask, it gets `RATE` of the time, in small pieces. At a road a unit needs less:
a read takes the receiver about a millisecond.

Everything but the counting happens in one event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

RATE: Final = 0.02
"""Seconds of work for each second, for a unit that has had more than its share while others ask."""
BURST_S: Final = 0.1
"""Work that a unit may have at once: 100 reads or so. Given back at `RATE`."""
MOST_S: Final = 0.3
"""More is not counted: after a quiet hour a unit waits for its share for 10 s at most."""
QUIET_S: Final = 1.0
"""Nobody else asks if nobody has for so long."""
SECONDS_PER_BYTE: Final = 10e-9
"""Counted for a body beside what is measured: 5 ms for a MiB in the event loop, for TLS and HTTP, and as much of the
disk."""
LOOK_EVERY_S: Final = 0.05
MAX_UNITS: Final = 4096

_Done = TypeVar("_Done")


class Shares:
    """Who has had how much time."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, had_now: Callable[[], float] = time.thread_time
    ) -> None:
        """Begin with nobody.

        Args:
            now: The time, seconds.
            had_now: How much time of the processor the calling thread has had, seconds.
        """
        self._now = now
        self._had_now = had_now
        self._lock = threading.Lock()
        self._had: dict[bytes, tuple[float, float]] = {}
        self._asking: Counter[bytes] = Counter()
        self._asked_s: dict[bytes, float] = {}

    def is_over(self, unit: bytes) -> bool:
        """Whether a unit has had more than its share."""
        return self._had_s(unit) > BURST_S

    def is_quiet(self, unit: bytes) -> bool:
        """Whether nobody else asks who is within its share, nor has for a while."""
        if any(other != unit for other in self._asking):
            return False
        for other, asked_s in reversed(self._asked_s.items()):
            if self._now() - asked_s >= QUIET_S:
                break
            if other != unit:
                return False
        return True

    def charge(self, unit: bytes, seconds: float) -> None:
        """Count time that a unit has had. Safe for threads."""
        with self._lock:
            self._charge(unit, seconds)

    def _charge(self, unit: bytes, seconds: float) -> None:
        if len(self._had) >= MAX_UNITS and unit not in self._had:
            self._had = {each: had for each, had in self._had.items() if self._had_s(each) > 0}
        self._had[unit] = (min(MOST_S, self._had_s(unit) + seconds), self._now())

    async def turn(self, unit: bytes) -> None:
        """Return at once for a unit within its share, for another one when nobody else asks or its share has grown."""
        while (over_s := self._had_s(unit) - BURST_S) > 0 and not self.is_quiet(unit):
            await asyncio.sleep(min(over_s / RATE, LOOK_EVERY_S))

    async def do(self, unit: bytes, work: Callable[..., _Done], *arguments: object) -> _Done:
        """Do something for a unit on a thread when it is its turn, and count the time that the processor had for it.

        Waiting for the disk is not counted: it says more of the disk than of the unit.
        """
        await self.turn(unit)
        if self.is_over(unit):
            return await asyncio.to_thread(self._counted, unit, work, *arguments)
        self._asking[unit] += 1
        try:
            return await asyncio.to_thread(self._counted, unit, work, *arguments)
        finally:
            self._asking[unit] -= 1
            self._asking += Counter()  # without those at 0
            self._note_asked(unit)

    def _note_asked(self, unit: bytes) -> None:
        """Remember who asked, the newest last; those of long ago go."""
        self._asked_s.pop(unit, None)
        self._asked_s[unit] = self._now()
        oldest = next(iter(self._asked_s))
        if self._now() - self._asked_s[oldest] >= QUIET_S:
            del self._asked_s[oldest]

    def _counted(self, unit: bytes, work: Callable[..., _Done], *arguments: object) -> _Done:
        began_s = self._had_now()
        try:
            return work(*arguments)
        finally:
            self.charge(unit, self._had_now() - began_s)

    def _had_s(self, unit: bytes) -> float:
        had_s, at_s = self._had.get(unit, (0.0, 0.0))
        return max(0.0, had_s - RATE * (self._now() - at_s))
