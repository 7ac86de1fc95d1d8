"""The place for the newest frame."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from agent.capture.newest import NewestFrame
from agent.errors import SourceLostError
from agent.records import Frame, Picture


def _frame(sequence: int) -> Frame:
    return Frame(
        camera_id="cam-1",
        sequence=sequence,
        captured_at=datetime(2026, 3, 1, tzinfo=UTC),
        monotonic_s=0.0,
        picture=Picture.of(np.zeros((8, 8, 3), np.uint8)),
    )


def test_the_newest_is_taken_once_and_an_older_one_makes_way() -> None:
    """What was displaced is told, so that it can be counted."""
    newest = NewestFrame()
    assert [newest.put(_frame(n)) for n in range(3)] == [False, True, True]
    taken = newest.take(wait_s=0.0)
    assert taken is not None
    assert taken.sequence == 2
    assert newest.take(wait_s=0.0) is None


def test_a_failure_comes_after_the_last_frame_and_stays() -> None:
    """Frames delivered before it are valid."""
    newest = NewestFrame()
    newest.put(_frame(0))
    newest.fail(SourceLostError("gone"))
    assert newest.take(wait_s=0.0) is not None
    for _ in range(2):
        with pytest.raises(SourceLostError, match="gone"):
            newest.take(wait_s=0.0)
