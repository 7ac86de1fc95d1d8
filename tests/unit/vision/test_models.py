"""Which models run, how, and that they are loaded once."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from open_image_models.detection.core.yolo_v9.inference import YoloV9Detector

from agent.config.models import VisionConfig
from agent.errors import ModelError
from agent.records import Frame, Picture
from agent.vision import load_models
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import CheckedModel, DetectorEntry
from agent.vision.models import Models, best_shape
from agent.vision.session import CPU, CPU_PROVIDERS, choose_providers
from tests.fakes.source import STARTED_AT
from tests.toy_models import WIDE_WH, render_frame, toy_detector, write_toy_models

DIGEST = "0" * 64


def _entry(width: int, height: int) -> DetectorEntry:
    return DetectorEntry.model_validate(
        {
            "name": f"d-{width}x{height}",
            "file": "d.onnx",
            "sha256": DIGEST,
            "input_wh": (width, height),
            "colour": "rgb",
            "confidence": 0.4,
            "licence": "MIT",
            "origin": "test",
        }
    )


SQUARE, WIDE, SMALL = _entry(384, 384), _entry(384, 224), _entry(256, 160)


@pytest.mark.parametrize(
    ("wh", "entries", "chosen"),
    [
        ((1280, 720), [SQUARE, WIDE, SMALL], WIDE),
        ((1920, 1080), [SQUARE, WIDE], WIDE),
        ((768, 432), [SQUARE, WIDE], WIDE),
        ((640, 480), [SQUARE, WIDE], SQUARE),
        ((720, 1280), [SQUARE, WIDE], SQUARE),
        ((1280, 720), [SQUARE], SQUARE),
        ((640, 480), [WIDE, SQUARE], WIDE),
        ((1280, 720), [SMALL, WIDE, SQUARE], SMALL),
    ],
)
def test_the_detector_suits_the_shape_of_the_frame(
    wh: tuple[int, int], entries: list[DetectorEntry], chosen: DetectorEntry
) -> None:
    """The least work that shows the frame as large as the preferred one does."""
    assert best_shape(entries, width=wh[0], height=wh[1]) is chosen


def test_further_cameras_load_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session each for detector and reader, whatever the cameras' thresholds, masks and texts."""
    opened: list[object] = []
    real = ort.InferenceSession

    def counting(*args: object, **kwargs: object) -> object:
        opened.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(ort, "InferenceSession", counting)
    config = VisionConfig(models=write_toy_models(tmp_path))
    models = load_models(config)
    loaded = len(opened)
    assert loaded >= 2
    first = models.pipeline(config)
    second = models.pipeline(config.model_copy(update={"detector_confidence": 0.8, "gate": False}))
    assert len(opened) == loaded
    assert first.detector_digest == second.detector_digest


def test_what_runs_the_models_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two models, each with its provider and threads; one line each."""
    config = VisionConfig(models=write_toy_models(tmp_path), detector="toy-detector", threads=2)
    with caplog.at_level(logging.INFO, logger="agent.vision.models"):
        load_models(config)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"toy-{model} runs on CPU, 2 threads an inference" for model in ("detector", "reader")]


def test_a_provider_that_is_not_installed_is_an_error() -> None:
    """Named, with those that are there; `auto` takes what is there."""
    available = ort.get_available_providers()
    missing = next(
        name
        for name, full in (("tensorrt", "TensorrtExecutionProvider"), ("xnnpack", "XnnpackExecutionProvider"))
        if full not in available
    )
    with pytest.raises(ModelError, match=rf"vision.providers: {missing} is not in the onnxruntime .* there are .*cpu"):
        choose_providers((missing,), threads=1)
    assert choose_providers("auto", threads=1)[-1] == CPU
    assert choose_providers(("cpu",), threads=1) == [CPU]


def test_providers_with_threads_of_their_own_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """XNNPACK takes them as an option; the CPU is always last."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["XnnpackExecutionProvider", CPU])
    assert choose_providers(("xnnpack",), threads=3) == [
        ("XnnpackExecutionProvider", {"intra_op_num_threads": "3"}),
        CPU,
    ]


@pytest.mark.parametrize("wh", [(640, 360), (384, 384), (333, 777), (1280, 720)])
def test_the_boxes_are_the_librarys_number_for_number(wh: tuple[int, int], tmp_path: Path) -> None:
    """Preparing and decoding are our own; what they do is not."""
    onnx = toy_detector()
    path = tmp_path / "toy.onnx"
    path.write_bytes(onnx)
    model = CheckedModel(name="toy", onnx=onnx, config=b"", digest=hashlib.sha256(onnx).digest())
    mine = OnnxDetector(model, input_wh=(384, 384), confidence=0.3)
    library = YoloV9Detector(path, class_labels=("plate",), conf_thresh=0.3, providers=list(CPU_PROVIDERS))
    frame = np.zeros((max(wh[1], 360), max(wh[0], 640), 3), np.uint8)
    frame[:360, :640] = render_frame([("ABC123", (120, 90, 240, 130)), ("XYZ789", (400, 200, 500, 234))])
    frame = np.ascontiguousarray(frame[: wh[1], : wh[0]])
    wanted = [
        (max(box.x1, 0), max(box.y1, 0), min(box.x2, wh[0]), min(box.y2, wh[1]), one.confidence)
        for one in library.predict(frame)
        for box in (one.bounding_box,)
    ]
    assert [(*box.xyxy, box.confidence) for box in mine.detect(frame)] == sorted(wanted, key=lambda row: -row[4])
    assert wanted


def test_the_digest_is_of_the_shape_that_ran(tmp_path: Path) -> None:
    """A wide frame is looked at by the wide detector of the same origin, a square one by the square one."""
    folder = write_toy_models(tmp_path)
    manifest, wide = (folder / "manifest.toml").read_text(), toy_detector(WIDE_WH)
    square_entry = manifest[: manifest.index("[[reader]]")]
    wide_entry = (
        square_entry.replace("toy-detector", "toy-wide")
        .replace("[384, 384]", f"[{WIDE_WH[0]}, {WIDE_WH[1]}]")
        .replace(hashlib.sha256(toy_detector()).hexdigest(), hashlib.sha256(wide).hexdigest())
        .replace(f"bytes = {len(toy_detector())}", f"bytes = {len(wide)}")
    )
    (folder / "manifest.toml").write_text(square_entry + wide_entry + manifest[len(square_entry) :])
    (folder / "toy-wide.onnx").write_bytes(wide)
    pipeline = Models().pipeline(VisionConfig(models=folder))
    square_digest, wide_digest = (hashlib.sha256(onnx).digest() for onnx in (toy_detector(), wide))
    assert pipeline.detector_digest == square_digest
    for number, (image, digest) in enumerate(
        [(render_frame([]), wide_digest), (np.zeros((400, 400, 3), np.uint8), square_digest)]
    ):
        pipeline.process(Frame("cam", number, STARTED_AT, float(number), Picture.of(image)))
        assert pipeline.detector_digest == digest
