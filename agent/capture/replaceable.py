"""A source of frames that can be replaced by another one, between two frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from agent.ports import FrameSource
from agent.records import ClockState, Frame


class ReplaceableSource:
    """A `FrameSource` that passes on the frames of another one, which can be replaced while it runs."""

    def __init__(self, source: FrameSource) -> None:
        """Begin with `source`."""
        self._source = source
        self._next: tuple[FrameSource, Iterator[Frame]] | None = None
        self._lost_before = 0
        self._lock = threading.Lock()

    @property
    def frame_count(self) -> int | None:
        """The number of frames that the source of now has, if it is known."""
        return self._source.frame_count

    @property
    def clock_state(self) -> ClockState:
        """How far the times of the source of now can be trusted."""
        return self._source.clock_state

    @property
    def frames_lost(self) -> int:
        """Frames that could not be decoded, of the sources before too."""
        return self._lost_before + self._source.frames_lost

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of one source after the other; ends when the last one does.

        Raises:
            SourceError: The source of now failed.
        """
        frames = self._source.frames()
        while True:
            for frame in frames:
                yield frame
                if self._next is not None:
                    break
            with self._lock:
                if self._next is None:
                    return
                self._lost_before += self._source.frames_lost
                (self._source, frames), self._next = self._next, None

    def switch(self, source: FrameSource, frames: Iterator[Frame]) -> None:
        """Go on with another source, whose frames have been begun, after the frame that is being looked at.

        A call from another thread, or while no frame comes, ends the wait for one.
        """
        with self._lock:
            self._next = source, frames
            before = self._source
        before.close()

    def close(self) -> None:
        """Close the source, and the one that is to follow. Idempotent."""
        with self._lock:
            following, self._next = self._next, None
            self._source.close()
        if following is not None:
            following[0].close()
