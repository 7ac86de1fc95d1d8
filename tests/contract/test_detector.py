"""Contract of `Detector`, run on the real adapter with square and wide toy models and on the fake."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from agent.ports import Detector
from agent.records import Detection
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import CheckedModel
from tests.fakes.vision import CannedDetector
from tests.toy_models import SIDE_PX, WIDE_WH, render_frame, toy_detector

BOX = (200, 120, 320, 160)


INPUTS_WH = {"square": (SIDE_PX, SIDE_PX), "wide": WIDE_WH, "tall": WIDE_WH[::-1]}


@pytest.fixture(params=[*INPUTS_WH, "fake"])
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each implementation, ready to find one plate at BOX twice."""
    if request.param == "fake":
        return CannedDetector([[Detection(*BOX, 0.9)]] * 2)
    return _onnx(INPUTS_WH[request.param])


def _onnx(input_wh: tuple[int, int]) -> OnnxDetector:
    onnx = toy_detector(input_wh)
    model = CheckedModel(name="toy", onnx=onnx, config=b"", digest=hashlib.sha256(onnx).digest())
    return OnnxDetector(model, input_wh=input_wh, confidence=0.5)


def test_a_plate_is_boxed_in_frame_pixels(detector: Detector) -> None:
    """The box is the plate's, whatever size the model works at."""
    (found,) = detector.detect(render_frame([("ABC123", BOX)]))
    assert all(abs(got - wanted) <= 4 for got, wanted in zip(found.xyxy, BOX, strict=True))
    assert 0.0 <= found.confidence <= 1.0


def test_boxes_lie_inside_the_frame(detector: Detector) -> None:
    """A plate at the edge is cut there, never beyond."""
    image = np.ascontiguousarray(render_frame([("ABC123", BOX)])[:150, :300])
    boxes = detector.detect(image)
    assert len(boxes) == 1
    for found in boxes:
        assert 0 <= found.x1 < found.x2 <= 300
        assert 0 <= found.y1 < found.y2 <= 150


def test_the_digest_is_of_a_file(detector: Detector) -> None:
    """It goes into the sealed read."""
    assert len(detector.digest) == 32


@pytest.mark.parametrize("box", [BOX, (20, 10, 140, 50), (500, 300, 638, 346)])
def test_a_wide_input_gives_the_boxes_of_a_square_one(box: tuple[int, int, int, int]) -> None:
    """The library's class and the path beside it agree to the pixel where the letterbox's scale is the same."""
    frame = render_frame([("ABC123", box)])
    square, wide = _onnx(INPUTS_WH["square"]).detect(frame), _onnx(INPUTS_WH["wide"]).detect(frame)
    assert len(square) == 1
    assert square == wide
