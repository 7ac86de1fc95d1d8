"""TOYS for tests: a detector and a reader made by code in seconds, and clips of plates that they can read.

They keep the contracts of the real models, so the tests run the real `OnnxDetector` and `OnnxReader`, offline and with
nothing but this repository. They know one thing: black letters of one OpenCV font on saturated yellow rectangles.

- `write_toy_models(dir)`: both models, the reader's YAML and a manifest.toml.
- `render_clip(path, texts)`: a clip and its truth file in the format of tools/make_clip.py.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from agent.records import Image

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # onnx and protobuf warn about each other when they load; tests turn that into errors
    import onnx
    from onnx import TensorProto, helper, numpy_helper

KEPT: Final = Path(__file__).parents[1] / "build" / "toys"
"""`make clean` removes it."""

FloatArray = npt.NDArray[np.float32]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
PAD = "_"
SLOTS = 9
TEXT_CHARS = 6
"""Every toy plate has six characters in cells of equal width."""
SIDE_PX = 384
PLATE_WH = (128, 64)
YELLOW_BGR = (0, 210, 250)
ROAD_BGR = (96, 92, 90)
WIDE_WH = (384, 224)
"""Input of a wide toy detector, for frames of `VIEW_WH`."""
VIEW_WH = (640, 360)

_OPSET = 17
_IR_VERSION = 9
_CELL_WH = (12, 24)
_HIDDEN = 1024
_SHARPNESS = 14.0
_YELLOW_COLUMN = 0.3
"""Least mean of red minus blue, as a share, in a column of a plate; the road has none."""


@dataclass(frozen=True)
class ToyClip:
    """A rendered clip.

    Attributes:
        clip, truth: The files.
        texts: What drives past, in order.
    """

    clip: Path
    truth: Path
    texts: tuple[str, ...]


def write_toy_models(directory: Path) -> Path:
    """Write `toy-detector.onnx`, `toy-reader.onnx`, its YAML and `manifest.toml` into `directory`, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    detector, reader, config = toy_detector(), toy_reader(), toy_reader_config()
    (directory / "toy-detector.onnx").write_bytes(detector)
    (directory / "toy-reader.onnx").write_bytes(reader)
    (directory / "toy-reader.yaml").write_bytes(config)
    (directory / "manifest.toml").write_text(
        f"""
[[detector]]
name = "toy-detector"
file = "toy-detector.onnx"
bytes = {len(detector)}
sha256 = "{hashlib.sha256(detector).hexdigest()}"
input_wh = [{SIDE_PX}, {SIDE_PX}]
colour = "rgb"
confidence = 0.5
licence = "Apache-2.0"
origin = "a toy of the tests"

[[reader]]
name = "toy-reader"
file = "toy-reader.onnx"
bytes = {len(reader)}
sha256 = "{hashlib.sha256(reader).hexdigest()}"
input_wh = [{PLATE_WH[0]}, {PLATE_WH[1]}]
colour = "rgb"
alphabet = "{ALPHABET}"
slots = {SLOTS}
licence = "Apache-2.0"
origin = "a toy of the tests"

[reader.config]
file = "toy-reader.yaml"
sha256 = "{hashlib.sha256(config).hexdigest()}"
"""
    )
    return directory


@functools.cache
def toy_detector(input_wh: tuple[int, int] = (SIDE_PX, SIDE_PX)) -> bytes:
    """Return an ONNX model that finds the one yellow rectangle of a picture: rows [0, x1, y1, x2, y2, 0, 0.9].

    Args:
        input_wh: Width and height that it takes, pixels.
    """
    constants = [
        _constant("limits", np.array([0.55, 0.45, 0.35], np.float32).reshape(1, 3, 1, 1)),
        _constant("signs", np.array([1, 1, -1], np.float32).reshape(1, 3, 1, 1)),
        _constant("zero", np.zeros((), np.float32)),
        _constant("solid", np.array(0.85, np.float32)),
        _constant("x_places", np.arange(input_wh[0], dtype=np.float32)),
        _constant("y_places", np.arange(input_wh[1], dtype=np.float32)),
        _constant("far", np.array(1e6, np.float32)),
        _constant("near", np.array(-1e6, np.float32)),
        _constant("one", np.ones((), np.float32)),
        _constant("flat", np.array([1], np.int64)),
        _constant("row", np.array([1, 7], np.int64)),
        _constant("head", np.zeros(1, np.float32)),
        _constant("tail", np.array([0.0, 0.9], np.float32)),
    ]
    nodes = [
        # Yellow: red and green above their limit, blue below its own, all three at once.
        helper.make_node("Sub", ["images", "limits"], ["over"]),
        helper.make_node("Mul", ["over", "signs"], ["signed"]),
        helper.make_node("ReduceMin", ["signed"], ["least"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["least", "zero"], ["is_yellow"]),
        helper.make_node("Cast", ["is_yellow"], ["yellow"], to=TensorProto.FLOAT),
        # Specks of compression are dropped: a 3x3 neighbourhood must be nearly all yellow.
        helper.make_node("AveragePool", ["yellow"], ["mean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Greater", ["mean", "solid"], ["is_solid"]),
        helper.make_node("Cast", ["is_solid"], ["solid_mask"], to=TensorProto.FLOAT),
    ]
    for name, axes in (("x", [0, 1, 2]), ("y", [0, 1, 3])):
        nodes += [
            helper.make_node("ReduceMax", ["solid_mask"], [f"{name}_max"], axes=axes, keepdims=0),
            helper.make_node("Greater", [f"{name}_max", "zero"], [f"{name}_any"]),
            helper.make_node("Where", [f"{name}_any", f"{name}_places", "far"], [f"{name}_low"]),
            helper.make_node("Where", [f"{name}_any", f"{name}_places", "near"], [f"{name}_high"]),
            helper.make_node("ReduceMin", [f"{name}_low"], [f"{name}_first"], axes=[0], keepdims=1),
            helper.make_node("ReduceMax", [f"{name}_high"], [f"{name}_last"], axes=[0], keepdims=1),
            # The 3x3 neighbourhood took a pixel off each side.
            helper.make_node("Sub", [f"{name}_first", "one"], [f"{name}1"]),
            helper.make_node("Add", [f"{name}_last", "one"], [f"{name}_end"]),
            helper.make_node("Add", [f"{name}_end", "one"], [f"{name}2"]),
        ]
    nodes += [
        helper.make_node("Concat", ["head", "x1", "y1", "x2", "y2", "tail"], ["values"], axis=0),
        helper.make_node("Reshape", ["values", "row"], ["rows"]),
        helper.make_node("ReduceMax", ["solid_mask"], ["peak"], keepdims=0),
        helper.make_node("Reshape", ["peak", "flat"], ["peak_flat"]),
        helper.make_node("Greater", ["peak_flat", "zero"], ["found"]),
        helper.make_node("Compress", ["rows", "found"], ["output0"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "toy_detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, input_wh[1], input_wh[0]])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 7])],
        constants,
    )
    return _serialise(graph)


@functools.cache
def toy_reader() -> bytes:
    """Return an ONNX model that reads six cells of one font: uint8 [n, 64, 128, 3] in, float32 [n, 9, 37] out.

    Fitting it takes 3 s of processor time: the processes of a run share one.
    """
    return _kept("toy-reader", _make_reader)


def _kept(name: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` gives, from the file that it was kept in; made once for each version of this module."""
    version = "\n".join((np.__version__, cv2.__version__, onnx.__version__, Path(__file__).read_text()))
    path = KEPT / f"{name}-{hashlib.sha256(version.encode()).hexdigest()[:16]}.onnx"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits for the first, and takes its file
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(make())
            part.replace(path)
        return path.read_bytes()


def _make_reader() -> bytes:
    projection, offset, weights = _fit()
    padding = np.zeros((1, SLOTS - TEXT_CHARS, len(ALPHABET)), np.float32)
    padding[:, :, ALPHABET.index(PAD)] = 1.0
    width, height = _CELL_WH
    constants = [
        _constant("projection", projection),
        _constant("offset", offset),
        _constant("weights", weights),
        _constant("sharpness", np.array(_SHARPNESS, np.float32)),
        _constant("padding", padding),
        _constant("full", np.array(255.0, np.float32)),
        _constant("red_less_blue", np.array([1, 0, -1], np.float32)),
        _constant("yellow_column", np.array(_YELLOW_COLUMN, np.float32)),
        _constant("places", np.arange(PLATE_WH[0], dtype=np.float32)),
        _constant("none_low", np.array(PLATE_WH[0], np.float32)),
        _constant("none_high", np.array(-1, np.float32)),
        _constant("one", np.ones((), np.float32)),
        _constant("steps", ((np.arange(width * TEXT_CHARS) + 0.5) / (width * TEXT_CHARS)).astype(np.float32)),
        _constant("to_grid", np.array(2 / PLATE_WH[0], np.float32)),
        _constant("grid_shape", np.array([0, 1, width * TEXT_CHARS, 1], np.int64)),
        _constant("rows", np.linspace(-1, 1, 2 * height + 1, dtype=np.float32)[1::2].reshape(1, height, 1, 1)),
        _constant("no_rows", np.zeros((1, height, 1, 1), np.float32)),
        _constant("no_grid", np.zeros((), np.float32)),
        _constant("last_axis", np.array([3], np.int64)),
        _constant("cells", np.array([0, height, TEXT_CHARS, width], np.int64)),
        _constant("flat", np.array([0, TEXT_CHARS, height * width], np.int64)),
        _constant("epsilon", np.array(0.05, np.float32)),
        _constant("tail", np.array([SLOTS - TEXT_CHARS, len(ALPHABET)], np.int64)),
        _constant("channels", np.array([1], np.int64)),
    ]
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "full"], ["shares"]),
        # From the first to the last yellow column, whatever margin the crop has, as `_extent` does.
        helper.make_node("Mul", ["shares", "red_less_blue"], ["coloured"]),
        helper.make_node("ReduceSum", ["coloured", "last_axis"], ["yellowness"], keepdims=0),
        helper.make_node("ReduceMean", ["yellowness"], ["columns"], axes=[1], keepdims=0),
        helper.make_node("Greater", ["columns", "yellow_column"], ["is_plate"]),
        helper.make_node("Where", ["is_plate", "places", "none_low"], ["lows"]),
        helper.make_node("Where", ["is_plate", "places", "none_high"], ["highs"]),
        helper.make_node("ReduceMin", ["lows"], ["first"], axes=[1], keepdims=1),
        helper.make_node("ReduceMax", ["highs"], ["last"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["last", "first"], ["between"]),
        helper.make_node("Add", ["between", "one"], ["extent"]),
        helper.make_node("Mul", ["extent", "steps"], ["from_first"]),
        helper.make_node("Add", ["first", "from_first"], ["at"]),
        helper.make_node("Mul", ["at", "to_grid"], ["doubled"]),
        helper.make_node("Sub", ["doubled", "one"], ["x_flat"]),
        helper.make_node("Reshape", ["x_flat", "grid_shape"], ["x_row"]),
        helper.make_node("Add", ["x_row", "no_rows"], ["x_grid"]),
        helper.make_node("Mul", ["x_grid", "no_grid"], ["nothing"]),
        helper.make_node("Add", ["nothing", "rows"], ["y_grid"]),
        helper.make_node("Concat", ["x_grid", "y_grid"], ["grid"], axis=3),
        # Grey as [n, 1, 64, 128], then averaged down to cells of 12x24.
        helper.make_node("ReduceMean", ["shares"], ["grey"], axes=[3], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "channels"], ["image"]),
        helper.make_node("GridSample", ["image", "grid"], ["small"], mode="bilinear", padding_mode="border"),
        helper.make_node("Squeeze", ["small", "channels"], ["plane"]),
        helper.make_node("Reshape", ["plane", "cells"], ["split"]),
        helper.make_node("Transpose", ["split"], ["ordered"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["ordered", "flat"], ["features"]),
        *_normalise_nodes(),
        helper.make_node("MatMul", ["normal", "projection"], ["projected"]),
        helper.make_node("Add", ["projected", "offset"], ["moved"]),
        helper.make_node("Relu", ["moved"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "weights"], ["scores"]),
        helper.make_node("Mul", ["scores", "sharpness"], ["sharp"]),
        helper.make_node("Softmax", ["sharp"], ["shares_out"], axis=2),
        helper.make_node("Shape", ["shares_out"], ["batch"], end=1),
        helper.make_node("Concat", ["batch", "tail"], ["tail_shape"], axis=0),
        helper.make_node("Expand", ["padding", "tail_shape"], ["tails"]),
        helper.make_node("Concat", ["shares_out", "tails"], ["plate"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "toy_reader",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["n", PLATE_WH[1], PLATE_WH[0], 3])],
        [helper.make_tensor_value_info("plate", TensorProto.FLOAT, ["n", SLOTS, len(ALPHABET)])],
        constants,
    )
    return _serialise(graph)


def toy_reader_config() -> bytes:
    """Return the reader's YAML."""
    return (
        f'max_plate_slots: {SLOTS}\nalphabet: "{ALPHABET}"\npad_char: "{PAD}"\nimg_height: {PLATE_WH[1]}\n'
        f"img_width: {PLATE_WH[0]}\nkeep_aspect_ratio: false\ninterpolation: linear\nimage_color_mode: rgb\n"
    ).encode()


def render_plate(text: str, *, width_px: int, height_px: int) -> Image:
    """Render a plate of six characters: uint8, shape (height, width, 3), BGR."""
    assert len(text) == TEXT_CHARS, "toy plates have six characters"
    scale = 2
    width, height = PLATE_WH[0] * scale, PLATE_WH[1] * scale
    plate = _blank(width, height).copy()
    margin_x, margin_y = width // 16, height // 8
    cell_w = (width - 2 * margin_x) // TEXT_CHARS
    for place, character in enumerate(text):
        glyph = _glyph(character, cell_w - cell_w // 6, height - 2 * margin_y)
        left = margin_x + place * cell_w + cell_w // 12
        window = plate[margin_y : margin_y + glyph.shape[0], left : left + glyph.shape[1]]
        window[glyph > 127] = (0, 0, 0)
    small: Image = cv2.resize(plate, (width_px, height_px), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small


def render_frame(plates: Sequence[tuple[str, tuple[int, int, int, int]]], *, seed: int = 0) -> Image:
    """Render one 640x360 frame with plates: [(text, (x1, y1, x2, y2))], boxes inside the frame."""
    frame = _road().copy()
    for text, (x1, y1, x2, y2) in plates:
        frame[y1:y2, x1:x2] = render_plate(text, width_px=x2 - x1, height_px=y2 - y1)
    # One field of noise, shifted: new noise for every frame would take longer than all the rest.
    noisy: Image = np.clip(frame + np.roll(_noise(), 7919 * seed), 0, 255).astype(np.uint8)
    return noisy


def render_clip(
    path: Path,
    texts: Sequence[str],
    *,
    fps: float = 15.0,
    frames_a_pass: int = 12,
    frames_between: int = 15,
    seed: int = 1,
) -> ToyClip:
    """Render vehicles that drive past one after the other, approaching, with an empty road in between.

    Args:
        path: The clip, .mp4 or .avi; the truth lies beside it as NAME.truth.json.
        texts: One per vehicle, six characters each.
        fps: Frames per second.
        frames_a_pass: Frames in which a plate is in view.
        frames_between: Empty frames before, between and after; keep it above the tracker's longest gap.
        seed: Of position and noise.
    """
    rng = np.random.default_rng(seed)
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, VIEW_WH)
    assert video.isOpened(), "this build of OpenCV writes no video"
    index = itertools.count()
    passes: list[dict[str, Any]] = []
    for text in texts:
        for _ in range(frames_between):
            video.write(render_frame([], seed=next(index)))
        start, slide = int(rng.integers(40, 140)), int(rng.integers(8, 15))
        boxes = {}
        for step in range(frames_a_pass):
            width = 110 + 5 * step
            x1, y1 = start + slide * step, 90 + 8 * step
            box = (x1, y1, x1 + width, y1 + width // 3)
            frame = next(index)
            video.write(render_frame([(text, box)], seed=frame))
            boxes[str(frame)] = [float(side) for side in box]
        first, *_, last = (int(frame) for frame in boxes)
        passes.append({"text": text, "first": first, "last": last, "boxes": boxes})
    for _ in range(frames_between):
        video.write(render_frame([], seed=next(index)))
    video.release()
    truth = path.with_suffix(".truth.json")
    truth.write_text(json.dumps({"fps": fps, "frames": next(index), "passes": passes}))
    return ToyClip(path, truth, tuple(texts))


def random_texts(count: int, *, seed: int = 7) -> list[str]:
    """Return different texts of six characters without O and I, which this font draws like 0 and 1."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"))
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts["".join(rng.choice(letters, TEXT_CHARS))] = None
    return list(texts)


def _normalise_nodes() -> list[Any]:
    """Each cell to mean 0 and spread 1, as `_normalise` does."""
    return [
        helper.make_node("ReduceMean", ["features"], ["middle"], axes=[2], keepdims=1),
        helper.make_node("Sub", ["features", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["squared"]),
        helper.make_node("ReduceMean", ["squared"], ["variance"], axes=[2], keepdims=1),
        helper.make_node("Sqrt", ["variance"], ["spread"]),
        helper.make_node("Add", ["spread", "epsilon"], ["spread_safe"]),
        helper.make_node("Div", ["centred", "spread_safe"], ["normal"]),
    ]


def _fit() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit the reader: a random layer, then least squares on rendered plates."""
    rng = np.random.default_rng(3)
    features, labels = _training_set(rng)
    width, height = _CELL_WH
    projection = (rng.normal(size=(width * height, _HIDDEN)) / np.sqrt(width * height)).astype(np.float32)
    offset = rng.normal(scale=0.3, size=_HIDDEN).astype(np.float32)
    hidden = np.maximum(features @ projection + offset, 0.0)
    targets = np.eye(len(ALPHABET), dtype=np.float32)[labels]
    ridge = hidden.T @ hidden + 1e-4 * len(hidden) * np.eye(_HIDDEN, dtype=np.float32)
    weights = np.linalg.solve(ridge, hidden.T @ targets).astype(np.float32)
    return projection, offset, weights


def _training_set(rng: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    features, labels = [], []
    for text in random_texts(1500, seed=11):
        width = int(rng.integers(90, 190))
        height = max(width // 3 + int(rng.integers(-2, 3)), 8)
        plate = render_plate(text, width_px=width, height_px=height)
        features.append(_cells(_shaken(plate, rng)))
        labels += [ALPHABET.index(character) for character in text]
    return np.concatenate(features), np.array(labels)


def _shaken(plate: Image, rng: np.random.Generator) -> Image:
    """What detection and compression do to a plate: a border or a cut of two pixels, blur, noise, JPEG."""
    height, width = plate.shape[:2]
    framed = cv2.copyMakeBorder(plate, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=ROAD_BGR)
    x1, y1 = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    x2, y2 = width + int(rng.integers(1, 6)), height + int(rng.integers(1, 6))
    crop = framed[y1:y2, x1:x2]
    if rng.random() < 0.5:
        crop = cv2.GaussianBlur(crop, (3, 3), 0.7)
    noisy = np.clip(crop.astype(np.float32) + rng.normal(0, 3, crop.shape), 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 95))])
    shaken: Image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return shaken


def _cells(crop: Image) -> FloatArray:
    """Do as the ONNX graph does up to the features: float32, shape (6, 288)."""
    plate = cv2.cvtColor(cv2.resize(crop, PLATE_WH, interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)
    shares = plate.astype(np.float32) / 255.0
    width, height = _CELL_WH
    first, extent = _extent(shares)
    x = first + extent * (np.arange(width * TEXT_CHARS) + 0.5) / (width * TEXT_CHARS) - 0.5
    y = PLATE_WH[1] * (np.arange(height) + 0.5) / height - 0.5
    at_x, at_y = (grid.astype(np.float32) for grid in np.meshgrid(x, y))
    small = cv2.remap(shares.mean(axis=2), at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cells = small.reshape(height, TEXT_CHARS, width).transpose(1, 0, 2).reshape(TEXT_CHARS, -1)
    centred = cells - cells.mean(axis=1, keepdims=True)
    normal: FloatArray = (centred / (np.sqrt((centred**2).mean(axis=1, keepdims=True)) + 0.05)).astype(np.float32)
    return normal


def _extent(shares: FloatArray) -> tuple[int, int]:
    """Find where a plate begins in a crop, RGB shares, and how wide it is, pixels."""
    (columns,) = np.nonzero((shares[..., 0] - shares[..., 2]).mean(axis=0) > _YELLOW_COLUMN)
    return int(columns[0]), int(columns[-1] - columns[0] + 1)


@functools.cache
def _blank(width: int, height: int) -> Image:
    """Return a plate without characters."""
    return np.full((height, width, 3), YELLOW_BGR, np.uint8)


@functools.cache
def _glyph(character: str, width: int, height: int) -> Image:
    """Draw one character, stretched to its cell: uint8, shape (height, width), 255 where ink is."""
    canvas = np.zeros((160, 160), np.uint8)
    cv2.putText(canvas, character, (40, 110), cv2.FONT_HERSHEY_DUPLEX, 3.0, (255,), 8, cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(canvas)
    ink = canvas[y : y + h, x : x + w]
    wide = width if w > h * 0.3 else max(width // 3, 1)  # the 1 and I stay narrow
    drawn = cv2.resize(ink, (wide, height), interpolation=cv2.INTER_AREA)
    cell = np.zeros((height, width), np.uint8)
    left = (width - wide) // 2
    cell[:, left : left + wide] = drawn
    return cell


@functools.cache
def _road() -> npt.NDArray[np.int16]:
    """Return the empty road: int16, shape (360, 640, 3)."""
    return np.full((VIEW_WH[1], VIEW_WH[0], 3), ROAD_BGR, np.int16)


@functools.cache
def _noise() -> npt.NDArray[np.int16]:
    """Sensor noise, grey: int16, shape (360, 640, 1)."""
    return np.random.default_rng(0).normal(0, 2.0, (VIEW_WH[1], VIEW_WH[0], 1)).round().astype(np.int16)


def _constant(name: str, values: npt.NDArray[Any]) -> Any:
    return numpy_helper.from_array(values, name)


def _serialise(graph: Any) -> bytes:
    model = helper.make_model(
        graph, producer_name="plateseal tests, a toy", opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
