"""The part of a picture that the detector sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.records import Detection
from agent.vision.window import MARGIN, SHARES, DetectorWindow, smallest_window

WH = (640, 360)


@pytest.mark.parametrize(
    ("area", "window"),
    [
        ((0.4, 0.4, 0.6, 0.6), DetectorWindow(160, 90, 320, 180, WH)),
        ((0.0, 0.0, 0.1, 0.1), DetectorWindow(0, 0, 320, 180, WH)),
        ((0.9, 0.9, 1.0, 1.0), DetectorWindow(320, 180, 320, 180, WH)),
        ((0.2, 0.4, 0.8, 0.5), DetectorWindow(80, 27, 480, 270, WH)),
        ((0.1, 0.4, 0.9, 0.5), None),
        ((0.4, 0.0, 0.5, 1.0), None),
        ((-0.3, 0.4, 0.2, 0.6), DetectorWindow(0, 90, 320, 180, WH)),
    ],
    ids=["middle", "corner", "other corner", "wider than half", "too wide", "too high", "partly outside"],
)
def test_the_smallest_window_that_holds_an_area(
    area: tuple[float, float, float, float], window: DetectorWindow | None
) -> None:
    """Half of the picture, three quarters of it, or all; never beyond it."""
    assert smallest_window([area], WH) == window


_SHARE = st.floats(0.0, 1.0)


@given(
    st.lists(st.tuples(_SHARE, _SHARE, _SHARE, _SHARE), min_size=1, max_size=4), st.integers(1, 50), st.integers(1, 50)
)
def test_a_window_holds_every_area_and_lies_in_the_frame(
    corners: list[tuple[float, float, float, float]], width: int, height: int
) -> None:
    """Up to a pixel of rounding; in frames of any size."""
    wh = (16 * width, 16 * height)
    areas = [(min(x, u), min(y, v), max(x, u), max(y, v)) for x, y, u, v in corners]
    window = smallest_window(areas, wh)
    if window is None:
        assert any(
            max(area[side + 2] for area in areas) - min(area[side] for area in areas) > max(SHARES) - 2 * MARGIN - 1e-9
            for side in (0, 1)
        )
        return
    assert 0 <= window.x <= window.x + window.width <= wh[0]
    assert 0 <= window.y <= window.y + window.height <= wh[1]
    for x1, y1, x2, y2 in areas:
        assert window.x - 1 <= x1 * wh[0] <= x2 * wh[0] <= window.x + window.width + 1
        assert window.y - 1 <= y1 * wh[1] <= y2 * wh[1] <= window.y + window.height + 1


def test_boxes_come_back_in_the_frames_pixels() -> None:
    """The pixels are those of the frame, and no copy."""
    image = np.zeros((360, 640, 3), np.uint8)
    window = DetectorWindow(160, 90, 320, 180, WH)
    seen = window.of(image)
    assert seen.shape == (180, 320, 3)
    assert seen.base is image
    assert window.to_frame([Detection(10, 20, 90, 40, 0.8)]) == [Detection(170, 110, 250, 130, 0.8)]


@pytest.mark.parametrize(
    ("window", "kept"),
    [
        (DetectorWindow(160, 90, 320, 180, WH), [False, False, False, False]),
        (DetectorWindow(0, 0, 320, 180, WH), [True, True, False, False]),
        (DetectorWindow(320, 180, 320, 180, WH), [False, False, True, True]),
    ],
    ids=["middle", "upper left", "lower right"],
)
def test_a_box_that_goes_on_beyond_the_window_is_none(window: DetectorWindow, kept: list[bool]) -> None:
    """At the frame's own edge it is what the whole frame would have shown."""
    boxes = [
        Detection(0, 50, 80, 70, 0.9),
        Detection(50, 0, 130, 20, 0.9),
        Detection(240, 50, 320, 70, 0.9),
        Detection(50, 160, 130, 180, 0.9),
    ]
    assert [bool(window.to_frame([box])) for box in boxes] == kept
