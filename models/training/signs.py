"""Renders what a plate detector mistakes for plates: signs, badges, captions, lamps, destinations.

Deterministic for a seed. Owns only how they look; `detector_data` places them without a label.
"""

from __future__ import annotations

import cv2
import numpy as np

from .fonts import font_files, text_mask
from .render import ByteArray, Rng, blend, jitter, pick

WORDS = [
    "TAXI",
    "BUS",
    "SCHOOL",
    "PARKING",
    "HOTEL",
    "BANK",
    "CAFE",
    "PHARMACY",
    "EXIT",
    "ONE",
    "WAY",
    "STOP",
    "SALE",
    "OPEN",
    "MARKET",
    "PIZZA",
    "BAR",
    "POLICE",
    "AMBULANCE",
    "FIRE",
    "RENT",
    "A",
    "CAR",
    "CENTRAL",
    "STATION",
    "AIRPORT",
    "MUSEUM",
    "CITY",
    "NORTH",
    "SOUTH",
    "EXPRESS",
    "TOURS",
    "TRANSPORT",
    "LOGISTICS",
    "SERVICE",
    "AUTO",
    "TDI",
    "GTI",
    "HYBRID",
    "TURBO",
    "4x4",
    "4MOTION",
    "quattro",
    "Sport",
    "DIESEL",
    "320d",
    "A4",
    "X5",
    "V8",
    "ELEGANCE",
    "Focus",
    "Astra",
    "Passat",
    "Golf",
    "Clio",
    "Corolla",
    "Civic",
    "Logan",
    "Transit",
    "Sprinter",
    "www",
]
BRIGHT = (
    (200, 30, 30),
    (20, 60, 160),
    (250, 200, 20),
    (20, 130, 60),
    (240, 240, 240),
    (30, 30, 30),
)
INKS = ((250, 250, 250), (20, 20, 20), (250, 210, 40), (180, 20, 20), (20, 40, 140))


def words(rng: Rng) -> str:
    """One to three words, or a number such as shops and routes bear."""
    if rng.random() < 0.3:
        return str(int(rng.integers(1, 10 ** int(rng.integers(1, 6)))))
    return " ".join(pick(rng, WORDS) for _ in range(int(rng.integers(1, 4))))


def text_panel(rng: Rng) -> ByteArray:
    """A shop or street sign, an advertisement: words on a coloured board of any proportion."""
    height = int(rng.integers(36, 90))
    mask = text_mask(words(rng), pick(rng, font_files("text")), int(height * rng.uniform(0.3, 0.8)))
    width = int(min(mask.shape[1] * rng.uniform(1.05, 1.8) + 6, 420))
    panel = np.full((height, width, 3), jitter(pick(rng, BRIGHT), rng, 25), np.uint8)
    x, y = (width - mask.shape[1]) // 2, (height - mask.shape[0]) // 2
    blend(panel, mask, (x, y), jitter(pick(rng, INKS), rng, 20))
    if rng.random() < 0.4:
        cv2.rectangle(panel, (1, 1), (width - 2, height - 2), jitter((200, 200, 200), rng, 50), 2)
    return panel


def bus_destination(rng: Rng) -> ByteArray:
    """Lit dots on black: a route's number and its end."""
    text = f"{int(rng.integers(1, 400))} {words(rng)}"
    mask = text_mask(text, pick(rng, font_files("plate")), 14)
    dots = cv2.resize(mask, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    dots[::3] = 0
    dots[:, ::3] = 0
    panel = np.full((dots.shape[0] + 18, dots.shape[1] + 24, 3), jitter((16, 16, 16), rng, 6), np.uint8)
    blend(
        panel,
        np.asarray(dots, np.uint8),
        (12, 9),
        pick(rng, [(255, 170, 30), (250, 250, 240), (90, 255, 90)]),
    )
    return panel


def badge(rng: Rng) -> ByteArray:
    """Chrome letters of a car's name on paint."""
    mask = text_mask(pick(rng, WORDS), pick(rng, font_files("text")), int(rng.integers(18, 40)))
    paint = jitter(pick(rng, [*BRIGHT, (120, 124, 130), (60, 62, 66), (150, 20, 30)]), rng, 20)
    panel = np.full((mask.shape[0] + 12, mask.shape[1] + 16, 3), paint, np.uint8)
    blend(panel, mask, (9, 7), (15, 15, 18))
    blend(panel, mask, (8, 6), jitter((205, 208, 212), rng, 20))
    return panel


def lamp(rng: Rng) -> ByteArray:
    """A head or tail lamp: a lit shape in a dark or red housing, with ribs."""
    height, width = int(rng.integers(30, 70)), int(rng.integers(50, 180))
    housing = jitter(pick(rng, [(120, 20, 20), (60, 60, 66), (170, 172, 178), (200, 90, 20)]), rng, 25)
    panel = np.full((height, width, 3), housing, np.uint8)
    for x in range(0, width, int(rng.integers(6, 18))):
        cv2.line(panel, (x, 0), (x, height), jitter(housing, rng, 30), 2)
    lit = jitter((250, 245, 235), rng, 12)
    axes = (int(width * rng.uniform(0.15, 0.45)), int(height * rng.uniform(0.2, 0.48)))
    cv2.ellipse(panel, (width // 2, height // 2), axes, 0, 0, 360, lit, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(panel, (0, 0), rng.uniform(0.5, 3)), np.uint8)


def blank_board(rng: Rng) -> ByteArray:
    """A pale rectangle without text: stickers, panels, windows, reflectors."""
    height, width = int(rng.integers(24, 60)), int(rng.integers(40, 240))
    panel = np.full((height, width, 3), jitter((215, 215, 212), rng, 25), np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        y = int(rng.integers(height))
        cv2.line(panel, (0, y), (width, y), jitter((130, 130, 130), rng, 50), int(rng.integers(1, 4)))
    return panel


def grille(rng: Rng) -> ByteArray:
    """Slats of a grille or a vent."""
    height, width, step = (
        int(rng.integers(30, 60)),
        int(rng.integers(90, 240)),
        int(rng.integers(4, 11)),
    )
    panel = np.full((height, width, 3), jitter((30, 30, 32), rng, 10), np.uint8)
    colour = jitter((150, 152, 156), rng, 40)
    for offset in range(0, max(height, width), step):
        if rng.random() < 0.5:
            cv2.line(panel, (0, offset), (width, offset), colour, max(step // 3, 1))
        else:
            cv2.line(panel, (offset, 0), (offset, height), colour, max(step // 3, 1))
    return panel


SIGNS = (
    text_panel,
    text_panel,
    text_panel,
    bus_destination,
    badge,
    badge,
    lamp,
    blank_board,
    grille,
)


def render_sign(rng: Rng) -> ByteArray:
    """A random thing that is no plate, uint8 (h, w, 3) RGB."""
    return pick(rng, SIGNS)(rng)


def caption(rng: Rng) -> str:
    """What recorders write over a picture: time, camera, speed, a site's name."""
    stamp = f"20{int(rng.integers(10, 30))}-{int(rng.integers(1, 13)):02}-{int(rng.integers(1, 29)):02}"
    clock = f"{int(rng.integers(24)):02}:{int(rng.integers(60)):02}:{int(rng.integers(60)):02}"
    camera = f"CAM{int(rng.integers(1, 40)):02}"
    options = (
        f"{stamp} {clock}",
        f"{camera} {stamp}",
        camera,
        f"{clock} {int(rng.integers(9, 140))} km/h",
        f"www.{words(rng).replace(' ', '').lower()}.example",
        words(rng),
        f"{camera} {words(rng)}",
    )
    return pick(rng, options)


def overlay_caption(image: ByteArray, rng: Rng) -> None:
    """Write a caption over a picture, in place, near an edge more often than not."""
    height, width = image.shape[:2]
    mask = text_mask(caption(rng), pick(rng, font_files("text")), int(rng.integers(9, 30)))
    mask = mask[:, : width - 4]
    x = int(rng.integers(0, max(width - mask.shape[1], 1)))
    edge = pick(rng, [int(rng.integers(0, 30)), height - mask.shape[0] - int(rng.integers(0, 30))])
    y = edge if rng.random() < 0.7 else int(rng.integers(0, max(height - mask.shape[0], 1)))
    ink = jitter(pick(rng, [(250, 250, 250), (250, 250, 60), (20, 20, 20), (250, 60, 40)]), rng)
    if rng.random() < 0.4:
        back = jitter(pick(rng, [(10, 10, 10), (240, 240, 240), (30, 60, 140)]), rng)
        corner = (x + mask.shape[1] + 4, y + mask.shape[0] + 3)
        cv2.rectangle(image, (x - 4, y - 3), corner, back, -1)
    blend(image, mask, (x, y), ink)
