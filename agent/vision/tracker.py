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
STAYED_IOU: Final = 0.5
"""Least overlap with where a plate was last seen, if nobody looked for longer than `MAX_GAP_S`: a parked car is in its
place; what moved has gone on, and what is near its last place is the next vehicle."""
MAX_SIZE_RATIO: Final = 1.8
"""Most that a plate's size (root of its area) changes between two looks: approach, plus a detector's jitter."""
VELOCITY_SMOOTHING: Final = 0.5
"""Weight of the newest step in the expected velocity: braking is followed in two looks, jitter is damped."""
SAME_PLATE_SHARE: Final = 0.5
"""Two boxes of one frame are of one plate if they share more than this of the smaller one."""


@dataclass(slots=True)
class Motion:
    """How one plate moves.

    Attributes:
        box: Where it was last seen, frame pixels.
        at_s: When that was, seconds.
        velocity_px_s: How fast its middle moves: across and down, pixels a second.
        sightings: How often it was seen.
        misses: How often in a row the detector has not found it since.
    """

    box: Detection
    at_s: float
    velocity_px_s: tuple[float, float] = (0.0, 0.0)
    sightings: int = 0
    misses: int = 0

    def follow(self, box: Detection, at_s: float) -> None:
        """Take a sighting of the plate; times do not go back."""
        elapsed_s = at_s - self.at_s
        if elapsed_s > 0.0:
            (x, y), (new_x, new_y) = _centre(self.box), _centre(box)
            step = ((new_x - x) / elapsed_s, (new_y - y) / elapsed_s)
            share = 1.0 if self.sightings == 1 else VELOCITY_SMOOTHING
            old_x, old_y = self.velocity_px_s
            self.velocity_px_s = (old_x + share * (step[0] - old_x), old_y + share * (step[1] - old_y))
        self.box, self.at_s, self.sightings, self.misses = box, at_s, self.sightings + 1, 0

    def is_gone(self, at_s: float) -> bool:
        """Tell whether the plate has been unseen for so long that its track is over."""
        return self.misses >= MIN_MISSES and at_s - self.at_s > MAX_GAP_S

    def predict(self, at_s: float) -> Detection:
        """Return where the plate should be at a time, in frame pixels; it may lie outside the frame."""
        by_x, by_y = (round(by) for by in self._moved_px(at_s))
        box = self.box
        return replace(box, x1=box.x1 + by_x, y1=box.y1 + by_y, x2=box.x2 + by_x, y2=box.y2 + by_y)

    def time_left_s(self, frame_wh: tuple[int, int]) -> float:
        """Return in how many seconds the plate's middle reaches the picture's edge as it moves now; infinite if never.

        Args:
            frame_wh: The picture's width and height, pixels.
        """
        left_s = math.inf
        for place, velocity, size in zip(_centre(self.box), self.velocity_px_s, frame_wh, strict=True):
            if velocity != 0.0:
                left_s = min(left_s, ((size if velocity > 0.0 else 0.0) - place) / velocity)
        return max(left_s, 0.0)

    def step_cost(self, box: Detection, at_s: float, *, within_widths: float) -> float | None:
        """Return how unlikely it is that the plate is in this box at a time; lower is likelier, None is impossible.

        Args:
            box: Frame pixels.
            at_s: Seconds.
            within_widths: Farthest that the box may be from where the plate is expected, in plate widths.
        """
        size_ratio = math.sqrt(box.area_px / self.box.area_px)
        if not 1.0 / MAX_SIZE_RATIO <= size_ratio <= MAX_SIZE_RATIO:
            return None
        if at_s - self.at_s > MAX_GAP_S and iou(self.box, box) < STAYED_IOU:
            return None
        width_px = max(box.x2 - box.x1, self.box.x2 - self.box.x1)
        widths = self._distance_px(box, at_s, stop_cost_px=STOP_COST_WIDTHS * width_px) / width_px
        if widths > within_widths:
            return None
        return widths + abs(math.log(size_ratio)) - iou(self.predict(at_s), box)

    def _distance_px(self, box: Detection, at_s: float, *, stop_cost_px: float) -> float:
        """Return the distance to where the plate is expected if it goes on, or if it stopped, whichever is likelier."""
        x, y = _centre(self.box)
        new_x, new_y = _centre(box)
        by_x, by_y = self._moved_px(at_s)
        on = math.hypot(new_x - x - by_x, new_y - y - by_y)
        stopped = math.hypot(new_x - x, new_y - y)
        return min(on, stopped + min(stop_cost_px, math.hypot(by_x, by_y)))

    def _moved_px(self, at_s: float) -> tuple[float, float]:
        # Nothing is predicted for longer than a track lives unseen: who stood there for minutes did not drive on.
        elapsed_s = min(max(at_s - self.at_s, 0.0), MAX_GAP_S)
        return self.velocity_px_s[0] * elapsed_s, self.velocity_px_s[1] * elapsed_s


def assign(
    motions: Sequence[Motion], boxes: Sequence[Detection], *, at_s: float, begin_confidence: float = 0.0
) -> list[int | None]:
    """Tell which plate each box belongs to.

    Args:
        motions: Of the plates that are followed, oldest first; they are not changed.
        boxes: What the detector found on one frame, frame pixels.
        at_s: The frame's time, seconds.
        begin_confidence: A box below this goes on with a plate but begins none, 0..1, so it must be nearer to where the
            plate is expected. A blurred plate where one was sharp a moment ago is believed; a faint one out of nowhere
            is not (ByteTrack, arXiv 2110.06864).

    Returns:
        For each box the place of its plate in `motions`, each at most once; None where it belongs to none of them.
    """
    owners: list[int | None] = [None] * len(boxes)
    for is_faint, within_widths in ((False, MAX_STEP_WIDTHS), (True, MAX_FAINT_STEP_WIDTHS)):
        pairs = [
            (cost, place, owner)
            for place, box in enumerate(boxes)
            if (box.confidence < begin_confidence) == is_faint
            for owner, motion in enumerate(motions)
            if owner not in owners and (cost := motion.step_cost(box, at_s, within_widths=within_widths)) is not None
        ]
        for _, place, owner in sorted(pairs):  # the likeliest pair first
            if owners[place] is None and owner not in owners:
                owners[place] = owner
    return owners


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


def _centre(box: Detection) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
