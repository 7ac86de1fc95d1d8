"""Names and constants that the exported files share; importable without PyTorch."""

from __future__ import annotations

DEFAULT_THRESHOLD = 0.4  # fast-alpr's own default; the threshold chosen on validation is moved onto it
DETECTOR_SIZES = {
    "plate-detector-384": (384, 384),
    "plate-detector-384x224": (384, 224),
}  # width, height
READER_NAME = "plate-reader"
