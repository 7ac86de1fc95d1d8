"""What a pipeline sees of a camera that is being aimed: the last minute of it, in numbers.

Owns: what is remembered, and for how long. Leaves to others: the measures and the advice (`agent.vision.aiming`), and
showing them. In memory only: the newest frame and the newest with plates are kept, and of earlier ones nothing but
numbers; no plate text.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, NamedTuple

from agent.records import Detection, Frame, Passage, PlateRead
from agent.vision.aiming import Aim, PlateMeasures, measure_frame, measure_plate, medians, quality
from agent.vision.consensus import Rejection

WINDOW_S: Final = 60.0
"""How far back the reading rate and the medians go, seconds of the stream."""
SHOWN_S: Final = 1.0
"""How long a picture with plates stays, seconds of the stream, unless the next one comes: a box over a later picture
would be where its plate is no more."""
BEST_S: Final = 3.0
"""A plate in view is measured by its best picture of this long, seconds of the stream: long enough for one that drives
past to be measured where it is read, short enough for whoever turns the lens."""
MOST_LOOKS: Final = 2000
"""Looks that are remembered: a busy road shows a plate a second, which is read three to eighteen times."""


class _Look(NamedTuple):
    at_s: float
    measures: PlateMeasures


class _End(NamedTuple):
    """A plate that has left: None where it was read, else why not."""

    at_s: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class PlateInPicture:
    """A plate that the shown frame shows.

    Attributes:
        box: Frame pixels.
        measures: Of its picture.
    """

    box: Detection
    measures: PlateMeasures


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What there is to see now.

    Attributes:
        frame: The newest frame with plates, else the newest; masks painted; None before the first.
        plates: The plates in it.
        aim: The numbers of the last minute.
    """

    frame: Frame | None
    plates: tuple[PlateInPicture, ...]
    aim: Aim


@dataclass
class AimWatch:
    """Watches a pipeline, as `agent.vision.watching.Watcher`."""

    _frame: Frame | None = None
    _with_plates: Frame | None = None
    _plates: tuple[PlateInPicture, ...] = ()
    _best: deque[_Look] = field(default_factory=lambda: deque(maxlen=MOST_LOOKS))
    _looks: deque[_Look] = field(default_factory=lambda: deque(maxlen=MOST_LOOKS))
    _ends: deque[_End] = field(default_factory=lambda: deque(maxlen=MOST_LOOKS))

    def stage(self, name: str, seconds: float) -> None:
        """As `Watcher`."""

    def frame(self, frame: Frame, detections: Sequence[Detection]) -> None:
        """As `Watcher`."""
        self._frame = frame
        if detections:
            self._plates = tuple(PlateInPicture(box, _measures(frame, box)) for box in detections)
            self._with_plates = frame
            self._best.append(_Look(frame.monotonic_s, max((plate.measures for plate in self._plates), key=quality)))

    def read(self, looks: Sequence[PlateRead]) -> None:
        """As `Watcher`."""
        for look in looks:
            box = look.detection
            self._looks.append(_Look(look.monotonic_s, measure_plate(look.crop, width_px=box.x2 - box.x1)))

    def rejected(self, reason: str, look: PlateRead | None) -> None:
        """As `Watcher`."""
        if reason != Rejection.REPEAT:
            self._ends.append(_End(self._now_s, reason))

    def passed(self, passages: Iterable[Passage]) -> None:
        """Take the passages that the pipeline has returned."""
        self._ends.extend(_End(self._now_s, None) for _ in passages)

    def view(self) -> View:
        """Return what there is to see now."""
        if self._frame is None:
            return View(None, (), Aim())
        ends = Counter(end.reason for end in self._ends if end.at_s >= self._now_s - WINDOW_S)
        read = ends.pop(None, 0)
        unread = {reason: count for reason, count in ends.items() if reason is not None}
        aim = Aim(measure_frame(self._frame), self._plate(), read, unread)
        if self._with_plates is None or self._now_s - self._with_plates.monotonic_s > SHOWN_S:
            return View(self._frame, (), aim)
        return View(self._with_plates, self._plates, aim)

    @property
    def _now_s(self) -> float:
        return 0.0 if self._frame is None else self._frame.monotonic_s

    def _plate(self) -> PlateMeasures | None:
        best = [look.measures for look in self._best if look.at_s >= self._now_s - BEST_S]
        if best:  # the slant is the least certain of the measures, and no better in the largest picture
            return replace(max(best, key=quality), slant_deg=median(each.slant_deg for each in best))
        return medians([look.measures for look in self._looks if look.at_s >= self._now_s - WINDOW_S])


def _measures(frame: Frame, box: Detection) -> PlateMeasures:
    return measure_plate(frame.image[box.y1 : box.y2, box.x1 : box.x2])
