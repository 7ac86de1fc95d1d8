"""The picture and the numbers of a camera that is being aimed, drawn with characters.

Owns: what stands where, for any size of terminal. A character cell shows two pixels, one above the other (the upper
half block), in true colour or in what the terminal has; without colours it is a character as bright as the picture.
Leaves to others: when it is drawn, and the terminal itself (rich).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from textwrap import wrap
from typing import Final

import cv2
import numpy as np
from rich.cells import set_cell_size
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from agent.cli.aim.masks import LINES, Corner, MaskDrawing
from agent.records import Image
from agent.vision.aim_watch import PlateInPicture, View
from agent.vision.aiming import advice, readings

LEAST_WH: Final = (60, 16)
"""Smallest terminal with a picture, characters: below it a plate is less than a cell."""
PANEL_ROWS: Final = 7
"""Rows that are no picture: title, three of measures, reading rate, advice, keys."""
HALF_BLOCK: Final = "▀"
RAMP: Final = " .:-=+*#%@"
"""Characters from dark to bright, for terminals without colours."""
COLOUR_STEP: Final = 8
"""Colours are rounded to this step of 255: half the bytes on the line to the phone, and no difference to the eye."""
GOOD_BGR: Final = (60, 220, 60)
BAD_BGR: Final = (40, 60, 255)
LINE_BGR: Final = (150, 150, 60)
MASK_BGR: Final = (114, 114, 114)
OPEN_BGR: Final = (255, 120, 255)
"""The mask that is being drawn."""
GOOD: Final = Style(color="green")
BAD: Final = Style(color="red", bold=True)
PLAIN: Final = Style()
TITLE: Final = Style(reverse=True)
LABEL: Final = Style(color="#000000", bgcolor="#ffffff")
KEYS: Final = "q ends  l lines  two letters: a corner of a mask  Enter: mask done  Backspace"
Labels = dict[tuple[int, int], str]
"""Characters over the picture, by row and column."""
Line = list[Segment]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that is on the screen.

    Attributes:
        title: Which camera, and how it delivers.
        view: What the pipeline sees.
        trouble: Why no picture comes; None while one does.
        drawing: The masks that are drawn.
        has_lines: Whether the grid is shown.
    """

    title: str
    view: View
    trouble: str | None = None
    drawing: MaskDrawing = field(default_factory=MaskDrawing)
    has_lines: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as many rows as the terminal has."""
        width, height = options.max_width, options.height or options.size.height
        for number, line in enumerate(self.lines(width, height, has_colours=_has_colours(console))):
            if number:
                yield Segment.line()
            yield from line

    def lines(self, width: int, height: int, *, has_colours: bool = True) -> list[Line]:
        """Return the rows of a terminal of that size, at most `height` of at most `width` characters."""
        if width < LEAST_WH[0] or height < LEAST_WH[1]:
            return self._small(width, height)
        rows = height - PANEL_ROWS
        picture = self._picture(width, rows, has_colours=has_colours)
        picture += [[] for _ in range(rows - len(picture))]
        last = f"mask {self.drawing.as_text()}  Enter: done  Backspace: takes back" if self.drawing.is_begun else KEYS
        return [
            [_fitted(self.title, width, TITLE)],
            *picture,
            *self._measures(width),
            [_fitted(rate_text(self.view), width, PLAIN)],
            [_fitted(self._last_word(), width, PLAIN if self._is_well else BAD)],
            [_fitted(last, width, PLAIN)],
        ]

    def _small(self, width: int, height: int) -> list[Line]:
        """Return what matters most, where there is no room for a picture."""
        texts = [self.trouble or self._last_word(), rate_text(self.view)]
        if self.view.aim.plate is not None:
            texts += [_mark(each.name, each.text, is_good=each.is_good) for each in readings(self.view.aim.plate)]
        texts.append(f"{LEAST_WH[0]}x{LEAST_WH[1]} for a picture")
        wrapped = [line for text in texts for line in wrap(text, max(width, 1))]
        return [[_fitted(text, width, PLAIN)] for text in wrapped[:height]]

    def _last_word(self) -> str:
        return advice(self.view.aim) if self.trouble is None else "no picture comes"

    @property
    def _is_well(self) -> bool:
        return self.trouble is None and self._last_word() == "well aimed"

    def _measures(self, width: int) -> list[Line]:
        """Return three rows: what the plate measures; or why no picture comes, in full."""
        if self.trouble is not None:
            parts = [*wrap(self.trouble, width), "", "", ""][:3]
            return [[_fitted(part, width, BAD)] for part in parts]
        plate = self.view.aim.plate
        if plate is None:
            return [[_fitted("no plate seen", width, PLAIN)], [], []]
        shown = readings(plate)
        column = width // len(shown)
        names = [_fitted(each.name, column, PLAIN) for each in shown]
        texts = [
            _fitted(_mark("", each.text, is_good=each.is_good), column, GOOD if each.is_good else BAD) for each in shown
        ]
        wanted = [_fitted(each.wanted, column, PLAIN) for each in shown]
        return [names, texts, wanted]

    def _picture(self, width: int, rows: int, *, has_colours: bool) -> list[Line]:
        frame = self.view.frame
        if frame is None:
            return []
        cols, rows = fitting(frame.wh, (width, rows))
        small = np.asarray(cv2.resize(frame.image, (cols, rows * 2), interpolation=cv2.INTER_AREA), np.uint8)
        labels: Labels = {}
        if self.has_lines or self.drawing.is_begun:
            _draw_lines(small, labels)
        for mask in self.drawing.masks:
            cv2.fillPoly(small, [_pixels(mask, small)], MASK_BGR)
        if self.drawing.corners:
            cv2.polylines(small, [_pixels(self.drawing.corners, small)], isClosed=False, color=OPEN_BGR)
        for plate in self.view.plates:
            _draw_plate(small, labels, plate, frame.wh)
        cells = _coloured if has_colours else _characters
        return list(cells(small, labels))


def _has_colours(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def rate_text(view: View) -> str:
    """Say how many plates of the last minute were read, and why others were not."""
    unread = sum(view.aim.unread.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(view.aim.unread.items()))
    if not view.aim.read + unread:
        return "no plate has passed in the last minute"
    return f"read {view.aim.read} of {view.aim.read + unread} plates in the last minute" + (
        f" (not: {reasons})" if reasons else ""
    )


def plain_line(scene: Scene) -> str:
    """Return all of a scene but the picture as one line, for what is no terminal."""
    if scene.trouble is not None:
        return f"{scene.title}; no picture: {scene.trouble}"
    plate = scene.view.aim.plate
    shown = [] if plate is None else [_mark(each.name, each.text, is_good=each.is_good) for each in readings(plate)]
    return "; ".join([scene.title, *shown, rate_text(scene.view), advice(scene.view.aim)])


def fitting(frame_wh: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Return the columns and rows of a frame in its own proportions, as large as there is room; at least one each.

    Args:
        frame_wh: Pixels.
        room: Columns and rows; a cell is twice as high as wide.
    """
    scale = min(room[0] / frame_wh[0], room[1] * 2 / frame_wh[1])
    return max(int(frame_wh[0] * scale), 1), max(int(frame_wh[1] * scale / 2), 1)


def _mark(name: str, text: str, *, is_good: bool) -> str:
    return f"{name} {text}{'' if is_good else ' !'}".strip()


def _fitted(text: str, width: int, style: Style) -> Segment:
    return Segment(set_cell_size(text, width), style)


def _pixels(corners: Sequence[Corner], image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    height, width = image.shape[:2]
    return np.asarray(np.rint(np.array(corners) * (width - 1, height - 1)), np.int32)


def _draw_lines(image: Image, labels: Labels) -> None:
    height, width = image.shape[:2]
    for number, name in enumerate(LINES):
        x, y = round(number / 10 * (width - 1)), round(number / 10 * (height - 1))
        image[:, x] = LINE_BGR
        image[y, :] = LINE_BGR
        labels[0, x] = labels[y // 2, 0] = name


def _draw_plate(image: Image, labels: Labels, plate: PlateInPicture, frame_wh: tuple[int, int]) -> None:
    """Draw a box around a plate, at least three pixels wide, and its width in pixels of the frame above or below it."""
    height, width = image.shape[:2]
    across, down = width / frame_wh[0], height / frame_wh[1]
    left, top = int(plate.box.x1 * across) - 1, int(plate.box.y1 * down) - 1
    right, bottom = int(plate.box.x2 * across) + 1, int(plate.box.y2 * down) + 1
    is_good = all(each.is_good for each in readings(plate.measures))
    cv2.rectangle(image, (left, top), (right, bottom), GOOD_BGR if is_good else BAD_BGR)
    text = str(plate.measures.width_px)
    row = top // 2 - 1 if top >= 2 else min(bottom // 2 + 1, height // 2 - 1)
    column = min(max(left, 0), max(width - len(text), 0))
    labels.update({(row, column + place): character for place, character in enumerate(text)})


@lru_cache(maxsize=1 << 14)
def _cell_style(upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))


def _coloured(image: Image, labels: Labels) -> Iterator[Line]:
    """Yield rows of half blocks; the picture has an even number of rows of pixels, BGR."""
    colours = (image[..., ::-1] // COLOUR_STEP * COLOUR_STEP).tolist()
    for row in range(len(colours) // 2):
        pairs = zip(colours[2 * row], colours[2 * row + 1], strict=True)
        cells = [(HALF_BLOCK, _cell_style(tuple(upper), tuple(lower))) for upper, lower in pairs]
        yield _line(cells, labels, row)


def _characters(image: Image, labels: Labels) -> Iterator[Line]:
    """Yield rows of characters as bright as the picture, which has an even number of rows of pixels, BGR."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint16)
    steps = (grey[::2] + grey[1::2]) * len(RAMP) // 512
    for row, line in enumerate(steps.tolist()):
        yield _line([(RAMP[step], PLAIN) for step in line], labels, row)


def _line(cells: list[tuple[str, Style]], labels: Labels, row: int) -> Line:
    """Put labels over a row of cells, and join neighbours of one style."""
    shown = [(labels[row, column], LABEL) if (row, column) in labels else cell for column, cell in enumerate(cells)]
    return [Segment("".join(text for text, _ in run), style) for style, run in groupby(shown, key=lambda cell: cell[1])]
