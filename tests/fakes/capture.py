"""A `cv2.VideoCapture` that delivers what a test tells it to, when it tells it to."""

from __future__ import annotations

import queue
from dataclasses import dataclass

import cv2
import numpy as np

from tests.fakes.clock import FakeClock
from tests.fakes.waiting import WITHIN_S


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame.

    Attributes:
        value: Of every pixel; the same value is the same picture.
        after_s: How long the camera takes for it.
        stream_s: Its time in the stream; None for a stream without a clock.
        wide_px: Its width.
    """

    value: int = 0
    after_s: float = 0.04
    stream_s: float | None = None
    wide_px: int = 16


class ScriptedCapture:
    """Waits for `shots`; `LOSE` in their place loses the camera, as an exception of OpenCV's with `fault`."""

    LOSE = Shot(value=-1)

    def __init__(
        self, clock: FakeClock, *shots: Shot, opened: bool = True, fault: bool = False, decode_s: float = 0.0
    ) -> None:
        """Take the frames that are there from the start."""
        self.shots: queue.Queue[Shot] = queue.Queue()
        for shot in shots:
            self.shots.put(shot)
        self._clock = clock
        self._opened = opened
        self._fault = fault
        self._decode_s = decode_s
        self._shot = self.LOSE
        self.retrieved = 0
        self.released = 0

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        """As OpenCV's."""
        return self._opened

    def grab(self) -> bool:
        """As OpenCV's; waits for the test."""
        self._shot = self.shots.get(timeout=WITHIN_S)
        self._clock.advance(self._shot.after_s)
        if self._shot.value >= 0:
            return True
        if self._fault:
            raise cv2.error
        return False

    def get(self, what: int) -> float:
        """As OpenCV's."""
        assert what == cv2.CAP_PROP_POS_MSEC
        return 1000 * (self._shot.stream_s or 0.0)

    def retrieve(self) -> tuple[bool, object]:
        """As OpenCV's."""
        self.retrieved += 1
        self._clock.advance(self._decode_s)
        return True, np.full((8, self._shot.wide_px, 3), self._shot.value, np.uint8)

    def release(self) -> None:
        """As OpenCV's."""
        self.released += 1
