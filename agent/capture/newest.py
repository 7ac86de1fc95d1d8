"""One place for one frame, between the thread that reads a camera and the one that looks at its frames."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue

from agent.records import Frame


class NewestFrame:
    """Holds the newest frame until it is taken; an older one makes way. Safe between two threads.

    A `SimpleQueue`, and no condition: it wakes the other thread with a tenth of the code. That runs at each frame, when
    nothing of it is in the processor's cache.
    """

    def __init__(self) -> None:
        """Begin without a frame."""
        self._waiting: SimpleQueue[Frame | Exception] = SimpleQueue()

    def put(self, frame: Frame) -> bool:
        """Lay a frame down; tell whether one that nobody took made way for it."""
        displaced = False
        if not self._waiting.empty():
            with suppress(Empty):  # it was taken just now
                self._waiting.get_nowait()
                displaced = True
        self._waiting.put(frame)
        return displaced

    def fail(self, failure: Exception) -> None:
        """Say that no more frames come, and why."""
        self._waiting.put(failure)

    def take(self, *, wait_s: float) -> Frame | None:
        """Take the frame; None if none came within `wait_s` seconds.

        Raises:
            Exception: What `fail` was told, once the last frame is taken.
        """
        try:
            came = self._waiting.get(timeout=wait_s)
        except Empty:
            return None
        if isinstance(came, Exception):
            self.fail(came)
            raise came
        return came
