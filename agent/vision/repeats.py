"""Remembers, in memory only, what was just reported, so that one vehicle is one passage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from agent.records import Detection
from agent.vision.alignment import changes
from agent.vision.tracker import iou

SPLIT_GAP_S: Final = 3.0
"""The same text again within this time is the same vehicle, wherever it is: a track that was lost behind a post or
another vehicle and found again. Nobody drives past the same camera twice in three seconds."""
PARKED_GAP_S: Final = 600.0
"""The same text in the same place again within this time is a parked car that was hidden: by traffic, a delivery van,
or dazzle. Ten minutes outlast those; a car that leaves and returns is rarely back in its exact place so soon."""
PARKED_IOU: Final = 0.5
"""Overlap that counts as the same place."""
SPLIT_STEP_WIDTHS: Final = 3.0
"""A text that differs in one character is the same vehicle too where the plate came into view this close to where the
other was last seen, in plate widths: the second half of a split track, misread once. The next vehicle of a convoy comes
into view where the first did, not where it left."""
SPLIT_CHANGES: Final = 1
MAX_REMEMBERED: Final = 1024
"""Passages remembered, oldest forgotten first: ten minutes of the busiest road, 1.7 vehicles a second."""


@dataclass(frozen=True, slots=True)
class _Seen:
    last_s: float
    box: Detection


class RecentPassages:
    """What was reported lately."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._seen: dict[str, _Seen] = {}

    def is_repeat(self, text: str, *, first_s: float, first_box: Detection) -> bool:
        """Tell whether a plate with this text, first seen then and there, was reported already.

        Args:
            text: The agreed text.
            first_s: Monotonic time of the track's first look, seconds.
            first_box: Its box then, frame pixels.
        """
        seen = self._seen.get(text)
        if seen is None:
            return self._is_split(text, first_s, first_box)
        gap_s = first_s - seen.last_s
        return gap_s <= SPLIT_GAP_S or (gap_s <= PARKED_GAP_S and iou(seen.box, first_box) >= PARKED_IOU)

    def _is_split(self, text: str, first_s: float, first_box: Detection) -> bool:
        return any(
            0.0 <= first_s - seen.last_s <= SPLIT_GAP_S
            and step_widths(seen.box, first_box) <= SPLIT_STEP_WIDTHS
            and changes(text, other) <= SPLIT_CHANGES
            for other, seen in self._seen.items()
        )

    def remember(self, text: str, *, last_s: float, box: Detection) -> None:
        """Note where and when (monotonic, seconds) a reported plate was last seen."""
        self._seen.pop(text, None)
        self._seen[text] = _Seen(last_s, box)
        for old, seen in list(self._seen.items()):
            if len(self._seen) <= MAX_REMEMBERED and last_s - seen.last_s <= PARKED_GAP_S:
                break
            del self._seen[old]


def step_widths(one: Detection, other: Detection) -> float:
    """Return how far the middles of two boxes are apart, in widths of the wider one."""
    across = (other.x1 + other.x2 - one.x1 - one.x2) / 2
    down = (other.y1 + other.y2 - one.y1 - one.y2) / 2
    return math.hypot(across, down) / max(one.x2 - one.x1, other.x2 - other.x1)
