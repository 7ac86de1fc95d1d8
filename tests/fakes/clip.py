"""The beginning of the demo's clip, for machines where the whole of it takes too long."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2

from agent.bench.demo import DEMO_CLIP

FRAMES: Final = 90
"""Six seconds, in which one vehicle passes from end to end."""


def short_clip(path: Path) -> None:
    """Write the first frames of the demo's clip to an .mp4 file."""
    video = cv2.VideoCapture(str(DEMO_CLIP))
    size_wh = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS), size_wh)
    for _ in range(FRAMES):
        seen, frame = video.read()
        assert seen, f"{DEMO_CLIP} has fewer than {FRAMES} frames"
        writer.write(frame)
    writer.release()
