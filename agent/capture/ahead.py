"""Decodes a recording ahead of the one who looks at its frames: one core decodes while the other works."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from agent.records import Frame

FRAMES_AHEAD: Final = 4
"""Frames that wait, decoded: about what is decoded during one run of a detector. 25 MB at 1920x1080."""


def decoded_ahead(frames: Generator[Frame]) -> Generator[Frame]:
    """Yield the same frames, and end with the same error, at the same place.

    Args:
        frames: Runs on a thread of its own from here on, and is closed at the end.
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
