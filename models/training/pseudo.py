"""Texts that the public reader gives to real plates, kept where it is sure. Needs no PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .contract import ALPHABET, HEIGHT, SLOTS, WIDTH
from .folders import TRAIN_FOLDERS, ByteArray, load_folder
from .measure import open_session

SURE = 0.85  # least confidence of the least certain character for a pseudo-label
SMALLEST_CROP_PX = (36, 10)  # narrower or lower real crops are not worth a label
SHORTEST_TEXT = 4  # characters; what is shorter is seldom a whole plate
LOOSE = 0.25  # share of its size kept around a real plate, to move the crop in


@dataclass(frozen=True, slots=True, eq=False)
class RealCrop:
    """A real plate with a pseudo-label.

    Attributes:
        image: uint8 (h, w, 3) RGB, the plate and what is around it.
        box: The plate in it, (x1, y1, x2, y2), pixels.
        text: What the public reader says.
    """

    image: ByteArray
    box: tuple[int, int, int, int]
    text: str


class PublicReader:
    """A fast-plate-ocr model of this alphabet, with its confidences."""

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)
        self._name = self._session.get_inputs()[0].name

    def read(self, crop: ByteArray) -> tuple[str, float]:
        """The text of a crop, uint8 (h, w, 3) RGB, and the confidence of its least certain character, 0..1."""
        small = cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        raw = np.asarray(self._session.run(None, {self._name: small[None]})[0])
        scores = raw.reshape(-1, len(ALPHABET))
        text = "".join(ALPHABET[i] for i in scores.argmax(-1)).rstrip("_")
        return text, float(scores.max(-1)[: max(len(text), 1)].min())


def is_label(text: str, least: float, *, sure: float) -> bool:
    """Whether a text of the public reader, least certain character `least`, is taken for the truth."""
    return least >= sure and SHORTEST_TEXT <= len(text) <= SLOTS and "_" not in text


def label_real_crops(data: Path, reader: Path, out: Path) -> list[RealCrop]:
    """Real plates of the training folders with pseudo-labels.

    Args:
        data: Folder of the labelled folders.
        reader: The public reader's ONNX file.
        out: Written: how many were asked for and kept, for the card.
    """
    public = PublicReader(reader)
    crops: list[RealCrop] = []
    asked = 0
    for folder in TRAIN_FOLDERS:
        for picture in load_folder(data / folder):
            image = np.ascontiguousarray(picture.load_bgr()[..., ::-1])
            for box in picture.boxes:
                x1, y1, x2, y2 = (int(v) for v in box)
                if x2 - x1 < SMALLEST_CROP_PX[0] or y2 - y1 < SMALLEST_CROP_PX[1]:
                    continue
                asked += 1
                text, least = public.read(image[y1:y2, x1:x2])
                if is_label(text, least, sure=SURE):
                    mx, my = int((x2 - x1) * LOOSE), int((y2 - y1) * LOOSE)
                    left, top = max(x1 - mx, 0), max(y1 - my, 0)
                    around = image[top : y2 + my, left : x2 + mx].copy()
                    crops.append(RealCrop(around, (x1 - left, y1 - top, x2 - left, y2 - top), text))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"asked": asked, "kept": len(crops)}))
    return crops
