"""Whether a camera's own clock dates its frames, and what is told of it."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture.camera_clock import (
    DRIFT_AFTER_S,
    EARLIER_MOST_S,
    JUMP_S,
    LATER_MOST_S,
    PROVE_S,
    SETTLE_S,
    SILENT_S,
    CameraDates,
    offset_of,
)
from agent.capture.connection import Grab
from agent.records import TimeSource

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP_S = 0.25
LAG_S = 0.125
NTP_TO_1970_S = 2_208_988_800
LATENCY = -0.0625
"""What a right camera shows: each frame comes that much later than it was taken."""


class Camera:
    """Frames at a rate, each with the time that the camera's clock shows."""

    def __init__(self, *, is_asked: bool = True) -> None:
        """Connect at 0."""
        self.dates = CameraDates(name="cam", is_asked=is_asked)
        self.at_s = 0.0
        self.connect()

    def connect(self) -> None:
        """Connect again."""
        self.dates.connected(self.at_s)

    def grab(self, offset_s: float | None, *, is_old: bool = False) -> Grab:
        """Return the next frame as it comes: `offset_s` is what the camera shows more than the unit."""
        self.at_s += STEP_S
        at = BEGIN + timedelta(seconds=self.at_s - LAG_S)
        wall_s = None if offset_s is None else at.timestamp() + offset_s
        return Grab(at, self.at_s - LAG_S, self.at_s, is_old, wall_s)

    def run(self, offset_s: float | None, seconds: float, *, drift: float = 0.0) -> Grab:
        """Take frames for some time; return the last as it is dated. The offset grows by `drift`, a share."""
        dated = self.dates.dated(self.grab(offset_s))
        for step in range(1, math.ceil(seconds / STEP_S)):
            dated = self.dates.dated(self.grab(None if offset_s is None else offset_s + drift * step * STEP_S))
        return dated

    def offset_s(self) -> float:
        """Return the offset that is told."""
        assert self.dates.reading is not None
        return self.dates.reading.offset_s


ENOUGH_S = SETTLE_S + PROVE_S + 1.0


def test_a_clock_that_agrees_for_long_enough_dates_frames() -> None:
    """Then the time is the camera's, to the microsecond; before it is that of arrival."""
    camera = Camera()
    assert camera.run(LATENCY, PROVE_S).time_source is TimeSource.ARRIVAL
    camera.run(LATENCY, ENOUGH_S)
    came = camera.grab(LATENCY)
    dated = camera.dates.dated(came)
    assert dated.time_source is TimeSource.CAMERA
    assert came.wall_s is not None
    assert dated.captured_at == datetime.fromtimestamp(came.wall_s, UTC)
    assert dated.captured_s - came.captured_s == pytest.approx(LATENCY)
    assert camera.offset_s() == pytest.approx(LATENCY)


def test_a_clock_that_nobody_asked_for_is_measured_and_not_used() -> None:
    """The offset is known all the same."""
    camera = Camera(is_asked=False)
    came = camera.run(LATENCY, ENOUGH_S)
    assert came.time_source is TimeSource.ARRIVAL
    assert camera.dates.reading is not None
    assert not camera.dates.reading.dates
    assert camera.offset_s() == pytest.approx(LATENCY)


@pytest.mark.parametrize(
    ("offset_s", "is_used"),
    [
        (-EARLIER_MOST_S + 0.01, True),
        (LATER_MOST_S - 0.01, True),
        (-EARLIER_MOST_S - 0.01, False),
        (LATER_MOST_S + 0.01, False),
        (3600.0, False),
        (-7200.0, False),
        (-56 * 365.25 * 86_400, False),
    ],
    ids=["slow", "hardly ahead", "behind", "ahead", "summer time", "a zone", "1970"],
)
def test_only_what_agrees_is_used(offset_s: float, is_used: bool) -> None:
    """On both sides of the limits, whole hours, and a clock that was never set; each is told as it is."""
    camera = Camera()
    assert (camera.run(offset_s, ENOUGH_S).time_source is TimeSource.CAMERA) is is_used
    assert camera.offset_s() == pytest.approx(offset_s)


def test_a_jump_ends_it_at_once_and_a_clock_that_is_set_right_comes_back() -> None:
    """No frame is dated by a clock that has just jumped; it proves itself again."""
    camera = Camera()
    assert camera.run(LATENCY, ENOUGH_S).time_source is TimeSource.CAMERA
    assert camera.run(3600.0, STEP_S).time_source is TimeSource.ARRIVAL
    assert camera.offset_s() == 3600.0
    assert camera.run(LATENCY, PROVE_S).time_source is TimeSource.ARRIVAL
    assert camera.run(LATENCY, 2 * STEP_S).time_source is TimeSource.CAMERA


def test_a_jump_within_the_limits_is_a_jump_too() -> None:
    """Whoever sets the clock by more than strays by itself has it prove itself again."""
    camera = Camera()
    assert camera.run(0.0, ENOUGH_S).time_source is TimeSource.CAMERA
    assert camera.run(-JUMP_S - 0.1, STEP_S).time_source is TimeSource.ARRIVAL


def test_a_clock_that_strays_is_left_when_it_no_longer_agrees() -> None:
    """As that of a camera whose reports have stopped does: each frame is judged."""
    camera = Camera()
    assert camera.run(LATENCY, ENOUGH_S).time_source is TimeSource.CAMERA
    assert camera.run(LATENCY, 60.0, drift=-0.01).time_source is TimeSource.CAMERA
    assert camera.run(LATENCY - 0.6, 60.0, drift=-0.01).time_source is TimeSource.ARRIVAL


def test_a_new_connection_proves_itself_again() -> None:
    """The camera may have been started again, or be another one; what it showed is remembered for its drift."""
    camera = Camera()
    camera.run(LATENCY, ENOUGH_S)
    camera.connect()
    assert camera.run(LATENCY, PROVE_S).time_source is TimeSource.ARRIVAL
    assert camera.run(LATENCY, ENOUGH_S - PROVE_S).time_source is TimeSource.CAMERA
    assert camera.dates.reading is not None
    assert camera.dates.reading.watched_s == pytest.approx(2 * ENOUGH_S - SETTLE_S, abs=2 * STEP_S)


def test_frames_of_the_beginning_say_nothing() -> None:
    """What piled up while the connection was made comes late, and would look like a clock that is behind."""
    camera = Camera()
    camera.run(-3.0, SETTLE_S - STEP_S)
    assert camera.dates.reading is None
    camera.run(LATENCY, 2 * STEP_S)
    camera.dates.dated(camera.grab(-3.0, is_old=True))
    assert camera.offset_s() == LATENCY


@given(st.floats(-EARLIER_MOST_S, LATER_MOST_S))
def test_no_frame_is_later_than_its_arrival(offset_s: float) -> None:
    """However far ahead a camera is that still agrees."""
    camera = Camera()
    camera.run(offset_s, ENOUGH_S)
    came = camera.grab(offset_s)
    dated = camera.dates.dated(came)
    assert dated.time_source is TimeSource.CAMERA
    assert dated.captured_s <= came.arrived_s
    assert dated.captured_at <= came.captured_at + timedelta(seconds=LAG_S)


def test_the_drift_is_known_after_an_hour() -> None:
    """Twenty millionths, 1.7 s a day, are what a cheap quartz strays by."""
    camera = Camera(is_asked=False)
    camera.run(5.0, DRIFT_AFTER_S, drift=20e-6)
    assert camera.dates.reading is not None
    assert camera.dates.reading.drift is None
    camera.run(camera.offset_s(), 300.0, drift=20e-6)
    assert camera.dates.reading.drift == pytest.approx(20e-6, rel=0.02)


def test_a_jump_begins_the_drift_anew() -> None:
    """An hour that was set is no drift."""
    camera = Camera(is_asked=False)
    camera.run(0.0, DRIFT_AFTER_S + 300.0)
    camera.run(3600.0, 60.0)
    assert camera.dates.reading is not None
    assert camera.dates.reading.drift is None
    assert camera.dates.reading.watched_s < 61.0


@pytest.mark.parametrize(
    ("shown", "now", "offset_s"),
    [
        (datetime(1900, 1, 1, 0, 0, 7, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC), None),
        (datetime(1900, 1, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC), None),
        (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 1, tzinfo=UTC), -3600.0),
        # The count of NTP begins again at 2036-02-07 06:28:16: the camera's time is then read as one of 1900.
        (datetime(1900, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC), 1.0),
        (datetime(2036, 2, 7, 6, 28, 15, tzinfo=UTC), datetime(2036, 2, 7, 6, 28, 17, tzinfo=UTC), -2.0),
        (datetime(1900, 2, 1, tzinfo=UTC), datetime(2036, 3, 9, 6, 28, 16, tzinfo=UTC), 0.0),
    ],
    ids=["counts from its start", "nothing", "1970", "a new count", "before it", "long after it"],
)
def test_a_count_of_ntp_is_read_as_the_time_that_is_nearest(
    shown: datetime, now: datetime, offset_s: float | None
) -> None:
    """A camera without a clock sends the seconds since its start, or zero: that is no time at all."""
    assert offset_of(shown.timestamp(), now.timestamp()) == offset_s


def test_each_change_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Once when the clock dates frames, once when it no longer does, and nothing of connections in between."""
    caplog.set_level(logging.INFO)
    camera = Camera()
    for offset_s in (LATENCY, LATENCY, 3600.0, 3600.0, LATENCY):
        camera.connect()
        camera.run(offset_s, ENOUGH_S)
    assert [(record.levelname, record.getMessage().split(";")[0]) for record in caplog.records] == [
        ("INFO", "cam: its own clock, -0.062 s from this unit's, dates its frames"),
        ("WARNING", "cam: its clock is +3600.0 s from this unit's"),
        ("INFO", "cam: its own clock, -0.062 s from this unit's, dates its frames"),
    ]


@pytest.mark.parametrize("offset_s", [None, -(NTP_TO_1970_S + BEGIN.timestamp())], ids=["silent", "counts from 0"])
def test_a_camera_that_shows_no_clock_is_told_once(caplog: pytest.LogCaptureFixture, offset_s: float | None) -> None:
    """Where it was asked for; its frames are dated by arrival."""
    camera = Camera()
    for _ in range(2):
        camera.connect()
        assert camera.run(offset_s, SILENT_S + 1.0).time_source is TimeSource.ARRIVAL
    assert camera.dates.reading is None
    assert [record.getMessage() for record in caplog.records] == [
        "cam: it sends no time of a clock; its frames are dated by arrival"
    ]


def test_a_camera_that_nobody_asked_is_not_talked_about(caplog: pytest.LogCaptureFixture) -> None:
    """The health report says what is wrong."""
    caplog.set_level(logging.INFO)
    camera = Camera(is_asked=False)
    camera.run(3600.0, ENOUGH_S)
    camera.connect()
    camera.run(None, SILENT_S + 1.0)
    assert camera.dates.reading is None
    assert not caplog.records
