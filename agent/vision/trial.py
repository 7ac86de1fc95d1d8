"""Whether a detector's int8 file looks in place of its float32 file: where a short trial shows it faster and right.

Processors that multiply bytes four at a time (VNNI, the dot product of ARMv8.2) run int8 in half the time; on others it
takes nearly as long, and on some, whose sums of bytes overflow, it sees other things.

Owns: the trial and its picture. Leaves to others: which files there are (`agent.vision.manifest`), and loading
(`agent.vision.models`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import cv2
import numpy as np

from agent.ports import Detector
from agent.records import Detection, Image
from agent.vision.manifest import DetectorEntry
from agent.vision.tracker import iou

SUFFIX: Final = "-int8"
"""What the name of an int8 detector has after that of its float32 one."""
RUNS: Final = 8
"""Timed runs of each, in turns; the shortest counts, as only other work makes one longer. With three, a busy processor
once made the trial against what takes half the time; eight take a tenth of a second, on a Pi 4 one by estimate."""
MOST_SHARE: Final = 0.8
"""Share of float32's time that int8 may take: it takes 0.41 with VNNI."""
LEAST_IOU: Final = 0.85
"""Least overlap of two boxes of the same plate, as plates are cut out by them: they overlap by 0.98 and more."""
MOST_SCORE_CHANGE: Final = 0.06
"""Most by which the scores of the same plate may differ: they do by 0.014."""
TRIAL_WH: Final = (768, 448)
"""Of the trial's picture, pixels."""


def int8_of(entry: DetectorEntry, entries: Sequence[DetectorEntry]) -> DetectorEntry | None:
    """Return the int8 file of a detector, if it is among the entries."""
    return next((one for one in entries if one.name == entry.name + SUFFIX and one.input_wh == entry.input_wh), None)


def is_better(whole: Detector, small: Detector, *, confidence: float) -> bool:
    """Tell whether an int8 detector is faster here than its float32 one, and sees the same.

    Args:
        whole: The float32 detector.
        small: The int8 one.
        confidence: Boxes below do not count, 0..1.

    Raises:
        InferenceError: One of them failed.
    """
    picture = trial_picture()
    seen, likewise = ([box for box in one.detect(picture) if box.confidence >= confidence] for one in (whole, small))
    return _are_the_same(seen, likewise) and _is_faster(lambda: whole.detect(picture), lambda: small.detect(picture))


def trial_picture() -> Image:
    """Draw two cars with plates on a road; uint8, shape (448, 768, 3), BGR."""
    width, height = TRIAL_WH
    road = np.linspace(150, 70, height).astype(np.uint8)[:, None, None]
    picture = np.ascontiguousarray(np.broadcast_to(road, (height, width, 3)))
    _draw_car(picture, (153, 149), size=1.0)
    _draw_car(picture, (422, 97), size=0.8)
    return picture


def _draw_car(picture: Image, corner: tuple[int, int], *, size: float) -> None:
    """Draw a car's front of 220 x 150 pixels, times `size`, with a plate of 88 x 22."""

    def at(x: int, y: int) -> tuple[int, int]:
        return corner[0] + round(x * size), corner[1] + round(y * size)

    line_px = max(round(2 * size), 1)
    cv2.rectangle(picture, at(0, 0), at(220, 150), (60, 40, 40), cv2.FILLED)
    cv2.rectangle(picture, at(27, 6), at(192, 50), (30, 30, 30), cv2.FILLED)
    cv2.rectangle(picture, at(66, 105), at(154, 127), (235, 235, 235), cv2.FILLED)
    cv2.rectangle(picture, at(66, 105), at(154, 127), (20, 20, 20), 1)
    cv2.putText(
        picture, "AB12CDE", at(70, 122), cv2.FONT_HERSHEY_SIMPLEX, 0.6 * size, (10, 10, 10), line_px, cv2.LINE_AA
    )


def _are_the_same(boxes: Sequence[Detection], others: Sequence[Detection]) -> bool:
    """Tell whether both see the same plates, and any."""
    return len(boxes) == len(others) > 0 and all(
        any(
            iou(box, other) >= LEAST_IOU and abs(box.confidence - other.confidence) <= MOST_SCORE_CHANGE
            for other in others
        )
        for box in boxes
    )


def _is_faster(whole: Callable[[], object], small: Callable[[], object]) -> bool:
    least_s = [math.inf, math.inf]
    for _ in range(RUNS):
        for place, run in enumerate((whole, small)):
            began_s = perf_counter()
            run()
            least_s[place] = min(least_s[place], perf_counter() - began_s)
    return least_s[1] <= MOST_SHARE * least_s[0]
