"""What counts as a frozen picture."""

from __future__ import annotations

import numpy as np
import pytest

from agent.capture.frozen import MAX_SEEN, MOST_PATIENCE, FrozenWatch
from agent.picture import Plane, every_nth

RNG = np.random.default_rng(1)


def _picture(value: int = 40) -> Plane:
    return np.full((120, 160), value, np.uint8)


def _noisy(picture: Plane) -> Plane:
    noise = RNG.integers(0, 2, picture.shape, dtype=np.uint8)
    return picture + noise


def test_one_picture_again_and_again_is_frozen() -> None:
    """After the limit, and not before."""
    watch = FrozenWatch(10.0)
    for n in range(100):
        watch.note(_picture(), now_s=n * 0.1)
        assert not watch.is_frozen(n * 0.1)
    assert watch.is_frozen(10.0)


def test_the_noise_of_a_sensor_is_enough_to_be_live() -> None:
    """One grey level, in a picture that is dark and still."""
    watch = FrozenWatch(1.0)
    for n in range(400):
        assert watch.note(_noisy(_picture(0)), now_s=n * 0.1)
        assert not watch.is_frozen(n * 0.1)


def test_a_night_that_only_a_key_frame_changes_is_live() -> None:
    """Eight seconds of exactly the same picture, then one pixel: the least that a filtered night still does."""
    watch = FrozenWatch(10.0)
    for second in range(0, 80, 8):
        picture = _picture(0)
        picture[13, second // 8 * 13] = 1
        for n in range(8):
            watch.note(picture, now_s=second + n)
            assert not watch.is_frozen(second + n)


@pytest.mark.parametrize("wh", [(352, 288), (1280, 720), (1920, 1080), (2560, 1440)])
def test_whatever_block_a_codec_renews_is_seen(wh: tuple[int, int]) -> None:
    """A block of 16 x 16 pixels, anywhere in a picture of up to 2560 pixels across."""
    luma = np.full(wh[::-1], 40, np.uint8)
    watch = FrozenWatch(10.0)
    assert watch.note(every_nth(luma).copy(), now_s=0.0)
    width, height = wh
    for y, x in ((y, x) for y in (0, height // 32 * 16) for x in range(0, width - 15, 16)):
        renewed = luma.copy()
        renewed[y : y + 16, x : x + 16] += 1
        assert watch.note(every_nth(renewed).copy(), now_s=1.0)


def test_what_an_encoder_makes_of_one_picture_is_frozen() -> None:
    """It comes and goes with every key frame, so it is not the same as the last, but nothing new either."""
    watch = FrozenWatch(10.0)
    group = [_picture(40 + n) for n in range(50)]
    for n in range(500):
        watch.note(group[n % 50], now_s=n * 0.04)
    assert watch.is_frozen(49 * 0.04 + 10.0)


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    """A live camera must not fill it."""
    watch = FrozenWatch(10.0)
    first = _noisy(_picture())
    assert watch.note(first, now_s=0.0)
    for n in range(MAX_SEEN - 1):
        watch.note(_noisy(_picture()), now_s=n)
    assert not watch.note(first, now_s=0.0)
    watch.note(_noisy(_picture()), now_s=0.0)
    assert watch.note(first, now_s=0.0)


def test_zero_switches_it_off() -> None:
    """No picture is then too old."""
    watch = FrozenWatch(0.0)
    assert watch.note(_picture(), now_s=0.0)
    assert watch.note(_picture(), now_s=1.0)
    assert not watch.is_frozen(1e6)


def test_connecting_in_vain_makes_it_patient_up_to_a_limit() -> None:
    """Waits double, to eight times the limit, until the camera is live again."""
    watch = FrozenWatch(10.0)
    watch.note(_picture(), now_s=0.0)
    waits_s = []
    for _ in range(6):
        waits_s.append(next(second for second in range(1, 200) if watch.is_frozen(float(second))))
        watch.be_patient()
        watch.restart(0.0)
    assert waits_s == [10, 20, 40, 80, 80, 80]
    assert max(waits_s) == 10 * MOST_PATIENCE
    watch.be_strict()
    assert watch.is_frozen(10.0)
