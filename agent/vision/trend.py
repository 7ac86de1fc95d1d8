"""Whether a plate grows in view or shrinks, and so where its vehicle goes.

Owns: when growth counts as a direction. Pure.
"""

from __future__ import annotations

import math
from typing import Final

from agent.records import Detection, Direction

GROWTH_FOR_DIRECTION: Final = 1.15
"""How much a plate must grow (or shrink) in view to count as approaching (or receding): a trend well above the few
per cent by which boxes jitter from frame to frame."""
MIN_LOOKS_FOR_DIRECTION: Final = 3
"""A trend through two boxes is their jitter."""


class Trend:
    """Least-squares slope of log size over time, from running sums: six numbers, however long the track."""

    def __init__(self) -> None:
        """Start without a box."""
        self._count = 0
        self._began_s = 0.0
        self._lasted_s = 0.0
        self._sum_t = self._sum_size = self._sum_tt = self._sum_t_size = 0.0

    def add(self, box: Detection, at_s: float) -> None:
        """Take the next box, seen at `at_s`, seconds on any clock."""
        if self._count == 0:
            self._began_s = at_s
        self._lasted_s = at_s - self._began_s
        size = math.log(box.area_px) / 2
        self._count += 1
        self._sum_t += self._lasted_s
        self._sum_size += size
        self._sum_tt += self._lasted_s**2
        self._sum_t_size += self._lasted_s * size

    def direction(self) -> Direction:
        """Return the direction so far; unknown for too few boxes, or too little growth."""
        spread = self._count * self._sum_tt - self._sum_t**2
        if self._count < MIN_LOOKS_FOR_DIRECTION or spread <= 0.0:
            return Direction.UNKNOWN
        slope = (self._count * self._sum_t_size - self._sum_t * self._sum_size) / spread
        growth = slope * self._lasted_s
        if growth > math.log(GROWTH_FOR_DIRECTION):
            return Direction.APPROACHING
        if growth < -math.log(GROWTH_FOR_DIRECTION):
            return Direction.RECEDING
        return Direction.UNKNOWN
