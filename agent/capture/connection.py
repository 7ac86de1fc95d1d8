"""One connection to a live camera, from opening it to its loss.

Owns: when a frame was taken, when a camera counts as lost, and which frames are old before they come. Leaves to
others: the stream itself (`rtsp`, `opencv_stream`), its clock (`stream_clock`), connecting again (`live`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from agent.capture.stream_clock import StreamClock
from agent.errors import SourceLostError
from agent.ports import Clock
from agent.records import Picture, TimeSource

MAX_LAG_S: Final = 5.0
"""A frame that comes this much later than the fastest did means a unit or a network too slow for the camera.
Connecting again drops what has piled up; reading on would only add to it."""


class Stream(Protocol):
    """An open camera, as its library gives it."""

    @property
    def lost(self) -> int:
        """Frames that came and could not be decoded."""
        ...

    @property
    def wall_s(self) -> float | None:
        """What the camera's own clock showed when the frame that was grabbed last was taken, seconds since 1970.

        None where the camera does not say.
        """
        ...

    def grab(self) -> float | None:
        """Wait for the next frame; return its time in the stream, seconds: None or 0 for a stream without a clock.

        Raises:
            SourceLostError: The camera stopped delivering.
        """
        ...

    def picture(self) -> Picture:
        """Return the frame that was grabbed last.

        Raises:
            SourceLostError: It cannot be decoded.
            SourceError: It has an absurd size.
        """
        ...

    def close(self) -> None:
        """Let the camera go."""
        ...


Connect = Callable[[], Stream]


@dataclass(frozen=True, slots=True)
class Grab:
    """A frame that has arrived and is not yet turned into a picture.

    Attributes:
        captured_at: Aware UTC time at which it was taken.
        captured_s: The same moment, monotonic seconds.
        arrived_s: When it arrived, monotonic seconds; never earlier.
        is_old: Whether it was taken while the connection was being made.
        wall_s: What the camera's own clock showed then, seconds since 1970; None where it does not say.
        time_source: Where `captured_at` comes from.
    """

    captured_at: datetime
    captured_s: float
    arrived_s: float
    is_old: bool
    wall_s: float | None = None
    time_source: TimeSource = TimeSource.ARRIVAL


class Connection:
    """An open camera."""

    def __init__(self, connect: Connect, *, name: str, stall_s: float, clock: Clock) -> None:
        """Open the camera.

        Args:
            connect: Opens the device or stream.
            name: What it is called in messages, without secrets.
            stall_s: A camera that delivers nothing for this long is lost, seconds.
            clock: Dates the frames.

        Raises:
            SourceLostError: It cannot be opened.
        """
        self._name = name
        self._stall_s = stall_s
        self._clock = clock
        self._stream = StreamClock()
        self._first_stream_s: float | None = None
        began_s = clock.monotonic_s()
        self._source = connect()
        self.opened_s = clock.monotonic_s()
        self._opening_s = self.opened_s - began_s

    @property
    def lost(self) -> int:
        """Frames that came and could not be decoded."""
        return self._source.lost

    def grab(self) -> Grab:
        """Wait for the next frame.

        Raises:
            SourceLostError: The camera stopped delivering, or its frames come ever later.
        """
        waits_since_s = self._clock.monotonic_s()
        failure, stream_s = None, None
        try:
            stream_s = self._source.grab()
        except SourceLostError as error:
            failure = error
        # The frame is here; making a picture of it and waiting for a turn come after and are not its age.
        now, arrived_s = self._clock.now(), self._clock.monotonic_s()
        if arrived_s - waits_since_s >= self._stall_s:  # a decoder hands out its last frames after the time limit
            raise SourceLostError(f"{self._name}: no frame for {arrived_s - waits_since_s:.0f} s")
        if failure is not None:
            raise failure
        captured_s = self._stream.captured_s(stream_s or 0.0, arrived_s=arrived_s)
        lag_s = arrived_s - captured_s
        if lag_s > MAX_LAG_S:
            raise SourceLostError(f"{self._name}: {lag_s:.1f} s behind: this unit or the network is too slow for it")
        is_old = self._note_age(stream_s, arrived_s)
        return Grab(now - timedelta(seconds=lag_s), captured_s, arrived_s, is_old, self._source.wall_s)

    def picture(self) -> Picture:
        """Return the frame that was grabbed last.

        Raises:
            SourceLostError: It cannot be decoded.
            SourceError: It has an absurd size.
        """
        return self._source.picture()

    def close(self) -> None:
        """Let the camera go."""
        self._source.close()

    def _note_age(self, stream_s: float | None, arrived_s: float) -> bool:
        """Note a frame's time; return whether it is one of those that FFmpeg collects before it calls a stream open.

        They come all at once, so arrival says nothing of their age. There are at most as many seconds of them as
        opening took; a stream without a clock of its own is believed after as many seconds of ours.
        """
        if stream_s is None:  # as the first of an RTSP stream is
            return arrived_s - self.opened_s < self._opening_s
        if self._first_stream_s is None:
            self._first_stream_s = stream_s
        return stream_s - self._first_stream_s < self._opening_s and arrived_s - self.opened_s < self._opening_s
