"""Looks and pieces that are cut out of frames."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from agent.config.models import MaskConfig
from agent.records import Detection, Frame, Picture
from agent.vision.looks import box_between, cut_out, cut_piece
from agent.vision.regions import PAINT_BGR, Regions

BOX = Detection(100, 50, 200, 80, 0.9)


def _frame(number: int = 0, *, contrast: int = 100) -> Frame:
    image = np.full((120, 300, 3), 100, np.uint8)
    image[:, ::4] += np.uint8(contrast)
    image[50:80, 100:200, 2] = np.arange(100)
    return Frame("cam", number, datetime.now(UTC), number / 15, Picture.of(image))


@pytest.mark.parametrize("better", [Detection(50, 40, 250, 100, 0.9), Detection(100, 50, 200, 80, 0.99)])
def test_a_larger_or_surer_look_is_better(better: Detection) -> None:
    """Also one from the front: a plate seen from the side is smaller."""
    assert cut_out(_frame(), better).quality > cut_out(_frame(), BOX).quality
    assert cut_out(_frame(), BOX).quality > cut_out(_frame(), Detection(100, 50, 160, 80, 0.9)).quality


def test_a_look_is_a_copy_of_its_pixels_with_its_margin() -> None:
    """It is left and right; at the frame's edge it ends there."""
    look = cut_out(_frame(), BOX, margin=0.1)
    assert look.crop.shape == (30, 120, 3)
    assert look.crop.base is None
    assert look.detection == BOX
    assert cut_out(_frame(), Detection(0, 0, 100, 40, 0.9), margin=0.1).crop.shape == (40, 110, 3)


def test_a_piece_gives_the_look_that_the_frame_would_have() -> None:
    """Once the place is known, a few pixels from where it was expected."""
    piece = cut_piece(_frame(), Detection(110, 56, 210, 86, 0.9), Regions())
    assert piece is not None
    look = piece.look_at(BOX, margin=0.06)
    assert look is not None
    assert (look.crop == cut_out(_frame(), BOX, margin=0.06).crop).all()


def test_a_piece_without_the_plate_gives_no_look() -> None:
    """It moved otherwise than expected; or the piece would lie outside."""
    piece = cut_piece(_frame(), Detection(0, 0, 60, 20, 0.9), Regions())
    assert piece is not None
    assert piece.look_at(BOX) is None
    assert cut_piece(_frame(), Detection(400, 50, 500, 80, 0.9), Regions()) is None


def test_a_piece_shows_nothing_under_a_mask() -> None:
    """It is kept of a frame that the detector has not seen painted."""
    piece = cut_piece(_frame(), BOX, Regions([MaskConfig(polygon=((0, 0), (1, 0), (1, 1), (0, 1)))]))
    assert piece is not None
    assert (piece.pixels == PAINT_BGR).all()


def test_a_box_between_two_others_is_on_the_line_between_them() -> None:
    """As sure as the less sure of the two."""
    after = Detection(140, 60, 260, 100, 0.7)
    assert box_between(BOX, after, 0.5) == Detection(120, 55, 230, 90, 0.7)
    assert box_between(BOX, after, 0.0).xyxy == BOX.xyxy
    assert box_between(BOX, after, 1.0).xyxy == after.xyxy
