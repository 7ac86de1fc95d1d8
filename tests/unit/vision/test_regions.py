"""Masks and lanes."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from agent.config.models import LaneConfig, MaskConfig, VisionConfig
from agent.records import Detection, Direction, Frame, Picture
from agent.vision.regions import PAINT_BGR, Regions

LEFT_HALF = MaskConfig(polygon=((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
TRIANGLE = MaskConfig(polygon=((0.6, 0.2), (0.9, 0.2), (0.75, 0.8)))
WHOLE = MaskConfig(polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))


def _frame(wh: tuple[int, int]) -> Frame:
    image = np.random.default_rng(1).integers(0, 100, (wh[1], wh[0], 3)).astype(np.uint8)
    return Frame(camera_id="c", sequence=0, captured_at=datetime.now(UTC), monotonic_s=0.0, picture=Picture.of(image))


@pytest.mark.parametrize("wh", [(640, 360), (33, 57), (1, 1)])
def test_no_pixel_under_a_mask_is_left(wh: tuple[int, int]) -> None:
    """Painted, in every size; the rest is untouched, and so is the frame that came in."""
    frame, regions = _frame(wh), Regions([LEFT_HALF, TRIANGLE])
    before = frame.image.copy()
    painted, hidden = regions.paint(frame), regions.hidden(wh)
    assert hidden is not None
    assert (painted.image[hidden] == PAINT_BGR).all()
    assert (painted.image[~hidden] == before[~hidden]).all()
    assert (frame.image == before).all()
    x, y = np.meshgrid((np.arange(wh[0]) + 0.5) / wh[0], (np.arange(wh[1]) + 0.5) / wh[1])
    assert hidden[x < 0.5].all()
    assert not hidden[(x > 0.5 + 2 / wh[0]) & (y < 0.2 - 2 / wh[1])].any()


def test_a_whole_mask_leaves_nothing() -> None:
    """Corners and edges included."""
    assert (Regions([WHOLE]).paint(_frame((64, 48))).image == PAINT_BGR).all()


def test_a_part_is_painted_as_the_whole_frame_is() -> None:
    """A piece kept for reading shows no more than the frame."""
    frame, regions = _frame((200, 100)), Regions([TRIANGLE])
    box = (90, 10, 170, 90)
    assert (regions.cut(frame, box) == regions.paint(frame).image[10:90, 90:170]).all()


def test_without_masks_nothing_is_copied() -> None:
    """The frame itself comes back."""
    frame = _frame((64, 48))
    assert Regions().paint(frame) is frame
    assert Regions().hidden((64, 48)) is None


def test_the_first_lane_that_holds_the_middle_of_a_plate_is_its_lane() -> None:
    """In any size of frame; outside all of them there is none."""
    lanes = [
        LaneConfig(name="inbound", polygon=((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)), direction="approaching"),
        LaneConfig(name="both", polygon=((0.0, 0.0), (0.8, 0.0), (0.8, 1.0), (0.0, 1.0))),
    ]
    regions = Regions(lanes=lanes)
    found = [regions.lane_of(Detection(x, 10, x + 20, 20, 0.9), (200, 100)) for x in (10, 100, 175)]
    assert [lane and (lane.name, lane.direction) for lane in found] == [
        ("inbound", Direction.APPROACHING),
        ("both", Direction.UNKNOWN),
        None,
    ]
    small = regions.lane_of(Detection(5, 10, 7, 12, 0.9), (20, 100))
    assert small is not None
    assert small.name == "inbound"


@pytest.mark.parametrize(
    "section",
    [
        {"mask": [{"polygon": [[0, 0], [1, 1]]}]},
        {"mask": [{"polygon": [[0, 0], [1, 0], [1, 1.2]]}]},
        {"mask": [{"polygon": [[0, 0], [1, 0], [1]]}]},
        {"lane": [{"polygon": [[0, 0], [1, 0], [1, 1]]}]},
        {"lane": [{"name": "Lane 1", "polygon": [[0, 0], [1, 0], [1, 1]]}]},
        {"lane": [{"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]], "direction": "left"}]},
        {"lane": [{"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]]}] * 2},
        {"text": {"default": "[A-Z"}},
        {"text": {"default": ""}},
        {"providers": ["gpu"]},
        {"providers": []},
        {"detect_every_s": 1.5},
        {"detect_moving_part": True, "gate": False},
    ],
)
def test_settings_that_make_no_sense_are_refused(section: dict[str, object]) -> None:
    """Two corners, a corner outside, names twice, patterns that are none."""
    with pytest.raises(ValidationError):
        VisionConfig.model_validate(section)


def test_settings_as_a_file_has_them() -> None:
    """Lists and whole numbers of TOML are taken."""
    config = VisionConfig.model_validate(
        {
            "mask": [{"polygon": [[0, 0], [1, 0], [0.5, 1]]}],
            "lane": [{"name": "inbound", "polygon": [[0, 0], [1, 0], [1, 1]], "direction": "receding"}],
            "text": {"default": "[A-Z0-9]{4,8}", "Norway": "[A-Z]{2}[0-9]{5}"},
            "providers": ["cuda", "cpu"],
        }
    )
    assert config.mask[0].polygon[2] == (0.5, 1.0)
    assert config.lane[0].direction == "receding"
    assert config.providers == ("cuda", "cpu")
