"""One place for one frame, between the thread that reads a camera and the one that looks at its frames."""

from __future__ import annotations

import threading

from agent.records import Frame


class NewestFrame:
    """Holds the newest frame until it is taken; an older one makes way. Safe between two threads."""

    def __init__(self) -> None:
        """Begin without a frame."""
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._failure: Exception | None = None

    def put(self, frame: Frame) -> bool:
        """Lay a frame down; tell whether one that nobody took made way for it."""
        with self._changed:
            displaced = self._frame is not None
            self._frame = frame
            self._changed.notify()
        return displaced

    def fail(self, failure: Exception) -> None:
        """Say that no more frames come, and why."""
        with self._changed:
            self._failure = failure
            self._changed.notify()

    def take(self, *, wait_s: float) -> Frame | None:
        """Take the frame; None if none came within `wait_s` seconds.

        Raises:
            Exception: What `fail` was told, once the last frame is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._failure is not None, wait_s)
            frame, self._frame = self._frame, None
            if frame is None and self._failure is not None:
                raise self._failure
            return frame
