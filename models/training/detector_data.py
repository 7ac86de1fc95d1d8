"""Training pictures for the detector: real scenes with rendered plates and signs put into them. Needs no PyTorch.

Owns the geometry (scale, turn, paste, boxes). All pictures are uint8 (h, w, 3) RGB; boxes are
float32 (n, 4) x1, y1, x2, y2 in pixels of the picture they belong to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from . import camera
from .cache import PlateCache
from .folders import BACKGROUND_CLIP, ByteArray, FloatArray, clip_frames, load_folder
from .render import Plate, Rng
from .signs import overlay_caption

MOST_PLATES = 12  # targets a picture; more are dropped, which real pictures hardly have
SMALLEST_PLATE_PX = 6.0  # narrower plates are no target: nobody can read them
CORRECTIONS = Path(__file__).with_name("corrections.jsonl")
CORRECTED_SHARE = 0.3  # of the pictures of a source: scenes with something that a detector took for a plate
CUT_LOOSE = 0.3  # share of its size kept around a thing that is no plate, when it is put into another scene
WIDEST_PASTED = (0.5, 110.0)  # share of the picture, and pixels: nearer plates are real ones
PAD = 114  # grey of the letterbox, as open-image-models fills it


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A real picture to train in.

    Attributes:
        image: uint8 (h, w, 3) RGB.
        boxes: float32 (n, 4), pixels.
        scales: Smallest and largest factor to show it at; the letterbox's own lies between.
        stretched: Its proportions are unknown (squeezed to a square when it was published).
        pink: It already has the cast of a sensor without infra-red filter.
        no_plates: float32 (n, 4), pixels: badges, signs, lamps that a detector took for plates.
    """

    image: ByteArray
    boxes: FloatArray
    scales: tuple[float, float]
    stretched: bool
    pink: bool
    no_plates: FloatArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    def cut_no_plates(self) -> list[Plate]:
        """The things that are no plates, with a little of what is around them, as if they were rendered signs."""
        cuts = []
        for x1, y1, x2, y2 in self.no_plates:
            mx, my = (x2 - x1) * CUT_LOOSE, (y2 - y1) * CUT_LOOSE
            part = self.image[max(int(y1 - my), 0) : int(y2 + my) + 1, max(int(x1 - mx), 0) : int(x2 + mx) + 1]
            cuts.append(Plate(part.copy(), (0, 0, part.shape[1], part.shape[0]), "", "no plate"))
        return cuts


@dataclass(frozen=True, slots=True)
class Correction:
    """What the labels of one training picture do not say; found by a detector, sorted by a person.

    Attributes:
        unlabelled: Plates without a label, most of them dazzled, cut off or far away: (x1, y1, x2, y2), pixels. They
            are painted over, for a network must neither find nor overlook them.
        no_plates: What looks like a plate and is none.
    """

    unlabelled: list[list[int]] = field(default_factory=list)
    no_plates: list[list[int]] = field(default_factory=list)


def load_corrections() -> dict[str, Correction]:
    """The corrections by `folder/file`."""
    rows = [json.loads(line) for line in CORRECTIONS.read_text().splitlines()]
    return {row["file"]: Correction(row.get("unlabelled", []), row.get("no_plate", [])) for row in rows}


def paint_over(image: ByteArray, boxes: list[list[int]]) -> ByteArray:
    """The picture with boxes filled from what is around them, uint8 (h, w, 3)."""
    if not boxes:
        return image
    hidden = np.zeros(image.shape[:2], np.uint8)
    for x1, y1, x2, y2 in boxes:
        mx, my = round((x2 - x1) * 0.15), round((y2 - y1) * 0.3)
        hidden[max(y1 - my, 0) : y2 + my, max(x1 - mx, 0) : x2 + mx] = 255
    return np.asarray(cv2.inpaint(image, hidden, 5, cv2.INPAINT_TELEA), np.uint8)


def load_scenes(data: Path) -> list[list[Scene]]:
    """The real scenes by source: road camera, photographs, empty car park."""
    sources: list[list[Scene]] = []
    plans = (
        ("rpi-dayride/train", (0.22, 0.65), False),
        ("openimages-plates/train", (0.45, 1.6), True),
    )
    corrections = load_corrections()
    for folder, scales, stretched in plans:
        scenes = []
        for picture in load_folder(data / folder):
            right = corrections.get(f"{folder}/{picture.path.name}", Correction())
            image = paint_over(np.ascontiguousarray(picture.load_bgr()[..., ::-1]), right.unlabelled)
            boxes = np.array(picture.boxes, np.float32).reshape(-1, 4)
            no_plates = np.array(right.no_plates, np.float32).reshape(-1, 4)
            scenes.append(Scene(image, boxes, scales, stretched, not stretched, no_plates))
        sources.append(scenes)
    frames = clip_frames(data / BACKGROUND_CLIP, 12)
    empty = np.zeros((0, 4), np.float32)
    park = [Scene(np.ascontiguousarray(f[..., ::-1]), empty, (0.35, 0.9), False, False) for f in frames]
    return [*sources, park] if park else sources


def transform_boxes(boxes: FloatArray, matrix: FloatArray) -> FloatArray:
    """Boxes around the transformed corners of boxes; `matrix` is affine, (2, 3)."""
    if not len(boxes):
        return boxes
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([moved.min(1), moved.max(1)], axis=1).astype(np.float32)


def view_matrix(scene: Scene, size: int, rng: Rng) -> FloatArray:
    """A random affine view of a scene onto a square of `size` pixels."""
    height, width = scene.image.shape[:2]
    low, high = scene.scales
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    stretch = float(np.exp(rng.uniform(-0.1, 0.45))) if scene.stretched else 1.0
    sx, sy = scale * stretch**0.5, scale / stretch**0.5
    sx = -sx if rng.random() < 0.3 else sx
    looked_at = scene.no_plates if len(scene.no_plates) and rng.random() < 0.5 else scene.boxes
    if len(looked_at) and rng.random() < 0.6:
        box = looked_at[int(rng.integers(len(looked_at)))]
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    else:
        centre = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height])
    angle = np.deg2rad(np.clip(rng.normal(0, 4), -12, 12)) if rng.random() < 0.5 else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([sx, sy])
    target = rng.uniform(0.12, 0.88, 2) * size
    return np.column_stack([linear, target - linear @ centre]).astype(np.float32)


def between_pixels(matrix: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The same map between the numbers of pixels, whose middles lie half a pixel further, as OpenCV's warps take it.

    Without it what is made smaller lies up to half a pixel beside its box.

    Args:
        matrix: Between places in pictures, (2, 3) or (3, 3).
    """
    whole = np.vstack([matrix, [0.0, 0.0, 1.0]]) if len(matrix) == 2 else np.asarray(matrix, np.float64)
    to_middles = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    moved = np.linalg.inv(to_middles) @ whole @ to_middles
    return np.asarray(moved[: len(matrix)])


def overlaps(box: FloatArray, boxes: list[FloatArray], margin: float = 3.0) -> bool:
    """Whether a box comes within a margin (pixels) of any of the boxes."""
    return any(
        box[0] < b[2] + margin and box[2] > b[0] - margin and box[1] < b[3] + margin and box[3] > b[1] - margin
        for b in boxes
    )


def random_quad(centre: FloatArray, width: float, height: float, rng: Rng) -> FloatArray:
    """Corners of a tilted, turned rectangle, float32 (4, 2), clockwise from the top left."""
    angle = np.deg2rad(rng.normal(0, 5))
    shear = rng.normal(0, 0.08)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * [width / 2, height / 2]
    corners[:, 1] += corners[:, 0] * shear
    corners[:, 0] *= rng.uniform(0.75, 1.0) if rng.random() < 0.4 else 1.0
    corners *= 1 + rng.normal(0, 0.035, (4, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn.T + centre, np.float32)


def paste(canvas: ByteArray, thing: Plate, quad: FloatArray, rng: Rng) -> FloatArray:
    """Put a rendering into a picture, in place, its box on a quad; its box there, float32 (4,)."""
    x1, y1, x2, y2 = thing.box
    source = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, quad)
    height, width = thing.image.shape[:2]
    outer = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float32)
    corners = cv2.perspectiveTransform(outer, matrix)[0]
    left, top = np.floor(corners.min(0)).astype(int)
    right, bottom = np.ceil(corners.max(0)).astype(int)
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, canvas.shape[1]), min(bottom, canvas.shape[0])
    if right - left < 2 or bottom - top < 2:
        return np.concatenate([quad.min(0), quad.max(0)])
    shrink = max(width / max(float(np.ptp(corners[:, 0])), 1.0), 1.0)
    image = thing.image
    if shrink > 1.6 and rng.random() < 0.7:  # sometimes aliased, as a plain resize of a frame is
        size = (max(int(width / shrink * 1.3), 4), max(int(height / shrink * 1.3), 4))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix @ np.diag([width / size[0], height / size[1], 1.0])
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64) @ matrix
    window = (int(right - left), int(bottom - top))
    warped = cv2.warpPerspective(image, between_pixels(shift), window, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((window[1], window[0]), np.uint8)
    cv2.fillConvexPoly(mask, np.round((corners - (left, top) - 0.5) * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    part = canvas[top:bottom, left:right]
    light = np.clip(float(part.mean()) / 120.0, 0.25, 1.15) if rng.random() < 0.7 else 1.0
    light *= float(np.exp(rng.normal(0, 0.2)))
    alpha = mask[..., None].astype(np.float32) / 255
    lit = np.clip(warped.astype(np.float32) * light, 0, 255)
    part[:] = (part * (1 - alpha) + lit * alpha).astype(np.uint8)
    return np.concatenate([quad.min(0), quad.max(0)])


def spoil(image: ByteArray, rng: Rng, *, pink: bool) -> ByteArray:
    """Random camera effects on a whole picture."""
    if rng.random() < 0.08:
        image = camera.shadow(image, rng)
    if not pink and rng.random() < 0.08:
        image = camera.pink_cast(image, rng)
    if rng.random() < 0.16:
        image = camera.monochrome(image, rng)
    if rng.random() < 0.1:
        image = camera.glare(image, rng)
    if rng.random() < 0.8:
        image = camera.tone(image, rng)
    if rng.random() < 0.08:
        image = camera.low_light(image, rng)
    blur = rng.random()
    if blur < 0.12:
        image = camera.motion_blur(image, rng, longest_px=6)
    elif blur < 0.3:
        image = camera.focus_blur(image, rng, largest_sigma_px=1.4)
    if rng.random() < 0.3:
        image = camera.sensor_noise(image, rng, strongest=9)
    if rng.random() < 0.2:
        image = camera.jpeg(image, rng, worst_quality=30)
    return image


class Composer:
    """Makes one training picture after another from scenes, plates and signs."""

    def __init__(self, sources: list[list[Scene]], plates: PlateCache, signs: PlateCache) -> None:
        self._sources, self._plates, self._signs = sources, plates, signs
        self._no_plates = [cut for scenes in sources for scene in scenes for cut in scene.cut_no_plates()]
        self._corrected = [[scene for scene in scenes if len(scene.no_plates)] for scenes in sources]
        self._shares = np.array([0.42, 0.42, 0.16][: len(sources)])
        self._shares /= self._shares.sum()

    def compose(self, rng: Rng, size: int) -> tuple[ByteArray, FloatArray]:
        """A picture of (size, size) pixels and its plates' boxes, float32 (n, 4)."""
        which = int(rng.choice(len(self._sources), p=self._shares))
        corrected = self._corrected[which]
        scenes = corrected if corrected and rng.random() < CORRECTED_SHARE else self._sources[which]
        scene = scenes[int(rng.integers(len(scenes)))]
        matrix = view_matrix(scene, size, rng)
        image = np.asarray(
            cv2.warpAffine(
                scene.image,
                between_pixels(matrix),
                (size, size),
                flags=cv2.INTER_LINEAR,
                borderValue=(PAD, PAD, PAD),
            ),
            np.uint8,
        )
        real = list(transform_boxes(scene.boxes, matrix))
        boxes = [self._replace(image, box, rng) for box in real]
        boxes += self._scatter(image, boxes, rng)
        self._distract(image, boxes, rng)
        image = spoil(image, rng, pink=scene.pink)
        return image, visible_boxes(boxes, size)

    def _replace(self, image: ByteArray, box: FloatArray, rng: Rng) -> FloatArray:
        """Hang a rendered plate over a real one now and then."""
        if rng.random() > 0.45 or box[2] - box[0] < 8:
            return box
        plate = self._draw(self._plates, rng)
        aspect = (plate.box[2] - plate.box[0]) / (plate.box[3] - plate.box[1])
        width = max(box[2] - box[0], (box[3] - box[1]) * min(aspect, 3.0)) * rng.uniform(1.0, 1.15)
        height = max(width / aspect, (box[3] - box[1]) * 0.8)
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], np.float32)
        return paste(image, plate, random_quad(centre, width, height, rng), rng)

    def _scatter(self, image: ByteArray, taken: list[FloatArray], rng: Rng) -> list[FloatArray]:
        """Paste up to three plates where there is room."""
        added: list[FloatArray] = []
        for _ in range(int(rng.choice(4, p=[0.5, 0.34, 0.12, 0.04]))):
            plate = self._draw(self._plates, rng)
            quad = self._place(image, plate, taken + added, rng)
            if quad is not None:
                added.append(paste(image, plate, quad, rng))
        return added

    def _distract(self, image: ByteArray, taken: list[FloatArray], rng: Rng) -> None:
        """Paste signs and captions that are no plates."""
        for _ in range(int(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1]))):
            if self._no_plates and rng.random() < 0.4:
                sign = self._no_plates[int(rng.integers(len(self._no_plates)))]
            else:
                sign = self._draw(self._signs, rng)
            quad = self._place(image, sign, taken, rng)
            if quad is not None:
                paste(image, sign, quad, rng)
        if rng.random() < 0.14:
            covered = image.copy()
            overlay_caption(covered, rng)
            changed = np.argwhere((covered != image).any(2))
            if len(changed):
                (y1, x1), (y2, x2) = changed.min(0), changed.max(0)
                if not overlaps(np.array([x1, y1, x2, y2], np.float32), taken, 0):
                    image[:] = covered

    def _draw(self, cache: PlateCache, rng: Rng) -> Plate:
        """Any rendering of a cache."""
        return cache.plate(int(rng.integers(len(cache))))

    def _place(self, image: ByteArray, thing: Plate, taken: list[FloatArray], rng: Rng) -> FloatArray | None:
        """A free quad for a rendering; None when five tries find none."""
        size = image.shape[0]
        aspect = (thing.box[2] - thing.box[0]) / (thing.box[3] - thing.box[1])
        widest = min(size * WIDEST_PASTED[0], WIDEST_PASTED[1])
        for _ in range(5):
            width = float(np.exp(rng.uniform(np.log(11), np.log(widest))))
            width *= min(1.0, aspect / 3) ** 0.5
            centre = rng.uniform(0.05, 0.95, 2).astype(np.float32) * size
            quad = random_quad(centre, width, width / aspect, rng)
            box = np.concatenate([quad.min(0), quad.max(0)])
            if not overlaps(box, taken):
                return quad
        return None


def visible_boxes(boxes: list[FloatArray], size: int) -> FloatArray:
    """Boxes clipped to the picture, without those mostly outside it or too narrow."""
    if not boxes:
        return np.zeros((0, 4), np.float32)
    raw = np.stack(boxes).astype(np.float32)
    clipped = np.clip(raw, 0, size)
    area = (raw[:, 2] - raw[:, 0]) * (raw[:, 3] - raw[:, 1])
    left = (clipped[:, 2] - clipped[:, 0]) * (clipped[:, 3] - clipped[:, 1])
    wide = clipped[:, 2] - clipped[:, 0] >= SMALLEST_PLATE_PX
    return clipped[(left > 0.5 * area) & wide][:MOST_PLATES]
