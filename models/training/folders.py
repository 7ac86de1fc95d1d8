"""Labelled picture folders: `labels.jsonl`, one picture a line, boxes `[x1, y1, x2, y2]` in pixels.

Owns reading them, and the plates that their labels leave out; knows which folders may be trained on,
which choose thresholds, and which only measure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

DEFAULT_DATA = Path("../shared/data")
TRAIN_FOLDERS = ("rpi-dayride/train", "openimages-plates/train")
VALID_FOLDERS = ("rpi-dayride/valid", "openimages-plates/valid")  # thresholds and int8 are decided on these
TEST_FOLDERS = ("openimages-plates/test", "openalpr-eu")  # looked at last, by the cards; nothing is chosen on them
BACKGROUND_CLIP = "clips/car-park.mp4"
UNLABELLED = Path(__file__).with_name("unlabelled.jsonl")
"""Plates that the labels of measured pictures leave out: `{"file", "sha256", "plates"}` a line. Listed by eye among the
boxes of a detector, down to scores that are far below its threshold; what may be no plate is not listed. Nothing is
trained on them, and no threshold is chosen with them."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture.

    Attributes:
        path: Its file.
        boxes: Plates, (x1, y1, x2, y2), pixels.
        texts: What each plate says; empty where unknown.
        unlabelled: Plates that are in the picture and not in its labels, as `boxes`.
    """

    path: Path
    boxes: tuple[Box, ...]
    texts: tuple[str, ...]
    unlabelled: tuple[Box, ...] = ()

    def load_bgr(self) -> ByteArray:
        """The pixels, uint8 (h, w, 3) BGR.

        Raises:
            FileNotFoundError: The file is missing or no picture.
        """
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise FileNotFoundError(f"no picture: {self.path}")
        return np.asarray(image, np.uint8)


def load_folder(folder: Path) -> list[Picture]:
    """The pictures that a folder's `labels.jsonl` lists.

    Plates are either bare boxes or objects `{"box": [..], "text": ".."}`.

    Raises:
        FileNotFoundError: The folder has no `labels.jsonl`.
    """
    labels = folder / "labels.jsonl"
    if not labels.is_file():
        raise FileNotFoundError(f"{labels}: no such file; it lists a folder's pictures, one JSON object a line")
    left_out = _load_unlabelled()
    pictures = []
    for line in labels.read_text().splitlines():
        row = json.loads(line)
        plates = [p if isinstance(p, dict) else {"box": p} for p in row["plates"]]
        texts = tuple(str(p.get("text", "")) for p in plates)
        path = folder / row["file"]
        pictures.append(Picture(path, _boxes(p["box"] for p in plates), texts, left_out.of(path)))
    return pictures


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """Unlabelled plates by the digest of the picture's file; only files with a listed name are looked into."""

    names: frozenset[str]
    by_digest: dict[str, tuple[Box, ...]]

    def of(self, path: Path) -> tuple[Box, ...]:
        if path.name not in self.names or not path.is_file():
            return ()
        return self.by_digest.get(hashlib.sha256(path.read_bytes()).hexdigest(), ())


def _load_unlabelled() -> _LeftOut:
    rows = [json.loads(line) for line in UNLABELLED.read_text().splitlines()]
    return _LeftOut(
        frozenset(Path(row["file"]).name for row in rows), {row["sha256"]: _boxes(row["plates"]) for row in rows}
    )


def _boxes(rows: Iterable[Sequence[float]]) -> tuple[Box, ...]:
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in rows)


def clip_frames(path: Path, every: int) -> list[ByteArray]:
    """Every n-th frame of a clip, uint8 (h, w, 3) BGR; empty when the clip is missing."""
    capture = cv2.VideoCapture(str(path))
    frames: list[ByteArray] = []
    while capture.isOpened():
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(np.asarray(frame, np.uint8))
    return frames[::every]
