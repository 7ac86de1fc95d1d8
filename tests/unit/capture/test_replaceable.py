"""A source that another one takes the place of: between two frames, once, and also while no frame comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from agent.capture.replaceable import ReplaceableSource
from agent.errors import SourceError
from agent.records import ClockState, Frame, Picture
from tests.fakes.source import STARTED_AT, ReplaySource
from tests.fakes.waiting import WITHIN_S

PICTURE = np.zeros((2, 2, 3), np.uint8)


def replay(name: str, count: int) -> ReplaySource:
    """Return a source of so many frames."""
    return ReplaySource([PICTURE] * count, camera_id=name)


class SilentSource:
    """A camera that delivers one frame, and no other until it is closed."""

    frame_count: int | None = None
    frames_lost: int = 0
    clock_state = ClockState.SYNCHRONIZED

    def __init__(self) -> None:
        """Prepare."""
        self.silent = threading.Event()
        self.closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """As the port."""
        yield Frame("silent", 0, STARTED_AT, 0.0, Picture.of(PICTURE))
        self.silent.set()
        assert self.closed.wait(WITHIN_S)

    def close(self) -> None:
        """As the port."""
        self.closed.set()


def test_without_a_switch_it_is_the_source(tmp_path: object) -> None:
    """Every frame, its count, its clock, its end and its failure."""
    source = ReplaceableSource(replay("a", 3))
    assert (source.frame_count, source.clock_state) == (3, ClockState.RECORDED)
    assert [frame.sequence for frame in source.frames()] == [0, 1, 2]
    failing = ReplaceableSource(ReplaySource([PICTURE], fault=SourceError("gone")))
    with pytest.raises(SourceError, match="gone"):
        list(failing.frames())


def test_a_switch_comes_after_the_frame_that_is_looked_at() -> None:
    """Then the new source from its first frame, to its end; the old one is closed."""
    old, new = replay("old", 5), replay("new", 2)
    source = ReplaceableSource(old)
    seen: list[tuple[str, int]] = []
    for frame in source.frames():
        seen.append((frame.camera_id, frame.sequence))
        if seen[-1] == ("old", 1):
            source.switch(new, new.frames())
    assert seen == [("old", 0), ("old", 1), ("new", 0), ("new", 1)]
    assert (old.is_closed, new.is_closed, source.frame_count) == (True, False, 2)


def test_a_switch_ends_the_wait_for_a_frame() -> None:
    """A camera that is lost would hold it up for ever."""
    old, new = SilentSource(), replay("new", 1)
    source = ReplaceableSource(old)

    def switch_when_silent() -> None:
        assert old.silent.wait(WITHIN_S)
        source.switch(new, new.frames())

    threading.Thread(target=switch_when_silent).start()
    assert [frame.camera_id for frame in source.frames()] == ["silent", "new"]


def test_closing_closes_both() -> None:
    """Also the one that has not begun."""
    old, new = replay("old", 5), replay("new", 2)
    source = ReplaceableSource(old)
    frames = source.frames()
    next(frames)
    source.switch(new, new.frames())
    source.close()
    assert list(frames) == []
    assert (old.is_closed, new.is_closed) == (True, True)
