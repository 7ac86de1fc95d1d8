"""How well a camera is aimed: measures of plates' pictures, and one advice. Pure: no file, no clock, no terminal.

Owns: what is measured of a plate's picture, and what the built-in reader needs of it. Leaves to others: where the
pictures come from (`agent.vision.watching`) and how anything is shown. No measure and no advice carries plate text.

What is needed was measured: `python -m models.training.aiming` takes 228 plates of the validation folders and of
rpi-dayride/train that the built-in reader reads surely, spoils them step by step in one way at a time, and says how
many are read still. The shares at the limits below are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import cv2
import numpy as np

from agent.records import Frame, Image, Plane
from agent.vision.consensus import Rejection
from agent.vision.pipeline import MIN_PLATE_WH
from agent.vision.plate import EASY_WIDTH_PX

WANTED_WIDTH_PX: Final = EASY_WIDTH_PX
"""Least width. Sharp pictures are all read at 60 pixels, 95 % at 50; a moving, compressed one needs some more."""
WANTED_SHARPNESS: Final = 0.35
"""Least sharpness of a plate: 99 % are read at 0.37, 94 % at 0.30, 72 % at 0.25, 29 % at 0.22."""
MOST_SLANT_DEG: Final = 10.0
"""Most slant: 99 % are read at 10 degrees, 96 % at 12, 85 % at 15, 15 % at 20."""
WHITE_LEVEL: Final = 250
"""Brighter pixels are white: nothing can be told apart in them."""
MOST_WHITE: Final = 0.5
"""Largest share of a plate that is white: 96 to 100 % are read up to here, 82 % at 0.5 to 0.6, 58 % at 0.6 to 0.7."""
WANTED_CONTRAST: Final = 25.0
"""Least contrast: all are read at 26, 99 % at 16, 93 % at 10. A dark camera adds noise, which was not measured."""
DARK_FRAME: Final = 40.0
"""A frame with a median brightness below it is dark: what the models' cards call night."""
BRIGHT_FRAME: Final = 230.0
"""A frame with a median brightness above it is mostly white."""
FRAME_SHARPNESS_WIDTH_PX: Final = 640
FRAME_SHARPNESS: Final = 0.12
"""Least sharpness of a whole frame, made 640 pixels wide: 32 frames of several cameras have 0.16 to 0.46, and 0.11 at
most when they are blurred by 0.3 % of their width (sigma), at which a plate of a tenth of the frame is not read."""
SHARPNESS_WIDTH_PX: Final = 96
"""Wider pictures of plates are made this wide before their sharpness is measured, so that it can be compared."""
SLANTS_DEG: Final = tuple(range(-20, 21))
"""Angles that are tried, degrees; a plate that leans further shows as one of 20."""
CUT_EDGE: Final = 0.12
"""Share of a picture of a plate that is left out at each side when its slant is measured: the frame of the plate, and
what is behind it."""


@dataclass(frozen=True, slots=True)
class PlateMeasures:
    """What one picture of a plate is like.

    Attributes:
        width_px: Its width, pixels of the frame.
        sharpness: Standard deviation of the Laplacian by that of the brightness: 0 is flat, 1 and more is sharp.
        slant_deg: How much its text leans from level, degrees; positive where it falls to the right.
        light: Median brightness, 0..255.
        white: Share of its pixels that are white, 0..1.
        contrast: From the dark to the bright twentieth of its pixels, grey levels, 0..255.
    """

    width_px: int
    sharpness: float
    slant_deg: float
    light: float
    white: float
    contrast: float


@dataclass(frozen=True, slots=True)
class FrameMeasures:
    """What one whole frame is like.

    Attributes:
        sharpness: As of a plate, of the frame made `FRAME_SHARPNESS_WIDTH_PX` wide.
        light: Median brightness, 0..255.
    """

    sharpness: float
    light: float


@dataclass(frozen=True, slots=True)
class Aim:
    """How the camera is aimed, by the last minute.

    Attributes:
        frame: The newest frame; None before the first.
        plate: Of a plate in view, its best picture of the last seconds; where none is in view, medians over the
            pictures that the reader was given; None where no plate was seen.
        read: Plates that were read.
        unread: Why others were not (`Rejection`), by how many; repeats are left out.
    """

    frame: FrameMeasures | None = None
    plate: PlateMeasures | None = None
    read: int = 0
    unread: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One measure beside what is wanted, in words.

    Attributes:
        name: What is measured.
        is_good: Whether it is as wanted.
        text: The measure.
        wanted: The limit.
    """

    name: str
    is_good: bool
    text: str
    wanted: str


def readings(plate: PlateMeasures) -> tuple[Reading, ...]:
    """Return each measure of a plate beside what the reader needs."""
    return (
        Reading("width", plate.width_px >= WANTED_WIDTH_PX, f"{plate.width_px} px", f"{WANTED_WIDTH_PX} or more"),
        Reading(
            "sharpness",
            plate.sharpness >= WANTED_SHARPNESS,
            f"{plate.sharpness:.2f}",
            f"{WANTED_SHARPNESS:.2f} or more",
        ),
        Reading(
            "slant",
            abs(plate.slant_deg) <= MOST_SLANT_DEG,
            f"{plate.slant_deg:.0f} deg",
            f"{MOST_SLANT_DEG:.0f} at most",
        ),
        Reading("white", plate.white <= MOST_WHITE, f"{plate.white:.0%}", f"{MOST_WHITE:.0%} at most"),
        Reading(
            "contrast", plate.contrast >= WANTED_CONTRAST, f"{plate.contrast:.0f}", f"{WANTED_CONTRAST:.0f} or more"
        ),
    )


def advice(aim: Aim) -> str:
    """Return the one thing to do now, in a line: what falls furthest short of what is wanted."""
    if aim.frame is None:
        return "wait: no picture has come yet"
    if aim.plate is None:
        return _advice_without_plates(aim.frame)
    return _advice_on_plates(aim.plate) or _advice_on_reading(aim)


def _advice_without_plates(frame: FrameMeasures) -> str:
    if frame.light < DARK_FRAME:
        return f"more light: the picture is dark ({frame.light:.0f} of 255) and shows no plate"
    if frame.light > BRIGHT_FRAME:
        return f"less light: the picture is white ({frame.light:.0f} of 255) and shows no plate"
    if frame.sharpness < FRAME_SHARPNESS:
        return f"focus: the picture is blurred ({frame.sharpness:.2f}, {FRAME_SHARPNESS} wanted) and shows no plate"
    return f"wait for a vehicle; if one is there, zoom in: plates below {MIN_PLATE_WH[0]} px are not seen"


def _advice_on_plates(plate: PlateMeasures) -> str | None:
    """Return what to do about the measure that falls furthest short of what is wanted; None where none does."""
    slant = abs(plate.slant_deg)
    dark = "more light, or expose longer" if plate.light < DARK_FRAME else "clean the lens, or look away from the sun"
    reached = {
        f"expose shorter, or less infra-red: plates are {plate.white:.0%} white, {MOST_WHITE:.0%} at most": (
            MOST_WHITE / max(plate.white, MOST_WHITE)
        ),
        f"{dark}: plates have a contrast of {plate.contrast:.0f}, {WANTED_CONTRAST:.0f} wanted": (
            plate.contrast / WANTED_CONTRAST
        ),
        f"zoom in: plates are {plate.width_px} px, {WANTED_WIDTH_PX} wanted": plate.width_px / WANTED_WIDTH_PX,
        f"focus, or expose shorter: plates are blurred ({plate.sharpness:.2f}, {WANTED_SHARPNESS} wanted)": (
            plate.sharpness / WANTED_SHARPNESS
        ),
        f"turn the camera: plates lean by {slant:.0f} degrees, {MOST_SLANT_DEG:.0f} at most": (
            MOST_SLANT_DEG / max(slant, MOST_SLANT_DEG)
        ),
    }
    worst = min(reached, key=lambda line: reached[line])
    return worst if reached[worst] < 1 else None


def _advice_on_reading(aim: Aim) -> str:
    unread = sum(aim.unread.values())
    if unread > aim.read:
        most = max(aim.unread, key=lambda reason: aim.unread[reason])
        return f"well aimed, and {unread} of {unread + aim.read} plates are not read: {_REASONS.get(most, most)}"
    return "well aimed"


_REASONS: Final[Mapping[str, str]] = {
    Rejection.NOT_READ: "none was whole in the picture; show more of the road",
    Rejection.NO_TEXT: "what is found has no text; mask what is no plate",
    Rejection.TEXT_FILTER: "their texts do not fit the patterns in [vision.text]",
    Rejection.TOO_FEW_VOTES: "they are in view too briefly; show more of the road",
    Rejection.DISAGREEMENT: "their pictures differ; expose shorter",
    Rejection.UNSURE: "the reader is not sure; a plate may be dirty, or of a kind that it does not know",
}


def quality(plate: PlateMeasures) -> float:
    """Return how much of a picture there is to read, for comparing: its width, less where it is not sharp enough."""
    return plate.width_px * min(plate.sharpness, WANTED_SHARPNESS)


def medians(seen: Sequence[PlateMeasures]) -> PlateMeasures | None:
    """Return the median of each measure; None of nothing."""
    if not seen:
        return None
    return PlateMeasures(
        width_px=round(median(each.width_px for each in seen)),
        sharpness=median(each.sharpness for each in seen),
        slant_deg=median(each.slant_deg for each in seen),
        light=median(each.light for each in seen),
        white=median(each.white for each in seen),
        contrast=median(each.contrast for each in seen),
    )


def measure_frame(frame: Frame) -> FrameMeasures:
    """Measure a whole frame by its brightness."""
    luma = frame.picture.luma
    return FrameMeasures(
        sharpness=relative_sharpness(luma, width_px=FRAME_SHARPNESS_WIDTH_PX), light=float(np.median(luma))
    )


def measure_plate(crop: Image, *, width_px: int | None = None) -> PlateMeasures:
    """Measure one picture of a plate.

    Args:
        crop: uint8, shape (h, w, 3), BGR, at least 1x1.
        width_px: Width of the plate, where the picture has a margin; the picture's if left out.
    """
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), np.uint8)
    dark, bright = np.percentile(grey, (5, 95))
    return PlateMeasures(
        width_px=crop.shape[1] if width_px is None else width_px,
        sharpness=relative_sharpness(grey),
        slant_deg=slant_deg(grey),
        light=float(np.median(grey)),
        white=float(np.mean(grey >= WHITE_LEVEL)),
        contrast=float(bright - dark),
    )


def relative_sharpness(grey: Plane, *, width_px: int = SHARPNESS_WIDTH_PX) -> float:
    """Return how sharp a picture is, whatever its light: the Laplacian's standard deviation by the brightness's.

    Args:
        grey: uint8, shape (h, w), at least 1x1.
        width_px: A wider one is made this wide first.
    """
    height, width = grey.shape
    if width > width_px:
        wh = width_px, max(round(height * width_px / width), 1)
        grey = np.asarray(cv2.resize(grey, wh, interpolation=cv2.INTER_AREA), np.uint8)
    spread = float(grey.std())
    return float(cv2.Laplacian(grey, cv2.CV_32F).std()) / spread if spread >= 1.0 else 0.0


def slant_deg(grey: Plane) -> float:
    """Return by how many degrees a plate's text leans: the angle at which rows of text and gaps differ most.

    Of 83 real plates, turned by 0, 6 and 14 degrees, 92 to 95 % are within 5 degrees; 4 % of those that are not turned
    show more than 10.

    Args:
        grey: uint8, shape (h, w), at least 1x1.
    """
    height, width = grey.shape
    if height < 8 or width < 8:
        return 0.0
    strokes = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    middle, cut_x, cut_y = (width / 2, height / 2), round(width * CUT_EDGE), round(height * CUT_EDGE)

    def contrast_of_rows(angle: int) -> float:
        turn = cv2.getRotationMatrix2D(middle, angle, 1.0)
        level = cv2.warpAffine(strokes, turn, (width, height))
        return float(level[cut_y : height - cut_y, cut_x : width - cut_x].sum(axis=1).std())

    return float(max(SLANTS_DEG, key=lambda angle: (contrast_of_rows(angle), -abs(angle))))
