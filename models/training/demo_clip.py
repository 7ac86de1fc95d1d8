"""The demo's clip: a rendered road with twelve vehicles, and its ground truth.

`python -m models.training.demo_clip` writes `agent/bench/clips/demo.mp4` and `demo.truth.json`. Everything is drawn by
code: the plates by `render`, the vehicles by `vehicles`, the road, the light and the camera here. The same seed gives
the same frames; the file's bytes depend on the encoder too.

Owns the traffic and the picture's path from the scene to the file.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from .camera import sensor_noise
from .formats import RGB
from .progress import say
from .render import ByteArray, Plate, Rng, jitter, render_plate
from .vehicles import Camera, FloatArray, Vehicle, build_vehicle, paint_panel, place

Pose = tuple[float, float, float, float]
"""Where a vehicle is: x and z of its near end, metres, heading, radians, and its lift by its springs, metres."""

CLIPS = Path(__file__).resolve().parents[2] / "agent" / "bench" / "clips"
VIEW_WH: Final = (960, 540)
FINER: Final = 2  # drawn so many times larger, then averaged: no stair steps
FPS: Final = 12.5
EMPTY_FRAMES: Final = 11  # of road between two vehicles: more than the tracker's longest gap of 0.8 s
CAMERA: Final = Camera(4.0, math.radians(17.5), 1850.0 * FINER, (VIEW_WH[0] * FINER / 2, VIEW_WH[1] * FINER / 2))
FAR_M, NEAR_M = 21.5, 6.0  # a vehicle's near end when it comes into view and when it has left it
UNSURE: Final = set("IOQ")  # letters that many countries do not issue, because nobody tells them from 1 and 0
ROAD_BLUR_PX: Final = 2.8  # of the finer picture; a road in fine grain would take the file above 2 MB
LAMPS_BELOW: Final = 0.65  # daylight at which drivers switch their lamps on
DAY: Final = (1.0, 1.0, 0.98)
DUSK: Final = (0.42, 0.44, 0.55)


@dataclass(frozen=True, slots=True)
class Passing:
    """One vehicle's way past the camera.

    Attributes:
        kind: The plate's layout, see `formats`.
        plate_seed: Which plate of that kind, see `draw_plate`.
        plate_width_m: Its real width.
        shape, end, paint: See `vehicles.build_vehicle`.
        lane_m: Where it drives, metres right of the camera.
        drift_m: How far it moves to the right while it passes.
        heading: Its turn, radians.
        speed_m_s: Its speed.
        daylight: 1 by day, 0 at dusk.
    """

    kind: str
    plate_seed: int
    plate_width_m: float
    shape: str
    end: str
    paint: RGB
    lane_m: float
    drift_m: float
    heading: float
    speed_m_s: float
    daylight: float


TRAFFIC: Final = (
    Passing("eu-de", 600, 0.52, "hatch", "front", (168, 172, 178), -1.35, 0.0, 0.0, 9.5, 1.0),
    Passing("uk-yellow", 601, 0.52, "saloon", "rear", (34, 66, 132), 1.3, 0.0, 0.03, 10.0, 1.0),
    Passing("us", 8, 0.305, "suv", "front", (150, 128, 96), -1.3, 0.3, 0.06, 9.0, 1.0),
    Passing("mercosur", 503, 0.4, "hatch", "rear", (164, 30, 32), 1.2, -0.2, -0.08, 9.0, 1.0),
    Passing("eu-fr", 704, 0.52, "van", "front", (214, 216, 218), -1.4, 0.0, 0.0, 9.0, 1.0),
    Passing("eu-pl", 305, 0.52, "saloon", "front", (40, 84, 60), -1.1, -0.5, -0.12, 9.5, 0.75),
    Passing("uk-white", 606, 0.52, "hatch", "front", (36, 37, 42), -1.4, 0.2, 0.1, 10.0, 0.75),
    Passing("br-old", 707, 0.4, "saloon", "rear", (196, 197, 194), 1.25, 0.1, 0.05, 9.0, 0.75),
    Passing("eu-nl", 508, 0.52, "suv", "front", (92, 96, 104), -1.3, 0.0, 0.0, 9.0, 0.4),
    Passing("eu-es", 409, 0.52, "hatch", "rear", (202, 128, 36), 1.3, 0.0, -0.05, 9.0, 0.4),
    Passing("eu-cz", 710, 0.52, "saloon", "front", (120, 26, 34), -1.25, 0.3, 0.1, 9.0, 0.1),
    Passing("us", 2, 0.305, "suv", "rear", (206, 208, 210), 1.2, 0.0, 0.04, 9.0, 0.1),
)


def draw_plate(kind: str, seed: int) -> Plate:
    """The first plate of a kind, of one line and six to eight sure characters, that a seed leads to."""
    rng = np.random.default_rng(seed)
    while True:
        plate = render_plate(rng)
        if plate.kind == kind and 6 <= len(plate.text) <= 8 and not UNSURE & set(plate.text):
            return plate


def draw_road(rng: Rng) -> ByteArray:
    """The empty road by day: uint8 (H, W, 3) RGB at `FINER` times the clip's size."""
    x, z = _ground(VIEW_WH[0] * FINER, VIEW_WH[1] * FINER)
    coarse, fine = _cloud(rng, x, z, 1.6), _cloud(rng, x, z, 0.2)
    grain = rng.normal(0, 1, x.shape).astype(np.float32)
    patches = coarse * 9 + fine * 7 + grain * 2
    scene = np.array((104, 105, 107), np.float32) + patches[..., None]
    for lane in (-1.3, 1.3):  # tyres polish two tracks a lane, oil darkens its middle
        for track in (-0.75, 0.75):
            scene -= 7 * np.exp(-(((x - lane - track) / 0.22) ** 2))[..., None]
        scene -= 9 * np.exp(-(((x - lane) / 0.3) ** 2))[..., None]
    worn = np.clip(0.9 - 0.35 * (fine > 0.6) + 0.1 * coarse, 0, 1)[..., None]
    dashes, edges = (np.abs(x) < 0.06) & (z % 6.0 < 3.0), np.abs(np.abs(x) - 2.85) < 0.06
    scene = np.where((dashes | edges)[..., None], scene * (1 - worn) + 205 * worn, scene)
    kerb = 142 + fine * 10 + grain * 2 - 30 * (z % 1.0 < 0.03)
    scene = np.where((np.abs(x) > 3.25)[..., None], kerb[..., None], scene)
    joints = ((z % 0.6) < 0.03) | (((x - 3.42) % 0.6) < 0.025)
    slabs = np.array((150, 144, 136)) + (coarse * 6 + fine * 8 - 26 * joints)[..., None]
    scene = np.where((x > 3.42)[..., None], slabs, scene)
    meadow = np.array((84, 104, 54)) + (coarse * 14 + fine * 16 + grain * 4)[..., None]
    scene = np.where(((x < -3.42) | (x > 5.2))[..., None], meadow, scene)
    trees = np.clip((_cloud(rng, x + 0.35 * z, z, 2.6) - 0.55) * 3, 0, 1) * np.clip((-x - 0.4) / 2.2, 0, 1)
    picture = np.clip(scene * (1 - 0.38 * trees)[..., None], 0, 255).astype(np.uint8)  # in the shade on the left
    _manhole(picture, (0.55, 15.2))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), ROAD_BLUR_PX), np.uint8)


def _ground(width: int, height: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where every pixel's line of sight meets the road: x and z in metres, float32 (height, width)."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    right = (columns - CAMERA.centre[0]) / CAMERA.focal_px
    down = (rows - CAMERA.centre[1]) / CAMERA.focal_px
    sine, cosine = math.sin(CAMERA.pitch), math.cos(CAMERA.pitch)
    depth = CAMERA.height_m / (down * cosine + sine)
    return (right * depth).astype(np.float32), ((cosine - down * sine) * depth).astype(np.float32)


def _cloud(rng: Rng, x: npt.NDArray[np.float32], z: npt.NDArray[np.float32], size_m: float) -> npt.NDArray[np.float32]:
    """Soft patches on the ground of about `size_m`, mean 0, spread 1."""
    tile = rng.normal(0, 1, (256, 256)).astype(np.float32)
    xs, zs = np.mod(x / size_m + 128, 255).astype(np.float32), np.mod(z / size_m, 255).astype(np.float32)
    return np.asarray(cv2.remap(tile, xs, zs, cv2.INTER_LINEAR), np.float32)


def _manhole(picture: ByteArray, at: tuple[float, float]) -> None:
    angles = np.linspace(0, 2 * np.pi, 40)
    for radius, colour in ((0.36, (70, 70, 72)), (0.31, (88, 87, 86)), (0.22, (80, 79, 78)), (0.12, (92, 91, 90))):
        ring = np.stack([at[0] + radius * np.cos(angles), 0 * angles, at[1] + radius * np.sin(angles)], 1)
        cv2.fillPoly(picture, [CAMERA.project(ring).round().astype(np.int32)], colour, cv2.LINE_AA)


def light_of(daylight: float) -> npt.NDArray[np.float32]:
    """Strength of the light per channel, float32 (3,)."""
    return (np.array(DAY) * daylight + np.array(DUSK) * (1 - daylight)).astype(np.float32)


def draw_frame(road: ByteArray, vehicle: Vehicle | None, pose: Pose, daylight: float) -> ByteArray:
    """One frame before the camera: uint8 (H, W, 3) RGB at the clip's size.

    Args:
        road: From `draw_road`.
        vehicle: What is on it.
        pose: Where it is.
        daylight: 1 by day, 0 at dusk.
    """
    frame = road.copy()
    if vehicle is not None:
        _cast_shadow(frame, vehicle, pose, daylight)
        for panel in vehicle.panels:
            paint_panel(frame, panel.texture, CAMERA.project(place(panel.corners, *pose)))
    size = (VIEW_WH[0], VIEW_WH[1])
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32) * light_of(daylight)
    if vehicle is not None and daylight < LAMPS_BELOW:
        _throw_back(small, vehicle, pose, 1 - daylight)
        _light_lamps(small, vehicle, pose, 1 - daylight)
    return np.asarray(np.clip(small, 0, 255), np.uint8)


def _cast_shadow(frame: ByteArray, vehicle: Vehicle, pose: Pose, daylight: float) -> None:
    x, z, heading, _ = pose
    strength = np.zeros((frame.shape[0] // 4, frame.shape[1] // 4), np.uint8)
    for shift, alpha, grow in ((0.45 * daylight, 105, 0.0), (0.0, 190, 0.06)):  # the sun's, and the one beneath
        foot = vehicle.footprint + np.array((shift, 0, 0)) + np.sign(vehicle.footprint) * grow
        quad = CAMERA.project(place(foot, x, max(z, 3.0), heading)) / 4
        layer = np.zeros_like(strength)
        cv2.fillPoly(layer, [quad.round().astype(np.int32)], alpha, cv2.LINE_AA)
        strength = np.maximum(strength, layer)
    soft = cv2.GaussianBlur(strength, (0, 0), 4)
    mask = cv2.resize(soft, (frame.shape[1], frame.shape[0])).astype(np.uint16)[..., None]
    frame[:] = (frame * (255 - mask * 8 // 10) // 255).astype(np.uint8)


def _throw_back(frame: npt.NDArray[np.float32], vehicle: Vehicle, pose: Pose, darkness: float) -> None:
    """Brighten the plate, in place: it is made to throw light back to where it came from."""
    mask = np.zeros(frame.shape[:2], np.float32)
    quad = (CAMERA.project(place(vehicle.plate, *pose)) / FINER * 16).round().astype(np.int32)
    cv2.fillPoly(mask, [quad], 1.0, cv2.LINE_8, 4)
    frame *= (1 + 0.7 * darkness * cv2.GaussianBlur(mask, (0, 0), 0.7))[..., None]


def _light_lamps(frame: npt.NDArray[np.float32], vehicle: Vehicle, pose: Pose, darkness: float) -> None:
    """Add the glow of the lamps, in place."""
    height, width = frame.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    size = 190.0 / max(pose[1], 4.0)
    is_red = vehicle.lamp_colour[1] < 128
    colour = np.array(vehicle.lamp_colour, np.float32) / 255
    for x, y in CAMERA.project(place(vehicle.lamps, *pose)) / FINER:
        square = (columns - x) ** 2 + (rows - y) ** 2
        core, halo = np.exp(-square / (2 * (size * 0.55) ** 2)), np.exp(-square / (2 * (size * 2.2) ** 2))
        gain = (130 * core + 16 * halo) if is_red else (330 * core + 42 * halo)
        frame += gain[..., None] * colour * darkness
    if not is_red:  # what the headlamps throw on the road before them
        pool = CAMERA.project(place(np.array([(0.0, 0.0, -2.2)]), pose[0], max(pose[1], 5.0), pose[2])) / FINER
        spot = np.exp(-(((columns - pool[0, 0]) / (size * 7)) ** 2) - ((rows - pool[0, 1]) / (size * 3)) ** 2)
        frame += (46 * darkness * spot)[..., None] * colour


def through_camera(frame: ByteArray, drift_px: tuple[float, float], rng: Rng, daylight: float) -> ByteArray:
    """What lens, shutter and sensor make of a frame: a little blur, the exposure's smear, noise."""
    seen = cv2.GaussianBlur(frame, (0, 0), 0.55 + 0.15 * (1 - daylight))
    length = math.hypot(*drift_px)
    if length >= 1.0:
        seen = _smear(np.asarray(seen, np.uint8), drift_px, length)
    return sensor_noise(np.asarray(seen, np.uint8), rng, strongest=1.4 + 1.6 * (1 - daylight))


def _smear(frame: ByteArray, drift_px: tuple[float, float], length: float) -> ByteArray:
    side = 2 * math.ceil(length / 2) + 1
    fine = np.zeros((side * 8, side * 8), np.uint8)
    middle, half = side * 4, np.array(drift_px) * 4
    start, end = (middle - half).round().astype(int), (middle + half).round().astype(int)
    cv2.line(fine, tuple(map(int, start)), tuple(map(int, end)), 255, 8)
    kernel = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum()), np.uint8)


def plate_box(vehicle: Vehicle, pose: Pose) -> tuple[FloatArray, bool]:
    """The plate's box in the clip's pixels, (x1, y1, x2, y2), and whether all of it is in the picture."""
    corners = CAMERA.project(place(vehicle.plate, *pose)) / FINER
    (x1, y1), (x2, y2) = corners.min(0), corners.max(0)
    inside = x1 >= 0 and y1 >= 0 and x2 < VIEW_WH[0] and y2 < VIEW_WH[1]
    return np.array([x1, y1, x2, y2]), bool(inside)


class Film:
    """The clip's file and its truth, frame by frame."""

    def __init__(self, path: Path, seed: int) -> None:
        """Open `path` for writing."""
        self._video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, VIEW_WH)
        if not self._video.isOpened():
            raise SystemExit("this build of OpenCV writes no MPEG-4 video")
        self._rng = np.random.default_rng(seed)
        self.frames = 0

    def add(self, frame: ByteArray, daylight: float, drift_px: tuple[float, float] = (0.0, 0.0)) -> None:
        """Take one frame, RGB, through the camera."""
        seen = through_camera(frame, drift_px, self._rng, daylight)
        self._video.write(np.ascontiguousarray(seen[..., ::-1]))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._video.release()


def film_passing(film: Film, road: ByteArray, passing: Passing, seed: int) -> dict[str, Any]:
    """Film one vehicle; its entry in the truth."""
    rng = np.random.default_rng(seed)
    plate = draw_plate(passing.kind, passing.plate_seed)
    paint = jitter(passing.paint, rng, 6.0)
    vehicle = build_vehicle(passing.shape, passing.end, paint, plate, plate_width_m=passing.plate_width_m, rng=rng)
    steps = int((FAR_M - NEAR_M) / passing.speed_m_s * FPS)
    boxes: dict[str, list[float]] = {}
    before: FloatArray | None = None
    for step in range(steps + 1):
        share = step / steps
        gone = share if passing.end == "front" else 1 - share
        z = FAR_M + (NEAR_M - FAR_M) * gone
        lift = 0.008 * math.sin(step * 0.9 + seed)
        pose = (passing.lane_m + passing.drift_m * (share - 0.5), z, passing.heading, lift)
        box, inside = plate_box(vehicle, pose)
        exposure = 0.05 + 0.03 * (1 - passing.daylight)  # of the time between two frames
        moved = np.zeros(4) if before is None else (box - before) * exposure
        before = box
        if inside:
            boxes[str(film.frames)] = [round(float(side), 1) for side in box]
        frame = draw_frame(road, vehicle, pose, passing.daylight)
        film.add(frame, passing.daylight, (float(moved[[0, 2]].mean()), float(moved[[1, 3]].mean())))
    seen = [int(number) for number in boxes]
    return {"text": plate.text, "kind": plate.kind, "first": min(seen), "last": max(seen), "boxes": boxes}


def make_clip(out: Path, *, seed: int, traffic: tuple[Passing, ...] = TRAFFIC) -> Path:
    """Film the traffic into `out`/demo.mp4, with its truth beside it; the clip's path."""
    out.mkdir(parents=True, exist_ok=True)
    clip = out / "demo.mp4"
    road = draw_road(np.random.default_rng(seed))
    film = Film(clip, seed)
    passes: list[dict[str, Any]] = []
    light = traffic[0].daylight
    nothing = (0.0, FAR_M, 0.0, 0.0)
    for index, passing in enumerate(traffic):
        for step in range(EMPTY_FRAMES):
            now = light + (passing.daylight - light) * step / EMPTY_FRAMES
            film.add(draw_frame(road, None, nothing, now), now)
        light = passing.daylight
        passes.append(film_passing(film, road, passing, seed * 100 + index))
        say(f"{index + 1} of {len(traffic)}: {passes[-1]['kind']}")
    for _ in range(EMPTY_FRAMES):
        film.add(draw_frame(road, None, nothing, light), light)
    film.close()
    truth = {"fps": FPS, "frames": film.frames, "passes": passes}
    clip.with_suffix(".truth.json").write_text(json.dumps(truth) + "\n")
    return clip


def main() -> None:
    """Make the clip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=CLIPS, help="folder for the clip and its truth")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    clip = make_clip(arguments.out, seed=arguments.seed)
    say(f"{clip}: {clip.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
