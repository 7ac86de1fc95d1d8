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

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from agent.picture import Picture, every_nth
from agent.vision.window import RelativeBox

WINDOW_SAMPLES: Final = 5
"""Side of the window, in samples: a thirtieth of the picture, less than the smallest readable vehicle's front."""
MOVING_SAMPLES: Final = 8
"""So many of a window's 25 samples must move together with the one beside them, which a streak of rain or a shaken
kerb, one sample wide, do not: less than a plate alone on a dark road (8 x 2 samples)."""
MOVING_LEVEL: Final = 255 * (MOVING_SAMPLES - 0.5) / WINDOW_SAMPLES**2
"""The same as the mean over a window in which moving samples are 255 and all others 0: between seven and eight."""
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
MOVING_LOOK_S: Final = 0.1
"""While something moves, pictures nearer than this to the last are not looked at: that it goes on is no news."""
LEARN_EVERY_S: Final = 0.25
"""How often the usual scene takes a step: medians of many seconds need none on every frame."""
STILL_S: Final = 1.0
"""The picture to compare with is renewed so often and is one to two times as old: in one second a vehicle that crawls
at walking pace moves by more than a sample."""
CELL_SAMPLES: Final = 10
"""Side of a cell, in samples. What moves in a cell next to one that has moved within the last second is the same thing
going on: a vehicle that crosses the picture in a second moves by one cell from frame to frame, at 15 frames/s."""
LIGHT_STRIDE: Final = 23
"""The factor of light is the median over every so manieth sample: 600 of them settle it to two thousandths."""
MIN_LIGHT_CHANGE: Final = 0.004
"""A factor this close to 1 is rounding."""

Grey = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
_Mask = npt.NDArray[np.bool_]
_CELL_AND_NEXT: Final = np.ones((3, 3), np.uint8)


@dataclass(slots=True)
class _Picture:
    """A picture of before, in the light of now: `grey` is `taken` x `light`, rounded once, however often it changes."""

    taken: Grey
    grey: Grey
    light: float = 1.0

    def take_out_light(self, factor: float) -> None:
        self.light *= factor
        self.grey = _rounded(self.taken, self.light)


@dataclass(slots=True)
class _Memory:
    """What is known of one camera's scene; arrays have the small picture's shape, but for those by cell.

    What is compared with every picture is 8 bits deep, a quarter of the work.

    Attributes:
        frame_wh: Of the frames that it was learned from.
        scene: The usual grey levels; `scene_grey` is the same, rounded.
        tremble: Median deviation from them.
        limit: What a difference must exceed to be motion; follows from `tremble`.
        darkest, brightest: What is usual, within the limit.
        before, older: Pictures to compare with; `older` is one to two seconds old.
        moved_s: When something last moved in a cell or next to it, by cell.
        fresh: Cells in which something began to move in the last picture that moved.
        renewed_s, learned_s: When `older` changed, and when the scene last took a step.
    """

    frame_wh: tuple[int, int]
    scene: FloatArray
    tremble: FloatArray
    scene_grey: Grey
    limit: Grey
    darkest: Grey
    brightest: Grey
    before: _Picture
    older: _Picture
    moved_s: npt.NDArray[np.float64]
    fresh: _Mask
    renewed_s: float
    learned_s: float

    def follow_light(self, grey: Grey) -> bool:
        """Bring what is known into the light of a new picture; tell whether that changed anything."""
        factor = _light(grey, self.scene)
        if abs(factor - 1.0) <= MIN_LIGHT_CHANGE:
            return False
        self.scene *= factor
        self.derive()
        self.before.take_out_light(factor)
        self.older.take_out_light(factor)
        return True

    def learn(self, grey: Grey, at_s: float) -> None:
        off = np.asarray(cv2.absdiff(grey, self.scene_grey), np.uint8)
        elapsed_s = min(at_s - self.learned_s, STILL_S)
        self.learned_s = at_s
        self.scene += _step(grey, self.scene, SCENE_STEP_PER_S * elapsed_s)
        self.tremble += _step(off, self.tremble, TREMBLE_STEP_PER_S * elapsed_s)
        np.minimum(self.tremble, MAX_TREMBLE, out=self.tremble)
        self.derive()
        if at_s - self.renewed_s >= STILL_S:
            self.older, self.before, self.renewed_s = self.before, _Picture(grey, grey), at_s

    def derive(self) -> None:
        """Renew what follows from the scene and its trembling."""
        self.scene_grey = _rounded(self.scene)
        self.limit = np.maximum(_rounded(self.tremble, TREMBLE_FACTOR), np.uint8(MIN_CONTRAST))
        self.darkest = np.asarray(cv2.subtract(self.scene_grey, self.limit), np.uint8)
        self.brightest = np.asarray(cv2.add(self.scene_grey, self.limit), np.uint8)

    def moving(self, grey: Grey, hidden: _Mask | None) -> Grey | None:
        """Return 255 for the windows, by their middle, in which enough samples move; None if there are none."""
        usual = cv2.countNonZero(cv2.inRange(grey, self.darkest, self.brightest))
        if grey.size - usual < MOVING_SAMPLES:
            return None  # as on almost every picture of an empty road
        if grey.shape[1] < 2:
            return None  # so thin that nothing can be told
        off = cv2.min(cv2.absdiff(grey, self.scene_grey), cv2.absdiff(grey, self.older.grey))
        moving = cv2.compare(off, self.limit, cv2.CMP_GT)
        if hidden is not None:
            moving[hidden] = 0
        wide = cv2.bitwise_and(moving[:, :-1], moving[:, 1:])
        means = cv2.blur(wide, (WINDOW_SAMPLES, WINDOW_SAMPLES))
        _, where = cv2.threshold(means, MOVING_LEVEL, 255, cv2.THRESH_BINARY)
        return np.asarray(where, np.uint8) if cv2.countNonZero(where) else None

    def note_motion(self, where: Grey, at_s: float) -> bool:
        """Note where something moves; tell whether some of it began where nothing next to it had moved for a while.

        It must move in two pictures in a row: what a change of light stirs up is gone in the next.
        """
        size = self.moved_s.shape[::-1]
        moves = cv2.resize(where, size, interpolation=cv2.INTER_AREA) > 0
        has_new_area = bool((self.fresh & moves).any())
        self.fresh = moves & (self.moved_s < at_s - STILL_S)
        self.moved_s[cv2.dilate(moves.view(np.uint8), _CELL_AND_NEXT) > 0] = at_s
        return has_new_area


class MotionGate:
    """Watches one camera."""

    def __init__(self) -> None:
        """Know nothing yet; the first picture counts as motion."""
        self._memory: _Memory | None = None
        self._moved_s = -math.inf
        self._has_new_area = False

    @property
    def has_new_area(self) -> bool:
        """Whether motion appeared where nothing moved in the last second."""
        return self._has_new_area

    def moving_part(self, *, at_s: float) -> RelativeBox | None:
        """Return the box around all that moved within the last second, and what is next to it.

        Args:
            at_s: Seconds, as for `moves`.

        Returns:
            x1, y1, x2, y2 as shares of the picture's width and height; None if nothing is known to have moved.
        """
        if self._memory is None:
            return None
        rows, columns = np.nonzero(self._memory.moved_s >= at_s - STILL_S)
        if not rows.size:
            return None
        down, across = self._memory.moved_s.shape
        return (
            float(columns.min() / across),
            float(rows.min() / down),
            float((columns.max() + 1) / across),
            float((rows.max() + 1) / down),
        )

    def unusual_share(self, picture: Picture, box: RelativeBox) -> float:
        """Return how much of a part of a picture looks unlike the usual scene; nothing is learned from it.

        Args:
            picture: Of this camera.
            box: x1, y1, x2, y2 as shares of the picture's width and height.

        Returns:
            Share of the samples in the box, 0..1; 1 where the scene is not known, or none of them is in the picture.
        """
        if self._memory is None or self._memory.frame_wh != picture.wh:
            return 1.0
        down, across = self._memory.scene_grey.shape
        x1, x2 = (round(min(max(side, 0.0), 1.0) * across) for side in box[::2])
        y1, y2 = (round(min(max(side, 0.0), 1.0) * down) for side in box[1::2])
        if x1 >= x2 or y1 >= y2:
            return 1.0
        part = np.s_[y1:y2, x1:x2]
        usual = cv2.inRange(picture.sample[part], self._memory.darkest[part], self._memory.brightest[part])
        return 1.0 - cv2.countNonZero(usual) / usual.size

    def moves(self, picture: Picture, *, at_s: float, hidden: npt.NDArray[np.bool_] | None = None) -> bool:
        """Look at one frame.

        Args:
            picture: Its brightness is looked at, if anything.
            at_s: Its time, seconds; does not go back.
            hidden: bool, shape (H, W): pixels that are masked, and that decide nothing.

        Returns:
            Whether something moves. True for the first picture, and when the picture changes its size.
        """
        self._has_new_area = False
        if at_s - self._moved_s < MOVING_LOOK_S:
            return True
        grey = picture.sample
        if self._memory is None or self._memory.frame_wh != picture.wh:
            self._memory = _begin(picture, at_s)
            return True
        where = self._where(self._memory, grey, None if hidden is None else every_nth(hidden), at_s)
        if where is None:
            return False
        self._moved_s = at_s
        self._has_new_area = self._memory.note_motion(where, at_s)
        return True

    @staticmethod
    def _where(memory: _Memory, grey: Grey, hidden: _Mask | None, at_s: float) -> Grey | None:
        where = memory.moving(grey, hidden)
        learns = at_s - memory.learned_s >= LEARN_EVERY_S
        # What is no motion in one light is none in another; only what seems to move must be asked about the light.
        if (where is not None or learns) and memory.follow_light(grey) and where is not None:
            where = memory.moving(grey, hidden)
        if learns:
            memory.learn(grey, at_s)
        return where


def _begin(picture: Picture, at_s: float) -> _Memory:
    luma, grey = picture.luma, picture.sample
    tremble = np.zeros(grey.shape, np.float32)
    for axis in (0, 1):
        beside = np.ascontiguousarray(every_nth(np.roll(luma, SHAKE_PX, axis=axis)))
        tremble = np.maximum(tremble, cv2.absdiff(grey, beside))
    tremble = np.minimum(tremble, MAX_TREMBLE)
    cells = [max(side // CELL_SAMPLES, 1) for side in grey.shape]
    memory = _Memory(
        frame_wh=picture.wh,
        scene=grey.astype(np.float32),
        tremble=tremble,
        scene_grey=grey,
        limit=grey,
        darkest=grey,
        brightest=grey,
        before=_Picture(grey, grey),
        older=_Picture(grey, grey),
        moved_s=np.full(cells, -np.inf),
        fresh=np.zeros(cells, np.bool_),
        renewed_s=at_s,
        learned_s=at_s,
    )
    memory.derive()
    return memory


def _light(grey: Grey, scene: FloatArray) -> float:
    """Return by what factor the whole picture is brighter than the usual scene."""
    ratios = (grey.ravel()[::LIGHT_STRIDE] + np.float32(1.0)) / (scene.ravel()[::LIGHT_STRIDE] + np.float32(1.0))
    middle = ratios.size // 2
    return float(np.partition(ratios, middle)[middle])


def _step(towards: Grey, from_: FloatArray, most: float) -> FloatArray:
    step: Any = cv2.subtract(towards, from_, dtype=cv2.CV_32F)  # NumPy does the same in twice the time
    limit: Any = most  # OpenCV's stubs know pictures alone
    return np.asarray(cv2.max(cv2.min(step, limit, step), -limit, step), np.float32)


def _rounded(levels: FloatArray | Grey, factor: float = 1.0) -> Grey:
    return np.asarray(cv2.convertScaleAbs(levels, alpha=factor), np.uint8)
