"""The window of a picture that the detector looks at: where something moves, and where plates are followed.

Owns: which window, and from its pixels to the frame's. A detector makes every picture as small as its input. What it
sees in a window is up to twice as large as in the whole picture, at the same cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.records import Detection, Image

SHARES: Final = (0.5, 0.75)
"""Sides of a window as shares of the picture's, smallest first. Less than half would show near plates larger than
detectors know them. A window has the picture's proportions, so that the same shape of detector suits it."""
MARGIN: Final = 0.02
"""Space around what must be in the window, as a share of the picture's sides: what moves has gone on since then."""
CUT_PX: Final = 1
"""A box this close to an edge is of half a plate, which reads as another plate's text."""

RelativeBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 as shares of the picture's width and height."""


@dataclass(frozen=True, slots=True)
class DetectorWindow:
    """A rectangle of a frame.

    Attributes:
        x, y: Its upper left pixel.
        width, height: Pixels.
        frame_wh: Of the frame, pixels.
    """

    x: int
    y: int
    width: int
    height: int
    frame_wh: tuple[int, int]

    def of(self, image: Image) -> Image:
        """Return its pixels, a view: uint8, shape (height, width, 3), BGR."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def to_frame(self, found: Sequence[Detection]) -> list[Detection]:
        """Move boxes from the window's pixels to the frame's; those that go on beyond the window are left out."""
        return [
            Detection(box.x1 + self.x, box.y1 + self.y, box.x2 + self.x, box.y2 + self.y, box.confidence)
            for box in found
            if not self._is_cut(box)
        ]

    def _is_cut(self, box: Detection) -> bool:
        """Whether a box, in the window's pixels, ends at an edge that is not the frame's own."""
        frame_width, frame_height = self.frame_wh
        goes_on = (
            self.x > 0,
            self.y > 0,
            self.x + self.width < frame_width,
            self.y + self.height < frame_height,
        )
        return any(at and on for at, on in zip(cut_sides(box, (self.width, self.height)), goes_on, strict=True))


def cut_sides(box: Detection, wh: tuple[int, int]) -> tuple[bool, bool, bool, bool]:
    """Tell at which edges of a picture of that size a box ends: left, top, right, bottom."""
    return box.x1 < CUT_PX, box.y1 < CUT_PX, box.x2 > wh[0] - CUT_PX, box.y2 > wh[1] - CUT_PX


def smallest_window(areas: Sequence[RelativeBox], frame_wh: tuple[int, int]) -> DetectorWindow | None:
    """Return the smallest window that holds all areas, with them in its middle as far as the frame allows.

    Args:
        areas: At least one; what lies outside the picture is not looked for.
        frame_wh: Pixels.

    Returns:
        The window; None if only the whole picture holds them.
    """
    low_x, low_y, high_x, high_y = (
        min(max(pick(area[side] for area in areas) + by, 0.0), 1.0)
        for side, pick, by in ((0, min, -MARGIN), (1, min, -MARGIN), (2, max, MARGIN), (3, max, MARGIN))
    )
    for share in SHARES:
        if high_x - low_x <= share and high_y - low_y <= share:
            width, height = (max(round(side * share), 1) for side in frame_wh)
            x = round(((low_x + high_x) / 2 - share / 2) * frame_wh[0])
            y = round(((low_y + high_y) / 2 - share / 2) * frame_wh[1])
            return DetectorWindow(
                min(max(x, 0), frame_wh[0] - width), min(max(y, 0), frame_wh[1] - height), width, height, frame_wh
            )
    return None
