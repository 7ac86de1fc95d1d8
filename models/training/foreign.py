"""Characters that no slot of the reader can hold: umlauts, Cyrillic, Greek, Hebrew, Arabic, Georgian.

A plate with such a character has no text that the reader could rightly give, so its slot is to be unsure. Characters
that look like one of the reader's own (a Cyrillic A) are left out: there is nothing to be unsure about.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .fonts import ALPHABET, GLYPH_MARGIN, GLYPH_PX, ByteArray, Face, font_files, load_face, sized_font

ACCENTED = "ÄÖÜŠČŽĐŁÅÆÑÇ"
CYRILLIC = "БГДЖИЛПФЦЧШЩЭЮЯ"
GREEK = "ΓΔΛΞΠΣΦΨΩ"
HEBREW = "אבגדהחטכלמנפצקרשת"
ARABIC = "بجدسصطعقلمنهي٢٣٤٦"
GEORGIAN = "აბგდევზთლმნრსჭხ"
SCRIPTS = (ACCENTED, CYRILLIC, GREEK, HEBREW, ARABIC, GEORGIAN)
FOREIGN = frozenset("".join(SCRIPTS))
UNKNOWN = "?"  # what stands in a text for a character of these
ABSENT = "\uffff"  # no character; every font draws its sign for a missing one


def _ink(path: Path, character: str) -> ByteArray:
    """A character as a font draws it, uint8 (h, w), cropped to its ink; empty when nothing is drawn."""
    font = sized_font(path, GLYPH_PX)
    x1, y1, x2, y2 = (int(v) for v in font.getbbox(character))
    image = Image.new("L", (max(x2 - x1, 1), max(y2 - y1, 1)))
    ImageDraw.Draw(image).text((-x1, -y1), character, fill=255, font=font)
    return np.asarray(image)


@functools.cache
def foreign_masks(path: Path) -> dict[str, ByteArray]:
    """The foreign characters that a font has, each as high as an H, in the form of `Face.masks`."""
    cap = load_face(path).cap_px
    margin = round(cap * GLYPH_MARGIN)
    missing = _ink(path, ABSENT)
    masks = {}
    for character in sorted(FOREIGN):
        ink = _ink(path, character)
        if min(ink.shape) < 4 or np.array_equal(ink, missing):
            continue
        scaled = cv2.resize(ink, (max(round(ink.shape[1] * cap / ink.shape[0]), 2), cap), interpolation=cv2.INTER_AREA)
        masks[character] = np.pad(np.asarray(scaled, np.uint8), ((margin, margin), (0, 0)))
    return masks


def foreign_faces(text: str) -> tuple[Path, ...]:
    """Font files for plates that have every foreign character of a text."""
    wanted = set(text) & FOREIGN
    return tuple(path for path in font_files("plate") if wanted <= foreign_masks(path).keys())


def with_foreign(path: Path) -> Face:
    """A font's face with its foreign characters."""
    face = load_face(path)
    return Face(masks=face.masks | foreign_masks(path), cap_px=face.cap_px, width_px=face.width_px)


def readable(drawn: str) -> str:
    """What a reader should say for a drawn line; `UNKNOWN` for a character that it cannot say."""
    return "".join(c if c in ALPHABET else UNKNOWN for c in drawn if c in ALPHABET or c in FOREIGN)
