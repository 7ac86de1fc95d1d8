"""Runs ONNX detectors and readers and compares them with labels. Needs no PyTorch.

Owns letterboxing, matching and counting; `evaluate` prints what is counted here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from .folders import ByteArray, FloatArray, Picture

MATCH_IOU = 0.5
PAD = 114
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
NIGHT_MEDIAN = 40  # grey level; darker pictures count as night, see `is_night`


def open_session(model: Path) -> onnxruntime.InferenceSession:
    """A session on one core, as the figures are given for."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def letterbox(image: ByteArray, size_wh: tuple[int, int]) -> tuple[FloatArray, float, tuple[float, float]]:
    """Fit a picture into an input, as open-image-models does.

    Args:
        image: uint8 (h, w, 3) BGR.
        size_wh: Width and height of the input, pixels.

    Returns:
        float32 (1, 3, height, width) RGB 0..1, input pixels per picture pixel, and the margins
        left and above in input pixels.
    """
    width, height = size_wh
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    dx, dy = (width - inner[0]) / 2, (height - inner[1]) / 2
    canvas = np.full((height, width, 3), PAD, np.uint8)
    left, top = round(dx - 0.1), round(dy - 0.1)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
    tensor = canvas[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    return np.ascontiguousarray(tensor), scale, (dx, dy)


class OnnxDetector:
    """A detector in the end-to-end contract, on one core."""

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)
        shape = self._session.get_inputs()[0].shape
        self._name, self.size_wh = (
            self._session.get_inputs()[0].name,
            (int(shape[3]), int(shape[2])),
        )

    def find(self, image: ByteArray) -> FloatArray:
        """Boxes of a picture, uint8 (h, w, 3) BGR: float32 (n, 5) x1, y1, x2, y2, score, best first."""
        tensor, scale, margins = letterbox(image, self.size_wh)
        rows = np.asarray(self._session.run(None, {self._name: tensor})[0])
        boxes = (rows[:, 1:5] - np.array([*margins, *margins], np.float32)) / scale
        found = np.column_stack([boxes, rows[:, 6]]).astype(np.float32)
        return found[np.argsort(-found[:, 4], kind="stable")]


class OnnxReader:
    """A reader in fast-plate-ocr's contract, on one core."""

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)
        self._name = self._session.get_inputs()[0].name

    def read(self, image: ByteArray, box: Sequence[float]) -> str:
        """The text in a box (x1, y1, x2, y2, pixels) of a picture, uint8 (h, w, 3) BGR."""
        height, width = image.shape[:2]
        x1, y1 = max(int(box[0]), 0), max(int(box[1]), 0)
        x2, y2 = min(int(box[2]), width), min(int(box[3]), height)
        if x2 <= x1 or y2 <= y1:
            return ""
        crop = cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_BGR2RGB)
        batch = cv2.resize(crop, (128, 64), interpolation=cv2.INTER_LINEAR)[None]
        raw = np.asarray(self._session.run(None, {self._name: batch})[0])
        slots = raw.reshape(-1, len(ALPHABET)).argmax(-1)
        return "".join(ALPHABET[i] for i in slots).rstrip("_")


def is_night(image: ByteArray) -> bool:
    """Night by brightness: the median grey level of the picture is below `NIGHT_MEDIAN` of 255."""
    return float(np.median(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))) < NIGHT_MEDIAN


def iou(box: Sequence[float], boxes: FloatArray) -> FloatArray:
    """Overlap of one box with many, float32 (n,)."""
    low = np.maximum(boxes[:, :2], np.asarray(box[:2]))
    high = np.minimum(boxes[:, 2:4], np.asarray(box[2:4]))
    inner = np.clip(high - low, 0, None).prod(1)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    own = (box[2] - box[0]) * (box[3] - box[1])
    return np.asarray(inner / (area + own - inner), np.float32)


@dataclass(slots=True)
class Tally:
    """Counts over plates and pictures."""

    pictures: int = 0
    plates: int = 0
    found: int = 0
    false_boxes: int = 0
    texts: int = 0
    exact: int = 0
    exact_true_box: int = 0

    def figures(self) -> dict[str, float | int]:
        """The counts and the shares made of them; shares of nothing are left out."""
        out: dict[str, float | int] = {"pictures": self.pictures, "plates": self.plates}
        if self.plates:
            out["recall"] = round(self.found / self.plates, 4)
        if self.pictures:
            out["false_per_picture"] = round(self.false_boxes / self.pictures, 4)
        if self.texts:
            out["exact"] = round(self.exact / self.texts, 4)
            out["exact_true_box"] = round(self.exact_true_box / self.texts, 4)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What the models said about one picture."""

    picture: Picture
    found: FloatArray
    night: bool
    reads: list[str] = field(default_factory=list)
    true_box_reads: list[str] = field(default_factory=list)


def observe(
    pictures: list[Picture], detector: OnnxDetector, reader: OnnxReader | None, *, threshold: float
) -> list[Observation]:
    """Run the models over pictures; plates with a text are read in the found and in the true box.

    Args:
        pictures: Labelled pictures.
        detector: Finds.
        reader: Reads, if given.
        threshold: Boxes below it are not read; all are kept in `Observation.found`.
    """
    seen = []
    for picture in pictures:
        image = picture.load_bgr()
        found = detector.find(image)
        reads, true_reads = [], []
        sure = found[found[:, 4] >= threshold]
        for box, text in zip(picture.boxes, picture.texts, strict=True):
            overlap = iou(box, sure)
            hit = bool(text) and reader is not None and len(sure) and overlap.max() >= MATCH_IOU
            reads.append(reader.read(image, sure[int(overlap.argmax())]) if reader and hit else "")
            true_reads.append(reader.read(image, box) if reader and text else "")
        seen.append(Observation(picture, found, is_night(image), reads, true_reads))
    return seen


def tally(
    seen: list[Observation],
    *,
    threshold: float,
    narrowest_px: float = 0,
    widest_px: float = 1e9,
    counts: Callable[[Observation], bool] = lambda _: True,
) -> Tally:
    """Count over observations.

    A false box touches no plate at all, however small. Each box finds one plate at most.

    Args:
        seen: From `observe`.
        threshold: Boxes below it do not exist.
        narrowest_px: Narrower plates are not counted.
        widest_px: Plates this wide or wider are not counted.
        counts: Which pictures to count.
    """
    total = Tally()
    for observation in filter(counts, seen):
        boxes = observation.found[observation.found[:, 4] >= threshold]
        plates = np.array(observation.picture.boxes, np.float32).reshape(-1, 4)
        total.pictures += 1
        free = np.ones(len(plates), bool)
        hit = np.zeros(len(plates), bool)
        for box in boxes:
            overlap = iou(box, plates) if len(plates) else np.zeros(1, np.float32)
            total.false_boxes += int(overlap.max() <= 0)
            overlap = overlap * free if len(plates) else overlap
            if overlap.max() >= MATCH_IOU:
                free[int(overlap.argmax())], hit[int(overlap.argmax())] = False, True
        for index, plate in enumerate(plates):
            if not narrowest_px <= plate[2] - plate[0] < widest_px:
                continue
            text = observation.picture.texts[index]
            total.plates, total.found = total.plates + 1, total.found + int(hit[index])
            if text:
                total.texts += 1
                total.exact += int(observation.reads[index] == text)
                total.exact_true_box += int(observation.true_box_reads[index] == text)
    return total


def time_models(models: list[Path], *, rounds: int = 60) -> dict[str, float]:
    """Milliseconds of one run on one core: the tenth percentile, which other load disturbs least.

    The models take turns, so that load hits all alike; the ratios are what to compare.
    """
    sessions = [(m, open_session(m)) for m in models]
    feeds = []
    for _, session in sessions:
        entry = session.get_inputs()[0]
        shape = [d if isinstance(d, int) else 1 for d in entry.shape]
        array = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        feeds.append({entry.name: array if "uint8" in entry.type else array.astype(np.float32) / 255})
    times: list[list[float]] = [[] for _ in sessions]
    for turn in range(rounds + 5):
        for index, (_, session) in enumerate(sessions):
            start = time.perf_counter()
            session.run(None, feeds[index])
            if turn >= 5:
                times[index].append((time.perf_counter() - start) * 1000)
    return {m.name: round(float(np.percentile(t, 10)), 3) for (m, _), t in zip(sessions, times, strict=True)}
