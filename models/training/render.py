"""Renders licence plates: deterministic for a seed, no pictures of real plates.

Owns how a plate looks straight on and clean; `camera` spoils it, `detector_data` and
`reader_data` place it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from .fonts import ALPHABET, GLYPH_MARGIN, Face, font_files, load_face, text_mask
from .foreign import FOREIGN, foreign_faces, readable, with_foreign
from .formats import EU_BLUE, HEADERS, LAYOUTS, RGB, SLOGANS, Layout
from .strokes import SEEDS, stroke_face

ByteArray = npt.NDArray[np.uint8]
Rng = np.random.Generator
T = TypeVar("T")

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLAIN = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"  # without letters that only their place tells from a digit
TWINS = (("O", "0"), ("0", "O"), ("I", "1"))  # drawn as the other: the same die serves for both on many plates
PLATE_HEIGHT_PX = {1: 60, 2: 92}  # by lines of text: a line's characters are about 40 px high
US_HEIGHT_PX = 84  # room for the header
MAX_CHARACTERS = 10  # slots of the reader
STICKERS: tuple[RGB, ...] = (
    (90, 120, 180),
    (150, 150, 150),
    (190, 60, 50),
    (70, 150, 80),
    (215, 215, 210),
    (225, 160, 50),
    (200, 190, 60),
    (60, 60, 65),
)
BANDS: tuple[RGB, ...] = ((190, 30, 40), (240, 240, 240), (20, 110, 60), (230, 190, 40), (20, 60, 150), (30, 30, 35))


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """A clean plate with what surrounds it.

    Attributes:
        image: uint8 (h, w, 3) RGB.
        box: The plate itself in the image, (x1, y1, x2, y2), pixels.
        text: What it says, of `ALPHABET`; `foreign.UNKNOWN` for a character that is not in it.
        kind: Name of its layout.
        centres: Centre of every character of `text` in the image, (x, y), pixels.
    """

    image: ByteArray
    box: tuple[int, int, int, int]
    text: str
    kind: str
    centres: tuple[tuple[float, float], ...] = ()


def pick(rng: Rng, options: Sequence[T]) -> T:
    """One of the options, evenly."""
    return options[int(rng.integers(len(options)))]


def fill_pattern(pattern: str, layout: Layout, rng: Rng) -> str:
    """A pattern with its places filled; marks that are drawn but not read stay in."""
    anything = ALPHABET if rng.random() < 0.1 else PLAIN
    sets = {"A": LETTERS, "9": ALPHABET[:10], "X": anything, "L": "ABCDEFGHJKLMNPRSTUVWXYZ"}
    drawn = []
    for part in re.split(r"(\{\d\})", pattern):
        if part.startswith("{"):
            drawn.append(pick(rng, layout.codes[int(part[1])]))
        else:
            drawn.extend(pick(rng, sets[p]) if p in sets else p for p in part)
    gaps = [place for place, part in enumerate(drawn) if part in {" ", "-"}]
    if layout.band == "eu" and gaps and "o" not in drawn and rng.random() < 0.3:
        drawn[pick(rng, gaps)] = "o"
    return "".join(drawn)


def jitter(colour: RGB, rng: Rng, spread: float = 10.0) -> RGB:
    """A colour moved a little."""
    moved = np.clip(np.asarray(colour, np.float32) + rng.normal(0, spread, 3), 0, 255)
    return (int(moved[0]), int(moved[1]), int(moved[2]))


def blend(canvas: ByteArray, mask: ByteArray, xy: tuple[int, int], colour: RGB) -> None:
    """Paint a colour through a mask, in place; what falls outside the canvas is dropped.

    Args:
        canvas: uint8 (h, w, 3) RGB.
        mask: uint8 (rows, columns), 255 = all of the colour.
        xy: Where the mask's top left corner goes, pixels.
        colour: RGB.
    """
    x, y = xy
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + mask.shape[1], canvas.shape[1]), min(y + mask.shape[0], canvas.shape[0])
    if x2 <= x1 or y2 <= y1:
        return
    alpha = mask[y1 - y : y2 - y, x1 - x : x2 - x, None].astype(np.uint16)
    part = canvas[y1:y2, x1:x2].astype(np.uint16)
    ink = np.asarray(colour, np.uint16)
    canvas[y1:y2, x1:x2] = ((part * (255 - alpha) + ink * alpha) // 255).astype(np.uint8)


def glyph(face: Face, character: str, size: tuple[float, int], weight: int) -> ByteArray:
    """A character stretched to a cell.

    Args:
        face: Its font.
        character: One of `ALPHABET`.
        size: Width of a digit and height of an H, pixels.
        weight: Steps to thicken (> 0) or thin (< 0) the strokes.
    """
    mask = face.masks[character]
    if weight:
        kernel = np.ones((abs(weight) + 1, abs(weight) + 1), np.uint8)
        change = cv2.dilate if weight > 0 else cv2.erode
        mask = np.asarray(change(mask, kernel), np.uint8)
    width = max(round(size[0] * min(mask.shape[1] / face.width_px, 1.35)), 3)
    height = round(size[1] * (1 + 2 * GLYPH_MARGIN))
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def draw_seal(canvas: ByteArray, centre: tuple[int, int], size: int, rng: Rng) -> None:
    """What stands between the characters: a coat of arms, one or two round stickers, or a square one."""
    x, y = centre
    shape = pick(rng, (0, 1, 1, 2, 3, 3, 3))
    if shape == 3:
        draw_arms(canvas, centre, size, rng)
    elif shape == 0:
        draw_sticker(canvas, (x, y + int(rng.integers(-size // 6, size // 6 + 1))), max(size // 5, 3), rng)
    elif shape == 1:
        radius = max(int(size * rng.uniform(0.17, 0.25)), 3)
        apart = int(size * rng.uniform(0.24, 0.3))
        draw_sticker(canvas, (x, y - apart), radius, rng)
        draw_sticker(canvas, (x, y + apart), max(int(radius * rng.uniform(0.8, 1.2)), 3), rng)
    else:
        half = max(int(size * rng.uniform(0.12, 0.28)), 3)
        top, bottom = y - int(size * rng.uniform(0.25, 0.5)), y + int(size * rng.uniform(0.25, 0.5))
        cv2.rectangle(canvas, (x - half, top), (x + half, bottom), jitter(pick(rng, STICKERS), rng), -1)
        if rng.random() < 0.5:
            draw_sticker(canvas, (x, y), max(half - 2, 2), rng)


def draw_arms(canvas: ByteArray, centre: tuple[int, int], size: int, rng: Rng) -> None:
    """A shield with a cross or fields, nearly as large as a character, as Slovak, Croatian or Austrian plates have.

    Args:
        canvas: uint8 (h, w, 3) RGB, drawn on in place.
        centre: Pixels.
        size: Height of a character, pixels.
        rng: The only source of chance.
    """
    x, y = centre
    half, tall = size * float(rng.uniform(0.16, 0.3)), size * float(rng.uniform(0.2, 0.42))
    sides = np.array([(-1, -1), (1, -1), (1, 0.25), (0.6, 0.75), (0, 1), (-0.6, 0.75), (-1, 0.25)], np.float32)
    outline = np.round(sides * [half, tall] + [x, y + size * rng.uniform(-0.12, 0.12)]).astype(np.int32)
    field, charge, rim = (jitter(pick(rng, STICKERS + BANDS), rng, 35) for _ in range(3))
    cv2.fillPoly(canvas, [outline], field, cv2.LINE_AA)
    middle = int(outline[:, 1].mean())
    if rng.random() < 0.4:
        lower = np.array([p if p[1] > middle else (p[0], middle) for p in outline], np.int32)
        cv2.fillPoly(canvas, [lower], jitter(pick(rng, BANDS), rng, 35), cv2.LINE_AA)
    if rng.random() < 0.7:
        wide = max(int(half * rng.uniform(0.2, 0.45)), 1)
        cv2.line(canvas, (x, middle - int(tall * 0.7)), (x, middle + int(tall * 0.6)), charge, wide)
        for share in (0.3, -0.1)[: int(rng.integers(1, 3))]:
            row = middle - int(tall * share)
            cv2.line(canvas, (x - int(half * 0.6), row), (x + int(half * 0.6), row), charge, wide)
    if rng.random() < 0.6:
        cv2.polylines(canvas, [outline], True, rim, 1, cv2.LINE_AA)


def draw_sticker(canvas: ByteArray, centre: tuple[int, int], radius: int, rng: Rng) -> None:
    """A round sticker with a rim or a small crest, too small to read."""
    cv2.circle(canvas, centre, radius, jitter(pick(rng, STICKERS), rng, 25), -1, cv2.LINE_AA)
    if rng.random() < 0.4:
        cv2.circle(canvas, centre, radius, jitter((70, 70, 70), rng, 30), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        spot = (centre[0] + int(rng.normal(0, radius * 0.3)), centre[1] + int(rng.normal(0, radius * 0.3)))
        cv2.circle(
            canvas, spot, max(int(radius * rng.uniform(0.15, 0.55)), 1), jitter(pick(rng, STICKERS), rng, 40), -1
        )


def line_cells(drawn: str, widths: list[float], gap: float, space: float) -> list[float]:
    """Left edges of the cells of a line that starts at 0, and its end as the last entry."""
    edges, x = [], 0.0
    for character, width in zip(drawn, widths, strict=True):
        edges.append(x)
        x += space if character == " " else width + gap
    return [*edges, x - gap]


def draw_line(
    canvas: ByteArray, drawn: str, area: tuple[int, int, int, int], rng: Rng, *, ink: RGB, face: Face
) -> list[tuple[float, float]]:
    """Draw one line of a plate into an area, stretched to fill it as dies do; its centres."""
    x1, y1, x2, y2 = area
    height = y2 - y1
    aspect = float(rng.uniform(0.45, 0.72))
    weight = int(pick(rng, [0, 0, 0, 1, 2, -1]))
    twins = dict([pick(rng, TWINS)]) if rng.random() < 0.5 else {}
    unit = height * aspect
    seal = float(rng.uniform(0.5, 0.95))
    gap, space = unit * float(rng.uniform(0.1, 0.32)), unit * float(rng.uniform(0.3, 0.9))
    widths = []
    for c in drawn:
        ratio = min(face.masks[c].shape[1] / face.width_px, 1.35) if c in face.masks else seal
        widths.append(unit * (ratio if c != "-" else 0.45) if c != "." else unit * 0.22)
    edges = line_cells(drawn, widths, gap, space)
    squeeze = min((x2 - x1) / max(edges[-1], 1.0), float(rng.uniform(1.0, 1.3)))
    slack = (x2 - x1) - edges[-1] * squeeze
    start = x1 + slack * float(np.clip(rng.normal(0.5, 0.12), 0, 1))
    margin = round(height * GLYPH_MARGIN)
    centres: list[tuple[float, float]] = []
    for c, edge, width in zip(drawn, edges, widths, strict=False):
        x = start + edge * squeeze
        if c in face.masks:
            centres.append((x + width * squeeze / 2, (y1 + y2) / 2))
            blend(
                canvas,
                glyph(face, twins.get(c, c), (unit * squeeze, height), weight),
                (round(x), y1 - margin),
                ink,
            )
        elif c == "o":
            draw_seal(canvas, (round(x + width * squeeze / 2), y1 + height // 2), height, rng)
        elif c in "-.":
            half = max(round(height * 0.06), 1)
            y = y1 + height // 2 if c == "-" or rng.random() < 0.5 else y2 - half
            cv2.rectangle(canvas, (round(x), y - half), (round(x + width * squeeze), y + half), ink, -1)
    return centres


def draw_band(canvas: ByteArray, x1: int, x2: int, rng: Rng, *, country: bool) -> None:
    """The band with its ring of stars, or a flag, and the country's letters, columns x1 to x2.

    Its letters are not read. They vary more than real ones, so that no band is ever taken for a character.
    """
    height, width = canvas.shape[0], x2 - x1
    if rng.random() < 0.3:
        draw_clutter(canvas[:, x1:x2], rng)
        return
    colour = EU_BLUE if rng.random() < 0.85 else pick(rng, BANDS)
    shade = float(rng.uniform(0.25, 1.1)) if rng.random() < 0.5 else 1.0
    canvas[:, x1:x2] = jitter((int(colour[0] * shade), int(colour[1] * shade), int(colour[2] * shade)), rng, 20)
    upside = rng.random() < 0.12
    emblem_y = int(height * (rng.uniform(0.62, 0.78) if upside else rng.uniform(0.22, 0.4)))
    if country or rng.random() < 0.4:
        draw_emblem(canvas, ((x1 + x2) // 2, emblem_y), width, rng)
    if not country:
        return
    letters = "".join(pick(rng, list(LETTERS)) for _ in range(int(rng.integers(1, 4))))
    size = max(int(height * rng.uniform(0.16, 0.42)), 8)
    mask = text_mask(letters, pick(rng, font_files("plate")), size)
    widest = width * float(rng.uniform(0.55, 0.98))
    scale = min(float(rng.uniform(0.8, 1.2)), widest / mask.shape[1])
    mask = np.asarray(cv2.resize(mask, None, fx=scale, fy=1.0), np.uint8)
    y = int(height * rng.uniform(0.06, 0.2)) if upside else int(height * rng.uniform(0.5, 0.72))
    ink = jitter(pick(rng, [(235, 235, 235), (235, 235, 235), (235, 235, 235), (235, 205, 60), (30, 30, 60)]), rng)
    blend(canvas, mask, ((x1 + x2 - mask.shape[1]) // 2, min(y, height - mask.shape[0] - 1)), ink)


def draw_clutter(part: ByteArray, rng: Rng) -> None:
    """Anything but characters as high as the plate's own: what else a band may hold, in place.

    Args:
        part: uint8 (h, w, 3) RGB, the band.
        rng: The only source of chance.
    """
    height, width = part.shape[:2]
    top, bottom = (np.array(jitter(pick(rng, (EU_BLUE, *BANDS)), rng, 50), np.float32) for _ in range(2))
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    part[:] = (top * (1 - ramp) + bottom * ramp if rng.random() < 0.3 else top + 0 * ramp).astype(np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        ink = jitter(pick(rng, ((235, 235, 235), (230, 200, 40), (30, 30, 40), (200, 40, 40))), rng, 40)
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        shape = pick(rng, ("letters", "ring", "blob", "line"))
        if shape == "letters":
            letters = "".join(pick(rng, list(LETTERS)) for _ in range(int(rng.integers(1, 4))))
            mask = text_mask(letters, pick(rng, font_files("plate")), max(int(height * rng.uniform(0.14, 0.42)), 8))
            size = (max(int(min(mask.shape[1], width * rng.uniform(0.5, 1.0))), 2), mask.shape[0])
            mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)
            blend(part, mask, ((width - size[0]) // 2, min(centre[1], height - size[1])), ink)
        elif shape == "ring":
            draw_emblem(part, centre, width, rng)
        elif shape == "blob":
            axes = (max(int(width * rng.uniform(0.1, 0.5)), 1), max(int(height * rng.uniform(0.05, 0.2)), 1))
            cv2.ellipse(part, centre, axes, 0, 0, 360, ink, -1, cv2.LINE_AA)
        else:
            cv2.line(part, (0, centre[1]), (width, centre[1]), ink, int(rng.integers(1, 4)))


def draw_emblem(canvas: ByteArray, centre: tuple[int, int], width: int, rng: Rng) -> None:
    """Twelve stars in a ring; or three stripes; or a crest."""
    x, y = centre
    kind = rng.random()
    if kind < 0.8:
        ink = jitter(pick(rng, [(230, 200, 40), (230, 200, 40), (225, 225, 215)]), rng, 15)
        radius, dot = max(width * float(rng.uniform(0.24, 0.42)), 2.0), max(int(width * rng.uniform(0.03, 0.09)), 1)
        for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
            point = (int(x + radius * np.cos(angle)), int(y + radius * np.sin(angle)))
            cv2.circle(canvas, point, dot, ink, -1, cv2.LINE_AA)
    elif kind < 0.92:
        half, step = max(int(width * 0.36), 2), max(int(width * rng.uniform(0.12, 0.24)), 1)
        for row in range(3):
            top = y + (row - 1) * step - step // 2
            cv2.rectangle(canvas, (x - half, top), (x + half, top + step - 1), jitter(pick(rng, BANDS), rng, 30), -1)
    else:
        draw_sticker(canvas, centre, max(int(width * 0.35), 2), rng)


def draw_scenery(canvas: ByteArray, rng: Rng) -> None:
    """What US plates have behind the text: a gradient, hills, stripes or a sun."""
    height, width = canvas.shape[:2]
    tint = rng.uniform(60, 250, 3).astype(np.float32)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    ramp = ramp if rng.random() < 0.5 else ramp[::-1]
    ramp = ramp ** float(rng.uniform(0.6, 4.0)) * float(rng.uniform(0.2, 0.9))
    canvas[:] = (canvas * (1 - ramp) + tint * ramp).astype(np.uint8)
    layer = canvas.copy()
    for _ in range(int(rng.integers(0, 4))):
        colour = tuple(int(v) for v in rng.integers(30, 250, 3))
        shape = int(rng.integers(4))
        if shape == 0:
            xs = np.linspace(0, width, 9).astype(int)
            ys = (height * rng.uniform(0.3, 1.0, 9)).astype(int)
            hills = np.array([*zip(xs, ys, strict=True), (width, height), (0, height)], np.int32)
            cv2.fillPoly(layer, [hills], colour, cv2.LINE_AA)
        elif shape == 1:
            centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(layer, centre, int(rng.uniform(5, height * 0.45)), colour, -1, cv2.LINE_AA)
        elif shape == 2:
            y = int(rng.uniform(0, height))
            cv2.rectangle(layer, (0, y), (width, y + int(rng.uniform(3, 20))), colour, -1)
        else:
            x = int(rng.uniform(0, width))
            cv2.rectangle(layer, (x, 0), (x + int(rng.uniform(4, 40)), height), colour, -1)
    share = float(rng.uniform(0.1, 0.7))
    cv2.addWeighted(layer, share, canvas, 1 - share, 0, dst=canvas)


def draw_words(canvas: ByteArray, words: str, rng: Rng, *, y: int, size: int, colour: RGB) -> None:
    """A centred line of small words whose top is at row y."""
    mask = text_mask(words, pick(rng, font_files("text")), size)
    limit = canvas.shape[1] * 0.86
    if mask.shape[1] > limit:
        mask = np.asarray(cv2.resize(mask, (int(limit), mask.shape[0])), np.uint8)
    x = (canvas.shape[1] - mask.shape[1]) // 2 + int(rng.normal(0, canvas.shape[1] * 0.04))
    blend(canvas, mask, (x, y), colour)


def draw_edge(canvas: ByteArray, ink: RGB, rng: Rng) -> None:
    """The embossed rim and the screws."""
    height, width = canvas.shape[:2]
    if rng.random() < 0.6:
        inset = int(rng.integers(1, 4))
        colour = ink if rng.random() < 0.6 else jitter((170, 170, 170), rng)
        corner = (width - 1 - inset, height - 1 - inset)
        cv2.rectangle(canvas, (inset, inset), corner, colour, int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(0, 5)) if rng.random() < 0.35 else 0):
        x = int(width * pick(rng, [0.2, 0.25, 0.75, 0.8, 0.06, 0.94]))
        y = int(height * pick(rng, [0.08, 0.5, 0.92]))
        cv2.circle(canvas, (x, y), int(rng.integers(2, 4)), jitter((90, 90, 90), rng, 50), -1)


def surround(canvas: ByteArray, rng: Rng) -> tuple[ByteArray, tuple[int, int, int, int]]:
    """Put a holder around a plate, sometimes with a dealer's name; returns it and the plate's box."""
    height, width = canvas.shape[:2]
    if rng.random() < 0.45:
        return canvas, (0, 0, width, height)
    top, side = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    bottom = int(rng.integers(10, 20)) if rng.random() < 0.4 else int(rng.integers(1, 9))
    colour = jitter(pick(rng, [(25, 25, 28), (25, 25, 28), (190, 190, 195), (90, 92, 95)]), rng)
    holder = np.full((height + top + bottom, width + 2 * side, 3), colour, np.uint8)
    if bottom >= 10:
        words = "".join(pick(rng, list(LETTERS + " ")) for _ in range(int(rng.integers(6, 20))))
        ink = (225, 225, 225) if sum(colour) < 300 else (30, 30, 30)
        draw_words(holder, words, rng, y=top + height + 1, size=bottom - 3, colour=ink)
    holder[top : top + height, side : side + width] = canvas
    return holder, (side, top, side + width, top + height)


def draw_background(layout: Layout, size: tuple[int, int], rng: Rng) -> tuple[ByteArray, RGB]:
    """The empty plate of a layout, (width, height) pixels, and the ink for it."""
    width, height = size
    background, ink = pick(rng, layout.colours)
    canvas = np.full((height, width, 3), jitter(background, rng), np.uint8)
    if layout.scenery and rng.random() < 0.75:
        draw_scenery(canvas, rng)
        contrast = float(canvas[height // 3 : -height // 3].mean()) - float(np.mean(ink))
        if abs(contrast) < 70:
            ink = (18, 22, 40) if contrast > -20 and canvas.mean() > 110 else (242, 242, 236)
    return canvas, jitter(ink, rng)


def text_area(layout: Layout, canvas: ByteArray, rng: Rng) -> tuple[int, int, int, int]:
    """Draw the bands and words of a layout; what they leave free, as (x1, y1, x2, y2)."""
    height, width = canvas.shape[:2]
    pad = float(rng.uniform(0.1, 0.2))
    x1, y1, x2, y2 = width * 0.03, height * pad, width * 0.97, height * (1 - pad)
    band = round(height * float(rng.uniform(0.32, 0.44)) * min(layout.aspect / 3, 1.0))
    if layout.band in {"eu", "both"} and rng.random() < 0.88:
        draw_band(canvas, 0, band, rng, country=rng.random() < 0.9)
        x1 = band + width * 0.015
    if layout.band == "both" and rng.random() < 0.7:
        draw_band(canvas, width - band, width, rng, country=False)
        x2 = width - band - width * 0.015
    if layout.band == "mercosur":
        bar = int(height * 0.24)
        canvas[:bar] = jitter(EU_BLUE, rng, 16)
        country = pick(rng, ["BRASIL", "ARGENTINA", "URUGUAY"])
        draw_words(canvas, country, rng, y=3, size=bar - 5, colour=(240, 240, 240))
        y1, y2 = height * 0.32, height * 0.93
    if layout.header:
        colour = jitter(pick(rng, [(20, 40, 120), (170, 30, 40), (30, 30, 30), (20, 100, 60)]), rng)
        words = pick(rng, HEADERS).replace("_", " ")
        draw_words(canvas, words, rng, y=4, size=int(height * rng.uniform(0.15, 0.24)), colour=colour)
        y1, y2 = height * 0.3, height * float(rng.uniform(0.78, 0.92))
        if rng.random() < 0.6 and layout.scenery:
            slogan = pick(rng, SLOGANS)
            draw_words(canvas, slogan, rng, y=int(height * 0.85), size=int(height * 0.13), colour=colour)
            y2 = height * 0.8
    return round(x1), round(y1), round(x2), round(y2)


def pick_face(drawn: str, rng: Rng) -> Face | None:
    """A face for a plate, of strokes or of a font; None where no font has its foreign characters."""
    if not FOREIGN & set(drawn):
        return (
            stroke_face(int(rng.integers(SEEDS))) if rng.random() < 0.5 else load_face(pick(rng, font_files("plate")))
        )
    able = foreign_faces(drawn)
    return with_foreign(pick(rng, able)) if able else None


def render_plate(rng: Rng, layouts: Sequence[Layout] = LAYOUTS) -> Plate:
    """A random plate of a random layout.

    Args:
        rng: The only source of chance: the same state gives the same plate.
        layouts: To choose from, by their weights.
    """
    weights = np.array([layout.weight for layout in layouts])
    layout = layouts[int(rng.choice(len(layouts), p=weights / weights.sum()))]
    drawn = fill_pattern(pick(rng, layout.patterns), layout, rng)
    lines = drawn.split("|")
    height = US_HEIGHT_PX if layout.header else PLATE_HEIGHT_PX[len(lines)]
    width = round(height * layout.aspect * float(rng.uniform(0.92, 1.08)))
    canvas, ink = draw_background(layout, (width, height), rng)
    x1, y1, x2, y2 = text_area(layout, canvas, rng)
    draw_edge(canvas, ink, rng)
    face = pick_face(drawn, rng)
    if face is None:
        return render_plate(rng, layouts)
    step = (y2 - y1) / len(lines)
    centres: list[tuple[float, float]] = []
    for index, line in enumerate(lines):
        top = round(y1 + index * step)
        inner = 0.08 * step * (len(lines) - 1)
        area = (x1, round(top + inner), x2, round(top + step - inner))
        centres += draw_line(canvas, line, area, rng, ink=ink, face=face)
    image, box = surround(canvas, rng)
    moved = tuple((x + box[0], y + box[1]) for x, y in centres[:MAX_CHARACTERS])
    return Plate(image, box, readable(drawn)[:MAX_CHARACTERS], layout.name, moved)
