"""Times of recorded frames: even and uneven ones, clocks that are set, and none."""

from __future__ import annotations

import pytest

from agent.capture.frame_times import FrameTimes
from agent.records import TimeSource

STEP_S = 0.04


def _dated(*stream_s: float | None) -> list[float]:
    times = FrameTimes(STEP_S)
    return [round(times.next(one)[0], 6) for one in stream_s]


@pytest.mark.parametrize(
    ("name", "stream_s", "expected"),
    [
        ("even", (0.0, 0.04, 0.08), [0.0, 0.04, 0.08]),
        ("they may begin anywhere", (5.0, 5.04, 5.08), [0.0, 0.04, 0.08]),
        ("even before 0", (-0.08, -0.04, 0.0), [0.0, 0.04, 0.08]),
        ("a pause is one", (1.0, 1.04, 61.04, 61.08), [0.0, 0.04, 60.04, 60.08]),
        ("the clock starts again", (7.0, 7.04, 0.0, 0.04), [0.0, 0.04, 0.08, 0.12]),
        ("and again", (7.0, 7.04, 0.0, 0.04, 0.0, 0.5), [0.0, 0.04, 0.08, 0.12, 0.124, 0.58]),
        ("one frame out of order", (0.0, 0.04, 0.12, 0.08, 0.16), [0.0, 0.04, 0.12, 0.124, 0.16]),
        ("twice the same", (0.0, 0.04, 0.04, 0.08), [0.0, 0.04, 0.044, 0.08]),
        ("none at all", (None, None, None), [0.0, 0.04, 0.08]),
        ("some without", (1.0, None, 1.08), [0.0, 0.04, 0.08]),
    ],
)
def test_frames_are_dated(name: str, stream_s: tuple[float | None, ...], expected: list[float]) -> None:
    """By their own times where those grow, and never at or before the frame before."""
    assert _dated(*stream_s) == expected, name


def test_where_a_time_comes_from_is_told() -> None:
    """For each frame, as a recording may date some of them only."""
    times = FrameTimes(STEP_S)
    assert [times.next(one)[1] for one in (0.0, None, 0.08)] == [TimeSource.PTS, TimeSource.RATE, TimeSource.PTS]


def test_lost_frames_of_a_stream_without_times_take_their_time() -> None:
    """What follows on a loss is not dated earlier for it."""
    times = FrameTimes(STEP_S)
    times.next(None)
    times.pass_over(2)
    assert times.next(None)[0] == pytest.approx(3 * STEP_S)
