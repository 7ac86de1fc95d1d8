"""Several sources at once: a thread for each, and their frames in turn.

The thread of a source waits for its frames, so that a lost or slow camera holds nobody up. Of a camera it keeps the
newest frame, of a recording the next one until it is taken. Frames are handed out in turn: a source whose frame is
there waits for at most one frame of each other source, however fast those deliver.

Owns: the threads, whose turn it is, and the end of one source while others go on. Leaves to others: everything about
one source (its `FrameSource`).
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.capture.live import LiveStats
from agent.errors import SourceError
from agent.ports import FrameSource
from agent.records import ClockState, Frame

IDLE_AFTER_S: Final = 1.0
"""How long no frame comes before whoever waits for one is given the word."""
_END_WAIT_S: Final = 1.5
"""How long the end waits for a thread: a live source gives its own reading thread one second."""


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """No more frames come from a source; `failure` says why, if it is no recording's end."""

    failure: SourceError | None


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """What came from one of the sources: a frame, or its end.

    Attributes:
        place: The source's number, in the order in which they were given.
        what: Its next frame, or its end.
    """

    place: int
    what: Frame | SourceEnd


class RoundRobin:
    """Plays several sources at once and hands out their frames in turn."""

    def __init__(self, sources: Sequence[FrameSource], stats: Sequence[LiveStats]) -> None:
        """Take the sources, and for each the counts that it adds to. None is started yet; the caller closes them."""
        self._sources = sources
        self._stats = stats
        self._changed = threading.Condition()
        self._waiting: list[Frame | SourceEnd | Exception | None] = [None] * len(sources)
        self._closed = False

    def frames(self) -> Generator[SourceEvent | None]:
        """Start the sources and yield their frames in turn, and the end of each once.

        Yields:
            None about once a second while nothing comes. Ends after the last source, or when `close` was called.

        Raises:
            Exception: What a source raised that is no `SourceError`.
        """
        threads = [
            threading.Thread(target=self._play, args=(place,), name=f"source {place}", daemon=True)
            for place in range(len(self._sources))
        ]
        for thread in threads:
            thread.start()
        left, last = set(range(len(self._sources))), -1
        try:
            while left and not self._closed:
                place = self._next_after(last)
                if place is None:
                    yield None
                    continue
                last, came = place, self._take(place)
                if isinstance(came, SourceEnd):
                    left.discard(place)
                yield SourceEvent(place, came)
        finally:
            self.close()
            for thread in threads:
                thread.join(_END_WAIT_S)

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent; may be called from any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next_after(self, last: int) -> int | None:
        """Wait for a frame and return whose turn it is: the first with a frame after the one that had the last."""
        count = len(self._sources)
        order = [(last + 1 + step) % count for step in range(count)]
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting), IDLE_AFTER_S)
            return next((place for place in order if self._waiting[place] is not None), None)

    def _take(self, place: int) -> Frame | SourceEnd:
        with self._changed:
            came, self._waiting[place] = self._waiting[place], None
            self._changed.notify_all()
        if isinstance(came, Exception):
            raise came
        assert came is not None, "only a place where something waits is taken from"
        return came

    def _play(self, place: int) -> None:
        """Deliver one source to its end: what its thread does."""
        source = self._sources[place]
        end: SourceEnd | Exception = SourceEnd(None)
        try:
            is_recording = source.clock_state is ClockState.RECORDED
            for frame in source.frames():
                if not self._put(place, frame, waits=is_recording):
                    return
        except SourceError as error:
            end = SourceEnd(error)
        except Exception as error:  # noqa: BLE001  whatever ends this thread is raised where its frames are awaited
            end = error
        self._put(place, end, waits=True)

    def _put(self, place: int, what: Frame | SourceEnd | Exception, *, waits: bool) -> bool:
        """Lay something down in a source's place; tell whether anybody is there to take it."""
        with self._changed:
            if waits:
                self._changed.wait_for(lambda: self._closed or self._waiting[place] is None)
            if self._closed:
                return False
            self._stats[place].frames_dropped_waiting += self._waiting[place] is not None
            self._waiting[place] = what
            self._changed.notify_all()
            return True
