"""The motion gate, on rendered scenes: what must open it, and what must not keep it open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agent.records import Image, Picture, Plane
from agent.vision.gate import MotionGate

WIDTH, HEIGHT, FPS = 640, 360, 15
NOISE = np.random.default_rng(0).normal(0.0, 1.0, (2 * HEIGHT, 2 * WIDTH, 1)).astype(np.float32)
"""One field of noise, shifted: new noise for every frame would take longer than all the rest."""
LEARNING = 6 * FPS
"""Frames in which weather and shaking are learned."""
Levels = npt.NDArray[np.float32]


def _road(*, level: float = 90.0, seed: int = 1) -> Levels:
    """A road with patches, a kerb and lane marks; float32, shape (360, 640, 1)."""
    rng = np.random.default_rng(seed)
    patches = cv2.resize(rng.normal(0.0, 0.12, (12, 20)).astype(np.float32), (WIDTH, HEIGHT))
    road = np.full((HEIGHT, WIDTH), level, np.float32) * (1.0 + patches)
    cv2.line(road, (100, 0), (60, HEIGHT), level * 1.9, 3)
    cv2.line(road, (420, 0), (620, HEIGHT), level * 1.9, 3)
    return road[..., None]


ROAD = _road()


def _seen(picture: Levels, number: int, *, noise: float = 2.5) -> Image:
    """What the camera makes of it: noise, 8 bits, three colours."""
    down, across = (131 * number) % HEIGHT, (277 * number) % WIDTH
    noisy = picture + noise * NOISE[down : down + HEIGHT, across : across + WIDTH]
    return cv2.merge([np.clip(noisy, 0, 255).astype(np.uint8)] * 3).astype(np.uint8, copy=False)


def _play(pictures: Iterable[Levels], *, noise: float = 2.5, gate: MotionGate | None = None) -> list[bool]:
    gate = gate or MotionGate()
    frames = enumerate(pictures)
    return [gate.moves(Picture.of(_seen(picture, n, noise=noise)), at_s=n / FPS) for n, picture in frames]


def _car(road: Levels, x: int, *, y: int = 150, wh: tuple[int, int] = (150, 110)) -> Levels:
    """Put a car's front on the road: body, windscreen, lamps, plate. Parts outside the picture are cut off."""
    picture = road.copy()

    def block(left: float, top: float, width: float, height: float, level: float) -> None:
        x1, x2 = (min(max(round(x + side * wh[0]), 0), WIDTH) for side in (left, left + width))
        y1, y2 = (min(max(round(y + side * wh[1]), 0), HEIGHT) for side in (top, top + height))
        picture[y1:y2, x1:x2] = level

    block(0.0, 0.0, 1.0, 1.0, 60.0)
    block(0.15, 0.05, 0.7, 0.3, 25.0)
    block(0.05, 0.5, 0.15, 0.12, 200.0)
    block(0.8, 0.5, 0.15, 0.12, 200.0)
    block(0.3, 0.7, 0.4, 0.12, 220.0)
    return picture


def _rainy(picture: Levels, number: int, *, streaks: int = 250) -> Levels:
    rng = np.random.default_rng(10_000 + number)
    wet = picture.copy()
    for x, y, length in zip(
        rng.integers(0, WIDTH, streaks), rng.integers(0, HEIGHT, streaks), rng.integers(10, 30, streaks), strict=True
    ):
        wet[y : y + length, x : x + 1] += 70.0
    return wet


def _shaken(picture: Levels, number: int, *, px: int = 2) -> Levels:
    rng = np.random.default_rng(20_000 + number)
    by_x, by_y = rng.integers(-px, px + 1, 2)
    return np.roll(picture, (int(by_y), int(by_x)), axis=(0, 1))


def _as_it_is(picture: Levels, _: int) -> Levels:
    return picture


WEATHER: dict[str, Callable[[Levels, int], Levels]] = {"calm": _as_it_is, "rain": _rainy, "shaking": _shaken}
weather = pytest.mark.parametrize("weather", WEATHER.values(), ids=WEATHER)


def test_the_first_picture_counts_as_motion() -> None:
    """Whatever stands there at the start is looked at."""
    assert _play([ROAD]) == [True]


@pytest.mark.parametrize(("name", "most"), [("calm", 0), ("shaking", 4), ("rain", 20)])
def test_an_empty_road_is_still(name: str, most: int) -> None:
    """Once learned: noise never opens the gate, a shaking mast on one frame in fifty, a downpour on one in ten."""
    moves = _play(WEATHER[name](ROAD, n) for n in range(LEARNING + 200))
    assert sum(moves[LEARNING:]) <= most


@pytest.mark.parametrize("noise", [0.0, 2.5, 6.0])
def test_noise_of_any_strength_is_still_at_once(noise: float) -> None:
    """No second of learning is needed for a sensor's noise."""
    assert sum(_play(repeat(ROAD, 100), noise=noise)) == 1


@weather
@pytest.mark.parametrize("step_px", [6, 15, 40])
def test_a_vehicle_opens_the_gate_as_it_comes(step_px: int, weather: Callable[[Levels, int], Levels]) -> None:
    """Open one frame time after a fifth of it is in the picture, long before its plate is; and then until it leaves."""
    enters = [_car(ROAD, x) for x in range(-150, WIDTH, step_px)]
    moves = _play(weather(picture, n) for n, picture in enumerate(chain(repeat(ROAD, LEARNING), enters)))[LEARNING:]
    first_part, plate_whole = -(-30 // step_px), -(-105 // step_px)
    assert moves[first_part + 1] or moves[first_part]
    last_whole = (WIDTH + 150) // step_px - 150 // step_px - 1
    assert all(moves[plate_whole : last_whole + 1])


def test_a_vehicle_out_of_nowhere_is_not_hidden_for_one_frame() -> None:
    """A cut in a recording, or a frame lost by the network."""
    assert _play([*[ROAD] * 30, _car(ROAD, 250)])[-1]


def test_a_plate_alone_at_night_opens_the_gate() -> None:
    """A dark car on a dark road, of which infrared light shows the plate: 40 x 10 pixels of 640 x 360."""
    night = _road(level=12.0)
    lit = night.copy()
    lit[200:210, 300:340] = 180.0
    assert _play([*[night] * 30, lit])[-1]


@pytest.mark.parametrize("change", [1.6, 0.5])
def test_slow_light_is_no_motion(change: float) -> None:
    """A cloud or the dusk, at 20 seconds for half the light."""
    steps = 20 * FPS
    moves = _play(ROAD * (1.0 + (change - 1.0) * n / steps) for n in range(steps))
    assert sum(moves[1:]) == 0


def test_a_jump_of_the_exposure_is_no_motion() -> None:
    """The whole picture by a quarter, from one frame to the next and back."""
    moves = _play([*[ROAD] * 30, *[ROAD * 1.25] * 30, *[ROAD] * 30])
    assert sum(moves[1:]) == 0


def test_a_vehicle_in_changing_light_is_seen() -> None:
    """The factor of light is the road's, not the vehicle's."""
    steps = 5 * FPS
    dims = [_car(ROAD, 8 * n - 150) * (1.0 - 0.5 * n / steps) for n in range(steps)]
    moves = _play([*[ROAD] * 30, *dims])[30:]
    assert all(moves[15:])


def test_headlights_open_the_gate_and_leave_no_trace() -> None:
    """The cone of light runs ahead of its vehicle; when both have passed, the gate closes."""
    night = _road(level=20.0)
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    cones = [
        night + 120.0 * np.exp(-(((x - at) / 90.0) ** 2) - ((y - 220) / 50.0) ** 2).astype(np.float32)[..., None]
        for at in range(-150, WIDTH + 200, 12)
    ]
    moves = _play([*[night] * 30, *cones, *[night] * 60])
    assert sum(moves[45 : 30 + len(cones) - 15]) >= len(cones) - 35
    assert sum(moves[30 + len(cones) + 2 * FPS :]) == 0


def test_a_parked_car_closes_the_gate_and_opens_it_when_it_leaves() -> None:
    """Two seconds after it stands, nothing moves; when it has left, nothing moves either."""
    comes = [_car(ROAD, x) for x in range(-150, 250, 10)]
    stands = [_car(ROAD, 250)] * (20 * FPS)
    leaves = [_car(ROAD, x) for x in range(250, WIDTH, 10)]
    moves = _play([*[ROAD] * 15, *comes, *stands, *leaves, *[ROAD] * (10 * FPS)])
    stood, left = 15 + len(comes), 15 + len(comes) + len(stands)
    assert sum(moves[stood + 2 * FPS + 2 : left]) == 0
    assert all(moves[left + 3 : left + len(leaves) - 3])
    assert sum(moves[left + len(leaves) + 2 * FPS + 2 :]) == 0


def test_a_vehicle_behind_a_parked_one_is_seen() -> None:
    """The scene has learned the parked car meanwhile, or not: neither hides another one."""
    parked = _car(ROAD, 60, y=40)
    passes = [_car(parked, x) for x in range(-150, WIDTH, 20)]
    moves = _play([*[parked] * (5 * FPS), *passes])[5 * FPS :]
    assert all(moves[6:-8])


def test_a_road_that_is_never_empty_is_still_seen() -> None:
    """A minute of traffic without a gap is not learned as a road's trembling."""
    pictures = [_car(_car(ROAD, (12 * n) % 790 - 150), (12 * n + 395) % 790 - 150) for n in range(60 * FPS)]
    moves = _play(pictures)
    assert sum(moves[-10 * FPS :]) >= 0.95 * 10 * FPS


def test_a_vehicle_that_comes_from_elsewhere_is_told_apart_from_what_moves_already() -> None:
    """A flag waves for long; the vehicle is news where it comes in, and then no longer."""
    gate, came = MotionGate(), 8 * FPS
    told = []
    for n in range(came + 3 * FPS):
        picture = _car(ROAD, 560 + n % 3 * 8, y=20, wh=(60, 40))
        if n >= came:
            picture = _car(picture, 12 * (n - came) - 150, y=220)
        if gate.moves(Picture.of(_seen(picture, n)), at_s=n / FPS) and gate.has_new_area:
            told.append(n)
    assert [n for n in told if 2 * FPS <= n < came] == []
    assert came < min(n for n in told if n >= 2 * FPS) <= came + 8
    assert max(told) <= came + FPS


def test_a_place_is_usual_before_a_vehicle_came_and_after_it_left() -> None:
    """And unusual while it is there, whether it moves or not; nothing is known of a picture of another size."""
    gate, place = MotionGate(), (0.35, 0.4, 0.6, 0.75)
    shares = []
    for n, picture in enumerate([*[ROAD] * LEARNING, *[_car(ROAD, 240)] * 15, *[ROAD] * 15]):
        seen = Picture.of(_seen(picture, n))
        gate.moves(seen, at_s=n / FPS)
        shares.append(gate.unusual_share(seen, place))
    assert max(*shares[LEARNING - 15 : LEARNING], *shares[-15:]) < 0.01
    assert min(shares[LEARNING : LEARNING + 15]) > 0.5
    assert gate.unusual_share(Picture.of(np.zeros((20, 20, 3), np.uint8)), place) == 1.0
    assert gate.unusual_share(seen, (1.2, 0.0, 1.4, 1.0)) == 1.0


def test_masked_motion_is_not_seen() -> None:
    """A flag, a screen or a tree behind a mask."""
    hidden = np.zeros((HEIGHT, WIDTH), np.bool_)
    hidden[100:300] = True
    gate = MotionGate()
    frames = [_seen(_car(ROAD, x), n) for n, x in enumerate(range(-150, WIDTH, 20))]
    moves = [gate.moves(Picture.of(frame), at_s=n / FPS, hidden=hidden) for n, frame in enumerate(frames)]
    assert sum(moves[1:]) == 0


@pytest.mark.parametrize("wh", [(1, 1), (1, 400), (1920, 1080), (33, 900)])
def test_frames_of_every_size_are_taken(wh: tuple[int, int]) -> None:
    """Another size begins anew; the smallest crash nothing."""
    gate = MotionGate()
    gate.moves(Picture.of(_seen(ROAD, 0)), at_s=0.0)
    frame = np.full((wh[1], wh[0], 3), 90, np.uint8)
    assert gate.moves(Picture.of(frame), at_s=1.0)
    assert not gate.moves(Picture.of(frame), at_s=1.1)
    gate.moves(Picture.of(255 - frame), at_s=1.2)


def test_time_that_stands_still_or_jumps_breaks_nothing() -> None:
    """Two frames of one time, and an hour's gap."""
    gate = MotionGate()
    assert [gate.moves(Picture.of(_seen(ROAD, n)), at_s=at_s) for n, at_s in enumerate([0.0, 0.0, 3600.0, 3600.0])] == [
        True,
        False,
        False,
        False,
    ]


def test_the_part_that_moves_holds_the_vehicle_and_little_else() -> None:
    """Nothing is known before the first picture, of an empty road, and a second after it has passed."""
    gate = MotionGate()
    assert gate.moving_part(at_s=0.0) is None
    assert not any(_play(chain([ROAD], repeat(ROAD, LEARNING)), gate=gate)[1:])
    assert gate.moving_part(at_s=LEARNING / FPS) is None
    for n in range(LEARNING + 1, LEARNING + 9):
        gate.moves(Picture.of(_seen(_car(ROAD, 200 + 8 * (n - LEARNING)), n)), at_s=n / FPS)
    part = gate.moving_part(at_s=(LEARNING + 8) / FPS)
    assert part is not None
    x1, y1, x2, y2 = part
    assert x1 * WIDTH <= 208
    assert x2 * WIDTH >= 264 + 150
    assert y1 * HEIGHT <= 150
    assert y2 * HEIGHT >= 150 + 80
    assert (x2 - x1) * (y2 - y1) < 0.5
    assert gate.moving_part(at_s=(LEARNING + 8) / FPS + 1.1) is None


def test_while_something_moves_the_gate_looks_ten_times_a_second() -> None:
    """Of the pictures in between it does not even take the brightness."""
    gate, taken = MotionGate(), []

    def picture(n: int) -> Picture:
        grey = np.full((90, 160), 90, np.uint8)
        grey[30:60, 4 * n : 4 * n + 30] = 250 if n else 90

        def luma() -> Plane:
            taken.append(n)
            return grey

        return Picture((160, 90), lambda: np.dstack([grey] * 3), luma=luma)

    assert all(gate.moves(picture(n), at_s=n / 64) for n in range(30))
    assert taken[:2] == [0, 1], "the first picture is learned, the second moves"
    assert taken[1:] == list(range(1, 30, 7))
