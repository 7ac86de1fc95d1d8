"""Pictures of every kind that a package must read, and a program that reads them with the package's own libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from tests.fakes.recordings import BITS, BLOCK_PX, picture

STILL: Final = (".avif", ".bmp", ".gif", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOVING: Final = (".avif", ".gif", ".png", ".webp")
NUMBERS: Final = (3, 45, 7)
"""The pictures of one that moves; a still is the first."""
PROGRAM: Final = f"""
import json, sys
from pathlib import Path
import cv2
from agent.capture import open_source
from agent.unit.process.clock import SystemClock
from agent.config.models import SourceConfig

known = cv2.videoio_registry

def levels(path):
    source = open_source(SourceConfig(uri=str(path)), camera_id="a", clock=SystemClock())
    return [frame.image[8, {BLOCK_PX // 2}::{BLOCK_PX}, 1].tolist() for frame in source.frames()]

print(json.dumps({{
    "levels": {{path.name: levels(path) for path in sorted(Path(sys.argv[1]).iterdir())}},
    "backends": [known.getBackendName(one) for one in known.getBackends() if known.hasBackend(one)],
    "build": cv2.getBuildInformation(),
}}))
"""
"""Prints, for each file of a folder, the brightness in the middle of each block of each picture's number."""


def write_pictures(folder: Path) -> Mapping[str, list[int]]:
    """Write one of each kind into a new folder, and return the numbers that each shows."""
    folder.mkdir()
    pictures = [picture(number) for number in NUMBERS]
    for suffix in STILL:
        assert cv2.imwrite(str(folder / f"still{suffix}"), pictures[0])
    moving = cv2.Animation()
    moving.frames, moving.durations = pictures, [80] * len(pictures)
    for suffix in MOVING:
        assert cv2.imwriteanimation(str(folder / f"moving{suffix}"), moving)
    return {path.name: list(NUMBERS[: 1 if path.stem == "still" else None]) for path in folder.iterdir()}


def numbers_read(said: Mapping[str, Any]) -> Mapping[str, list[int]]:
    """Return the numbers that the program read, by the file's name."""
    weights = 1 << np.arange(BITS)
    return {name: [int((np.asarray(one) > 128) @ weights) for one in frames] for name, frames in said["levels"].items()}


def check_lean_opencv(printed: str, shown: Mapping[str, list[int]]) -> None:
    """Check what the program printed: every kind is read, cameras are there, and FFmpeg is PyAV's alone."""
    said = json.loads(printed)
    assert numbers_read(said) == shown
    assert "V4L2" in said["backends"]
    assert "FFMPEG" not in said["backends"]
    assert "SIMD Support:              YES" in said["build"]
    assert "FFMPEG" not in said["build"]
