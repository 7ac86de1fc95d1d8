"""Renders what a camera shows in a plate's box that is no plate: phone numbers, adverts, captions, vents, lamps.

The reader learns to say nothing of them. `signs` has more of them, for the detector too. Deterministic for a seed.
"""

from __future__ import annotations

import cv2
import numpy as np

from .fonts import font_files, text_mask
from .render import ByteArray, Rng, blend, jitter, pick
from .signs import BRIGHT, INKS, caption, render_sign, words

SHOP = (
    "SALE",
    "CALL",
    "TEL",
    "FREE",
    "24H",
    "CREDIT",
    "LOANS",
    "MOVERS",
    "PLUMBER",
    "ROOFING",
    "www",
    "INFO",
    "HOT",
    "NEW",
)


def phone(rng: Rng) -> str:
    """A number as vans and shops bear it."""
    digits = "".join(str(int(d)) for d in rng.integers(0, 10, int(rng.integers(6, 13))))
    groups, start = [], 0
    while start < len(digits):
        size = int(rng.integers(2, 6))
        groups.append(digits[start : start + size])
        start += size
    number = pick(rng, (" ", "-", ".", "/", "  ")).join(groups)
    return f"{pick(rng, ('', '', '+', '0', 'Tel. ', 'CALL ', '(0)', 'T '))}{number}"


def clock(rng: Rng) -> str:
    """A time, a price, a speed, a gallery number: what bears digits and is no plate."""
    hour, minute, much = int(rng.integers(24)), int(rng.integers(60)), int(rng.integers(1, 1000))
    options = (
        f"{hour:02}:{minute:02}",
        f"{much}.99",
        f"{much}%",
        f"{much} km/h",
        f"{hour:02}:{minute:02}:{minute:02}",
        f"€{much}",
        f"{much}m",
    )
    return pick(rng, options)


def notice_line(rng: Rng) -> str:
    """One line of writing that is no plate's."""
    kind = rng.random()
    if kind < 0.35:
        return phone(rng)
    if kind < 0.5:
        return clock(rng)
    if kind < 0.6:
        return caption(rng)
    if kind < 0.75:
        return f"{pick(rng, SHOP)} {words(rng)}"
    return words(rng).title() if rng.random() < 0.4 else words(rng)


def board(rng: Rng) -> ByteArray:
    """One to three lines of writing on paint or print, cut as a detector cuts: around one of them, or through them."""
    size = int(rng.integers(16, 60))
    fonts = font_files("text")
    font = pick(rng, fonts)
    masks = [
        text_mask(notice_line(rng), font, max(int(size * rng.uniform(0.6, 1.0)), 8))
        for _ in range(int(rng.integers(1, 4)))
    ]
    gap = int(size * rng.uniform(0.1, 0.6)) + 1
    width = min(max(mask.shape[1] for mask in masks) + 2 * gap, 900)
    height = sum(mask.shape[0] + gap for mask in masks) + gap
    paint = jitter(pick(rng, [*BRIGHT, (240, 240, 240), (245, 245, 240), (30, 30, 34)]), rng, 25)
    panel = np.full((height, width, 3), paint, np.uint8)
    ink = pick(rng, INKS)
    if abs(sum(ink) - sum(paint)) < 200:
        ink = (20, 20, 20) if sum(paint) > 380 else (240, 240, 240)
    y = gap
    for mask in masks:
        x = gap if rng.random() < 0.5 else (width - mask.shape[1]) // 2
        blend(panel, mask, (x, y), jitter(ink, rng, 12))
        y += mask.shape[0] + gap
    return window(panel, rng)


def window(panel: ByteArray, rng: Rng) -> ByteArray:
    """A part of a picture, of the proportions of a plate's box, or all of it."""
    height, width = panel.shape[:2]
    if rng.random() < 0.35:
        return panel
    wide = min(int(height * rng.uniform(1.3, 6.0)), width)
    tall = min(max(int(wide / rng.uniform(1.3, 5.5)), 12), height)
    x, y = int(rng.integers(width - wide + 1)), int(rng.integers(height - tall + 1))
    return panel[y : y + tall, x : x + wide]


def slats(rng: Rng) -> ByteArray:
    """Bars of any direction and rhythm: vents, grilles, fences, zebra crossings, barcodes."""
    height, width = int(rng.integers(24, 80)), int(rng.integers(60, 240))
    panel = np.full((height, width, 3), jitter((110, 110, 112), rng, 60), np.uint8)
    position, stands = 0.0, rng.random() < 0.6
    step = float(rng.uniform(4, 26))
    colour = jitter((120, 120, 120), rng, 90)
    while position < (width if stands else height):
        thick = max(int(step * rng.uniform(0.25, 0.7)), 1)
        at = int(position)
        corners = ((at, 0), (at + thick, height)) if stands else ((0, at), (width, at + thick))
        cv2.rectangle(panel, corners[0], corners[1], colour, -1)
        position += step * float(rng.uniform(0.8, 1.25))
    return np.asarray(cv2.GaussianBlur(panel, (0, 0), rng.uniform(0.3, 2.0)), np.uint8)


def render_notice(rng: Rng) -> ByteArray:
    """A random thing that is no plate, uint8 (h, w, 3) RGB."""
    kind = rng.random()
    if kind < 0.6:
        return board(rng)
    return slats(rng) if kind < 0.7 else window(render_sign(rng), rng)
