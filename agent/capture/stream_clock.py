"""When a live picture was taken, from the stream's own clock.

A stream numbers its pictures by a clock that starts anywhere. What a picture's time on it means on ours is taken from
the picture that came fastest: the smallest difference between arrival and stream time so far is the anchor, and
every other picture is later than its anchored time by what the network and the decoder held it up.

What this cannot know is the delay that every picture has (encoder, shortest way, decoder): a picture is dated that
much late, about one to two frame intervals. The camera's own clock would know it (`camera_clock`).

Owns: the anchor and its drift. Pure: all times are given. Invariants: never later than arrival, never back.
"""

from __future__ import annotations

from typing import Final

MAX_DRIFT: Final = 5e-4
"""Seconds per second by which the anchor gives way to a slower stream clock: five times what a cheap quartz strays
(100 ppm), and far below the lag that a decoder too slow for its camera gathers."""


class StreamClock:
    """Turns the stream times of one connection into times of our monotonic clock."""

    def __init__(self) -> None:
        """Know nothing yet; the first picture is taken to have come without delay."""
        self._anchor_s: float | None = None
        self._last_stream_s = 0.0
        self._last_arrival_s = 0.0

    def captured_s(self, stream_s: float, *, arrived_s: float) -> float:
        """Return when a picture was taken, monotonic seconds.

        Args:
            stream_s: Its presentation time in the stream, seconds. A stream whose time does not grow has no clock,
                or has started it again: the picture is then taken to have come without delay.
            arrived_s: When it came, monotonic seconds.
        """
        has_grown, slack_s = stream_s > self._last_stream_s, MAX_DRIFT * (arrived_s - self._last_arrival_s)
        self._last_stream_s, self._last_arrival_s = stream_s, arrived_s
        delay_s = arrived_s - stream_s
        if self._anchor_s is None or not has_grown:
            self._anchor_s = delay_s
            return arrived_s
        self._anchor_s = min(delay_s, self._anchor_s + slack_s)
        return min(arrived_s, stream_s + self._anchor_s)  # min: adding back may round up
