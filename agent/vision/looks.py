"""Looks at a plate: where they come from, and what makes them good.

Leaves to others: which of them are kept and read (`agent.vision.plate`). A look is a copy of the plate's pixels, a few
kilobytes, so that no frame is kept alive.

The detector does not run on every frame, and the frames between two of its runs show the plate as well, some of them
sharper. A piece around the place where the plate should be is kept of each; when the detector has found the plate
again, its place in between is known, and the looks are cut out of the pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import cv2

from agent.records import Detection, Frame, Image, PlateRead, PlateText, TimeSource
from agent.vision.regions import Regions

PIECE_MARGIN: Final = 0.5
"""Space around a piece, in plate widths across and plate heights down: a plate whose speed changes is still in it."""


class Moment(NamedTuple):
    """Which frame a picture was cut from, without its pixels."""

    sequence: int
    captured_at: datetime
    monotonic_s: float
    frame_wh: tuple[int, int]
    time_source: TimeSource | None


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A plate's picture that has not been read yet.

    Attributes:
        moment: Of its frame.
        detection: The plate's box, frame pixels.
        crop: The pixels in it; uint8, shape (h, w, 3), BGR.
        quality: For comparing looks of one plate; higher is better.
    """

    moment: Moment
    detection: Detection
    crop: Image = field(repr=False)
    quality: float

    def with_text(self, plate: PlateText) -> PlateRead:
        """Return the look with what the reader made of it."""
        moment = self.moment
        return PlateRead(
            sequence=moment.sequence,
            captured_at=moment.captured_at,
            monotonic_s=moment.monotonic_s,
            frame_wh=moment.frame_wh,
            detection=self.detection,
            plate=plate,
            crop=self.crop,
            time_source=moment.time_source,
        )


def cut_out(frame: Frame, box: Detection, *, margin: float = 0.0) -> Look:
    """Cut a plate out of its frame, at full resolution; a copy, with a margin left and right in plate widths."""
    x1, y1, x2, y2 = _widened(box, margin)
    crop = frame.image[y1:y2, max(x1, 0) : x2].copy()
    return Look(_moment(frame), box, crop, picture_quality(crop, box.confidence))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A part of a frame on which the detector did not run, with a plate somewhere in it.

    Attributes:
        moment: Of its frame.
        corner: x, y of its upper left pixel in the frame.
        pixels: uint8, shape (h, w, 3), BGR.
    """

    moment: Moment
    corner: tuple[int, int]
    pixels: Image = field(repr=False)

    def look_at(self, box: Detection, *, margin: float = 0.0) -> Look | None:
        """Cut the plate out, now that its place is known; None if it is not wholly in the piece."""
        x1, y1, x2, y2 = _widened(box, margin)
        left, top = x1 - self.corner[0], y1 - self.corner[1]
        right, bottom = x2 - self.corner[0], y2 - self.corner[1]
        height, width = self.pixels.shape[:2]
        if left < 0 or top < 0 or right > width or bottom > height:
            return None
        crop = self.pixels[top:bottom, left:right].copy()
        return Look(self.moment, box, crop, picture_quality(crop, box.confidence))


def cut_piece(frame: Frame, expected: Detection, regions: Regions) -> Piece | None:
    """Cut a piece around the place where a plate should be; None where that is outside the frame.

    Args:
        frame: Not painted yet.
        expected: Frame pixels; may lie outside.
        regions: Its masks are painted in the piece.
    """
    margin_x = round((expected.x2 - expected.x1) * PIECE_MARGIN)
    margin_y = round((expected.y2 - expected.y1) * PIECE_MARGIN)
    width, height = frame.wh
    x1, x2 = (min(max(x, 0), width) for x in (expected.x1 - margin_x, expected.x2 + margin_x))
    y1, y2 = (min(max(y, 0), height) for y in (expected.y1 - margin_y, expected.y2 + margin_y))
    if x1 >= x2 or y1 >= y2:
        return None
    return Piece(_moment(frame), (x1, y1), regions.cut(frame, (x1, y1, x2, y2)))


def _moment(frame: Frame) -> Moment:
    return Moment(frame.sequence, frame.captured_at, frame.monotonic_s, frame.wh, frame.time_source)


def _widened(box: Detection, margin: float) -> tuple[int, int, int, int]:
    by_x = round((box.x2 - box.x1) * margin)
    return box.x1 - by_x, box.y1, box.x2 + by_x, box.y2


def box_between(before: Detection, after: Detection, share: float) -> Detection:
    """Return a plate's box between two others: at `before` for a share of 0, at `after` for 1."""
    x1, y1, x2, y2 = (round(a + (b - a) * share) for a, b in zip(before.xyxy, after.xyxy, strict=True))
    return Detection(x1, y1, x2, y2, min(before.confidence, after.confidence))


def picture_quality(crop: Image, confidence: float) -> float:
    """Return how readable a plate's picture is: the detector's confidence x size x sharpness; for comparing only.

    Size is the root of the area: a plate seen from the side loses width, one seen from above height, so the look from
    the front is the larger one.

    Args:
        crop: uint8, shape (h, w, 3), BGR.
        confidence: Of the detector, 0..1.
    """
    height, width = crop.shape[:2]
    return float(confidence * (width * height) ** 0.5 * sharpness(crop))


def sharpness(crop: Image) -> float:
    """Return the standard deviation of the Laplacian in grey levels, at least 1 so that a flat crop still compares.

    Args:
        crop: uint8, shape (h, w, 3), BGR.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return max(float(cv2.Laplacian(grey, cv2.CV_32F).std()), 1.0)
