"""What is measured of plates, and the advice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from agent.records import Frame, Image, Picture
from agent.vision.aiming import (
    FRAME_SHARPNESS,
    WANTED_SHARPNESS,
    WANTED_WIDTH_PX,
    Aim,
    FrameMeasures,
    PlateMeasures,
    advice,
    measure_frame,
    measure_plate,
    medians,
    readings,
)
from agent.vision.consensus import Rejection

GOOD = PlateMeasures(width_px=120, sharpness=0.9, slant_deg=2.0, light=140.0, white=0.1, contrast=100.0)
DAY = FrameMeasures(sharpness=0.3, light=110.0)


def _plate(width: int = 192, *, angle_deg: float = 0.0, blur_px: float = 0.0, factor: float = 1.0) -> Image:
    """Return a drawn plate, black on white."""
    image = np.full((48, 192, 3), 220, np.uint8)
    cv2.putText(image, "KRW 482", (12, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (20, 20, 20), 4, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((96, 24), angle_deg, 1.0)
    image = np.asarray(cv2.warpAffine(image, turn, (192, 48), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    if blur_px:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur_px), np.uint8)
    image = np.asarray(np.clip(image * factor, 0, 255), np.uint8)
    return np.asarray(cv2.resize(image, (width, width // 4), interpolation=cv2.INTER_AREA), np.uint8)


def test_a_good_plate_is_as_wanted() -> None:
    """All of its measures; the picture's margin does not count as width."""
    seen = measure_plate(_plate())
    assert [each.name for each in readings(seen) if not each.is_good] == []
    assert (seen.width_px, measure_plate(_plate(), width_px=180).width_px) == (192, 180)


@pytest.mark.parametrize("angle_deg", [-14, -8, -4, 0, 4, 8, 14])
def test_slant_is_the_angle_of_the_text(angle_deg: int) -> None:
    """Positive where it falls to the right; OpenCV turns the other way round."""
    assert measure_plate(_plate(angle_deg=-angle_deg)).slant_deg == pytest.approx(angle_deg, abs=2)


def test_white_is_what_is_cut_off() -> None:
    """A bright plate is none, the same exposed for too long is."""
    assert measure_plate(_plate()).white == 0.0
    assert measure_plate(_plate(factor=1.3)).white > 0.5


def test_blur_shows_in_sharpness_and_light_does_not() -> None:
    """A darker picture of the same plate is as sharp; a blurred one is not sharp enough."""
    sharp = measure_plate(_plate()).sharpness
    assert measure_plate(_plate(factor=0.4)).sharpness == pytest.approx(sharp, rel=0.1)
    assert measure_plate(_plate(blur_px=1.0)).sharpness < sharp
    assert measure_plate(_plate(blur_px=4.0)).sharpness < WANTED_SHARPNESS < sharp


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 40), (300, 1)])
def test_a_picture_of_any_size_is_measured(width: int, height: int) -> None:
    """A flat one has no sharpness, no contrast and no slant."""
    seen = measure_plate(np.full((height, width, 3), 80, np.uint8))
    assert seen == PlateMeasures(width, 0.0, 0.0, 80.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("plate", "words"),
    [
        (GOOD, "well aimed"),
        (replace(GOOD, width_px=61), f"zoom in: plates are 61 px, {WANTED_WIDTH_PX} wanted"),
        (replace(GOOD, width_px=WANTED_WIDTH_PX), "well aimed"),
        (replace(GOOD, sharpness=0.2), "focus, or expose shorter: plates are blurred (0.20, 0.35 wanted)"),
        (replace(GOOD, slant_deg=-15.0), "turn the camera: plates lean by 15 degrees, 10 at most"),
        (replace(GOOD, white=0.72), "expose shorter, or less infra-red: plates are 72% white, 50% at most"),
        (
            replace(GOOD, light=9.0, contrast=7.0),
            "more light, or expose longer: plates have a contrast of 7, 25 wanted",
        ),
        (
            replace(GOOD, contrast=7.0),
            "clean the lens, or look away from the sun: plates have a contrast of 7, 25 wanted",
        ),
        (replace(GOOD, width_px=61, sharpness=0.3, slant_deg=11.0), "zoom in: plates are 61 px, 80 wanted"),
        (
            replace(GOOD, width_px=77, sharpness=0.14, contrast=20.0),
            "focus, or expose shorter: plates are blurred (0.14, 0.35 wanted)",
        ),
    ],
)
def test_there_is_one_advice(plate: PlateMeasures, words: str) -> None:
    """On what falls furthest short of what is wanted."""
    assert advice(Aim(DAY, plate, read=3)) == words


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (None, "wait: no picture has come yet"),
        (DAY, "wait for a vehicle"),
        (replace(DAY, light=12.0), "more light: the picture is dark (12 of 255)"),
        (replace(DAY, light=250.0), "less light: the picture is white (250 of 255)"),
        (replace(DAY, sharpness=0.05), "focus: the picture is blurred (0.05"),
    ],
)
def test_without_a_plate_the_picture_is_judged(frame: FrameMeasures | None, words: str) -> None:
    """Where that is good too, a vehicle is missing."""
    assert advice(Aim(frame)).startswith(words)


@pytest.mark.parametrize("reason", [reason for reason in Rejection if reason is not Rejection.REPEAT])
def test_plates_that_are_not_read_are_told_with_what_to_do(reason: Rejection) -> None:
    """The most frequent reason, where more are unread than read; one of many is none."""
    told = advice(Aim(DAY, GOOD, read=1, unread={reason: 3}))
    assert told.startswith("well aimed, and 3 of 4 plates are not read: ")
    assert str(reason) not in told
    assert advice(Aim(DAY, GOOD, read=4, unread={reason: 3})) == "well aimed"


def test_medians_are_of_each_measure() -> None:
    """One odd picture changes little; of nothing there is none."""
    odd = PlateMeasures(10, 0.0, 20.0, 250.0, 1.0, 1.0)
    assert medians([GOOD, odd, GOOD]) == GOOD
    assert medians([]) is None


def test_a_frame_is_measured_by_its_brightness() -> None:
    """A sharp one passes, the same blurred does not."""
    image = np.full((360, 640, 3), 90, np.uint8)
    for x in range(0, 640, 20):
        cv2.rectangle(image, (x, x // 2), (x + 10, 359), (x % 200, 200, 60), cv2.FILLED)
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8)
    sharp, soft = (
        measure_frame(Frame("cam", 0, datetime.now(UTC), 0.0, Picture.of(each))) for each in (image, blurred)
    )
    assert soft.sharpness < FRAME_SHARPNESS < sharp.sharpness
    assert sharp.light == np.median(image[..., 1])
