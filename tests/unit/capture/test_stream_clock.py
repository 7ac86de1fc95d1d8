"""Times of capture from the stream's clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture.stream_clock import MAX_DRIFT, StreamClock


def test_the_fastest_picture_is_the_anchor() -> None:
    """A picture that the network held up is dated as if it had not."""
    clock = StreamClock()
    assert clock.captured_s(0.00, arrived_s=100.10) == 100.10
    assert clock.captured_s(0.04, arrived_s=100.05) == 100.05  # faster: this one now says what no delay is
    assert clock.captured_s(0.08, arrived_s=100.59) == pytest.approx(100.09, abs=1e-3)


def test_a_camera_clock_that_runs_slow_is_followed() -> None:
    """Ten minutes at 100 ppm: without the drift the pictures would be dated 60 ms too early."""
    clock = StreamClock()
    arrivals_s = [n * 0.04 for n in range(10 * 60 * 25)]
    assert max(at_s - clock.captured_s(at_s * (1 - 1e-4), arrived_s=at_s) for at_s in arrivals_s) < 1e-3


def test_a_lag_that_grows_is_no_drift() -> None:
    """A decoder that loses one frame of 25 falls behind, and that shows."""
    clock = StreamClock()
    for n in range(60 * 25):
        lag_s = n * 0.04 - clock.captured_s(n * 0.04 * 24 / 25, arrived_s=n * 0.04)
    assert lag_s > 60 / 25 - 60 * MAX_DRIFT - 0.1


@pytest.mark.parametrize("stream_s", [0.0, -9.2e18])
def test_a_stream_without_a_clock_is_dated_by_arrival(stream_s: float) -> None:
    """OpenCV says 0 or nonsense for every picture then."""
    clock = StreamClock()
    for arrived_s in (5.0, 6.0, 7.5):
        assert clock.captured_s(stream_s, arrived_s=arrived_s) == arrived_s


def test_a_stream_clock_that_starts_again_is_anchored_again() -> None:
    """Going back is a new beginning and no delay of hours."""
    clock = StreamClock()
    clock.captured_s(3600.0, arrived_s=10.0)
    assert clock.captured_s(0.0, arrived_s=10.1) == 10.1


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.0, 100.0)), min_size=1, max_size=50))
def test_never_later_than_arrival(pictures: list[tuple[float, float]]) -> None:
    """Whatever the stream says of itself."""
    clock = StreamClock()
    arrived_s = 1000.0
    early_s = []
    for stream_s, wait_s in pictures:
        arrived_s += wait_s
        early_s.append(arrived_s - clock.captured_s(stream_s, arrived_s=arrived_s))
    assert min(early_s) >= 0
