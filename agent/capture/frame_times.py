"""When the frames of a recording were taken, counted from its first frame.

Owns: which of a container's times are believed. Pure. Invariant: every frame is later than the one before it.

A frame's presentation time is its own, however uneven the frames come. Where it goes back (files that were joined, a
stream that began again at another resolution), the clock has been set: times go on from there, one step later. Where
it goes back by a little, one frame is wrongly numbered, and its neighbours are right.
"""

from __future__ import annotations

from typing import Final

from agent.records import TimeSource

SET_BACK_STEPS: Final = 8
"""A clock that goes back by more steps than this was set; by less, one frame is out of order. No codec puts a frame
further from its place than 16, and nobody joins recordings of less than half a second."""
SQUEEZED: Final = 0.1
"""How far a frame whose time has not grown is put behind the one before it, in steps: the next right time must still be
later."""


class FrameTimes:
    """Turns the times of one recording's frames into seconds since the first."""

    def __init__(self, step_s: float) -> None:
        """Begin before the first frame; `step_s` is the usual time between two, seconds, > 0."""
        self._step_s = step_s
        self._shift_s: float | None = None
        self._last_s = 0.0

    def pass_over(self, count: int) -> None:
        """Leave room for frames that were lost, of a stream without times."""
        self._last_s += count * self._step_s

    def next(self, stream_s: float | None) -> tuple[float, TimeSource]:
        """Return when the next frame was taken, seconds since the first, and where that comes from.

        Args:
            stream_s: Its time in the stream, which may begin anywhere, seconds; None if it has none.
        """
        if self._shift_s is None:
            self._shift_s = -(stream_s or 0.0)
            return 0.0, TimeSource.RATE if stream_s is None else TimeSource.PTS
        if stream_s is None:
            self._last_s += self._step_s
            return self._last_s, TimeSource.RATE
        since_start_s = stream_s + self._shift_s
        if since_start_s < self._last_s - SET_BACK_STEPS * self._step_s:
            self._shift_s += self._last_s + self._step_s - since_start_s
            since_start_s = self._last_s + self._step_s
        self._last_s = max(since_start_s, self._last_s + SQUEEZED * self._step_s)
        return self._last_s, TimeSource.PTS
