"""Names, sizes and constants that training, export and measuring share; needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent  # where the shipped files lie
PUBLIC_READER = Path("../shared/models/cct_xs_v1_global.onnx")  # labels real crops, and is compared with

DEFAULT_THRESHOLD = 0.4  # fast-alpr's own default; the threshold chosen on validation is moved onto it
LOWEST_SCORE = 0.05  # weaker boxes do not leave the detector's graph
DETECTOR_SIZES = {
    "plate-detector-384": (384, 384),
    "plate-detector-384x224": (384, 224),
}  # width, height; the first is the default
READER_NAME = "plate-reader"

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
PAD_CHARACTER = "_"
PAD_INDEX = 36
UNKNOWN_LABEL = -1  # of a slot whose character is not in the alphabet
SLOTS = 10
HEIGHT, WIDTH = 64, 128  # of the reader's input, as the public readers, so that their users need change nothing
GRID = (8, 32)  # rows and columns of the cells that the reader's slots choose from

READER_CONFIG = f"""max_plate_slots: {SLOTS}
alphabet: "{ALPHABET}"
pad_char: "{PAD_CHARACTER}"
img_height: {HEIGHT}
img_width: {WIDTH}
keep_aspect_ratio: false
interpolation: linear
image_color_mode: rgb
"""

LARGEST_TOTAL_BYTES = 14_000_000  # of all shipped model files together


def encode_text(text: str) -> list[int]:
    """Slot labels of a text, padded; `UNKNOWN_LABEL` for a character that is not in the alphabet."""
    labels = [ALPHABET.find(c) for c in text[:SLOTS]]  # find says -1
    return labels + [PAD_INDEX] * (SLOTS - len(labels))
