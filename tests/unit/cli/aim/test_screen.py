"""What stands on the screen, at several sizes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment

from agent.cli.aim.masks import MaskDrawing
from agent.cli.aim.screen import HALF_BLOCK, RAMP, Scene, fitting, plain_line
from agent.records import Detection, Frame, Picture
from agent.vision.aim_watch import PlateInPicture, View
from agent.vision.aiming import Aim, FrameMeasures, PlateMeasures

SMALL = PlateMeasures(width_px=61, sharpness=0.9, slant_deg=2.0, light=140.0, white=0.1, contrast=100.0)


def _scene(*, plate: PlateMeasures | None = SMALL, wh: tuple[int, int] = (1280, 720)) -> Scene:
    image = np.zeros((wh[1], wh[0], 3), np.uint8)
    image[: wh[1] // 2] = (0, 0, 255)
    image[wh[1] // 2 :] = (255, 0, 0)
    frame = Frame("cam", 0, datetime.now(UTC), 0.0, Picture.of(image))
    plates = () if plate is None else (PlateInPicture(Detection(600, 400, 661, 420, 0.9), plate),)
    aim = Aim(FrameMeasures(0.3, 110.0), plate, read=7, unread={"unsure": 2})
    return Scene("bridge  1280x720", View(frame, plates, aim))


def _texts(lines: list[list[Segment]]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in lines]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 16), (200, 60)])
def test_a_screen_is_filled_and_not_left(width: int, height: int) -> None:
    """As many rows as the terminal has, none longer; the advice, the rate and all measures are on it."""
    texts = _texts(_scene().lines(width, height))
    assert len(texts) == height
    assert max(cell_len(text) for text in texts) <= width
    whole = "\n".join(texts)
    for shown in ("zoom in: plates are 61 px, 80 wanted", "read 7 of 9 plates", "61 px !", "0.35 or more", "q ends"):
        assert shown in whole
    assert whole.count(HALF_BLOCK) > width * height // 4


@pytest.mark.parametrize(("width", "height"), [(59, 24), (80, 15), (20, 5), (1, 1)])
def test_a_terminal_too_small_has_the_advice_first(width: int, height: int) -> None:
    """And no picture."""
    texts = _texts(_scene().lines(width, height))
    assert len(texts) <= height
    assert max(cell_len(text) for text in texts) <= width
    assert texts[0].startswith("zoom"[:width])
    assert HALF_BLOCK not in "".join(texts)


@pytest.mark.parametrize("wh", [(1280, 720), (640, 480), (720, 1280), (4000, 2), (2, 4000)])
def test_a_picture_keeps_its_proportions(wh: tuple[int, int]) -> None:
    """As far as cells allow; never larger than the room, never nothing."""
    cols, rows = fitting(wh, (80, 17))
    assert 1 <= cols <= 80
    assert 1 <= rows <= 17
    assert len(_scene(wh=wh, plate=None).lines(80, 24)) == 24


def test_the_picture_has_the_colours_of_the_frame() -> None:
    """Red above, blue below, as the frame has it; the width of the plate beside its box."""
    lines = _scene().lines(80, 24)
    styles = [line[0].style for line in (lines[1], lines[15])]
    assert [style.color.triplet.hex for style in styles if style and style.color and style.color.triplet] == [
        "#f80000",
        "#0000f8",
    ]
    assert any("61" in text for text in _texts(lines)[1:17])


def test_without_colours_there_are_characters() -> None:
    """By brightness; for NO_COLOR too."""
    console = Console(
        file=StringIO(), force_terminal=True, no_color=True, width=80, height=24, color_system="truecolor"
    )
    console.print(_scene())
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert HALF_BLOCK not in shown
    assert RAMP[2] * 10 in shown


def test_the_grid_and_its_letters_come_with_the_first_letter() -> None:
    """And with `l`."""
    drawing = MaskDrawing()
    scene = replace(_scene(), drawing=drawing)
    assert _texts(scene.lines(80, 24))[1][0] == HALF_BLOCK
    drawing.press("c")
    texts = _texts(scene.lines(80, 24))
    assert [letter for letter in texts[1] if letter not in (HALF_BLOCK, " ")] == list("abcdefghijk")
    assert "mask c " in texts[-1]
    assert _texts(replace(_scene(), has_lines=True).lines(80, 24))[1][0] == "a"


def test_a_lost_camera_is_told_in_full() -> None:
    """In place of the measures, over as many rows as there are."""
    trouble = "rtsp://10.0.0.11: the camera cannot be opened: nothing listens at this port; connecting again"
    texts = _texts(replace(_scene(), trouble=trouble).lines(80, 24))
    assert trouble in " ".join(" ".join(texts).split())
    assert "no picture comes" in "\n".join(texts)
    assert trouble in plain_line(replace(_scene(), trouble=trouble))


def test_a_line_says_all_but_the_picture() -> None:
    """For what is no terminal."""
    assert plain_line(_scene()) == (
        "bridge  1280x720; width 61 px !; sharpness 0.90; slant 2 deg; white 10%; contrast 100; "
        "read 7 of 9 plates in the last minute (not: 2 unsure); zoom in: plates are 61 px, 80 wanted"
    )
