"""Draws vehicles for the demo clip: flat panels in space, each with a painted texture, seen by a camera over a road.

Owns how a vehicle and its plate look from one moment to the next; `demo_clip` owns the road, the light and the traffic.
World coordinates are metres: x to the right, y up, z away from the camera, which stands above the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .fonts import font_files, text_mask
from .formats import RGB
from .render import ByteArray, Plate, Rng, blend

FloatArray = npt.NDArray[np.float64]

TEXTURE_PX_M = 500  # finer than the clip ever shows a plate, so that a texture is only made smaller
DARK: RGB = (26, 27, 30)
GLASS: RGB = (44, 52, 60)


class Camera(NamedTuple):
    """Where the camera stands and what it sees.

    Attributes:
        height_m: Above the road.
        pitch: How far it looks down, radians.
        focal_px: Focal length in pixels.
        centre: Principal point, (x, y), pixels.
    """

    height_m: float
    pitch: float
    focal_px: float
    centre: tuple[float, float]

    def project(self, points: FloatArray) -> FloatArray:
        """Pixels (n, 2) of world points (n, 3); all must lie before the camera."""
        sine, cosine = np.sin(self.pitch), np.cos(self.pitch)
        x, y, z = points[:, 0], points[:, 1] - self.height_m, points[:, 2]
        depth, down = z * cosine - y * sine, -y * cosine - z * sine
        return np.asarray(np.stack([x, down], 1) / depth[:, None] * self.focal_px + self.centre)


class Body(NamedTuple):
    """A vehicle's shape seen from the end that faces the camera, metres.

    Attributes:
        fascia: Lower and upper edge of that end.
        profile: Its outline along the middle, from the top of the fascia away: (distance, height) of the end of the
            bonnet or boot lid, the top of the window and the end of the roof.
        half_widths: Of the body and of the roof.
        length_m: Of the whole vehicle.
        plate_y: Height of the plate's middle.
    """

    fascia: tuple[float, float]
    profile: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    half_widths: tuple[float, float]
    length_m: float
    plate_y: float


BODIES = {
    ("saloon", "front"): Body((0.2, 0.76), ((1.15, 0.98), (1.95, 1.4), (3.3, 1.43)), (0.9, 0.6), 4.6, 0.4),
    ("hatch", "front"): Body((0.2, 0.8), ((0.95, 1.02), (1.75, 1.46), (3.4, 1.5)), (0.87, 0.6), 3.9, 0.42),
    ("suv", "front"): Body((0.28, 0.98), ((1.1, 1.14), (1.75, 1.64), (4.0, 1.7)), (0.95, 0.7), 4.7, 0.58),
    ("van", "front"): Body((0.25, 1.0), ((0.75, 1.22), (1.5, 1.9), (4.8, 2.0)), (0.98, 0.84), 5.2, 0.5),
    ("saloon", "rear"): Body((0.24, 0.98), ((0.5, 1.04), (1.2, 1.4), (2.6, 1.43)), (0.9, 0.6), 4.6, 0.74),
    ("hatch", "rear"): Body((0.24, 0.98), ((0.08, 1.02), (0.45, 1.44), (2.2, 1.5)), (0.87, 0.64), 3.9, 0.72),
    ("suv", "rear"): Body((0.3, 1.1), ((0.08, 1.14), (0.4, 1.64), (2.9, 1.7)), (0.95, 0.72), 4.7, 0.8),
}


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A painted quadrilateral.

    Attributes:
        texture: uint8 (h, w, 4) RGBA, first row on top.
        corners: World corners relative to the middle of the near end on the ground, float64 (4, 3): top left, top
            right, bottom right, bottom left as the camera sees them.
    """

    texture: ByteArray
    corners: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Vehicle:
    """A vehicle ready to be placed.

    Attributes:
        panels: Far ones first.
        plate: Corners of its plate, float64 (4, 3), order as in `Panel`.
        lamps: Its two lamps, float64 (2, 3).
        lamp_colour: What they shed when lit.
        footprint: Corners of its shadow on the ground, float64 (4, 3).
    """

    panels: tuple[Panel, ...]
    plate: FloatArray
    lamps: FloatArray
    lamp_colour: RGB
    footprint: FloatArray


def build_vehicle(shape: str, end: str, paint: RGB, plate: Plate, *, plate_width_m: float, rng: Rng) -> Vehicle:
    """Paint a vehicle.

    Args:
        shape: `saloon`, `hatch`, `suv` or `van`.
        end: `front` or `rear`, the end that the camera sees.
        paint: Its colour.
        plate: What it bears, with its holder.
        plate_width_m: Width of the plate itself.
        rng: Chance in small things.
    """
    body = BODIES[shape, end]
    low, high = body.fascia
    wide, narrow = body.half_widths
    fascia = _front(body, paint, rng) if end == "front" else _rear(body, paint, rng)
    shift_m = float(rng.normal(0, 0.02))
    box = _mount(fascia, plate, (wide + shift_m, high - body.plate_y), plate_width_m)
    (lid_s, lid_y), (top_s, top_y), (end_s, end_y) = body.profile
    panels = [
        *_sides(body, paint),
        Panel(_roof(paint), _quad((narrow, end_y, end_s), (narrow, top_y, top_s))),
        Panel(_window(paint, rng, wipers=end == "front"), _quad((narrow, top_y, top_s), (wide - 0.07, lid_y, lid_s))),
        Panel(_lid(paint, rng), _quad((wide - 0.07, lid_y, lid_s), (wide, high, 0.0))),
        Panel(fascia, _quad((wide, high, 0.0), (wide, low, 0.0))),
    ]
    x1, y1, x2, y2 = (side / TEXTURE_PX_M for side in box)
    places = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    lamp_y = low + (high - low) * (0.74 if end == "front" else 0.8)
    reach = wide + 0.12
    return Vehicle(
        panels=tuple(panels),
        plate=np.array([(x - wide, high - y, 0.0) for x, y in places]),
        lamps=np.array([(-wide + 0.24, lamp_y, 0.0), (wide - 0.24, lamp_y, 0.0)]),
        lamp_colour=(255, 244, 222) if end == "front" else (255, 40, 30),
        footprint=np.array(
            [(-reach, 0, body.length_m), (reach, 0, body.length_m), (reach, 0, -0.12), (-reach, 0, -0.12)]
        ),
    )


def place(points: FloatArray, x: float, z: float, heading: float, lift_m: float = 0.0) -> FloatArray:
    """World points of a vehicle's own, its near end at (x, z), turned by `heading` radians, lifted by its springs."""
    sine, cosine = np.sin(heading), np.cos(heading)
    turned = np.empty_like(points)
    turned[:, 0] = x + points[:, 0] * cosine + points[:, 2] * sine
    turned[:, 1] = points[:, 1] + lift_m
    turned[:, 2] = z - points[:, 0] * sine + points[:, 2] * cosine
    return turned


def paint_panel(frame: ByteArray, texture: ByteArray, quad: FloatArray) -> None:
    """Warp a texture into a frame, in place.

    Args:
        frame: uint8 (H, W, 3) RGB.
        texture: uint8 (h, w, 4) RGBA.
        quad: Its corners in the frame, float64 (4, 2), pixels; nothing is painted if it shows its back.
    """
    if _turns_away(quad):
        return
    x1, y1 = np.maximum(np.floor(quad.min(0)).astype(int) - 1, 0)
    x2, y2 = np.minimum(np.ceil(quad.max(0)).astype(int) + 2, (frame.shape[1], frame.shape[0]))
    if x2 <= x1 or y2 <= y1:
        return
    height, width = texture.shape[:2]
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (quad - (x1, y1)).astype(np.float32))
    seen = cv2.warpPerspective(texture, matrix, (int(x2 - x1), int(y2 - y1)), flags=cv2.INTER_LINEAR)
    alpha = seen[..., 3:].astype(np.uint16)
    part = frame[y1:y2, x1:x2]
    part[:] = ((part * (255 - alpha) + seen[..., :3] * alpha) // 255).astype(np.uint8)


def _turns_away(quad: FloatArray) -> bool:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = quad
    return bool((cx - ax) * (dy - by) - (cy - ay) * (dx - bx) <= 0)


def _quad(top: tuple[float, float, float], bottom: tuple[float, float, float]) -> FloatArray:
    """Corners of a panel across the vehicle from two edges, each (half width, height, distance)."""
    (a, y1, s1), (b, y2, s2) = top, bottom
    return np.array([(-a, y1, s1), (a, y1, s1), (b, y2, s2), (-b, y2, s2)])


def _canvas(width: int, height: int, top: RGB, bottom: RGB) -> ByteArray:
    ramp = np.linspace(0, 1, height)[:, None, None]
    rows = np.asarray(top) * (1 - ramp) + np.asarray(bottom) * ramp
    canvas = np.full((height, width, 4), 255, np.uint8)
    canvas[..., :3] = np.clip(np.broadcast_to(rows, (height, width, 3)), 0, 255)
    return canvas


def _shade(colour: RGB, factor: float, lift: float = 0.0) -> RGB:
    red, green, blue = (min(max(int(part * factor + lift), 0), 255) for part in colour)
    return red, green, blue


def _rounded(canvas: ByteArray, box: tuple[int, int, int, int], radius: int, colour: RGB) -> None:
    x1, y1, x2, y2 = box
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.rectangle(mask, (x1 + radius, y1), (x2 - radius, y2), 255, -1)
    cv2.rectangle(mask, (x1, y1 + radius), (x2, y2 - radius), 255, -1)
    for x in (x1 + radius, x2 - radius):
        for y in (y1 + radius, y2 - radius):
            cv2.circle(mask, (x, y), radius, 255, -1, cv2.LINE_AA)
    blend(canvas[..., :3], mask, (0, 0), colour)


def _cut_corners(canvas: ByteArray, top: int, bottom: int) -> None:
    """Round off the outline: radii at the upper and lower corners, pixels."""
    height, width = canvas.shape[:2]
    mask = np.full((height, width), 255, np.uint8)
    for radius, away in ((top, 1), (bottom, -1)):
        for side in (1, -1):
            corner = np.zeros((radius, radius), np.uint8)
            cv2.circle(corner, (radius if side > 0 else 0, radius if away > 0 else 0), radius, 255, -1, cv2.LINE_AA)
            xs = slice(0, radius) if side > 0 else slice(width - radius, width)
            ys = slice(0, radius) if away > 0 else slice(height - radius, height)
            mask[ys, xs] = corner
    canvas[..., 3] = mask


def _both_sides(width: int, box: tuple[int, int, int, int]) -> tuple[tuple[int, int, int, int], ...]:
    x1, y1, x2, y2 = box
    return box, (width - x2, y1, width - x1, y2)


def _front(body: Body, paint: RGB, rng: Rng) -> ByteArray:
    """Bonnet edge, lamps, grille, bumper and air intake."""
    width, height = (
        round(2 * body.half_widths[0] * TEXTURE_PX_M),
        round((body.fascia[1] - body.fascia[0]) * TEXTURE_PX_M),
    )
    canvas = _canvas(width, height, _shade(paint, 1.02, 14), _shade(paint, 0.66))
    _rounded(canvas, (0, int(height * 0.8), width - 1, height - 1), height // 12, DARK)
    intake = (int(width * 0.22), int(height * 0.74), int(width * 0.78), int(height * 0.95))
    _rounded(canvas, intake, height // 14, (18, 18, 20))
    for y in range(intake[1] + 12, intake[3] - 4, 16):
        cv2.line(canvas, (intake[0] + 14, y), (intake[2] - 14, y), (44, 45, 48, 255), 3)
    grille = (int(width * 0.31), int(height * 0.13), int(width * 0.69), int(height * 0.4))
    _rounded(canvas, grille, height // 12, (24, 24, 27))
    step = int(rng.integers(11, 18))
    for y in range(grille[1] + 9, grille[3] - 4, step):
        cv2.line(canvas, (grille[0] + 12, y), (grille[2] - 12, y), (120, 123, 128, 255), 3)
    middle = (width // 2, (grille[1] + grille[3]) // 2)
    cv2.circle(canvas, middle, height // 10, (196, 199, 204, 255), -1, cv2.LINE_AA)
    cv2.circle(canvas, middle, height // 14, (60, 64, 76, 255), -1, cv2.LINE_AA)
    for x1, y1, x2, y2 in _both_sides(
        width, (int(width * 0.04), int(height * 0.12), int(width * 0.25), int(height * 0.4))
    ):
        _rounded(canvas, (x1, y1, x2, y2), (y2 - y1) // 3, (58, 61, 66))
        _rounded(canvas, (x1 + 6, y1 + 6, x2 - 6, y2 - 6), (y2 - y1) // 3 - 4, (176, 182, 188))
        for share in (0.3, 0.7):
            centre = (int(x1 + (x2 - x1) * share), (y1 + y2) // 2)
            cv2.circle(canvas, centre, (y2 - y1) // 3, (106, 112, 118, 255), -1, cv2.LINE_AA)
            cv2.circle(canvas, centre, (y2 - y1) // 4, (238, 240, 242, 255), -1, cv2.LINE_AA)
    for x1, y1, x2, y2 in _both_sides(
        width, (int(width * 0.07), int(height * 0.72), int(width * 0.16), int(height * 0.84))
    ):
        _rounded(canvas, (x1, y1, x2, y2), (y2 - y1) // 3, (30, 30, 33))
        cv2.circle(canvas, ((x1 + x2) // 2, (y1 + y2) // 2), (y2 - y1) // 4, (190, 194, 198, 255), -1, cv2.LINE_AA)
    crease = int(height * 0.5)
    cv2.line(canvas, (12, crease), (width - 12, crease), (*_shade(paint, 0.55), 255), 4, cv2.LINE_AA)
    cv2.line(canvas, (12, crease + 6), (width - 12, crease + 6), (*_shade(paint, 1.05, 22), 255), 3, cv2.LINE_AA)
    _cut_corners(canvas, height // 5, height // 6)
    return canvas


def _rear(body: Body, paint: RGB, rng: Rng) -> ByteArray:
    """Boot lid, lamps, badge and bumper."""
    width, height = (
        round(2 * body.half_widths[0] * TEXTURE_PX_M),
        round((body.fascia[1] - body.fascia[0]) * TEXTURE_PX_M),
    )
    canvas = _canvas(width, height, _shade(paint, 1.0, 16), _shade(paint, 0.6))
    bumper = int(height * 0.66)
    cv2.rectangle(canvas, (0, bumper), (width, bumper + 6), (*_shade(paint, 0.4), 255), -1)
    cv2.rectangle(canvas, (0, bumper + 6), (width, bumper + 14), (*_shade(paint, 1.05, 26), 255), -1)
    _rounded(canvas, (int(width * 0.1), int(height * 0.86), int(width * 0.9), height - 2), height // 16, DARK)
    for x1, y1, x2, y2 in _both_sides(
        width, (int(width * 0.12), int(height * 0.74), int(width * 0.2), int(height * 0.79))
    ):
        _rounded(canvas, (x1, y1, x2, y2), 8, (150, 24, 22))
    recess = (int(width * 0.31), int(height * 0.16), int(width * 0.69), int(height * 0.56))
    _rounded(canvas, recess, 14, _shade(paint, 0.62))
    for x1, y1, x2, y2 in _both_sides(
        width, (int(width * 0.02), int(height * 0.08), int(width * 0.23), int(height * 0.4))
    ):
        _rounded(canvas, (x1, y1, x2, y2), (y2 - y1) // 4, (70, 10, 12))
        _rounded(canvas, (x1 + 6, y1 + 6, x2 - 6, y2 - 6), (y2 - y1) // 4 - 4, (186, 24, 26))
        third = (y2 - y1) // 3
        cv2.rectangle(canvas, (x1 + 16, y1 + 2 * third), (x2 - 16, y2 - 14), (214, 208, 204, 255), -1)
        cv2.line(canvas, (x1 + 18, y1 + third // 2 + 6), (x2 - 18, y1 + third // 2 + 6), (240, 96, 90, 255), 5)
    word = ("Astra", "Focus", "Civic", "Clio", "Golf")[int(rng.integers(5))]
    badge = text_mask(word, font_files("text")[0], 34)
    blend(canvas[..., :3], badge, (int(width * 0.72), int(height * 0.47)), (200, 203, 208))
    cv2.circle(canvas, (width // 2, int(height * 0.08)), height // 18, (196, 199, 204, 255), -1, cv2.LINE_AA)
    _cut_corners(canvas, height // 7, height // 7)
    return canvas


def _lid(paint: RGB, rng: Rng) -> ByteArray:
    """A bonnet or boot lid that mirrors the sky."""
    canvas = _canvas(720, 360, _shade(paint, 0.86, 34), _shade(paint, 1.04, 22))
    soft = np.zeros((360, 720), np.uint8)
    cv2.ellipse(soft, (int(rng.uniform(250, 470)), 130), (210, 90), 0, 0, 360, 90, -1, cv2.LINE_AA)
    blend(canvas[..., :3], np.asarray(cv2.GaussianBlur(soft, (0, 0), 40), np.uint8), (0, 0), (236, 242, 250))
    for x in (150, 570):
        inner = x + (60 if x < 360 else -60)
        cv2.line(canvas, (x, 360), (inner, 0), (*_shade(paint, 0.74), 255), 5, cv2.LINE_AA)
    cv2.rectangle(canvas, (0, 348), (720, 360), (*_shade(paint, 0.5), 255), -1)
    return canvas


def _roof(paint: RGB) -> ByteArray:
    return _canvas(360, 360, _shade(paint, 0.95, 44), _shade(paint, 0.95, 22))


def _window(paint: RGB, rng: Rng, *, wipers: bool) -> ByteArray:
    """A windscreen or rear window: dark, with the sky in it. Nobody is drawn inside."""
    canvas = _canvas(720, 400, _shade(paint, 0.85, 18), _shade(paint, 0.8))
    _rounded(canvas, (34, 20, 686, 392), 40, (14, 15, 17))
    _rounded(canvas, (46, 30, 674, 382), 34, GLASS)
    for x in (210, 510):
        _rounded(canvas, (x - 52, 150, x + 52, 330), 26, (34, 39, 45))  # head rests
        _rounded(canvas, (x - 34, 104, x + 34, 170), 20, (34, 39, 45))
    sky = np.zeros((400, 720), np.uint8)
    start = int(rng.uniform(60, 320))
    stripe = np.array([(start, 30), (start + 180, 30), (start + 40, 382), (start - 140, 382)], np.int32)
    cv2.fillPoly(sky, [stripe], 70, cv2.LINE_AA)
    sky[30:130, 46:674] = np.maximum(sky[30:130, 46:674], np.linspace(110, 0, 100, dtype=np.uint8)[:, None])
    sky[:, :48], sky[:, 672:] = 0, 0
    blend(canvas[..., :3], np.asarray(cv2.GaussianBlur(sky, (0, 0), 9), np.uint8), (0, 0), (206, 220, 234))
    if wipers:
        _rounded(canvas, (322, 34, 398, 66), 12, (18, 18, 20))
        for x in (160, 420):
            cv2.line(canvas, (x, 380), (x + 190, 352), (12, 12, 13, 255), 8, cv2.LINE_AA)
    return canvas


def _sides(body: Body, paint: RGB) -> list[Panel]:
    """Flanks with wheels, and side windows, left and right."""
    low, high = body.fascia
    wide, narrow = body.half_widths
    (lid_s, lid_y), (top_s, top_y), (end_s, end_y) = body.profile
    length = body.length_m
    flank = _canvas(900, 300, _shade(paint, 0.8), _shade(paint, 0.45))
    belt = (lid_y + high) / 2
    scale_x, scale_y = 900 / length, 300 / (belt - 0.02)
    cv2.rectangle(flank, (0, round((belt - low) * scale_y)), (900, 300), (0, 0, 0, 0), -1)
    for s in (0.8, length - 0.8):
        centre = (round(s * scale_x), round((belt - 0.34) * scale_y))
        for radius, colour in ((0.38, (20, 20, 22, 255)), (0.32, (30, 30, 32, 255)), (0.2, (150, 153, 158, 255))):
            axes = (round(radius * scale_x), round(radius * scale_y))
            cv2.ellipse(flank, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)
    for s in (length * 0.36, length * 0.62):
        cv2.line(flank, (round(s * scale_x), 20), (round(s * scale_x), 200), (*_shade(paint, 0.4), 255), 3)
    house = _canvas(600, 200, _shade(paint, 0.75), _shade(paint, 0.7))
    for x1, x2 in ((36, 280), (304, 566)):
        _rounded(house, (x1, 22, x2, 190), 20, GLASS)
    panels = []
    for side in (-1, 1):
        flank_quad = np.array(
            [(side * wide, belt, length), (side * wide, belt, 0), (side * wide, 0.02, 0), (side * wide, 0.02, length)]
        )
        far = min(end_s + 0.5, length)
        house_quad = np.array(
            [
                (side * narrow, end_y, end_s),
                (side * narrow, top_y, top_s),
                (side * (wide - 0.04), belt, lid_s - 0.1),
                (side * (wide - 0.04), belt, far),
            ]
        )
        for texture, quad in ((flank, flank_quad), (house, house_quad)):
            if side < 0:
                panels.append(Panel(texture[:, ::-1].copy(), quad[[0, 1, 2, 3]]))
            else:
                panels.append(Panel(texture.copy(), quad[[1, 0, 3, 2]]))
    return panels


def _mount(
    fascia: ByteArray, plate: Plate, centre_m: tuple[float, float], plate_width_m: float
) -> tuple[int, int, int, int]:
    """Screw a plate onto a fascia, in place; its box there, pixels."""
    x1, y1, x2, y2 = plate.box
    scale = plate_width_m * TEXTURE_PX_M / (x2 - x1)
    image = np.asarray(cv2.resize(plate.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    left = round(centre_m[0] * TEXTURE_PX_M - (x1 + x2) / 2 * scale)
    top = round(centre_m[1] * TEXTURE_PX_M - (y1 + y2) / 2 * scale)
    shadow = np.full((image.shape[0] + 6, image.shape[1] + 6), 120, np.uint8)
    blend(fascia[..., :3], shadow, (left - 3, top - 1), (8, 8, 10))
    fascia[top : top + image.shape[0], left : left + image.shape[1], :3] = image
    return (
        left + round(x1 * scale),
        top + round(y1 * scale),
        left + round(x2 * scale),
        top + round(y2 * scale),
    )
