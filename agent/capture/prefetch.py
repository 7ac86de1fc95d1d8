"""Decodes the next frames of a recording on another thread, while the frame before them is being looked at."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from agent.records import Frame

FRAMES_AHEAD: Final = 4
"""Decoded frames that wait at most: about as many as are decoded during one run of a detector."""
AHEAD_PX: Final = FRAMES_AHEAD * 1920 * 1080
"""Pixels of all frames that wait together, at most: 12 MB as they are decoded. Of larger frames fewer wait."""


def prefetched(frames: Generator[Frame]) -> Generator[Frame]:
    """Yield the same frames in the same order; an error of `frames` is raised at the same place.

    Args:
        frames: Where the frames come from; from here on it runs on another thread, and it is closed at the end.
    """
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
            coming = deque([pool.submit(next, frames, None)])
            try:
                while (frame := coming.popleft().result()) is not None:
                    wanted = max(min(AHEAD_PX // math.prod(frame.wh), FRAMES_AHEAD), 1)
                    coming.extend(pool.submit(next, frames, None) for _ in range(wanted - len(coming)))
                    yield frame
                    del frame  # before the next is waited for: it may hold its colours, too
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        frames.close()
