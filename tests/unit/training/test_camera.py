"""Camera effects: each keeps shape and type, leaves its input alone, and is the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from models.training import camera
from models.training.camera import ByteArray, Rng

Effect = Callable[[ByteArray, Rng], ByteArray]

EFFECTS: dict[str, Effect] = {
    "motion_blur": partial(camera.motion_blur, longest_px=7),
    "focus_blur": partial(camera.focus_blur, largest_sigma_px=1.8),
    "sensor_noise": partial(camera.sensor_noise, strongest=12),
    "jpeg": partial(camera.jpeg, worst_quality=25),
    "tone": camera.tone,
    "monochrome": camera.monochrome,
    "pink_cast": camera.pink_cast,
    "low_light": camera.low_light,
    "glare": camera.glare,
    "shadow": camera.shadow,
    "dirt": camera.dirt,
    "partial_cover": camera.partial_cover,
    "low_resolution": partial(camera.low_resolution, smallest=0.3),
    "stroke_weight": camera.stroke_weight,
    "bend": camera.bend,
}
SHAPES = ((64, 128, 3), (192, 192, 3), (5, 9, 3), (600, 530, 3))
"""A crop, a training picture, tiny, and larger than the noise bank."""


def picture(shape: tuple[int, ...]) -> ByteArray:
    """Coloured noise over a ramp, so that every effect has something to change."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, shape[1])[None, :, None]
    return np.clip(ramp + rng.normal(0, 25, shape), 0, 255).astype(np.uint8)


def test_every_effect_is_tested() -> None:
    """A new effect of the module, a public function of picture and generator, must be listed above."""
    public = {
        name
        for name, value in vars(camera).items()
        if callable(value) and getattr(value, "__module__", "") == camera.__name__ and not name.startswith("_")
    }
    assert public - {"pick_edge"} == set(EFFECTS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", EFFECTS)
def test_effects_keep_shape_and_type(name: str, shape: tuple[int, ...]) -> None:
    """Ten seeds each: uint8 of the same shape, the input untouched."""
    image = picture(shape)
    before = image.copy()
    for seed in range(10):
        out = EFFECTS[name](image, np.random.default_rng(seed))
        assert out.dtype == np.uint8
        assert out.shape == shape
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", EFFECTS)
def test_effects_are_deterministic_and_do_something(name: str) -> None:
    """The same seed gives the same picture; at least one of ten seeds changes it."""
    image = picture((64, 128, 3))
    once = [EFFECTS[name](image, np.random.default_rng(seed)) for seed in range(10)]
    again = [EFFECTS[name](image, np.random.default_rng(seed)) for seed in range(10)]
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert any(not np.array_equal(image, out) for out in once)


def test_monochrome_is_grey() -> None:
    """All channels are equal."""
    grey = camera.monochrome(picture((20, 30, 3)), np.random.default_rng(1))
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_low_light_is_darker_and_glare_brighter() -> None:
    """On the mean of the picture."""
    image = picture((64, 128, 3))
    assert camera.low_light(image, np.random.default_rng(1)).mean() < image.mean()
    assert camera.glare(image, np.random.default_rng(1)).mean() > image.mean()
