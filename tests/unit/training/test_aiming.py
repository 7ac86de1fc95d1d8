"""How plates are spoilt to see what a reader needs, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training import aiming
from tests.fakes.vision import CannedReader, plate

BOX = (60.0, 60.0, 260.0, 110.0)
IMAGE = np.random.default_rng(5).integers(40, 200, (200, 320, 3), np.uint8)


@pytest.mark.parametrize("name", aiming.STEPS)
def test_each_way_spoils_more_with_every_step(name: str) -> None:
    """A copy: the picture itself is never touched; the mildest step leaves the plate whole."""
    spoil, steps = aiming.STEPS[name]
    before = IMAGE.copy()
    crops = [spoil(IMAGE, BOX, step) for step in steps]
    assert all(crop.size for crop in crops)
    assert len({crop.tobytes() for crop in crops}) == len(steps)
    assert np.array_equal(IMAGE, before)


def test_a_turned_plate_is_wholly_in_its_box() -> None:
    """The box grows with the angle, as a detector's does."""
    assert aiming.turned(IMAGE, BOX, 0).shape == (50, 200, 3)
    height, width = aiming.turned(IMAGE, BOX, 20).shape[:2]
    assert height > 100
    assert width > 190


def test_only_plates_that_are_read_surely_count(tmp_path: Path) -> None:
    """Neither unsure ones nor those too narrow for the widest step."""
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    line = {"file": "a.png", "width": 320, "height": 200, "plates": [list(BOX), [10, 10, 100, 40]]}
    (tmp_path / "labels.jsonl").write_text(json.dumps(line))
    assert [text for *_, text in aiming.sure_plates([tmp_path], CannedReader(plate("AB123CD", 0.95)))] == ["AB123CD"]
    assert list(aiming.sure_plates([tmp_path], CannedReader(plate("AB123CD", 0.8)))) == []


def test_what_is_read_as_before_is_counted() -> None:
    """A row for each step, and one for each tenth of white that occurs."""
    plates = [(IMAGE, BOX, "AB123CD"), (IMAGE, BOX, "OTHER")]
    rows = list(aiming.rows(plates, CannedReader(plate("AB123CD"))))
    assert len(rows) == sum(len(steps) for _, steps in aiming.STEPS.values())
    assert {row[1] for row in rows} == {"0.50"}
    white = list(aiming.white_rows(plates, CannedReader(plate("AB123CD"))))
    assert sum(int(row[1]) for row in white) == 2 * len(aiming.BRIGHTER)
    assert {row[2] for row in white} == {"0.50"}
