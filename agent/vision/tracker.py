"""Follows plates from detection to detection by where they are. Pure: it sees boxes and times, never pixels or text.

Plates are small and move fast, and the detector does not run on every frame: between two looks a plate 60 pixels wide
may move 100. So each track predicts where its plate is, at constant velocity, and a box is judged by its distance from
there in plate widths, with overlap and size deciding between neighbours (docs/adr/0013).

Time passes for a track only when the detector runs: a parked car that nobody looks at is not gone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.records import Detection

MAX_GAP_S: Final = 0.8
"""A plate unseen for longer is gone: three missed detections at 5 frames per second, the slowest rate recommended for
traffic up to 50 km/h (Rekor), and about what a lamp post hides."""
MIN_MISSES: Final = 2
"""The detector must have missed a plate so often before it is gone: one miss is a flicker, however long ago it was
seen."""
MAX_STEP_WIDTHS: Final = 2.0
"""Farthest that a plate is looked for from where it was expected, in plate widths. A European plate is 0.52 m wide and
the next vehicle's at least 1.8 m away (a car's width), so two widths never reach it."""
MAX_FAINT_STEP_WIDTHS: Final = 0.5
"""The same for a faint box: it is believed only where it overlaps the place at which the plate was expected."""
STOP_COST_WIDTHS: Final = 0.5
"""What it costs, in widths, to believe that a moving plate stopped at once: of two plates that meet, each goes on."""
MAX_SIZE_RATIO: Final = 1.8
"""Most that a plate's size (root of its area) changes between two looks: approach, plus a detector's jitter."""
VELOCITY_SMOOTHING: Final = 0.5
"""Weight of the newest step in the expected velocity: braking is followed in two looks, jitter is damped."""
SAME_PLATE_SHARE: Final = 0.5
"""Two boxes of one frame are of one plate if they share more than this of the smaller one."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One detection, and the track that it belongs to."""

    track_id: int
    detection: Detection


@dataclass(frozen=True, slots=True)
class Step:
    """What one run of the detector did to the tracks.

    Attributes:
        seen: The frame's detections that belong to a track, surest first, each with its track.
        missed: How often in a row each track was not seen that is not gone yet.
        ended: Tracks whose plate is gone.
    """

    seen: tuple[Tracked, ...]
    missed: dict[int, int]
    ended: tuple[int, ...]


@dataclass(slots=True)
class _Motion:
    box: Detection
    at_s: float
    velocity_px_s: tuple[float, float] = (0.0, 0.0)
    looks: int = 1
    misses: int = 0

    def follow(self, box: Detection, at_s: float) -> None:
        elapsed_s = at_s - self.at_s
        if elapsed_s > 0.0:
            (x, y), (new_x, new_y) = _centre(self.box), _centre(box)
            step = ((new_x - x) / elapsed_s, (new_y - y) / elapsed_s)
            share = 1.0 if self.looks == 1 else VELOCITY_SMOOTHING
            old_x, old_y = self.velocity_px_s
            self.velocity_px_s = (old_x + share * (step[0] - old_x), old_y + share * (step[1] - old_y))
        self.box, self.at_s, self.looks, self.misses = box, at_s, self.looks + 1, 0

    def is_gone(self, at_s: float, max_gap_s: float) -> bool:
        return self.misses >= MIN_MISSES and at_s - self.at_s > max_gap_s

    def distance_px(self, box: Detection, at_s: float, *, stop_cost_px: float) -> float:
        """Distance to where the plate is expected if it goes on, or if it stopped, whichever is likelier."""
        x, y = _centre(self.box)
        new_x, new_y = _centre(box)
        by_x, by_y = self._moved_px(at_s)
        on = math.hypot(new_x - x - by_x, new_y - y - by_y)
        stopped = math.hypot(new_x - x, new_y - y)
        return min(on, stopped + min(stop_cost_px, math.hypot(by_x, by_y)))

    def predicted(self, at_s: float) -> Detection:
        by_x, by_y = (round(by) for by in self._moved_px(at_s))
        box = self.box
        return replace(box, x1=box.x1 + by_x, y1=box.y1 + by_y, x2=box.x2 + by_x, y2=box.y2 + by_y)

    def _moved_px(self, at_s: float) -> tuple[float, float]:
        # Nothing is predicted for longer than a track lives unseen: who stood there for minutes did not drive on.
        elapsed_s = min(max(at_s - self.at_s, 0.0), MAX_GAP_S)
        return self.velocity_px_s[0] * elapsed_s, self.velocity_px_s[1] * elapsed_s


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
        """Take what the detector found on one frame.

        Args:
            detections: Frame pixels.
            at_s: The frame's time in seconds; does not go back.
        """
        ended = self._end_gone(at_s)
        sure = [box for box in detections if box.confidence >= self._begin_confidence]
        faint = [box for box in detections if box.confidence < self._begin_confidence]
        free = set(self._motions)
        seen = self._follow(sure, at_s, free, within_widths=MAX_STEP_WIDTHS)
        seen += self._follow(faint, at_s, free, within_widths=MAX_FAINT_STEP_WIDTHS)
        for key in free:
            self._motions[key].misses += 1
        missed = {key: self._motions[key].misses for key in sorted(free)}
        ended += self._end_gone(at_s)
        known = {id(tracked.detection) for tracked in seen}
        seen += [Tracked(self._begin(box, at_s), box) for box in sure if id(box) not in known]
        return Step(
            tuple(sorted(seen, key=lambda tracked: -tracked.detection.confidence)),
            {key: misses for key, misses in missed.items() if key not in ended},
            ended,
        )

    def predict(self, track_id: int, *, at_s: float) -> Detection:
        """Return where a plate should be at a time, in frame pixels; it may lie outside the frame."""
        return self._motions[track_id].predicted(at_s)

    def time_left_s(self, track_id: int, *, frame_wh: tuple[int, int]) -> float:
        """Return in how many seconds a plate's middle reaches the picture's edge as it moves now; infinite if never."""
        motion = self._motions[track_id]
        left_s = math.inf
        for place, velocity, size in zip(_centre(motion.box), motion.velocity_px_s, frame_wh, strict=True):
            if velocity != 0.0:
                left_s = min(left_s, ((size if velocity > 0.0 else 0.0) - place) / velocity)
        return max(left_s, 0.0)

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

    def _end_gone(self, at_s: float) -> tuple[int, ...]:
        ended = tuple(key for key, motion in self._motions.items() if motion.is_gone(at_s, self._max_gap_s))
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


def distinct(detections: Sequence[Detection]) -> list[Detection]:
    """Leave out boxes that lie on a surer one: a detector's second opinion on the same plate.

    Args:
        detections: Highest confidence first.
    """
    kept: list[Detection] = []
    for box in detections:
        if all(_shared_px(box, other) <= SAME_PLATE_SHARE * min(box.area_px, other.area_px) for other in kept):
            kept.append(box)
    return kept


def iou(one: Detection, other: Detection) -> float:
    """Return intersection over union of two boxes, 0..1."""
    shared = _shared_px(one, other)
    return shared / (one.area_px + other.area_px - shared)


def _shared_px(one: Detection, other: Detection) -> int:
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    return width * height if width > 0 and height > 0 else 0


def _step_cost(motion: _Motion, box: Detection, at_s: float, within_widths: float) -> float | None:
    """Return how unlikely the step is, lower is likelier; None if it is none."""
    size_ratio = math.sqrt(box.area_px / motion.box.area_px)
    if not 1.0 / MAX_SIZE_RATIO <= size_ratio <= MAX_SIZE_RATIO:
        return None
    width_px = max(box.x2 - box.x1, motion.box.x2 - motion.box.x1)
    widths = motion.distance_px(box, at_s, stop_cost_px=STOP_COST_WIDTHS * width_px) / width_px
    if widths > within_widths:
        return None
    return widths + abs(math.log(size_ratio)) - iou(motion.predicted(at_s), box)


def _centre(box: Detection) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
