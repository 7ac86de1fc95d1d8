"""Runs detectors and readers over labelled pictures and counts what they get right. Needs no PyTorch.

The models run in the classes of `agent.vision`, so what is counted is what users get. Owns matching
and counting; `evaluate` prints it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from fast_plate_ocr.inference.config import PlateConfig

from agent.errors import ModelMissingError
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import CheckedModel, ReaderEntry
from agent.vision.reader import OnnxReader
from agent.vision.session import CPU_PROVIDERS, session_options

from .folders import ByteArray, FloatArray, Picture

MATCH_IOU = 0.5
NIGHT_MEDIAN = 40  # grey level; darker pictures count as night, see `is_night`
ROUNDS, WARM_ROUNDS = 60, 5  # of the latency measurement


def open_session(model: Path) -> onnxruntime.InferenceSession:
    """A session on one core, as the agent's."""
    if not model.is_file():
        raise ModelMissingError(f"{model}: no such model")
    return onnxruntime.InferenceSession(str(model), session_options(1), providers=list(CPU_PROVIDERS))


def _checked(model: Path, config: bytes) -> CheckedModel:
    """A model file as the agent loads it, without a manifest's digest."""
    onnx = model.read_bytes()
    return CheckedModel(name=model.stem, onnx=onnx, config=config, digest=hashlib.sha256(onnx).digest())


def open_detector(model: Path) -> OnnxDetector:
    """The agent's detector on an ONNX file, on one core, with every box that leaves the graph.

    Raises:
        ModelError: The file is missing or is no detector of the end-to-end contract.
    """
    shape = open_session(model).get_inputs()[0].shape
    return OnnxDetector(_checked(model, b""), input_wh=(int(shape[3]), int(shape[2])), confidence=0.0)


def config_file(reader: Path) -> Path:
    """The YAML beside a reader's ONNX file; int8 shares the float32 file's.

    Raises:
        ModelMissingError: There is none.
    """
    stem = reader.stem
    names = (f"{stem}.yaml", f"{stem.removesuffix('-int8')}.yaml", f"{stem}_plate_config.yaml")
    for name in names:
        if reader.with_name(name).is_file():
            return reader.with_name(name)
    raise ModelMissingError(f"{reader}: no configuration beside it; it may be called {' or '.join(names)}")


def open_reader(model: Path, *, temperature: float = 1.0) -> OnnxReader:
    """The agent's reader on an ONNX file, on one core, with its confidences cooled by `temperature`.

    Raises:
        ModelError: A file is missing, or is no reader of fast-plate-ocr's contract.
    """
    if not model.is_file():
        raise ModelMissingError(f"{model}: no such model")
    beside = config_file(model)
    config, digest = PlateConfig.from_yaml(beside), "0" * 64
    entry = ReaderEntry.model_validate(
        {
            "name": model.stem.lower(),
            "file": model.name,
            "sha256": digest,
            "input_wh": (config.img_width, config.img_height),
            "colour": config.image_color_mode,
            "alphabet": config.alphabet,
            "slots": config.max_plate_slots,
            "temperature": temperature,
            "licence": "unknown",
            "origin": "a file",
            "config": {"file": beside.name, "sha256": digest},
        }
    )
    return OnnxReader(_checked(model, beside.read_bytes()), entry)


def find_boxes(detector: OnnxDetector, image: ByteArray) -> FloatArray:
    """Boxes of a picture, uint8 (h, w, 3) BGR: float32 (n, 5) x1, y1, x2, y2, score, best first."""
    rows = [(box.x1, box.y1, box.x2, box.y2, box.confidence) for box in detector.detect(image)]
    return np.array(rows, np.float32).reshape(-1, 5)


def read_box(reader: OnnxReader, image: ByteArray, box: Sequence[float]) -> str:
    """The text in a box (x1, y1, x2, y2, pixels) of a picture, uint8 (h, w, 3) BGR; cut as the pipeline cuts."""
    height, width = image.shape[:2]
    x1, y1 = max(int(box[0]), 0), max(int(box[1]), 0)
    x2, y2 = min(int(box[2]), width), min(int(box[3]), height)
    if x2 <= x1 or y2 <= y1:
        return ""
    return reader.read([np.ascontiguousarray(image[y1:y2, x1:x2])])[0].text


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
    """Counts over plates and pictures.

    A false box touches no plate; one that touches only plates that the labels leave out is counted apart.
    """

    pictures: int = 0
    plates: int = 0
    found: int = 0
    false_boxes: int = 0
    unlabelled_boxes: int = 0
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
            if self.unlabelled_boxes:
                out["unlabelled_per_picture"] = round(self.unlabelled_boxes / self.pictures, 4)
        if self.texts:
            if self.texts != self.plates:
                out["texts"] = self.texts
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
        found = find_boxes(detector, image)
        reads, true_reads = [], []
        sure = found[found[:, 4] >= threshold]
        for box, text in zip(picture.boxes, picture.texts, strict=True):
            overlap = iou(box, sure)
            hit = bool(text) and reader is not None and len(sure) and overlap.max() >= MATCH_IOU
            reads.append(read_box(reader, image, sure[int(overlap.argmax())]) if reader and hit else "")
            true_reads.append(read_box(reader, image, box) if reader and text else "")
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

    A false box touches no plate at all, however small, labelled or not. Each box finds one plate at most.

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
        left_out = np.array(observation.picture.unlabelled, np.float32).reshape(-1, 4)
        total.pictures += 1
        free = np.ones(len(plates), bool)
        hit = np.zeros(len(plates), bool)
        for box in boxes:
            overlap = iou(box, plates) if len(plates) else np.zeros(1, np.float32)
            if overlap.max() <= 0:
                is_left_out = bool((iou(box, left_out) > 0).any())
                total.unlabelled_boxes += is_left_out
                total.false_boxes += not is_left_out
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
                total.exact += int(text.is_read(observation.reads[index]))
                total.exact_true_box += int(text.is_read(observation.true_box_reads[index]))
    return total


def time_models(models: list[Path], *, rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds of processor time of one run on one core: the tenth percentile, which other load disturbs least.

    The models take turns, so that load hits all alike; the ratios are what to compare. Wall-clock time would flatter
    small models on a busy machine: a short run more often ends before another process gets the core.
    """
    sessions = [(m, open_session(m)) for m in models]
    feeds = []
    for _, session in sessions:
        entry = session.get_inputs()[0]
        shape = [d if isinstance(d, int) else 1 for d in entry.shape]
        array = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        feeds.append({entry.name: array if "uint8" in entry.type else array.astype(np.float32) / 255})
    times: list[list[float]] = [[] for _ in sessions]
    for turn in range(rounds + WARM_ROUNDS):
        for index, (_, session) in enumerate(sessions):
            start = time.process_time()
            session.run(None, feeds[index])
            if turn >= WARM_ROUNDS:
                times[index].append((time.process_time() - start) * 1000)
    return {m.name: round(float(np.percentile(t, 10)), 3) for (m, _), t in zip(sessions, times, strict=True)}
