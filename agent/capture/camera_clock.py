"""Whether a camera's own clock may date its frames, and how far it is off.

A camera says in its stream what its clock showed when a frame was taken (RTCP sender reports). Nothing vouches for that
clock: it may never have been set, be set by hand, be an hour off for summer time, jump, or be altered on the way. So it
dates frames only where the configuration asks for it, and only while it agrees with this unit's clock: then it takes
away the delay of encoder, network and decoder, which arrival cannot know, and a lie moves a date by no more than
`EARLIER_MOST_S`. Everywhere else frames are dated by arrival, as if the camera had no clock.

The offset is the camera's time of a frame less the one by arrival. A right clock shows a little less than nothing,
because every frame comes later than it was taken.

Owns: these rules, the offset and its drift, the log lines about them. Leaves to others: where the camera's time comes
from (`rtsp`), arrival (`connection`). Invariants: a frame is never later than its arrival; each frame is judged, not
each report, so a camera whose reports stop is left as soon as its time strays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from agent.capture.connection import Grab
from agent.records import TimeSource

EARLIER_MOST_S: Final = 1.0
"""A frame that the camera dates earlier than this before the time by arrival is not dated by it. Cameras deliver within
half a second; this is what a date can be wrong by at most, if the unit's clock is right."""
LATER_MOST_S: Final = 0.1
"""No frame comes before it was taken; as close as this are two clocks that NTP keeps over a bad line."""
PROVE_S: Final = 10.0
"""For how long every frame must have agreed: two reports or more, which cameras send every five seconds or so."""
SETTLE_S: Final = 2.0
"""Of a new connection: what piled up while it was made comes late, and arrival dates it badly."""
SILENT_S: Final = 30.0
"""A camera that has reported nothing for this long of a connection reports nothing at all."""
JUMP_S: Final = 0.2
"""An offset that changes by more at once is a clock that was set, the camera's or the unit's. Ten times what arrival
strays by."""
SMOOTH_S: Final = 10.0
"""The offset that is told is a mean over about as long; single ones stray by some milliseconds."""
DRIFT_FROM_S: Final = 60.0
DRIFT_AFTER_S: Final = 3600.0
"""The drift is the change of the offset from the first to now; an hour later, what strays is below 0.1 s a day."""
ERA_S: Final = 1 << 32
"""NTP counts seconds since 1900 in 32 bits, and begins again in February 2036."""
UNSET_BEFORE_S: Final = -61_505_152.0
"""In seconds since 1970: the first half of NTP's first count, up to 1968. A camera without a clock counts from its
start (RFC 3550, section 6.4.1), which lies there."""
YEAR_S: Final = 366 * 86_400.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What is known of a camera's clock.

    Attributes:
        offset_s: How much more it shows than this unit's clock did when the same frame came, seconds.
        drift: By how much that grows in a second, seconds; None before it has been watched for long enough.
        watched_s: For how long it has been watched, since the last jump.
        dates: Whether it dates the camera's frames.
    """

    offset_s: float
    drift: float | None
    watched_s: float
    dates: bool


def offset_of(wall_s: float, unit_s: float) -> float | None:
    """Return a camera's time less the unit's, both seconds since 1970; None of a camera that has no clock.

    Of the times that a count of NTP stands for, the one nearest to the unit's is meant.
    """
    offset_s = wall_s - unit_s
    offset_s -= round(offset_s / ERA_S) * ERA_S
    return None if wall_s < UNSET_BEFORE_S and abs(offset_s) > YEAR_S else offset_s


class CameraClock:
    """Follows the clock of one camera, over all its connections. Pure: all times are given."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.offset_s: float | None = None
        self._settled_s = self._last_s = self._since_s = float("-inf")
        self._agrees_since_s: float | None = None
        self._first: tuple[float, float] | None = None

    def connected(self, at_s: float) -> None:
        """Begin with a new connection, monotonic seconds: the clock has to prove itself again."""
        self._settled_s = at_s + SETTLE_S
        self._agrees_since_s = None

    def is_settled(self, at_s: float) -> bool:
        """Tell whether the connection is old enough for its times to mean something."""
        return at_s >= self._settled_s

    def note(self, offset_s: float, *, at_s: float) -> None:
        """Note the offset of one frame.

        Args:
            offset_s: The camera's time of the frame less the one by arrival, seconds.
            at_s: When it came, monotonic seconds.
        """
        has_jumped = self.offset_s is None or abs(offset_s - self.offset_s) > JUMP_S
        if self.offset_s is None or has_jumped:
            self.offset_s, self._since_s, self._first = offset_s, at_s, None
        else:
            self.offset_s += (offset_s - self.offset_s) * min(1.0, (at_s - self._last_s) / SMOOTH_S)
        self._last_s = at_s
        if self._first is None and at_s - self._since_s >= DRIFT_FROM_S:
            self._first = self.offset_s, at_s
        if not -EARLIER_MOST_S <= offset_s <= LATER_MOST_S:
            self._agrees_since_s = None
        elif self._agrees_since_s is None or has_jumped:
            self._agrees_since_s = at_s

    @property
    def agrees(self) -> bool:
        """Whether the newest frame's time agrees with this unit's clock."""
        return self._agrees_since_s is not None

    @property
    def is_proven(self) -> bool:
        """Whether all have for long enough."""
        return self._agrees_since_s is not None and self._last_s - self._agrees_since_s >= PROVE_S

    @property
    def watched_s(self) -> float:
        """For how long it has been watched, since the last jump, seconds."""
        return self._last_s - self._since_s

    @property
    def drift(self) -> float | None:
        """By how much the offset grows in a second, seconds; None before that can be said."""
        if self.offset_s is None or self._first is None:
            return None
        first_s, first_at_s = self._first
        span_s = self._last_s - first_at_s
        return (self.offset_s - first_s) / span_s if span_s >= DRIFT_AFTER_S else None


class CameraDates:
    """Dates the frames of one camera, by its clock or by arrival, and says in the log when that changes."""

    def __init__(self, *, name: str, is_asked: bool) -> None:
        """Begin by arrival.

        Args:
            name: What the camera is called in messages.
            is_asked: Whether its clock may date its frames at all; it is watched in any case.
        """
        self._name = name
        self._is_asked = is_asked
        self._clock = CameraClock()
        self._heard_s = float("-inf")
        self._told: bool | None = None

    def connected(self, at_s: float) -> None:
        """Begin with a new connection, monotonic seconds."""
        self._heard_s = at_s
        self._clock.connected(at_s)

    @property
    def reading(self) -> ClockReading | None:
        """What is known of the camera's clock; None where it has shown none."""
        clock = self._clock
        if clock.offset_s is None:
            return None
        return ClockReading(clock.offset_s, clock.drift, clock.watched_s, self._dates)

    def dated(self, grab: Grab) -> Grab:
        """Return a frame with the time that holds; of one that the camera's clock dates, this is the camera's."""
        if grab.is_old or not self._clock.is_settled(grab.arrived_s):
            return grab
        if grab.wall_s is None:
            if grab.arrived_s - self._heard_s > SILENT_S:
                self._forget()
            return grab
        self._heard_s = grab.arrived_s
        offset_s = offset_of(grab.wall_s, grab.captured_at.timestamp())
        if offset_s is None:
            self._forget()
            return grab
        self._clock.note(offset_s, at_s=grab.arrived_s)
        self._tell()
        if not self._dates:
            return grab
        shift_s = min(offset_s, grab.arrived_s - grab.captured_s)
        return replace(
            grab,
            captured_at=grab.captured_at + timedelta(seconds=shift_s),
            captured_s=grab.captured_s + shift_s,
            time_source=TimeSource.CAMERA,
        )

    @property
    def _dates(self) -> bool:
        return self._is_asked and self._clock.is_proven

    def _tell(self) -> None:
        if not self._is_asked:
            return
        if self._dates and self._told is not True:
            _log.info("%s: its own clock, %+.3f s from this unit's, dates its frames", self._name, self._clock.offset_s)
            self._told = True
        if not self._clock.agrees and self._told is not False:
            _log.warning(
                "%s: its clock is %+.1f s from this unit's; its frames are dated by arrival. Set a time server in the "
                'camera, or source.clock = "unit"',
                self._name, self._clock.offset_s,
            )  # fmt: skip
            self._told = False

    def _forget(self) -> None:
        self._clock = CameraClock()
        if self._is_asked and self._told is not False:
            _log.warning("%s: it sends no time of a clock; its frames are dated by arrival", self._name)
            self._told = False
