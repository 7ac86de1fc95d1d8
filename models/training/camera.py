"""What a camera and the weather do to a picture. Every effect is a pure function of a picture and a
generator; pictures are uint8 (h, w, 3) RGB and keep their shape.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]
Rng = np.random.Generator

NOISE_BANK_PX = 512  # drawing fresh normal noise costs more than everything else together
_NOISE = np.random.default_rng(7).normal(0, 1, (NOISE_BANK_PX, NOISE_BANK_PX, 3)).astype(np.float32)


def motion_blur(image: ByteArray, rng: Rng, *, longest_px: float) -> ByteArray:
    """Smear along a line, mostly near the horizontal."""
    length = max(int(rng.uniform(2, longest_px + 1)), 2)
    angle = float(rng.normal(0, 25)) if rng.random() < 0.7 else float(rng.uniform(0, 180))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), angle, 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    total = float(kernel.sum())
    return np.asarray(cv2.filter2D(image, -1, kernel / total), np.uint8) if total > 0 else image


def focus_blur(image: ByteArray, rng: Rng, *, largest_sigma_px: float) -> ByteArray:
    """Out of focus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, largest_sigma_px)), np.uint8)


def sensor_noise(image: ByteArray, rng: Rng, *, strongest: float) -> ByteArray:
    """Gaussian noise, coloured or grey, of a strength up to `strongest` grey levels."""
    height, width = image.shape[:2]
    y = int(rng.integers(max(NOISE_BANK_PX - height, 0) + 1))
    x = int(rng.integers(max(NOISE_BANK_PX - width, 0) + 1))
    noise = _NOISE[y : y + height, x : x + width]
    if noise.shape[:2] != (height, width):
        noise = np.resize(_NOISE, image.shape)
    if rng.random() < 0.4:
        noise = noise[..., :1]
    noisy = image.astype(np.float32) + noise * float(rng.uniform(1, strongest))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def jpeg(image: ByteArray, rng: Rng, *, worst_quality: int) -> ByteArray:
    """Written as a JPEG and read back."""
    quality = int(rng.integers(worst_quality, 92))
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def tone(image: ByteArray, rng: Rng, *, strength: float = 1.0) -> ByteArray:
    """Contrast, brightness, gamma and white balance, by one look-up table a channel."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    gamma = float(np.exp(rng.normal(0, 0.28 * strength)))
    contrast = float(np.exp(rng.normal(0, 0.2 * strength)))
    curve = (ramp**gamma - 0.5) * contrast + 0.5 + float(rng.normal(0, 0.07 * strength))
    gains = np.exp(rng.normal(0, 0.09 * strength, 3)).astype(np.float32)
    table = np.clip(curve[:, None] * gains * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def monochrome(image: ByteArray, rng: Rng) -> ByteArray:
    """Infra-red or a camera at night: grey, from a random mix of the channels."""
    mix = rng.dirichlet((1.5, 1.5, 1.5)).astype(np.float32)
    grey = np.clip(image @ mix, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def pink_cast(image: ByteArray, rng: Rng) -> ByteArray:
    """A sensor without its infra-red filter: everything leans to red and violet."""
    grey = image.mean(axis=2, keepdims=True)
    cast = np.array([1.0, rng.uniform(0.45, 0.8), rng.uniform(0.55, 0.95)], np.float32)
    return np.asarray(np.clip((image * 0.45 + grey * 0.55) * cast, 0, 255), np.uint8)


def low_light(image: ByteArray, rng: Rng) -> ByteArray:
    """Too little light: darkened, then noise that the gain brings up."""
    dark = (image.astype(np.float32) * float(rng.uniform(0.18, 0.6))).astype(np.uint8)
    return sensor_noise(dark, rng, strongest=9)


def glare(image: ByteArray, rng: Rng) -> ByteArray:
    """Up to three headlights or the sun: bright round glows that saturate."""
    height, width = image.shape[:2]
    lit = image.astype(np.float32)
    for _ in range(int(rng.integers(1, 4))):
        small = (max(width // 4, 8), max(height // 4, 8))
        spot = np.zeros((small[1], small[0]), np.float32)
        centre = (int(rng.integers(small[0])), int(rng.integers(small[1])))
        cv2.circle(spot, centre, int(rng.uniform(1, max(small[1] * 0.12, 2))), 1.0, -1)
        spot = cv2.GaussianBlur(spot, (0, 0), float(rng.uniform(1.0, max(small[1] * 0.12, 1.5))))
        spot = np.asarray(spot, np.float32) / max(float(spot.max()), 1e-3)
        colour = np.array([1, rng.uniform(0.75, 1), rng.uniform(0.6, 1)], np.float32)
        glow = np.asarray(cv2.resize(spot, (width, height)))[..., None]
        lit += glow * colour * float(rng.uniform(90, 330))
    return np.clip(lit, 0, 255).astype(np.uint8)


def shadow(image: ByteArray, rng: Rng) -> ByteArray:
    """One side of a slanted line lies in the shade."""
    height, width = image.shape[:2]
    angle, offset = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(-0.35, 0.35))
    ys, xs = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j].astype(np.float32)
    side = xs * np.cos(angle) + ys * np.sin(angle) - offset
    soft = np.clip(side * float(rng.uniform(8, 60)) + 0.5, 0, 1)[..., None]
    return np.asarray(image * (1 - soft * float(rng.uniform(0.25, 0.7)))).astype(np.uint8)


def dirt(image: ByteArray, rng: Rng) -> ByteArray:
    """Brown or grey film in blotches."""
    height, width = image.shape[:2]
    size = (int(rng.integers(4, 24)), int(rng.integers(3, 12)))
    blotches = rng.random((size[1], size[0])).astype(np.float32)
    mask = np.asarray(cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC))
    mask = np.clip((mask - float(rng.uniform(0.45, 0.8))) * 3, 0, float(rng.uniform(0.2, 0.75)))
    colour = np.array([110, 95, 75], np.float32) * float(rng.uniform(0.3, 1.5))
    return np.asarray(image * (1 - mask[..., None]) + mask[..., None] * colour).astype(np.uint8)


def partial_cover(image: ByteArray, rng: Rng) -> ByteArray:
    """A tow bar, a rope or a frame in front of a narrow part."""
    height, width = image.shape[:2]
    covered = image.copy()
    colour = tuple(int(v) for v in rng.integers(0, 200, 3))
    if rng.random() < 0.5:
        y = int(pick_edge(rng) * height)
        cv2.line(covered, (0, y), (width, y + int(rng.normal(0, 4))), colour, max(height // 14, 1))
    else:
        x = int(rng.uniform(0, width))
        slant = int(rng.normal(0, height * 0.4))
        cv2.line(covered, (x, 0), (x + slant, height), colour, max(width // 70, 1), cv2.LINE_AA)
    return covered


def pick_edge(rng: Rng) -> float:
    """A place near the top or the bottom, as a share of the height."""
    near = float(abs(rng.normal(0, 0.05)))
    return near if rng.random() < 0.5 else 1 - near


def low_resolution(image: ByteArray, rng: Rng, *, smallest: float) -> ByteArray:
    """Taken from further away: made smaller and enlarged again."""
    height, width = image.shape[:2]
    scale = float(rng.uniform(smallest, 1.0))
    down = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_AREA]))
    size = (max(int(width * scale), 4), max(int(height * scale), 4))
    small = cv2.resize(image, size, interpolation=down)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def stroke_weight(image: ByteArray, rng: Rng) -> ByteArray:
    """Strokes a step thicker or thinner, as dies, paint and exposure make them."""
    kernel = np.ones((int(rng.integers(2, 4)), int(rng.integers(2, 4))), np.uint8)
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    return np.asarray(change(image, kernel), np.uint8)


def bend(image: ByteArray, rng: Rng) -> ByteArray:
    """A bent plate: every part is moved a little, smoothly, by about one per cent of the sides."""
    height, width = image.shape[:2]
    waves = rng.normal(0, 1, (2, 3, 5)).astype(np.float32) * float(rng.uniform(0.004, 0.013))
    dx, dy = (np.asarray(cv2.resize(wave, (width, height), interpolation=cv2.INTER_CUBIC)) for wave in waves)
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(image, xs + dx * width, ys + dy * height, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
