"""Masks and lanes: areas of the picture that are never looked at, and areas that have a name.

Owns: from relative corners to pixels. Invariant: of a painted frame, no pixel under a mask is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from agent.config.models import LaneConfig, MaskConfig
from agent.records import Detection, Direction, Frame, Image, Picture

PAINT_BGR: Final = (114, 114, 114)
"""What a mask is painted with: the grey that the detectors know as "no picture here"."""

Corners = npt.NDArray[np.float32]
"""float32, shape (n, 2): x, y as shares of the picture."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A named area.

    Attributes:
        name: Goes into the read.
        direction: How vehicles in it drive; unknown if it was not said.
    """

    name: str
    direction: Direction


class Regions:
    """The masks and lanes of one camera."""

    def __init__(self, masks: Sequence[MaskConfig] = (), lanes: Sequence[LaneConfig] = ()) -> None:
        """Take the areas; frames may have any size."""
        self._masks = [_corners(mask.polygon) for mask in masks]
        self._lanes = [
            (Lane(lane.name, Direction(lane.direction or Direction.UNKNOWN)), _corners(lane.polygon)) for lane in lanes
        ]
        self._hidden: npt.NDArray[np.bool_] | None = None

    def paint(self, frame: Frame) -> Frame:
        """Return the frame with every mask painted over; the same frame where there is none.

        A copy is painted when somebody looks at it.
        """
        return replace(frame, picture=Picture(frame.wh, lambda: self._painted(frame.image))) if self._masks else frame

    def cut(self, frame: Frame, box: tuple[int, int, int, int]) -> Image:
        """Copy a part of a frame, painted as the whole frame would be.

        Args:
            frame: Not painted yet.
            box: x1, y1, x2, y2 inside the frame, pixels, half open.
        """
        x1, y1, x2, y2 = box
        part = frame.image[y1:y2, x1:x2].copy()
        hidden = self.hidden(frame.wh)
        if hidden is not None:
            part[hidden[y1:y2, x1:x2]] = PAINT_BGR
        return part

    def hidden(self, wh: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        """Return which pixels of a frame of that size are painted: bool, shape (H, W); None if no pixel is."""
        if not self._masks:
            return None
        if self._hidden is None or self._hidden.shape != wh[::-1]:
            plane = np.zeros(wh[::-1], np.uint8)
            self._fill(plane, (1,))
            self._hidden = plane.view(np.bool_)
        return self._hidden

    def lane_of(self, box: Detection, wh: tuple[int, int]) -> Lane | None:
        """Return the first lane that the middle of a box lies in, of a frame of that size."""
        middle = ((box.x1 + box.x2) / 2 / wh[0], (box.y1 + box.y2) / 2 / wh[1])
        for lane, corners in self._lanes:
            if cv2.pointPolygonTest(corners, middle, measureDist=False) >= 0:
                return lane
        return None

    def _painted(self, image: Image) -> Image:
        painted = image.copy()
        self._fill(painted, PAINT_BGR)
        return painted

    def _fill(self, image: Image, colour: tuple[int, ...]) -> None:
        height, width = image.shape[:2]
        for corners in self._masks:
            # Pixels that the outline only touches are painted too.
            cv2.fillPoly(image, [np.rint(corners * (width, height)).astype(np.int32)], colour)


def _corners(polygon: Sequence[tuple[float, float]]) -> Corners:
    return np.array(polygon, np.float32)
