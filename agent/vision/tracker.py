"""Follows plates from frame to frame by where they are. Pure: it sees boxes and times, never pixels or text.

Plates are small and move fast: a plate 60 pixels wide that moves 30 overlaps its former self by a fifth, one that moves
60 not at all. So a step is judged by distance in plate widths, with overlap and size deciding between neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.records import Detection

MAX_GAP_S: Final = 0.8
"""A plate unseen for longer is gone: three missed detections at 5 frames per second, the slowest rate recommended for
traffic up to 50 km/h (Rekor), and about what a lamp post hides."""
MAX_STEP_WIDTHS: Final = 2.0
"""Farthest that a plate is looked for from where it was expected, in plate widths. A European plate is 0.52 m wide and
the next vehicle's at least 1.8 m away (a car's width), so two widths never reach it."""
MAX_FAINT_STEP_WIDTHS: Final = 0.5
"""The same for a faint box: it is believed only where it overlaps the place at which the plate was expected."""
MAX_SIZE_RATIO: Final = 1.8
"""Most that a plate's size (root of its area) changes between two looks: approach, plus a detector's jitter."""
VELOCITY_SMOOTHING: Final = 0.5
"""Weight of the newest step in the expected velocity: braking is followed in two frames, jitter is damped."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One detection, and the track that it belongs to."""

    track_id: int
    detection: Detection


@dataclass(frozen=True, slots=True)
class Step:
    """What one frame did to the tracks.

    Attributes:
        seen: The frame's detections that belong to a track, surest first, each with its track.
        ended: Tracks whose plate is gone.
    """

    seen: tuple[Tracked, ...]
    ended: tuple[int, ...]


@dataclass(slots=True)
class _Motion:
    box: Detection
    at_s: float
    velocity_px_s: tuple[float, float] = (0.0, 0.0)
    looks: int = 1

    def follow(self, box: Detection, at_s: float) -> None:
        elapsed_s = at_s - self.at_s
        if elapsed_s > 0.0:
            (x, y), (new_x, new_y) = _centre(self.box), _centre(box)
            step = ((new_x - x) / elapsed_s, (new_y - y) / elapsed_s)
            share = 1.0 if self.looks == 1 else VELOCITY_SMOOTHING
            old_x, old_y = self.velocity_px_s
            self.velocity_px_s = (old_x + share * (step[0] - old_x), old_y + share * (step[1] - old_y))
        self.box, self.at_s, self.looks = box, at_s, self.looks + 1

    def distance_px(self, box: Detection, at_s: float) -> float:
        """Distance to where the plate is expected if it goes on, or if it stops, whichever is nearer."""
        x, y = _centre(self.box)
        new_x, new_y = _centre(box)
        elapsed_s = max(at_s - self.at_s, 0.0)
        on_x, on_y = (x + self.velocity_px_s[0] * elapsed_s, y + self.velocity_px_s[1] * elapsed_s)
        return min(math.hypot(new_x - on_x, new_y - on_y), math.hypot(new_x - x, new_y - y))


class Tracker:
    """Gives each plate in view a number that stays with it."""

    def __init__(self, *, begin_confidence: float = 0.0, max_gap_s: float = MAX_GAP_S) -> None:
        """Start with nothing in view.

        Args:
            begin_confidence: A box below this goes on with a track but begins none, 0..1. A blurred plate where one
                was sharp a moment ago is believed; a faint one out of nowhere is not (ByteTrack, arXiv 2110.06864).
            max_gap_s: How long a plate may stay unseen, seconds.
        """
        self._begin_confidence = begin_confidence
        self._max_gap_s = max_gap_s
        self._motions: dict[int, _Motion] = {}
        self._next_id = 0

    def update(self, detections: Sequence[Detection], *, at_s: float) -> Step:
        """Take one frame's detections.

        Args:
            detections: Frame pixels.
            at_s: The frame's time in seconds; does not go back.
        """
        ended = self._end_unseen(at_s)
        sure = [box for box in detections if box.confidence >= self._begin_confidence]
        faint = [box for box in detections if box.confidence < self._begin_confidence]
        free = set(self._motions)
        seen = self._follow(sure, at_s, free, within_widths=MAX_STEP_WIDTHS)
        seen += self._follow(faint, at_s, free, within_widths=MAX_FAINT_STEP_WIDTHS)
        known = {id(tracked.detection) for tracked in seen}
        seen += [Tracked(self._begin(box, at_s), box) for box in sure if id(box) not in known]
        return Step(tuple(sorted(seen, key=lambda tracked: -tracked.detection.confidence)), ended)

    def flush(self) -> tuple[int, ...]:
        """End every track, oldest first."""
        ended = tuple(self._motions)
        self._motions.clear()
        return ended

    def _begin(self, detection: Detection, at_s: float) -> int:
        track_id = self._next_id
        self._next_id += 1
        self._motions[track_id] = _Motion(detection, at_s)
        return track_id

    def _end_unseen(self, at_s: float) -> tuple[int, ...]:
        ended = tuple(key for key, motion in self._motions.items() if at_s - motion.at_s > self._max_gap_s)
        for key in ended:
            del self._motions[key]
        return ended

    def _follow(
        self, detections: Sequence[Detection], at_s: float, free: set[int], *, within_widths: float
    ) -> list[Tracked]:
        """Pair detections with free tracks, the likeliest pair first, and take those tracks out of `free`."""
        pairs = [
            (cost, place, key)
            for place, detection in enumerate(detections)
            for key in free
            if (cost := _step_cost(self._motions[key], detection, at_s, within_widths)) is not None
        ]
        owners: dict[int, int] = {}
        for _, place, key in sorted(pairs):
            if place not in owners and key in free:
                owners[place] = key
                free.remove(key)
        for place, key in owners.items():
            self._motions[key].follow(detections[place], at_s)
        return [Tracked(key, detections[place]) for place, key in owners.items()]


def iou(one: Detection, other: Detection) -> float:
    """Return intersection over union of two boxes, 0..1."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (one.area_px + other.area_px - width * height)


def _step_cost(motion: _Motion, box: Detection, at_s: float, within_widths: float) -> float | None:
    """Return how unlikely the step is, lower is likelier; None if it is none."""
    size_ratio = math.sqrt(box.area_px / motion.box.area_px)
    if not 1.0 / MAX_SIZE_RATIO <= size_ratio <= MAX_SIZE_RATIO:
        return None
    width_px = max(box.x2 - box.x1, motion.box.x2 - motion.box.x1)
    widths = motion.distance_px(box, at_s) / width_px
    if widths > within_widths:
        return None
    return widths + abs(math.log(size_ratio)) - iou(motion.box, box)


def _centre(box: Detection) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
