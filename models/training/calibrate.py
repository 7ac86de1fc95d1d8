"""Fits a reader's temperature, and shows how often it is right by how sure it says it is. Needs no PyTorch.

    python -m models.training.calibrate [READER...] [--data ../shared/data]

Fitted on the plates of the validation folders that a person read, each cut as labelled and a little looser, as a
detector's boxes are. A text's confidence is the mean over its characters, as everywhere; the temperature is the one
with which it says best whether the whole text is right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fast_plate_ocr.inference.config import PlateConfig

from agent.errors import ModelError

from .choose import Reading
from .contract import MODELS, PUBLIC_READER, READER_NAME
from .folders import DEFAULT_DATA, VALID_FOLDERS, FloatArray, load_folder
from .measure import config_file, open_session
from .progress import say
from .tables import table

TEMPERATURES = tuple(round(0.5 + 0.02 * step, 2) for step in range(150))
LOOSE = (0.0, 0.15)  # of a plate's width and height, added on each side
PROMISED = (0.9, 0.98)  # of texts that are so sure, so many are right
SURE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # confidences of which the card says how many are right


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a reader said of some readings.

    Attributes:
        shares: float32 (n, slots, characters), each slot sums to 1.
        right: bool (n,), whether the whole text is right.
        pad: Index of the padding character.
    """

    shares: FloatArray
    right: FloatArray
    pad: int

    def confidences(self, temperature: float) -> FloatArray:
        """Mean over the characters of each text, float32 (n,); 0 for an empty text."""
        raised = np.clip(self.shares, 1e-12, 1) ** (1 / temperature)
        raised /= raised.sum(-1, keepdims=True)
        is_character = self.shares.argmax(-1) != self.pad
        counts = is_character.sum(-1)
        return np.asarray((raised.max(-1) * is_character).sum(-1) / np.maximum(counts, 1), np.float32)


def answers(model: Path, readings: Sequence[Reading]) -> Answers:
    """Let a reader read.

    Args:
        model: ONNX file in fast-plate-ocr's contract, its YAML beside it.
        readings: At least one.

    Raises:
        ModelError: The file or its YAML is missing.
    """
    session = open_session(model)
    config = PlateConfig.from_yaml(config_file(model))
    name = session.get_inputs()[0].name
    rows, right = [], []
    for reading in readings:
        rgb = cv2.cvtColor(reading.crop, cv2.COLOR_BGR2RGB)
        small = cv2.resize(rgb, (config.img_width, config.img_height), interpolation=cv2.INTER_LINEAR)
        shares = np.asarray(session.run(None, {name: small[None]})[0]).reshape(-1, len(config.alphabet))
        text = "".join(config.alphabet[i] for i in shares.argmax(-1)).replace(config.pad_char, "")
        rows.append(shares)
        right.append(reading.text.is_read(text))
    return Answers(np.stack(rows), np.array(right, np.float32), config.alphabet.index(config.pad_char))


def fit_temperature(found: Answers) -> float:
    """The temperature with which the confidences say best which texts are right (least cross-entropy).

    It is raised further where less than `PROMISED[1]` of the texts with a confidence of `PROMISED[0]` are right.
    """

    def cost(temperature: float) -> float:
        sure = np.clip(found.confidences(temperature), 1e-6, 1 - 1e-6)
        return float(-(np.log(sure) * found.right + np.log(1 - sure) * (1 - found.right)).mean())

    best = min(TEMPERATURES, key=cost)
    return next((t for t in TEMPERATURES if t >= best and _keeps_promise(found, t)), TEMPERATURES[-1])


def _keeps_promise(found: Answers, temperature: float) -> bool:
    picked = found.confidences(temperature) >= PROMISED[0]
    return not picked.any() or float(found.right[picked].mean()) >= PROMISED[1]


def precision_rows(found: Answers, temperature: float) -> list[list[str]]:
    """For each of `SURE`: how many texts are at least so sure, and which share of them is right."""
    sure = found.confidences(temperature)
    rows = []
    for least in SURE:
        picked = sure >= least
        share = f"{found.right[picked].mean():.3f}" if picked.any() else ""
        rows.append([f"{least:.2f}", str(int(picked.sum())), share])
    return rows


def valid_readings(data: Path) -> list[Reading]:
    """Plates of the validation folders that a person read, cut as labelled and looser."""
    readings = []
    for folder in VALID_FOLDERS:
        for picture in load_folder(data / folder):
            image = picture.load_bgr()
            for (x1, y1, x2, y2), text in zip(picture.boxes, picture.texts, strict=True):
                for share in LOOSE if text else ():
                    mx, my = int((x2 - x1) * share), int((y2 - y1) * share)
                    crop = image[max(int(y1) - my, 0) : int(y2) + my, max(int(x1) - mx, 0) : int(x2) + mx]
                    readings.append(Reading("real", np.ascontiguousarray(crop), text))
    return readings


def main() -> None:
    """Command line."""
    own = [MODELS / f"{READER_NAME}.onnx", MODELS / f"{READER_NAME}-int8.onnx"]
    parser = argparse.ArgumentParser(description="Fit readers' temperatures on the validation folders.")
    parser.add_argument("reader", type=Path, nargs="*", default=[*own, PUBLIC_READER])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of labelled folders (%(default)s)")
    args = parser.parse_args()
    try:
        readings = valid_readings(args.data)
        for model in args.reader:
            found = answers(model, readings)
            fitted = fit_temperature(found)
            say(f"{model.name}: temperature {fitted}, {found.right.mean():.3f} of {len(readings)} right")
            say(table(["at least so sure", "texts", "right"], precision_rows(found, fitted)))
    except (FileNotFoundError, ModelError) as error:
        raise SystemExit(f"calibrate: {error}") from None


if __name__ == "__main__":
    main()
