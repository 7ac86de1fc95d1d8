"""Decodes the next frames of a recording on another thread, while the frame before them is being looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from agent.records import Frame

FRAMES_AHEAD: Final = 4
"""Decoded frames that wait at most: about as many as are decoded during one run of a detector. 25 MB at 1920x1080."""


def prefetched(frames: Generator[Frame]) -> Generator[Frame]:
    """Yield the same frames in the same order; an error of `frames` is raised at the same place.

    Args:
        frames: Where the frames come from; from here on it runs on another thread, and it is closed at the end.
    """
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
            coming = deque(pool.submit(next, frames, None) for _ in range(FRAMES_AHEAD))
            try:
                while (frame := coming.popleft().result()) is not None:
                    coming.append(pool.submit(next, frames, None))
                    yield frame
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        frames.close()
