"""What a plate's picture must be like to be read: the limits of `agent.vision.aiming`, measured.

    python -m models.training.aiming [FOLDER...] [--reader F]

Takes the labelled plates that the reader reads surely, spoils each step by step in one way at a time (smaller, blurred,
turned, darker, brighter, paler), and prints how many are still read as before, with the measures of the spoilt
pictures. No limit is chosen with a test folder. Needs no PyTorch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from agent.errors import ModelError
from agent.ports import Reader
from agent.vision.aiming import measure_plate

from .contract import MODELS, READER_NAME
from .folders import DEFAULT_DATA, VALID_FOLDERS, Box, ByteArray, load_folder
from .measure import open_reader
from .progress import say
from .tables import table

FOLDERS = (*VALID_FOLDERS, "rpi-dayride/train")  # the last for the number of plates; no test folder
SURE = 0.9  # least confidence of a character, of plates that count
WIDEST_STEP_PX = 120  # narrower plates cannot show what 120 pixels do
Spoil = Callable[[ByteArray, Box, float], ByteArray]
BRIGHTER = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4)  # times the brightness, of the table by white pixels


def cut(image: ByteArray, box: Box) -> ByteArray:
    """The pixels in a box, uint8 (h, w, 3) BGR; at least one."""
    x1, y1, x2, y2 = (max(round(side), 0) for side in box)
    return image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]


def to_width(image: ByteArray, box: Box, width_px: float) -> ByteArray:
    """The plate, made so wide."""
    crop = cut(image, box)
    height = max(round(crop.shape[0] * width_px / crop.shape[1]), 1)
    return np.asarray(cv2.resize(crop, (round(width_px), height), interpolation=cv2.INTER_AREA), np.uint8)


def blurred(image: ByteArray, box: Box, share: float) -> ByteArray:
    """The plate, blurred by so many hundredths of its width (sigma)."""
    sigma = (box[2] - box[0]) * share / 100
    return cut(np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) if share else image, box)


def turned(image: ByteArray, box: Box, angle_deg: float) -> ByteArray:
    """The plate in a picture that is turned, in a box that holds all of it."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), angle_deg, 1.0)
    corners = np.array([[x, y, 1.0] for x in (box[0], box[2]) for y in (box[1], box[3])]) @ turn.T
    whole = np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return cut(whole, (low[0], low[1], min(high[0], width), min(high[1], height)))


def lit(image: ByteArray, box: Box, factor: float) -> ByteArray:
    """The plate at so many times its brightness, cut off at white."""
    return np.asarray(np.clip(cut(image, box).astype(np.float32) * factor, 0, 255), np.uint8)


def paled(image: ByteArray, box: Box, share: float) -> ByteArray:
    """The plate with so much of its contrast left."""
    crop = cut(image, box).astype(np.float32)
    return np.asarray(np.clip((crop - crop.mean()) * share + crop.mean(), 0, 255), np.uint8)


STEPS: dict[str, tuple[Spoil, tuple[float, ...]]] = {
    "width, px": (to_width, (120, 100, 90, 80, 70, 60, 50, 40, 32)),
    "blur, % of width": (blurred, (0, 0.5, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4)),
    "turn, degrees": (turned, (0, 3, 5, 8, 10, 12, 15, 20)),
    "light, times": (lit, (1, 0.5, 0.25, 0.15, 0.1, 0.06, 0.03, 1.5, 2, 3, 4)),
    "contrast, times": (paled, (1, 0.5, 0.25, 0.15, 0.1, 0.06, 0.03)),
}


def sure_plates(folders: list[Path], reader: Reader) -> Iterator[tuple[ByteArray, Box, str]]:
    """Pictures with the boxes and texts of plates that the reader reads surely as they are."""
    for picture in (each for folder in folders for each in load_folder(folder)):
        image = picture.load_bgr()
        for box in picture.boxes:
            if box[2] - box[0] < WIDEST_STEP_PX:
                continue
            read = reader.read([np.ascontiguousarray(cut(image, box))])[0]
            if len(read.text) > 3 and min(read.confidences) >= SURE:
                yield image, box, read.text


def rows(plates: list[tuple[ByteArray, Box, str]], reader: Reader) -> Iterator[list[str]]:
    """One row a step: its name, how many are read as before, and the medians of what is measured."""
    for name, (spoil, steps) in STEPS.items():
        for step in steps:
            crops = [np.ascontiguousarray(spoil(image, box, step)) for image, box, _ in plates]
            texts = [read.text for read in reader.read(crops)]
            same = sum(text == plate[2] for text, plate in zip(texts, plates, strict=True))
            seen = [measure_plate(crop) for crop in crops]
            yield [
                f"{name}: {step:g}",
                f"{same / len(plates):.2f}",
                f"{median(each.width_px for each in seen):.0f}",
                f"{median(each.sharpness for each in seen):.2f}",
                f"{median(each.slant_deg for each in seen):.0f}",
                f"{median(each.light for each in seen):.0f}",
                f"{median(each.white for each in seen):.2f}",
                f"{median(each.contrast for each in seen):.0f}",
            ]


def white_rows(plates: list[tuple[ByteArray, Box, str]], reader: Reader) -> Iterator[list[str]]:
    """One row a tenth of white pixels: how many of the plates, lit in all steps, are that white, and are read."""
    crops = [np.ascontiguousarray(lit(image, box, times)) for times in BRIGHTER for image, box, _ in plates]
    texts = [plate[2] for plate in plates] * len(BRIGHTER)
    same = [read.text == text for read, text in zip(reader.read(crops), texts, strict=True)]
    tenths = [min(int(measure_plate(crop).white * 10), 9) for crop in crops]
    for tenth in range(10):
        inside = [is_same for is_same, own in zip(same, tenths, strict=True) if own == tenth]
        if inside:
            yield [f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}", str(len(inside)), f"{sum(inside) / len(inside):.2f}"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure what a plate's picture must be like to be read.")
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        help="with labels.jsonl; if left out, the validation folders and rpi-dayride/train",
    )
    parser.add_argument("--reader", type=Path, default=MODELS / f"{READER_NAME}.onnx")
    args = parser.parse_args()
    try:
        reader = open_reader(args.reader)
        plates = list(sure_plates(args.folders or [DEFAULT_DATA / name for name in FOLDERS], reader))
    except (OSError, ValueError, KeyError, ModelError) as error:
        parser.exit(1, f"aiming: {error}\n")
    if not plates:
        parser.exit(1, "aiming: no plate that the reader reads surely\n")
    say(f"{len(plates)} plates")
    say(table(["share of white pixels", "plates", "read"], list(white_rows(plates, reader))))
    say(
        table(
            ["spoilt", "read", "width", "sharpness", "slant", "light", "white", "contrast"], list(rows(plates, reader))
        ).rstrip()
    )


if __name__ == "__main__":
    main()
