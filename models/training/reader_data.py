"""Training crops for the reader: rendered plates and real ones whose text a public model is sure of.

Crops are cut as a detector's box cuts them: upright, loose by a few per cent, with the plate turned
inside. Pictures are uint8 (h, w, 3) RGB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from torch.utils.data import IterableDataset, get_worker_info

from . import camera
from .cache import PlateCache
from .folders import TRAIN_FOLDERS, ByteArray, load_folder
from .reader import ALPHABET, GRID, HEIGHT, SLOTS, WIDTH, encode_text
from .render import Rng

SURE = 0.85  # least confidence of the least certain character for a pseudo-label
SMALLEST_CROP_PX = 36  # narrower real crops are not worth a label
LOOSE = 0.25  # share of its size kept around a real plate, to move the crop in


def read_public(session: onnxruntime.InferenceSession, crops: list[ByteArray]) -> list[tuple[str, float]]:
    """What the public reader says of crops, and its least certain character.

    Args:
        session: A fast-plate-ocr model, uint8 (n, 64, 128, 3) RGB in.
        crops: uint8 (h, w, 3) RGB.
    """
    batch = np.stack([cv2.resize(c, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for c in crops])
    raw = np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])
    scores = raw.reshape(len(crops), -1, len(ALPHABET))
    texts = ["".join(ALPHABET[i] for i in row).rstrip("_") for row in scores.argmax(-1)]
    least = [float(row.max(-1)[: max(len(t), 1)].min()) for row, t in zip(scores, texts, strict=True)]
    return list(zip(texts, least, strict=True))


def label_real_crops(data: Path, reader: Path, out: Path) -> list[tuple[ByteArray, tuple[int, int, int, int], str]]:
    """Real plates of the training folders with pseudo-labels; kept in `out` once made.

    Returns:
        Picture around the plate, the plate's box in it, and the text.
    """
    session = onnxruntime.InferenceSession(str(reader), providers=["CPUExecutionProvider"])
    crops: list[tuple[ByteArray, tuple[int, int, int, int], str]] = []
    asked = 0
    for folder in TRAIN_FOLDERS:
        for picture in load_folder(data / folder):
            image = np.ascontiguousarray(picture.load_bgr()[..., ::-1])
            for box in picture.boxes:
                x1, y1, x2, y2 = (int(v) for v in box)
                if x2 - x1 < SMALLEST_CROP_PX or y2 - y1 < 10:
                    continue
                asked += 1
                text, least = read_public(session, [image[y1:y2, x1:x2]])[0]
                if least >= SURE and 4 <= len(text) <= SLOTS and "_" not in text:
                    mx, my = int((x2 - x1) * LOOSE), int((y2 - y1) * LOOSE)
                    left, top = max(x1 - mx, 0), max(y1 - my, 0)
                    around = image[top : y2 + my, left : x2 + mx].copy()
                    crops.append((around, (x1 - left, y1 - top, x2 - left, y2 - top), text))
    out.write_text(json.dumps({"asked": asked, "kept": len(crops)}))
    return crops


def crop_corners(aspect: float, rng: Rng) -> np.ndarray:
    """Where a plate's corners lie in a crop of WIDTH x HEIGHT: turned, seen aslant, cut loosely.

    Returns:
        float32 (4, 2), clockwise from the top left, pixels of the crop.
    """
    box = np.array([[-aspect, -1], [aspect, -1], [aspect, 1], [-aspect, 1]], np.float32)
    angle = np.deg2rad(np.clip(rng.normal(0, 4.5), -16, 16))
    box[:, 1] += box[:, 0] * float(np.clip(rng.normal(0, 0.06), -0.2, 0.2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    box = (box * (1 + rng.normal(0, 0.025, (4, 2)))) @ turn.T
    low, high = box.min(0), box.max(0)
    unit = (box - low) / (high - low)
    loose = np.abs(rng.normal(0, 0.05, 4)) - rng.uniform(0, 0.03)
    span = np.array([1 + loose[0] + loose[1], 1 + loose[2] + loose[3]])
    placed = (unit + np.array([loose[0], loose[2]])) / span
    return np.asarray(placed * np.array([WIDTH, HEIGHT]), np.float32)


def centre_cells(centres: tuple[tuple[float, float], ...], matrix: np.ndarray) -> list[int]:
    """Cells of the reader's grid in which the characters lie, -1 for empty slots.

    Args:
        centres: Of the characters, in the picture, pixels.
        matrix: Perspective (3, 3) from the picture to the crop.
    """
    cells = [-1] * SLOTS
    if centres:
        moved = cv2.perspectiveTransform(np.array([centres], np.float32), matrix)[0]
        rows, columns = GRID
        for slot, (x, y) in enumerate(moved[:SLOTS]):
            column = int(np.clip(x / WIDTH * columns, 0, columns - 1))
            cells[slot] = int(np.clip(y / HEIGHT * rows, 0, rows - 1)) * columns + column
    return cells


def spoil_crop(image: ByteArray, rng: Rng, *, real: bool) -> ByteArray:
    """Random camera effects on a crop; fewer on real ones."""
    steps = (
        (0.12, camera.shadow),
        (0.0 if real else 0.12, camera.dirt),
        (0.0 if real else 0.08, camera.partial_cover),
        (0.08, camera.pink_cast),
        (0.2, camera.monochrome),
        (0.08, camera.glare),
        (0.85, partial(camera.tone, strength=1.4)),
        (0.5, partial(camera.low_resolution, smallest=0.6 if real else 0.3)),
        (0.15, partial(camera.motion_blur, longest_px=3 if real else 7)),
        (0.25, partial(camera.focus_blur, largest_sigma_px=1.0 if real else 1.8)),
        (0.08, camera.low_light),
        (0.4, partial(camera.sensor_noise, strongest=12)),
        (0.3, partial(camera.jpeg, worst_quality=25)),
    )
    for chance, effect in steps:
        if rng.random() < chance:
            image = effect(image, rng)
    return image


class CropStream(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Endless crops; crop k is the same for the same seed, however many workers."""

    def __init__(
        self,
        plates: PlateCache,
        real: list[tuple[ByteArray, tuple[int, int, int, int], str]],
        *,
        seed: int,
        first: int,
        real_share: float = 0.2,
    ) -> None:
        self._plates, self._real, self._seed, self._first = plates, real, seed, first
        self._real_share = real_share if real else 0.0

    def compose(self, rng: Rng) -> tuple[ByteArray, str, list[int]]:
        """One crop, uint8 (64, 128, 3) RGB, its text, and the cells of its characters if known."""
        centres: tuple[tuple[float, float], ...] = ()
        is_real = bool(rng.random() < self._real_share)
        if is_real:
            image, box, text = self._real[int(rng.integers(len(self._real)))]
        else:
            plate = self._plates.plate(int(rng.integers(len(self._plates))))
            image, box, text = plate.image, plate.box, plate.text
            centres = plate.centres
        x1, y1, x2, y2 = box
        aspect = (x2 - x1) / (y2 - y1) * float(rng.uniform(0.75, 1.05))
        target = crop_corners(aspect, rng)
        if is_real:
            target = (rng.normal(0, 0.02, (4, 2)) + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])).astype(np.float32)
            target *= np.array([WIDTH, HEIGHT], np.float32)
        source = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        mode = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
        fill = tuple(int(v) for v in rng.integers(0, 230, 3))
        warped = cv2.warpPerspective(image, matrix, (WIDTH, HEIGHT), borderMode=mode, borderValue=fill)
        crop = spoil_crop(np.asarray(warped, np.uint8), rng, real=is_real)
        return crop, text, centre_cells(centres, matrix)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield uint8 (3, 64, 128) RGB and int64 (2 * SLOTS,): labels, then cells."""
        cv2.setNumThreads(0)
        info = get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        number = self._first + start
        while True:
            image, text, cells = self.compose(np.random.default_rng((self._seed, number)))
            yield (
                torch.from_numpy(image.transpose(2, 0, 1).copy()),
                torch.tensor(encode_text(text) + cells),
            )
            number += step
