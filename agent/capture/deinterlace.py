"""Interlaced frames made whole: two half pictures, taken one after the other, become one.

Owns: the filter (FFmpeg's bwdif), and which frames need it. One frame comes out for each that goes in, so nothing about
times changes. A frame waits for the next one, which the filter looks at.

Many encoders mark all frames as interlaced, those too whose lines were taken at one moment. The filter would take half
of the detail from whatever moves in them, and small plates could not be read. So a marked frame is looked at: where its
lines alternate between two moments, it shows combs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as AtEnd
from av.filter import Graph
from av.video.frame import VideoFrame

from agent.records import Plane

COMB_LEVELS: Final = 16
"""A tooth of a comb differs from the lines above and below by more grey levels than this, and from the next line of its
own moment by less."""
COMBED_SHARE: Final = 3e-4
"""Share of the pixels that may look like teeth in a frame without combs. Progressive video of a car park has 0.0001 at
most, a rendered road 0.00025; a car that moves between the two halves makes 0.01 to 0.1. A still picture full of detail
may have more than this: the filter leaves what does not move as it is."""
COLUMN_STRIDE: Final = 2
"""Every so manieth column is looked at."""


class Deinterlacer:
    """A filter for frames of one size and format."""

    def __init__(self, frame: VideoFrame) -> None:
        """Build the filter for frames like this one."""
        self.kind = kind_of(frame)
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        # One frame for each frame; which half comes first is said by each; only what is marked is touched.
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def push(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """Take a frame, or None at the end; return those that are ready, in order."""
        self._graph.vpush(frame)
        ready: list[VideoFrame] = []
        try:
            while True:
                ready.append(self._graph.vpull())
        except (NothingYet, AtEnd):
            return ready


def is_combed(luma: Plane) -> bool:
    """Tell whether lines of a picture alternate between two moments, somewhere.

    Args:
        luma: The brightness: uint8, shape (H, W), H at least 4.
    """
    lines = luma[:, ::COLUMN_STRIDE].astype(np.int16)
    first, second, third, fourth = lines[:-3], lines[1:-2], lines[2:-1], lines[3:]
    above = np.minimum(second - first, second - third)
    below = np.minimum(first - second, third - second)
    tooth = np.maximum(above, below) > COMB_LEVELS
    tooth &= (np.abs(first - third) < COMB_LEVELS) & (np.abs(second - fourth) < COMB_LEVELS)
    return float(tooth.mean()) > COMBED_SHARE


def kind_of(frame: VideoFrame) -> tuple[int, int, str]:
    """Return what a filter is built for: width, height, pixel format."""
    return frame.width, frame.height, frame.format.name
