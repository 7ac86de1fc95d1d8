"""When the detector runs. Pure: it sees times and the state of the tracks, never pixels.

The detector is most of what a frame costs, and one plate need not be found on every frame. It runs

- at once when something begins to move, and then as often as configured while it does;
- as often as that, too, when something begins to move elsewhere, whatever is slow for the reasons below;
- on the next frame for a plate that was seen once (its speed is not known) or was just missed (it may be gone);
- in time for a plate that leaves the picture soon;
- a third as often where several runs in a row found no plate but reported ones (somebody walks by), then a fifth;
- half as often for a plate that stands still, and where every plate was seen often or its text is firm;
- every ten seconds while nothing moves and no plate is left to be read, in case the gate is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SIGHTINGS_WANTED: Final = 6
"""Sightings of a plate before it leaves: two batches for the reader. Who has them is in no hurry."""
FRUITLESS_RUNS: Final = 2
"""Runs in a row that find no plate before the pace falls, and falls again: what has moved for a second without showing
one does not show it for an instant only."""
FRUITLESS_STEP: Final = 2.0
MAX_FRUITLESS_FACTOR: Final = 5.0
"""By how much longer the detector waits each time, and at most: 0.2, 0.6 and 1 s with the default pace. The plate at
the back of a lorry of 12 m comes into view 0.6 s after its front at 70 km/h, and stays for as long."""
SLOW_FACTOR: Final = 2.0
"""How much longer the detector waits for a plate that stands still, that was seen often, or whose text is firm."""
IDLE_S: Final = 10.0
"""Longest time between two runs: whatever the gate misses, a vehicle that stops is found."""
PLENTY: Final = 4
"""A plate seen so often is looked for half as often: its path is known, and its looks are cut out of the frames between
two sightings as well. With 3, two of 221 vehicles were lost, with 5 none was gained."""
NEW_SIGHTINGS: Final = 2
"""A plate seen less often has no known speed."""


@dataclass(frozen=True, slots=True)
class PlateStatus:
    """What the schedule must know of one plate in view.

    Attributes:
        sightings: How often it was seen.
        misses: How often in a row the detector has not found it since.
        is_reported: Whether its outcome is out. It is then followed, so that it is reported once, and no longer read.
        left_s: Seconds until it leaves the picture at its present speed.
        is_firm: Whether its text is firm: it is only waited for until it leaves.
    """

    sightings: int
    misses: int
    is_reported: bool
    left_s: float
    is_firm: bool = False


class Schedule:
    """Decides for one camera, frame by frame."""

    def __init__(self, *, every_s: float) -> None:
        """Take the time between two runs while something moves, seconds; 0 runs on every frame."""
        self._every_s = every_s
        self._ran_s = -math.inf
        self._fruitless = 0
        self._moved = False
        self._has_news = False

    def is_due(self, *, moves: bool, plates: Sequence[PlateStatus], at_s: float, has_new_area: bool = False) -> bool:
        """Tell whether the detector should run on this frame.

        Args:
            moves: Whether something moves.
            plates: The plates in view.
            at_s: The frame's time, seconds.
            has_new_area: Whether something has begun to move where nothing moved in the last second.
        """
        self._has_news |= has_new_area
        began, ended = moves and not self._moved, self._moved and not moves
        self._moved = moves
        unreported = [plate for plate in plates if not plate.is_reported]
        if began:
            self._fruitless = 0
        if began or (ended and unreported):
            return True  # what has just come, or just gone, is looked at now
        # Frame times are sums of fractions: a run that is due on this frame must not slip to the next.
        return at_s - self._ran_s >= self._wait_s(moves, unreported) - 1e-3

    def ran(self, *, at_s: float, found: bool, is_unsure: bool = False) -> None:
        """Note that the detector ran.

        Args:
            at_s: The frame's time, seconds.
            found: Whether it saw a plate whose outcome is not out.
            is_unsure: Whether it saw what may be one: the pace does not fall for that, nor rise.
        """
        self._ran_s = at_s
        self._has_news = False
        self._fruitless = 0 if found else self._fruitless + (not is_unsure)

    def _wait_s(self, moves: bool, unreported: Sequence[PlateStatus]) -> float:
        if any(plate.misses == 1 or (plate.sightings < NEW_SIGHTINGS and plate.misses == 0) for plate in unreported):
            return 0.0
        unread = [plate for plate in unreported if not plate.is_firm]
        if unread and moves:
            hurried = [
                plate.left_s / (SIGHTINGS_WANTED - plate.sightings)
                for plate in unread
                if plate.sightings < SIGHTINGS_WANTED
            ]
            is_urgent = self._has_news or any(plate.misses or plate.sightings < PLENTY for plate in unread)
            return min([self._every_s if is_urgent else self._every_s * SLOW_FACTOR, *hurried])
        if not moves and not unreported:
            return IDLE_S
        if moves and self._has_news:
            return self._every_s
        if moves and not unreported:
            steps = self._fruitless // FRUITLESS_RUNS
            return self._every_s * min(1.0 + FRUITLESS_STEP * steps, MAX_FRUITLESS_FACTOR)
        return self._every_s * SLOW_FACTOR
