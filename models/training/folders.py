"""Labelled picture folders: `labels.jsonl`, one picture a line, boxes `[x1, y1, x2, y2]` in pixels.

Owns reading them; knows which folders may be trained on, which choose thresholds, and which only
measure.
"""

from __future__ import annotations

import json
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


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture.

    Attributes:
        path: Its file.
        boxes: Plates, (x1, y1, x2, y2), pixels.
        texts: What each plate says; empty where unknown.
    """

    path: Path
    boxes: tuple[tuple[float, float, float, float], ...]
    texts: tuple[str, ...]

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
    pictures = []
    for line in labels.read_text().splitlines():
        row = json.loads(line)
        plates = [p if isinstance(p, dict) else {"box": p} for p in row["plates"]]
        boxes = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in (p["box"] for p in plates))
        texts = tuple(str(p.get("text", "")) for p in plates)
        pictures.append(Picture(folder / row["file"], boxes, texts))
    return pictures


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
