"""Contract of `Detector`, run on the real adapter with a toy model and on the fake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.ports import Detector
from agent.records import Detection
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import open_library
from tests.fakes.vision import CannedDetector
from tests.toy_models import render_frame, write_toy_models

BOX = (200, 120, 320, 160)


@pytest.fixture(params=["onnx", "fake"])
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> Detector:
    """Each implementation, ready to find one plate at BOX twice."""
    if request.param == "fake":
        return CannedDetector([[Detection(*BOX, 0.9)]] * 2)
    library = open_library(write_toy_models(tmp_path))
    entry = library.detector()
    return OnnxDetector(library.load(entry), input_wh=entry.input_wh, confidence=entry.confidence)


def test_a_plate_is_boxed_in_frame_pixels(detector: Detector) -> None:
    """The box is the plate's, whatever size the model works at."""
    (found,) = detector.detect(render_frame([("ABC123", BOX)]))
    assert all(abs(got - wanted) <= 4 for got, wanted in zip(found.xyxy, BOX, strict=True))
    assert 0.0 <= found.confidence <= 1.0


def test_boxes_lie_inside_the_frame(detector: Detector) -> None:
    """A plate at the edge is cut there, never beyond."""
    image = np.ascontiguousarray(render_frame([("ABC123", BOX)])[:150, :300])
    for found in detector.detect(image):
        assert 0 <= found.x1 < found.x2 <= 300
        assert 0 <= found.y1 < found.y2 <= 150


def test_the_digest_is_of_a_file(detector: Detector) -> None:
    """It goes into the sealed read."""
    assert len(detector.digest) == 32
