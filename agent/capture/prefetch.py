"""Decodes the next frames of a recording on another thread, while those before them are being looked at.

Frames are handed over several at a time: each change from one thread to the other costs, for what
one of them does pushes what the other needs out of the core's cache.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, TypeAlias

from agent.records import Frame

FRAMES_AHEAD: Final = 8
"""Decoded frames that wait at most: as many as are decoded during one run of a detector, and as many again."""
AHEAD_PX: Final = 4 * 1920 * 1080
"""Pixels of all frames that wait together, at most: 12 MB as they are decoded. Of larger frames fewer wait."""
PARTS: Final = 2
"""In so many parts they are handed over: one is ready while the next is made."""

_Part: TypeAlias = "deque[Frame | BaseException | None]"
"""What the thread hands over: frames, and at last None for the end, or why there are no more."""


def prefetched(frames: Generator[Frame]) -> Generator[Frame]:
    """Yield the same frames in the same order; an error of `frames` is raised at the same place.

    Args:
        frames: Where the frames come from; from here on it runs on another thread, and it is closed at the end.
    """
    parts: SimpleQueue[_Part] = SimpleQueue()
    wanted: SimpleQueue[int] = SimpleQueue()  # frames of a part to be made; 0 ends the thread
    # A daemon: who leaves without closing this generator must not wait for a thread that waits for them.
    thread = Thread(target=_decode, args=(frames, wanted, parts), name="decode", daemon=True)
    thread.start()
    try:
        yield from _taken(parts, wanted)
    finally:
        with suppress(Empty):
            while True:
                wanted.get_nowait()
        wanted.put(0)
        thread.join()
        frames.close()


def _taken(parts: SimpleQueue[_Part], wanted: SimpleQueue[int]) -> Generator[Frame]:
    """Yield what comes, and want as many more as may wait."""
    wanted.put(1)
    coming = 1
    while True:
        part = parts.get()
        coming -= 1
        while part:
            frame = part.popleft()
            if frame is None:
                return
            if isinstance(frame, BaseException):
                raise frame
            ahead = max(min(AHEAD_PX // math.prod(frame.wh), FRAMES_AHEAD), 1)
            while coming < min(ahead, PARTS):
                wanted.put(max(ahead // PARTS, 1))
                coming += 1
            yield frame
            del frame  # before the next is waited for: it may hold its colours, too


def _decode(frames: Generator[Frame], wanted: SimpleQueue[int], parts: SimpleQueue[_Part]) -> None:
    while count := wanted.get():
        parts.put(_part(frames, count))


def _part(frames: Generator[Frame], count: int) -> _Part:
    """Return the next frames, their samples taken while their pixels are still in this core's cache."""
    part: _Part = deque()
    try:
        for _ in range(count):
            frame = next(frames, None)
            part.append(frame)
            if frame is None:
                break
            _ = frame.picture.sample
    except BaseException as error:  # noqa: BLE001  whatever it is, it is raised where the frames are taken
        part.append(error)
    return part
