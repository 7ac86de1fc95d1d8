"""The adapters to onnxruntime: contracts, failures, and what the libraries would swallow."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agent.errors import InferenceError, ModelMismatchError
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import CheckedModel, ReaderEntry, open_library
from agent.vision.reader import MAX_BATCH, OnnxReader
from tests.toy_models import (
    ALPHABET,
    WIDE_WH,
    render_frame,
    render_plate,
    toy_detector,
    toy_reader,
    toy_reader_config,
    write_toy_models,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # onnx and protobuf warn about each other when they load
    from onnx import TensorProto, helper, numpy_helper

SIDE = 32


def _checked(onnx: bytes, config: bytes = b"") -> CheckedModel:
    return CheckedModel(name="toy", onnx=onnx, config=config, digest=hashlib.sha256(onnx).digest())


def _constant_detector(
    rows: object, *, input_shape: tuple[int, ...] = (1, 3, SIDE, SIDE), input_type: int = TensorProto.FLOAT
) -> bytes:
    """Return a model that answers the same rows to every picture."""
    values = np.array(rows, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["rows"], ["output0"])],
        "constant",
        [helper.make_tensor_value_info("images", input_type, list(input_shape))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(values.shape))],
        [numpy_helper.from_array(values, "rows")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def _detector(onnx: bytes, *, confidence: float = 0.5) -> OnnxDetector:
    return OnnxDetector(_checked(onnx), input_wh=(SIDE, SIDE), confidence=confidence)


def _row(x1: float, y1: float, x2: float, y2: float, score: float = 0.9) -> list[float]:
    return [0.0, x1, y1, x2, y2, 0.0, score]


BAD_DETECTORS = [
    ("no ONNX", b"hello", "cannot be loaded"),
    ("empty", b"", "cannot be loaded"),
    ("truncated", toy_detector()[:500], "cannot be loaded"),
    (
        "another size",
        _constant_detector([_row(0, 0, 9, 9)], input_shape=(1, 3, 64, 64)),
        r"the contract is .* 32, 32\]",
    ),
    ("not square", _constant_detector([_row(0, 0, 9, 9)], input_shape=(1, 3, 32, 64)), r"the contract is .* 32, 32\]"),
    ("another type", _constant_detector([_row(0, 0, 9, 9)], input_type=TensorProto.UINT8), "takes tensor.uint8."),
    ("six numbers a row", _constant_detector([[0.0] * 6]), r"contract is tensor\(float\) \[n, 7\]"),
    ("a score of 7", _constant_detector([_row(0, 0, 9, 9, 7.0)]), r"score outside 0\.\.1 .*at load"),
    ("not finite", _constant_detector([_row(0, float("nan"), 9, 9)]), "not finite .*at load"),
]


@pytest.mark.parametrize(("onnx", "message"), [row[1:] for row in BAD_DETECTORS], ids=[row[0] for row in BAD_DETECTORS])
def test_a_detector_outside_the_contract_is_refused_at_load(
    onnx: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The fault is named, by the model's name, and nothing is printed."""
    with pytest.raises(ModelMismatchError, match=message) as caught:
        _detector(onnx)
    assert "detector toy" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_boxes_are_clipped_sorted_and_never_empty() -> None:
    """Outside, inverted and empty boxes go; the rest is cut to the frame, surest first."""
    rows = [
        _row(-5, -5, 10, 10, 0.6),
        _row(5, 5, 200, 20, 0.8),
        _row(40, 40, 60, 60),
        _row(9, 9, 3, 3),
        _row(4, 4, 4, 9),
    ]
    found = _detector(_constant_detector(rows)).detect(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert [(box.xyxy, round(box.confidence, 3)) for box in found] == [((5, 5, 32, 20), 0.8), ((0, 0, 10, 10), 0.6)]


def test_boxes_below_the_threshold_are_left_out() -> None:
    """The threshold is the caller's."""
    rows = [_row(0, 0, 9, 9, 0.6), _row(0, 0, 9, 9, 0.8)]
    assert len(_detector(_constant_detector(rows), confidence=0.7).detect(np.zeros((SIDE, SIDE, 3), np.uint8))) == 1


@pytest.mark.parametrize("input_wh", [(384, 384), WIDE_WH])
@pytest.mark.parametrize("wh", [(1, 1), (1, 16384), (16384, 1), (3, 2000), (640, 360)])
def test_frames_of_every_shape_are_taken(wh: tuple[int, int], input_wh: tuple[int, int]) -> None:
    """A frame too thin to have a plate has none; nothing crashes."""
    found = OnnxDetector(_checked(toy_detector(input_wh)), input_wh=input_wh, confidence=0.5).detect(
        np.full((wh[1], wh[0], 3), 90, np.uint8)
    )
    assert found == []


@pytest.mark.parametrize(
    ("onnx", "message"),
    [
        (toy_detector(), r"the contract is .* 224, 384\]"),
        (toy_detector(WIDE_WH[::-1]), r"the contract is .* 224, 384\]"),
        (b"hello", "cannot be loaded"),
    ],
    ids=["square", "tall", "no ONNX"],
)
def test_a_wide_detector_outside_the_contract_is_refused_at_load(onnx: bytes, message: str) -> None:
    """A file of another shape than the manifest names, or none."""
    with pytest.raises(ModelMismatchError, match=message):
        OnnxDetector(_checked(onnx), input_wh=WIDE_WH, confidence=0.5)


@pytest.mark.parametrize("input_wh", [(384, 384), WIDE_WH])
def test_a_failed_inference_surfaces(input_wh: tuple[int, int]) -> None:
    """The library logs and answers "no plate"; a dead detector must not look like an empty road."""
    detector = OnnxDetector(_checked(toy_detector(input_wh)), input_wh=input_wh, confidence=0.5)

    class Broken:
        def run(self, *_: Any) -> list[Any]:
            raise RuntimeError("out of memory\nwith details")

    detector._session = Broken()
    with pytest.raises(InferenceError, match="detector toy: inference failed: out of memory$"):
        detector.detect(render_frame([]))


def test_a_detector_recovers_after_a_failure() -> None:
    """One bad run does not poison the next."""
    detector = OnnxDetector(_checked(toy_detector()), input_wh=(384, 384), confidence=0.5)
    working = detector._session

    class Wrong:
        def run(self, *_: Any) -> list[Any]:
            return [np.full((1, 7), np.inf, np.float32)]

    detector._session = Wrong()
    with pytest.raises(InferenceError, match="not finite"):
        detector.detect(render_frame([]))
    detector._session = working
    assert len(detector.detect(render_frame([("ABC123", (200, 120, 320, 160))]))) == 1


def _entry(tmp_path: Path, **changes: object) -> ReaderEntry:
    entry = open_library(write_toy_models(tmp_path)).reader()
    return entry.model_copy(update=changes)


BAD_READERS: list[tuple[str, Callable[[], bytes], bytes, dict[str, object], str]] = [
    ("no ONNX", lambda: b"hello", toy_reader_config(), {}, "cannot be loaded"),
    ("no YAML", toy_reader, b"[: no", {}, "cannot be loaded"),
    ("unknown key in the YAML", toy_reader, toy_reader_config() + b"exec: rm\n", {}, "cannot be loaded"),
    ("alphabet", toy_reader, toy_reader_config(), {"alphabet": "AB_"}, "alphabet is .* in its YAML"),
    ("slots", toy_reader, toy_reader_config(), {"slots": 10}, "slots is 9 in its YAML, 10 in the manifest"),
    ("colour", toy_reader, toy_reader_config(), {"colour": "grayscale"}, "colour is 'rgb'"),
    ("input size", toy_reader, toy_reader_config(), {"input_wh": (140, 70)}, "input is"),
    (
        "another model",
        lambda: _constant_detector([_row(0, 0, 9, 9)]),
        toy_reader_config(),
        {},
        r"takes images .* the contract is input tensor\(uint8\)",
    ),
    (
        "slots of the model",
        toy_reader,
        toy_reader_config().replace(b"max_plate_slots: 9", b"max_plate_slots: 10"),
        {"slots": 10},
        "returns .* the contract is",
    ),
    ("padding", toy_reader, toy_reader_config().replace(b'pad_char: "_"', b'pad_char: "-"'), {}, "padding character"),
]


@pytest.mark.parametrize(
    ("onnx", "config", "changes", "message"), [row[1:] for row in BAD_READERS], ids=[row[0] for row in BAD_READERS]
)
def test_a_reader_outside_the_contract_is_refused_at_load(
    onnx: Callable[[], bytes], config: bytes, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    """Manifest, YAML and model must say the same; the fault is named."""
    with pytest.raises(ModelMismatchError, match=message) as caught:
        OnnxReader(_checked(onnx(), config), _entry(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_more_crops_than_a_batch_are_all_read(tmp_path: Path) -> None:
    """Batches are cut and joined in order."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path))
    crops = [render_plate(text, width_px=120, height_px=40) for text in ("ABC123", "XYZ789")] * (MAX_BATCH // 2 + 1)
    assert [found.text for found in reader.read(crops)] == ["ABC123", "XYZ789"] * (MAX_BATCH // 2 + 1)


def test_padding_is_left_out_wherever_it_stands(tmp_path: Path) -> None:
    """A pad between characters is no character; its confidence goes with it."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path))

    text = reader._text(_shares("A_B______", (0.9, 0.5, 0.7, 1, 1, 1, 1, 1, 1)), None)
    assert text.text == "AB"
    assert text.confidences == pytest.approx((0.9, 0.7))


@pytest.mark.parametrize("share", [float("nan"), 1.5, -0.5])
def test_a_confidence_outside_0_to_1_is_an_error(share: float, tmp_path: Path) -> None:
    """Logits instead of probabilities would pass every threshold."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path))

    with pytest.raises(InferenceError, match=r"outside 0\.\.1"):
        reader._text(_shares("A", (share,)), None)


def test_look_alikes_are_told_with_their_shares(tmp_path: Path) -> None:
    """Of a character that others look like, the reader says how likely each is; of others nothing."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path))
    shares = _shares("OA", (0.6, 0.9))
    shares[0, ALPHABET.index("0")] = 0.3
    assert reader._text(shares, None).look_alikes == (
        {"O": pytest.approx(0.6), "0": pytest.approx(0.3), "D": 0.0, "Q": 0.0},
        {},
    )


def _shares(text: str, shares: Sequence[float]) -> npt.NDArray[np.float64]:
    found = np.zeros((len(text), len(ALPHABET)))
    for slot, char, share in zip(found, text, shares, strict=True):
        slot[ALPHABET.index(char)] = share
    return found


def test_a_readers_failure_carries_no_text(tmp_path: Path) -> None:
    """Errors name the model and the cause only."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path))
    with pytest.raises(InferenceError, match="reader toy: inference failed"):
        reader.read([np.zeros((0, 0, 3), np.uint8)])


def _two_characters(first: float, second: float, rest: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Shares of nine slots: A, B and C in the first as given; padding in the others."""
    shares = np.zeros((1, 9, len(ALPHABET)), np.float32)
    shares[0, 0, ALPHABET.index("A")], shares[0, 0, ALPHABET.index("B")] = first, second
    shares[0, 0, ALPHABET.index("C")] = rest
    shares[0, 1:, ALPHABET.index("_")] = 1.0
    return shares


class _Says:
    """A session that always says the same."""

    def __init__(self, shares: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        self._shares = shares

    def run(self, *_: Any) -> list[Any]:
        return [self._shares.reshape(1, -1)]


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, 0.64), (2.0, 0.8 / (0.8 + 0.4 + math.sqrt(0.2))), (0.5, 0.64**2 / (0.64**2 + 0.16**2 + 0.2**2))],
)
def test_a_temperature_changes_how_sure_a_text_is_and_never_the_text(
    temperature: float, expected: float, tmp_path: Path
) -> None:
    """A confidence becomes its 1/temperature-th power among those of its slot; padding stays sure."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path, temperature=temperature))
    reader._library.model = _Says(_two_characters(0.64, 0.16, 0.2))
    (found,) = reader.read([render_plate("ABC123", width_px=120, height_px=40)])
    assert found.text == "A"
    assert list(found.confidences) == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize("wrong", [1.5, float("nan")])
def test_a_temperature_hides_no_share_outside_0_to_1(wrong: float, tmp_path: Path) -> None:
    """Made to sum to 1, logits would look like shares."""
    reader = OnnxReader(_checked(toy_reader(), toy_reader_config()), _entry(tmp_path, temperature=2.0))
    shares = np.full((1, 9, len(ALPHABET)), 0.1, np.float32)
    shares[:, :, 3] = wrong
    reader._library.model = _Says(shares)
    with pytest.raises(InferenceError, match=r"outside 0\.\.1"):
        reader.read([render_plate("ABC123", width_px=120, height_px=40)])
