"""The next frames of a recording are decoded on another thread."""

from __future__ import annotations

import threading
from collections.abc import Generator

import numpy as np
import pytest

from agent.capture.prefetch import FRAMES_AHEAD, prefetched
from agent.errors import SourceError
from agent.records import Frame, Picture, Plane
from tests.fakes.source import STARTED_AT


def _frames(count: int, *, fault: SourceError | None = None, seen: list[str] | None = None) -> Generator[Frame]:
    seen = [] if seen is None else seen
    try:
        for number in range(count):
            seen.append(threading.current_thread().name)
            yield Frame("cam", number, STARTED_AT, number / 10, Picture.of(np.zeros((4, 4, 3), np.uint8)))
        if fault is not None:
            raise fault
    finally:
        seen.append("closed")


@pytest.mark.parametrize("count", [0, 1, FRAMES_AHEAD, 3 * FRAMES_AHEAD + 1])
def test_the_same_frames_come_in_the_same_order(count: int) -> None:
    """However many there are, decoded on another thread."""
    seen: list[str] = []
    assert [frame.sequence for frame in prefetched(_frames(count, seen=seen))] == [*range(count)]
    assert seen[-1] == "closed"
    assert all(name.startswith("decode") for name in seen[:-1])


def test_the_sample_is_taken_where_the_frame_was_decoded() -> None:
    """Its pixels are in that core's cache; who looks at it later finds it there."""
    taken: list[str] = []

    def luma() -> Plane:
        taken.append(threading.current_thread().name)
        return np.zeros((4, 4), np.uint8)

    picture = Picture((4, 4), lambda: np.zeros((4, 4, 3), np.uint8), luma=luma)
    shapes = [
        frame.picture.sample.shape for frame in prefetched(Frame("cam", 0, STARTED_AT, 0.0, picture) for _ in "1")
    ]
    assert shapes == [(4, 4)]
    assert taken == ["decode"]


def test_who_leaves_without_closing_is_not_waited_for() -> None:
    """The thread that decodes ends with the process, whatever it waits for."""
    frames = prefetched(_frames(1000))
    next(frames)
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "decode"] == [True]
    frames.close()


def test_a_fault_comes_after_the_frames_before_it() -> None:
    """Frames delivered before it stay valid."""
    came = []
    with pytest.raises(SourceError, match="cut off"):  # noqa: PT012  the fault comes out of the loop
        for frame in prefetched(_frames(7, fault=SourceError("cut off"))):
            came.append(frame.sequence)  # noqa: PERF401  the list must hold what came before the fault
    assert came == [*range(7)]


def test_who_stops_early_leaves_nothing_running() -> None:
    """Few frames were decoded in vain, and the source is closed."""
    seen: list[str] = []
    frames = prefetched(_frames(1000, seen=seen))
    next(frames)
    frames.close()
    assert seen[-1] == "closed"
    assert len(seen) <= FRAMES_AHEAD + 3
    assert not any(thread.name.startswith("decode") for thread in threading.enumerate())
