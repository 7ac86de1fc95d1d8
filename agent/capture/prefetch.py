"""Decodes the next frames of a recording on another thread, while the frame before them is being looked at.

The thread runs through the frames by itself, for a future a frame cost several times what these two queues do.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, TypeAlias

from agent.records import Frame

FRAMES_AHEAD: Final = 4
"""Decoded frames that wait at most: about as many as are decoded during one run of a detector."""
AHEAD_PX: Final = FRAMES_AHEAD * 1920 * 1080
"""Pixels of all frames that wait together, at most: 12 MB as they are decoded. Of larger frames fewer wait."""

_Came: TypeAlias = "SimpleQueue[Frame | BaseException | None]"
"""What the thread hands over: frames, and at last None for the end, or why there are no more."""
_Wanted: TypeAlias = "SimpleQueue[bool]"
"""What the thread is told: True for each frame that it may decode, False to end."""


def prefetched(frames: Generator[Frame]) -> Generator[Frame]:
    """Yield the same frames in the same order; an error of `frames` is raised at the same place.

    Args:
        frames: Where the frames come from; from here on it runs on another thread, and it is closed at the end.
    """
    came: _Came = SimpleQueue()
    wanted: _Wanted = SimpleQueue()
    # A daemon: who leaves without closing this generator must not wait for a thread that waits for them.
    thread = Thread(target=_decode, args=(frames, wanted, came), name="decode", daemon=True)
    thread.start()
    try:
        yield from _taken(came, wanted)
    finally:
        with suppress(Empty):
            while True:
                wanted.get_nowait()
        wanted.put(False)
        thread.join()
        frames.close()


def _taken(came: _Came, wanted: _Wanted) -> Generator[Frame]:
    """Yield what comes, and want as many more as may wait."""
    wanted.put(True)
    coming = 1
    while (frame := came.get()) is not None:
        if isinstance(frame, BaseException):
            raise frame
        coming -= 1
        while coming < max(min(AHEAD_PX // math.prod(frame.wh), FRAMES_AHEAD), 1):
            wanted.put(True)
            coming += 1
        yield frame
        del frame  # before the next is waited for: it may hold its colours, too


def _next(frames: Generator[Frame]) -> Frame | None:
    """Return the next frame, None at the end."""
    frame = next(frames, None)
    if frame is not None:
        _ = frame.picture.sample  # while its pixels are still in this core's cache
    return frame


def _decode(frames: Generator[Frame], wanted: _Wanted, came: _Came) -> None:
    try:
        while wanted.get():
            came.put(_next(frames))
    except BaseException as error:  # noqa: BLE001  whatever it is, it is raised where the frames are taken
        came.put(error)
