"""Whether int8 looks in float32's place: only where it is faster and sees the same, and nobody named a detector."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import pytest

from agent.config.models import VisionConfig
from agent.errors import InferenceError
from agent.records import Detection, Frame, Image, Picture
from agent.vision import models as models_of
from agent.vision import trial
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import open_library
from agent.vision.models import build_vision
from agent.vision.trial import int8_of, is_better, trial_picture
from tests.fakes.source import STARTED_AT
from tests.toy_models import render_frame, write_toy_models

PLATE = Detection(100, 100, 180, 120, 0.8)


class _Timed:
    """Sees what it is told, in a time of its own on a clock of the test."""

    digest = b"\x01" * 32

    def __init__(self, clock_s: list[float], takes_s: float, *found: Detection) -> None:
        self._clock_s, self._takes_s, self._found = clock_s, takes_s, list(found)

    def detect(self, _image: Image) -> list[Detection]:
        self._clock_s[0] += self._takes_s
        return self._found


@pytest.mark.parametrize(
    ("takes_s", "found", "better"),
    [
        (0.5, [PLATE], True),
        (0.9, [PLATE], False),
        (0.5, [Detection(101, 100, 181, 121, 0.75)], True),
        (0.5, [Detection(140, 100, 220, 120, 0.8)], False),
        (0.5, [Detection(100, 100, 180, 120, 0.6)], False),
        (0.5, [PLATE, Detection(300, 100, 380, 120, 0.8)], False),
        (0.5, [PLATE, Detection(300, 100, 380, 120, 0.3)], True),
        (0.5, [], False),
    ],
    ids=["faster", "hardly faster", "nearly there", "elsewhere", "less sure", "one more", "one faint", "blind"],
)
def test_int8_must_be_faster_and_see_the_same(
    takes_s: float, found: list[Detection], better: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same plates with much the same scores, in four fifths of the time; faint boxes do not count."""
    clock_s = [0.0]
    monkeypatch.setattr(trial, "perf_counter", lambda: clock_s[0])
    assert is_better(_Timed(clock_s, 1.0, PLATE), _Timed(clock_s, takes_s, *found), confidence=0.4) is better


def test_two_that_see_nothing_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that does not know the drawn plates cannot be compared on them."""
    clock_s = [0.0]
    monkeypatch.setattr(trial, "perf_counter", lambda: clock_s[0])
    assert not is_better(_Timed(clock_s, 1.0), _Timed(clock_s, 0.5), confidence=0.4)


@pytest.mark.parametrize("name", ["plate-detector-384", "plate-detector-384x224"])
def test_the_built_in_detectors_see_both_plates_of_the_trial(name: str) -> None:
    """Or the trial would never be for int8."""
    library = open_library()
    whole = library.detector(name)
    assert int8_of(whole, library.manifest.detector) is not None
    found = OnnxDetector(library.load(whole), input_wh=whole.input_wh, confidence=whole.confidence)
    assert len(found.detect(trial_picture())) == 2


@pytest.mark.parametrize("outcome", [True, False, InferenceError("no such operator")])
@pytest.mark.parametrize("named", [False, True])
def test_int8_looks_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: bool | InferenceError, named: bool
) -> None:
    """If the trial, held once, is for it, and nobody named the detector; the digest is then its own."""
    asked: list[float] = []
    ran: list[str] = []

    def decide(*_: object, confidence: float) -> bool:
        asked.append(confidence)
        if isinstance(outcome, InferenceError):
            raise outcome
        return outcome

    def detect(self: OnnxDetector, image: Image) -> list[Detection]:
        if image.shape[:2] == (360, 640):
            ran.append("int8" if self.digest.hex() == small.sha256 else "float32")
        return real(self, image)

    real = OnnxDetector.detect
    monkeypatch.setattr(models_of, "is_better", decide)
    monkeypatch.setattr(OnnxDetector, "detect", detect)
    toys = write_toy_models(tmp_path)
    _add_int8(toys)
    whole, small = open_library(toys).manifest.detector
    pipeline = build_vision(VisionConfig(models=toys, detector="toy-detector" if named else None))
    plates = [("KRW482", (200, 120, 340, 166))]
    found = [
        len(pipeline.read_picture(Frame("cam", number, STARTED_AT, 0.0, Picture.of(render_frame(texts)))))
        for number, texts in enumerate([[], [], plates, plates, [], []])
    ]
    assert found == [0, 0, 1, 1, 0, 0]
    assert asked == ([] if named else [0.5])
    is_int8 = outcome is True and not named
    assert pipeline.detector_digest.hex() == (small if is_int8 else whole).sha256
    assert ran == ["int8" if is_int8 else "float32"] * len(found)


def _add_int8(toys: Path) -> None:
    """Add the toy detector once more, as if it were its int8 file; another name inside gives it another digest."""
    model = onnx.load(str(toys / "toy-detector.onnx"))
    model.producer_name = "int8"
    (toys / "toy-detector-int8.onnx").write_bytes(model.SerializeToString())
    manifest = toys / "manifest.toml"
    detector = manifest.read_text().partition("[[reader]]")[0]
    lines = [line for line in detector.splitlines() if not line.startswith(("bytes", "sha256"))]
    lines.append(f'sha256 = "{hashlib.sha256((toys / "toy-detector-int8.onnx").read_bytes()).hexdigest()}"')
    manifest.write_text(manifest.read_text() + "\n" + "\n".join(lines).replace("toy-detector", "toy-detector-int8"))
