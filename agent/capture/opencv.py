"""OpenCV, made quiet before it is first used, with the limits that hold for every picture and for their memory.

Import `cv2` in this package from here only: FFmpeg reads its log level once, when the first capture is opened.
"""

from __future__ import annotations

import os
from typing import Final

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET: we say in one line what FFmpeg says in ten
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2  # after the two settings above, which it reads when it loads

from agent.capture.allocator import limit_memory
from agent.errors import SourceError

MAX_SIDE_PX: Final = 16384
"""Widest or highest picture: what a sealed read can describe (`MAX_FRAME_PX`), four times the side of 4K video."""
MAX_PICTURE_PX: Final = 100_000_000
"""Most pixels in one picture, 300 MB decoded; the largest camera sensors in use have about that many."""

# For a process that imported OpenCV before this module.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
limit_memory()  # before the threads of decoders and models begin

__all__ = ["MAX_PICTURE_PX", "MAX_SIDE_PX", "check_size", "cv2"]


def check_size(width: int, height: int, *, where: str) -> None:
    """Refuse a picture that is absurdly large, or has no pixels.

    Args:
        width: Pixels.
        height: Pixels.
        where: What is being opened, for the message.

    Raises:
        SourceError: A side is outside 1..`MAX_SIDE_PX`, or there are more than `MAX_PICTURE_PX` pixels.
    """
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX) or width * height > MAX_PICTURE_PX:
        raise SourceError(
            f"{where}: {width}x{height} pixels; allowed are 1 to {MAX_SIDE_PX} a side "
            f"and {MAX_PICTURE_PX // 1_000_000} million in all"
        )
