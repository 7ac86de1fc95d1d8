"""The motion gate: tells, for the price of looking at a few thousand pixels, whether anything moves.

Owns: the small grey picture, the usual scene, and how much each place of it trembles. Leaves to others: what is done
about motion (`agent.vision.schedule`).

A sample moves if it differs from two things by more than it usually trembles: from the usual scene, and from the
picture of one to two seconds ago. The first forgets a vehicle that has passed at once (the road is as before), the
second one that has parked (it is as it was). Rain, noise and leaves are learned as trembling, place by place; a change
of light or exposure is taken out as one factor over the whole picture. A scene moves if enough samples do within one
small window: streaks of rain are everywhere, a vehicle is in one place.

The usual scene and the trembling are running medians that take one small step at a time (sigma-delta estimation,
Manzanera and Richefeu, 2007): a vehicle hardly shifts them, however unlike the road it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from agent.records import Image

SAMPLES_WIDE: Final = 160
"""Samples across the picture's longer side. A readable plate, 60 of 1280 pixels or more, is then 8 samples wide, and
its vehicle 30 and more."""
WINDOW_SAMPLES: Final = 5
"""Side of the window, in samples: a thirtieth of the picture, less than the smallest readable vehicle's front."""
MOVING_SAMPLES: Final = 8
"""So many of a window's 25 samples must move together with the one beside them, which a streak of rain or a shaken
kerb, one sample wide, do not: less than a plate alone on a dark road (8 x 2 samples)."""
MIN_CONTRAST: Final = 12.0
"""Grey levels below which nothing is motion: above what video compression does to a still picture (a new key frame
shifts blocks by up to 8 levels), below the contrast of any paint with a road by day and of lamps at night."""
TREMBLE_FACTOR: Final = 5.0
"""A sample moves if it is off by so many of its usual deviations (their median). For Gaussian noise that is 3.4 sigma,
one sample in 1,500, and ten in one window never."""
MAX_TREMBLE: Final = 12.0
"""Most that is learned as usual, grey levels: with the factor above, a difference of 60 is motion anywhere, even on a
road that is never empty."""
SCENE_STEP_PER_S: Final = 3.0
"""How fast the usual scene follows what is there, grey levels a second. Dusk takes minutes for that; a vehicle that
passes in two seconds leaves 6 levels, half the least contrast."""
TREMBLE_STEP_PER_S: Final = 1.0
"""How fast trembling is learned and forgotten, grey levels a second: rain and a shaking mast are known after
seconds."""
SHAKE_PX: Final = 1
"""Before anything is learned, a sample is taken to tremble as if the camera shook by so many pixels."""
STILL_S: Final = 1.0
"""The picture to compare with is renewed so often and is one to two times as old: in one second a vehicle that crawls
at walking pace moves by more than a sample."""
LIGHT_STRIDE: Final = 7
"""The factor of light is the median over every so manieth sample: 2,000 of them settle it to a thousandth."""
MIN_LIGHT_CHANGE: Final = 0.002
"""A factor this close to 1 is rounding."""

FloatArray = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Memory:
    """What is known of one camera's scene; float32, all of the small picture's shape.

    Attributes:
        frame_shape: Of the frames that it was learned from.
        scene: The usual grey levels.
        tremble: Median deviation from them.
        before, older: Pictures to compare with; `older` is one to two seconds old.
        renewed_s, at_s: When those two changed, and the last picture's time.
    """

    frame_shape: tuple[int, ...]
    scene: FloatArray
    tremble: FloatArray
    before: FloatArray
    older: FloatArray
    renewed_s: float
    at_s: float

    def take_out_light(self, factor: float) -> None:
        self.scene *= factor
        self.before *= factor
        self.older *= factor

    def learn(self, grey: FloatArray, off: FloatArray, at_s: float) -> None:
        elapsed_s = min(max(at_s - self.at_s, 0.0), STILL_S)
        self.at_s = at_s
        self.scene += _step(grey, self.scene, SCENE_STEP_PER_S * elapsed_s)
        self.tremble += _step(off, self.tremble, TREMBLE_STEP_PER_S * elapsed_s)
        np.minimum(self.tremble, MAX_TREMBLE, out=self.tremble)
        if at_s - self.renewed_s >= STILL_S:
            self.older, self.before, self.renewed_s = self.before, grey, at_s


class MotionGate:
    """Watches one camera."""

    def __init__(self) -> None:
        """Know nothing yet; the first picture counts as motion."""
        self._memory: _Memory | None = None

    def moves(self, image: Image, *, at_s: float, hidden: npt.NDArray[np.bool_] | None = None) -> bool:
        """Look at one frame.

        Args:
            image: uint8, shape (H, W, 3), BGR.
            at_s: Its time, seconds; does not go back.
            hidden: bool, shape (H, W): pixels that are masked, and that decide nothing.

        Returns:
            Whether something moves. True for the first picture, and when the picture changes its size.
        """
        plane = image[..., 1]  # green is most of what is called bright
        grey = _every_nth(plane).astype(np.float32)
        memory = self._memory
        if memory is None or memory.frame_shape != image.shape:
            self._memory = _begin(plane, grey, image.shape, at_s)
            return True
        light = _light(grey, memory.scene)
        if abs(light - 1.0) > MIN_LIGHT_CHANGE:
            memory.take_out_light(light)
        off = _apart(grey, memory.scene)
        limit = np.maximum(memory.tremble * TREMBLE_FACTOR, MIN_CONTRAST)
        moving = np.minimum(off, _apart(grey, memory.older)) > limit
        if hidden is not None:
            moving &= ~_every_nth(hidden)
        memory.learn(grey, off, at_s)
        wide = (moving[:, :-1] & moving[:, 1:]).view(np.uint8)
        if not wide.size:
            return False  # so thin that nothing can be told
        counts = cv2.boxFilter(wide, cv2.CV_16S, (WINDOW_SAMPLES, WINDOW_SAMPLES), normalize=False)
        return bool(counts.max() >= MOVING_SAMPLES)


def _begin(plane: npt.NDArray[np.uint8], grey: FloatArray, frame_shape: tuple[int, ...], at_s: float) -> _Memory:
    tremble = np.zeros_like(grey)
    for axis in (0, 1):
        beside = _every_nth(np.roll(plane, SHAKE_PX, axis=axis)).astype(np.float32)
        tremble = np.maximum(tremble, _apart(grey, beside))
    return _Memory(
        frame_shape=frame_shape,
        scene=grey.copy(),
        tremble=np.minimum(tremble, MAX_TREMBLE),
        before=grey.copy(),
        older=grey.copy(),
        renewed_s=at_s,
        at_s=at_s,
    )


def _every_nth(plane: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
    """Return a view of every nth pixel, about 160 of them across; no resizing, which would read every pixel."""
    step = max(max(plane.shape) // SAMPLES_WIDE, 1)
    down, across = (min(step // 2, side - 1) for side in plane.shape)
    return plane[down::step, across::step]


def _light(grey: FloatArray, scene: FloatArray) -> float:
    """Return by what factor the whole picture is brighter than the usual scene."""
    ratios = (grey.ravel()[::LIGHT_STRIDE] + 1.0) / (scene.ravel()[::LIGHT_STRIDE] + 1.0)
    middle = ratios.size // 2
    return float(np.partition(ratios, middle)[middle])


def _step(towards: FloatArray, from_: FloatArray, most: float) -> FloatArray:
    step: FloatArray = np.clip(towards - from_, -most, most)
    return step


def _apart(one: FloatArray, other: FloatArray) -> FloatArray:
    difference: FloatArray = cv2.absdiff(one, other).astype(np.float32, copy=False)
    return difference
