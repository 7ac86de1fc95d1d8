"""When the detector runs. Pure: it sees times and the state of the tracks, never pixels.

The detector is most of what a frame costs, and one plate need not be found on every frame. It runs

- at once when something begins to move, and then as often as configured while it does;
- on the next frame for a plate that was seen once (its speed is not known) or was just missed (it may be gone);
- in time for a plate that leaves the picture soon;
- half as often where several runs in a row found no plate (somebody walks by), for a plate that stands still, and where
  every text is firm;
- every ten seconds while nothing moves and no plate is left to be read, in case the gate is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LOOKS_WANTED: Final = 6
"""Looks at a plate before it leaves: two batches for the reader. Who has them is in no hurry."""
FRUITLESS_RUNS: Final = 3
"""Runs in a row that find no plate before the pace is halved: a vehicle's plate is in view half a second after it."""
SLOW_FACTOR: Final = 2.0
"""How much longer the detector waits then, or for a plate that stands still."""
IDLE_S: Final = 10.0
"""Longest time between two runs: whatever the gate misses, a vehicle that stops is found."""
NEW_LOOKS: Final = 2
"""A plate seen less often has no known speed."""


@dataclass(frozen=True, slots=True)
class Concern:
    """What the schedule must know of one plate in view.

    Attributes:
        looks: How often it was seen.
        misses: How often in a row the detector has missed it since.
        settled: Whether its outcome is out: it is followed, so that it is reported once, and no longer read.
        left_s: Seconds until it leaves the picture at its present speed.
        firm: Whether its text is firm: it is only waited for until it leaves.
    """

    looks: int
    misses: int
    settled: bool
    left_s: float
    firm: bool = False


class Schedule:
    """Decides for one camera, frame by frame."""

    def __init__(self, *, every_s: float) -> None:
        """Take the time between two runs while something moves, seconds; 0 runs on every frame."""
        self._every_s = every_s
        self._ran_s = -math.inf
        self._fruitless = 0
        self._moved = False

    def is_due(self, *, moves: bool, concerns: Sequence[Concern], at_s: float) -> bool:
        """Tell whether the detector should run on this frame.

        Args:
            moves: Whether something moves.
            concerns: Plates in view.
            at_s: The frame's time, seconds.
        """
        began, ended = moves and not self._moved, self._moved and not moves
        self._moved = moves
        unsettled = [concern for concern in concerns if not concern.settled]
        if began:
            self._fruitless = 0
        if began or (ended and unsettled):
            return True  # what has just come, or just gone, is looked at now
        # Frame times are sums of fractions: a run that is due on this frame must not slip to the next.
        return at_s - self._ran_s >= self._wait_s(moves, concerns, unsettled) - 1e-3

    def ran(self, *, at_s: float, found: bool) -> None:
        """Note that the detector ran, and whether it saw a plate."""
        self._ran_s = at_s
        self._fruitless = 0 if found else self._fruitless + 1

    def _wait_s(self, moves: bool, concerns: Sequence[Concern], unsettled: Sequence[Concern]) -> float:
        if any(concern.misses == 1 or (concern.looks < NEW_LOOKS and concern.misses == 0) for concern in unsettled):
            return 0.0
        unread = [concern for concern in unsettled if not concern.firm]
        if unread and moves:
            hurried = [one.left_s / (LOOKS_WANTED - one.looks) for one in unread if one.looks < LOOKS_WANTED]
            return min([self._every_s, *hurried])
        if not moves and not unsettled:
            return IDLE_S
        is_slow = not moves or unsettled or (not concerns and self._fruitless >= FRUITLESS_RUNS)
        return self._every_s * (SLOW_FACTOR if is_slow else 1.0)
