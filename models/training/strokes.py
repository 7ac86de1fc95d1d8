"""Faces drawn from strokes of one width, as dies for plates cut them.

Free fonts are drawn for paper. The characters of plates are strokes of one width with plain bends, and differ from
country to country in details: where the middle of an M ends, how far a C closes, whether a 1 has a foot. Each seed
draws these details anew, so that a reader learns the characters and not a few fonts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .fonts import ALPHABET, GLYPH_MARGIN, GLYPH_PX, Face

SEEDS = 400  # faces there are; more than free fonts, and each is cheap
_CAP_PX = GLYPH_PX * 3 // 4
_FINE = 4  # drawn so many times larger, then reduced

Points = npt.NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class _Style:
    """What a seed decides; lengths are shares of the character's height or width.

    Attributes:
        round: Exponent of the bends, 2 an ellipse, more a rounded box.
        waist: Height of the middle of B, E, P, R and their like, from the top.
        opening: How far C, G, S and their like stay open, radians.
        dip: Depth of the middle of M, and height of that of W.
        choices: One draw each for the forms that have two.
    """

    round: float
    waist: float
    opening: float
    dip: float
    choices: dict[str, bool]


def _arc(style: _Style, box: tuple[float, float, float, float], start: float, end: float) -> Points:
    """Part of a bend in a box (x1, y1, x2, y2), from one angle to another, degrees clockwise from the right."""
    x1, y1, x2, y2 = box
    angles = np.deg2rad(np.linspace(start, end, 40))
    cos, sin = np.cos(angles), np.sin(angles)
    power = 2 / style.round
    xs = (x1 + x2) / 2 + (x2 - x1) / 2 * np.sign(cos) * np.abs(cos) ** power
    ys = (y1 + y2) / 2 + (y2 - y1) / 2 * np.sign(sin) * np.abs(sin) ** power
    return np.column_stack([xs, ys])


def _line(*points: tuple[float, float]) -> Points:
    return np.array(points, np.float64)


def _bowl(style: _Style, top: float, bottom: float, left: float = 0.0) -> list[Points]:
    """What P, R and B have on the right: out, round, and back."""
    middle = 0.45
    bend = _arc(style, (2 * middle - 1.0, top, 1.0, bottom), -90, 90)
    return [np.vstack([[[left, top]], bend, [[left, bottom]]])]


def _curl(style: _Style, *, mirrored: bool) -> list[Points]:
    """A 6; mirrored both ways, a 9."""
    top = style.waist - 0.08
    ring = _arc(style, (0.0, top, 1.0, 1.0), 0, 360)
    if style.choices["curl"]:
        stem = _line((0.75, 0.0), (0.0, (1 + top) / 2))
    else:
        stem = np.vstack([_arc(style, (0.0, 0.0, 1.0, 1.0), 180, 270 + 90 - np.rad2deg(style.opening) / 2)])
    strokes = [ring, stem]
    return [1.0 - s for s in strokes] if mirrored else strokes


def _digit(character: str, s: _Style) -> tuple[float, list[Points]]:  # noqa: PLR0911  one case a character
    """A digit: width as a share of a digit's, and the strokes in a box of 1 x 1."""
    yes = s.choices
    w = s.waist
    full = (0.0, 0.0, 1.0, 1.0)
    match character:
        case "0":
            return 0.96, [_arc(s, full, 0, 360)]
        case "1":
            flag = (
                _line((0.0, 0.25), (0.65, 0.0), (0.65, 1.0)) if yes["flag"] else _line((0.1, 0), (0.65, 0), (0.65, 1))
            )
            return 0.62, [flag, _line((0.2, 1), (1.1, 1))] if yes["foot"] else [flag]
        case "2":
            top = _arc(s, (0, 0, 1, 0.62), 180 + 15, 360 + 35)
            return 0.98, [np.vstack([top, [[0.0, 1.0], [1.0, 1.0]]])]
        case "3":
            lower = _arc(s, (0, w - 0.06, 1, 1), -90, 155)
            if yes["flat_3"]:
                return 0.97, [np.vstack([[[0.05, 0], [0.95, 0], [0.45, w - 0.06]], lower])]
            return 0.97, [_arc(s, (0.05, 0, 0.95, w), 205, 360 + 90), _arc(s, (0, w, 1, 1), -90, 155)]
        case "4":
            if yes["open_4"]:
                return 1.04, [_line((0.45, 0), (0, 0.72), (1, 0.72)), _line((0.72, 0.4), (0.72, 1))]
            return 1.04, [_line((0.72, 1), (0.72, 0), (0, 0.72), (1, 0.72))]
        case "5":
            return 0.98, [
                np.vstack([[[0.92, 0], [0.08, 0], [0.04, w - 0.06]], _arc(s, (-0.05, w - 0.12, 1, 1), 235, 510)])
            ]
        case "6" | "9":
            return 1.0, _curl(s, mirrored=character == "9")
        case "7":
            return 0.97, [_line((0, 0), (1, 0), (0.35, 1))]
        case _:
            return 1.0, [_arc(s, (0.05, 0, 0.95, w), 0, 360), _arc(s, (0, w, 1, 1), 0, 360)]


def _letter(character: str, s: _Style) -> tuple[float, list[Points]]:  # noqa: PLR0911, PLR0912  one case a character
    """A letter: width as a share of a digit's, and the strokes in a box of 1 x 1."""
    yes = s.choices
    w = s.waist
    opened = np.rad2deg(s.opening)
    full = (0.0, 0.0, 1.0, 1.0)
    match character:
        case "O":
            return (1.12 if yes["wide_o"] else 1.0), [_arc(s, full, 0, 360)]
        case "Q":
            tail = _line((0.6, 0.7), (1.0, 1.05)) if yes["tail"] else _line((0.55, 0.8), (0.85, 1.1))
            return 1.1, [_arc(s, full, 0, 360), tail]
        case "D":
            return 1.05, [np.vstack([[[0, 0]], _arc(s, (-0.2, 0, 1, 1), -90, 90), [[0, 1], [0, 0]]])]
        case "C" | "G":
            bend = _arc(s, full, 360 - opened, opened)
            if character == "C":
                return 1.0, [bend]
            bar = _line((0.5, 0.55), (1.0, 0.55), (1.0, 0.8))
            return 1.06, [bend, bar if yes["bar"] else _line((1.0, 0.55), (1.0, 1.0))]
        case "U":
            return 1.04, [np.vstack([[[0, 0]], _arc(s, (0, 0.3, 1, 1), 180, 0), [[1, 0]]])]
        case "J":
            hook = np.vstack([[[0.9, 0]], _arc(s, (-0.1, 0.4, 0.9, 1), 0, 150)])
            return 0.85, [hook, _line((0.45, 0), (0.9, 0))] if yes["serif_j"] else [hook]
        case "I":
            stem = _line((0.5, 0), (0.5, 1))
            feet = [_line((0.1, 0), (0.9, 0)), _line((0.1, 1), (0.9, 1))]
            return (0.7, [stem, *feet]) if yes["serif_i"] else (0.22, [stem])
        case "B":
            return 1.02, [_line((0, 0), (0, 1)), *_bowl(s, 0, w), *_bowl(s, w, 1)]
        case "P":
            return 1.0, [_line((0, 0), (0, 1)), *_bowl(s, 0, w + 0.06)]
        case "R":
            leg = (0.4, w + 0.04) if yes["leg"] else (0.6, w + 0.04)
            return 1.03, [_line((0, 0), (0, 1)), *_bowl(s, 0, w + 0.04), _line(leg, (1, 1))]
        case "S":
            upper = _arc(s, (0, 0, 1, w + 0.02), 360 - opened * 0.6, 90)
            lower = _arc(s, (0, w + 0.02, 1, 1), -90, 180 - opened * 0.6)
            return 1.0, [np.vstack([upper, lower])]
        case "A":
            bar = _line((0.2, 0.66), (0.8, 0.66))
            if yes["flat_a"]:
                return 1.1, [_line((0, 1), (0.36, 0), (0.64, 0), (1, 1)), bar]
            return 1.1, [_line((0, 1), (0.5, 0), (1, 1)), bar]
        case "E":
            return 0.92, [_line((1, 0), (0, 0), (0, 1), (1, 1)), _line((0, w), (0.85, w))]
        case "F":
            return 0.9, [_line((1, 0), (0, 0), (0, 1)), _line((0, w + 0.03), (0.85, w + 0.03))]
        case "H":
            return 1.04, [_line((0, 0), (0, 1)), _line((1, 0), (1, 1)), _line((0, w), (1, w))]
        case "K":
            arm = _line((1, 0), (0, 0.6)) if yes["leg"] else _line((1, 0), (0.05, w + 0.02))
            return 1.05, [_line((0, 0), (0, 1)), arm, _line((0.3, w - 0.06), (1, 1))]
        case "L":
            return 0.88, [_line((0, 0), (0, 1), (1, 1))]
        case "M":
            return 1.2, [_line((0, 1), (0, 0), (0.5, s.dip), (1, 0), (1, 1))]
        case "N":
            return 1.06, [_line((0, 1), (0, 0), (1, 1), (1, 0))]
        case "T":
            return 0.98, [_line((0, 0), (1, 0)), _line((0.5, 0), (0.5, 1))]
        case "V":
            return 1.08, [_line((0, 0), (0.5, 1), (1, 0))]
        case "W":
            return 1.3, [_line((0, 0), (0.25, 1), (0.5, 1 - s.dip), (0.75, 1), (1, 0))]
        case "X":
            return 1.06, [_line((0, 0), (1, 1)), _line((1, 0), (0, 1))]
        case "Y":
            return 1.06, [_line((0, 0), (0.5, 0.5), (1, 0)), _line((0.5, 0.5), (0.5, 1))]
        case _:
            return 0.97, [_line((0, 0), (1, 0), (0, 1), (1, 1))]


_CHOICES = ("curl", "tail", "bar", "serif_i", "serif_j", "flag", "foot", "flat_3", "open_4", "leg", "flat_a", "wide_o")
_LIKELY = {"curl": 0.35, "serif_i": 0.35, "serif_j": 0.4, "foot": 0.25, "flat_3": 0.25, "open_4": 0.2, "flag": 0.8}


@functools.cache
def stroke_face(seed: int) -> Face:
    """The face of a seed; the same seed gives the same pixels."""
    rng = np.random.default_rng((77, seed))
    style = _Style(
        round=float(rng.uniform(2.0, 4.5)),
        waist=float(rng.uniform(0.42, 0.52)),
        opening=float(rng.uniform(0.5, 1.1)),
        dip=float(rng.choice([rng.uniform(0.35, 0.7), 1.0 if rng.random() < 0.5 else 0.5])),
        choices={name: bool(rng.random() < _LIKELY.get(name, 0.5)) for name in _CHOICES},
    )
    width = _CAP_PX * float(rng.uniform(0.46, 0.66))
    pen = _CAP_PX * float(rng.uniform(0.11, 0.175))
    masks = {
        character: _draw(*(_digit if character.isdigit() else _letter)(character, style), width=width, pen=pen)
        for character in ALPHABET
    }
    digits = [masks[c].shape[1] for c in "023456789"]
    return Face(masks=masks, cap_px=_CAP_PX, width_px=float(np.median(digits)))


def _draw(share: float, strokes: list[Points], *, width: float, pen: float) -> npt.NDArray[np.uint8]:
    """A character as a mask, uint8 (rows, columns), in the frame that `Face` describes."""
    margin = round(_CAP_PX * GLYPH_MARGIN)
    columns = max(round(width * share), round(pen) + 1)
    canvas = np.zeros(((_CAP_PX + 2 * margin) * _FINE, columns * _FINE), np.uint8)
    inner = np.array([max(columns - pen, 0.1), _CAP_PX - pen])
    for points in strokes:
        placed = (points * inner + pen / 2 + np.array([0, margin])) * _FINE
        cv2.polylines(canvas, [np.round(placed).astype(np.int32)], False, 255, max(round(pen * _FINE), 1), cv2.LINE_AA)
    size = (columns, _CAP_PX + 2 * margin)
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
