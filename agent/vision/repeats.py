"""Remembers, in memory only, what was just reported, so that one vehicle is one passage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.records import Detection
from agent.vision.tracker import iou

SPLIT_GAP_S: Final = 3.0
"""The same text again within this time is the same vehicle, wherever it is: a track that was lost behind a post or
another vehicle and found again. Nobody drives past the same camera twice in three seconds."""
PARKED_GAP_S: Final = 600.0
"""The same text in the same place again within this time is a parked car that was hidden: by traffic, a delivery van,
or dazzle. Ten minutes outlast those; a car that leaves and returns is rarely back in its exact place so soon."""
PARKED_IOU: Final = 0.5
"""Overlap that counts as the same place."""
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
            return False
        gap_s = first_s - seen.last_s
        return gap_s <= SPLIT_GAP_S or (gap_s <= PARKED_GAP_S and iou(seen.box, first_box) >= PARKED_IOU)

    def remember(self, text: str, *, last_s: float, box: Detection) -> None:
        """Note where and when (monotonic, seconds) a reported plate was last seen."""
        self._seen.pop(text, None)
        self._seen[text] = _Seen(last_s, box)
        for old, seen in list(self._seen.items()):
            if len(self._seen) <= MAX_REMEMBERED and last_s - seen.last_s <= PARKED_GAP_S:
                break
            del self._seen[old]
