"""Training crops for the reader: rendered plates and real ones whose text a public model is sure of. Needs no PyTorch.

Crops are cut as a detector's box cuts them: upright, loose by a few per cent, with the plate turned
inside. Pictures are uint8 (h, w, 3) RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from . import camera
from .cache import PlateCache
from .contract import GRID, HEIGHT, SLOTS, WIDTH
from .folders import TRAIN_FOLDERS, ByteArray, FloatArray, load_folder
from .pseudo import RealCrop
from .render import Plate, Rng, pick

UPSIDE_DOWN_SHARE = 0.03  # of the plates; their text is empty too: what is read there is wrong, and sure
HARD_SHARE = 0.4  # of the rendered plates, where there are hard ones
BARS_SHARE = 0.15  # of the rendered plates: a bar beside the plate, as high as a character and none
REAL_SHARE = 0.05  # of the crops, where there are real ones; more of so few are learned by heart
STRAIGHT_SHARE = 0.5  # of the crops: seen from straight ahead, where a turned plate makes its box a third higher
BOX_ERRORS = (0.03, 0.03, 0.07, 0.07)
"""Left, right, top, bottom: standard deviation of the detector's boxes on the validation folders, of a plate's size."""
SURROUNDINGS = 1_500  # pieces of real pictures that stand around rendered plates


def crop_corners(aspect: float, rng: Rng) -> FloatArray:
    """Where a plate's corners lie in a crop of WIDTH x HEIGHT: turned, seen aslant, cut loosely.

    Returns:
        float32 (4, 2), clockwise from the top left, pixels of the crop.
    """
    box = np.array([[-aspect, -1], [aspect, -1], [aspect, 1], [-aspect, 1]], np.float32)
    straight = 0.2 if rng.random() < STRAIGHT_SHARE else 1.0
    angle = np.deg2rad(np.clip(rng.normal(0, 4.5 * straight), -16, 16))
    box[:, 1] += box[:, 0] * float(np.clip(rng.normal(0, 0.06 * straight), -0.2, 0.2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    box = (box * (1 + rng.normal(0, 0.025 * straight, (4, 2)))) @ turn.T
    low, high = box.min(0), box.max(0)
    unit = (box - low) / (high - low)
    kind = rng.random()
    if kind < 0.1:  # and a box drawn by hand wider still
        loose = rng.uniform(0.0, 0.5, 4)
    elif kind < 0.25:  # a detector's box is sometimes far too wide
        loose = rng.uniform(-0.02, 0.24, 4)
    elif kind < 0.6:
        loose = np.abs(rng.normal(0, 0.06, 4)) - rng.uniform(0, 0.04)
    else:  # and most often close
        loose = rng.normal(0, BOX_ERRORS)
    span = np.array([1 + loose[0] + loose[1], 1 + loose[2] + loose[3]])
    placed = (unit + np.array([loose[0], loose[2]])) / span
    return np.asarray(placed * np.array([WIDTH, HEIGHT]), np.float32)


def centre_cells(centres: tuple[tuple[float, float], ...], matrix: npt.NDArray[np.float64]) -> list[int]:
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
        (0.0 if real else 0.25, camera.stroke_weight),
        (0.3, camera.bend),
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


def load_surroundings(data: Path, rng: Rng) -> list[ByteArray]:
    """Pieces of the training pictures without a plate in them, uint8 (64, 128, 3) RGB."""
    pictures = [p for folder in TRAIN_FOLDERS for p in load_folder(data / folder)]
    pieces: list[ByteArray] = []
    for number in rng.permutation(len(pictures)):
        picture = pictures[number]
        image = np.ascontiguousarray(picture.load_bgr()[..., ::-1])
        for _ in range(-(-SURROUNDINGS // len(pictures))):
            width = int(rng.integers(48, min(image.shape[1] // 2, 300)))
            x, y = int(rng.integers(image.shape[1] - width)), int(rng.integers(image.shape[0] - width // 2))
            if all(x + width < b[0] or x > b[2] or y + width // 2 < b[1] or y > b[3] for b in picture.boxes):
                part = cv2.resize(image[y : y + width // 2, x : x + width], (WIDTH, HEIGHT))
                pieces.append(np.asarray(part, np.uint8))
    return pieces


def cut(
    image: ByteArray, box: tuple[int, int, int, int], target: FloatArray, rng: Rng, around: ByteArray | None = None
) -> tuple[ByteArray, npt.NDArray[np.float64]]:
    """The crop in which a plate's box lies at `target`, and the perspective from the picture to it.

    Args:
        image: uint8 (h, w, 3) RGB.
        box: The plate in it, (x1, y1, x2, y2), pixels.
        target: float32 (4, 2), from `crop_corners`.
        rng: Picks what lies beyond the picture, where `around` does not say.
        around: uint8 (64, 128, 3) RGB, what lies beyond the picture.
    """
    x1, y1, x2, y2 = box
    source = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    matrix = np.asarray(cv2.getPerspectiveTransform(source, target), np.float64)
    mode = cv2.BORDER_REPLICATE if around is None and rng.random() < 0.5 else cv2.BORDER_CONSTANT
    fill = tuple(int(v) for v in rng.integers(0, 230, 3))
    warped = np.asarray(
        cv2.warpPerspective(image, matrix, (WIDTH, HEIGHT), borderMode=mode, borderValue=fill), np.uint8
    )
    if around is not None:
        inside = cv2.warpPerspective(
            np.ones(image.shape[:2], np.uint8), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_NEAREST
        )
        warped = np.where(inside[..., None] > 0, warped, around)
    return warped, matrix


def draw_bars(crop: ByteArray, target: FloatArray, rng: Rng) -> None:
    """Draw one or two upright bars beside a plate, in place: edges, holders and bands that were read as I or 1.

    Args:
        crop: uint8 (64, 128, 3) RGB.
        target: float32 (4, 2), where the plate's corners lie, clockwise from the top left.
        rng: The only source of chance.
    """
    for upper, lower, side in ((target[0], target[3], -1), (target[1], target[2], 1)):
        room = float(min(upper[0], lower[0]) if side < 0 else WIDTH - max(upper[0], lower[0]))
        if room < 5 or rng.random() < 0.4:
            continue
        away = side * float(rng.uniform(2, min(room, 14)))
        shrink = (lower[1] - upper[1]) * float(rng.uniform(-0.15, 0.3))
        ends = (int(upper[0] + away), int(upper[1] + shrink)), (int(lower[0] + away), int(lower[1] - shrink))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3)) if rng.random() < 0.4 else (int(rng.integers(256)),) * 3
        cv2.line(crop, ends[0], ends[1], colour, int(rng.integers(1, 6)), cv2.LINE_AA)


def notice_crop(notice: Plate, rng: Rng) -> ByteArray:
    """A thing that is no plate as a camera sees it, uint8 (64, 128, 3) RGB."""
    crop, _ = cut(notice.image, notice.box, crop_corners(notice.image.shape[1] / notice.image.shape[0], rng), rng)
    return spoil_crop(crop, rng, real=False)


def rendered_crop(plate: Plate, rng: Rng, around: ByteArray | None = None) -> tuple[ByteArray, list[int]]:
    """A rendered plate as a camera sees it, uint8 (64, 128, 3) RGB, and the cells of its characters."""
    x1, y1, x2, y2 = plate.box
    aspect = (x2 - x1) / (y2 - y1) * float(rng.uniform(0.75, 1.05))
    target = crop_corners(aspect, rng)
    crop, matrix = cut(plate.image, plate.box, target, rng, around)
    if around is not None and rng.random() < BARS_SHARE:
        draw_bars(crop, target, rng)
    return spoil_crop(crop, rng, real=False), centre_cells(plate.centres, matrix)


def real_crop(real: RealCrop, rng: Rng) -> ByteArray:
    """A real plate, cut a little differently each time, uint8 (64, 128, 3) RGB."""
    loose = rng.uniform(-0.03, 0.14, 4) if rng.random() < 0.4 else rng.normal(0, BOX_ERRORS)
    x1, y1, x2, y2 = loose[0], loose[1], 1 - loose[2], 1 - loose[3]
    corners = rng.normal(0, 0.02, (4, 2)) + np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    target = np.asarray(corners * np.array([WIDTH, HEIGHT]), np.float32)
    crop, _ = cut(real.image, real.box, target, rng)
    return spoil_crop(crop, rng, real=True)


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """What training crops are made of; everything but `plates` may be empty.

    Attributes:
        plates: Rendered plates.
        hard: Rendered plates that readers get wrong.
        notices: Rendered things that are no plates.
        real: Real plates with a pseudo-label.
        surroundings: Pieces of real pictures without a plate, uint8 (64, 128, 3) RGB.
    """

    plates: Sequence[PlateCache]
    hard: Sequence[PlateCache] = ()
    notices: Sequence[PlateCache] = ()
    real: Sequence[RealCrop] = ()
    surroundings: Sequence[ByteArray] = ()


class CropComposer:
    """Makes one training crop after another; `no_plates` is the share of things that are none, whose text is empty."""

    def __init__(self, sources: Sources, *, no_plates: float = 0.16) -> None:
        self._from = sources
        self._real_share = REAL_SHARE if sources.real else 0.0
        self._hard_share = HARD_SHARE if sources.hard else 0.0
        self._no_plate_share = no_plates if sources.notices else 0.0

    def compose(self, rng: Rng) -> tuple[ByteArray, str, list[int]]:
        """One crop, uint8 (64, 128, 3) RGB, its text, and the cells of its characters, -1 where unknown.

        The text is empty where there is no plate, and where the plate stands on its head.
        """
        if rng.random() < self._no_plate_share:
            return self._no_plate(rng), "", [-1] * SLOTS
        crop, text, cells = self._plate(rng)
        if self._no_plate_share and rng.random() < UPSIDE_DOWN_SHARE:
            return np.ascontiguousarray(crop[::-1, ::-1]), "", [-1] * SLOTS
        return crop, text, cells

    def _plate(self, rng: Rng) -> tuple[ByteArray, str, list[int]]:
        if rng.random() < self._real_share:
            real = pick(rng, self._from.real)
            return real_crop(real, rng), real.text, [-1] * SLOTS
        plate = draw(self._from.hard if rng.random() < self._hard_share else self._from.plates, rng)
        around = pick(rng, self._from.surroundings) if self._from.surroundings and rng.random() < 0.5 else None
        crop, cells = rendered_crop(plate, rng, around)
        return crop, plate.text, cells

    def _no_plate(self, rng: Rng) -> ByteArray:
        if self._from.surroundings and rng.random() < 0.3:
            piece = pick(rng, self._from.surroundings)
            return spoil_crop(np.ascontiguousarray(piece[:, ::-1]) if rng.random() < 0.5 else piece, rng, real=True)
        return notice_crop(draw(self._from.notices, rng), rng)


def draw(caches: Sequence[PlateCache], rng: Rng) -> Plate:
    """One of the renderings of some caches, evenly."""
    ends = np.cumsum([len(cache) for cache in caches])
    number = int(rng.integers(ends[-1]))
    which = int(np.searchsorted(ends, number, side="right"))
    return caches[which].plate(number - int(ends[which] - len(caches[which])))
