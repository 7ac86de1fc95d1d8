"""Several sources side by side: turns, newest frames, ends and failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest

from agent.capture.live import LiveStats
from agent.capture.round_robin import RoundRobin, SourceEnd, SourceEvent
from agent.errors import SourceError
from agent.ports import FrameSource
from agent.records import ClockState, Frame, Picture
from tests.fakes.source import ReplaySource
from tests.fakes.waiting import WITHIN_S, wait_until

BLACK = np.zeros((8, 8, 3), np.uint8)


class GatedCamera:
    """A live source that makes the frames up to `limit`, and says when it has."""

    def __init__(self) -> None:
        """Make nothing yet."""
        self.limit = 0
        self.made = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.is_closed = False
        self.clock_state = ClockState.SYNCHRONIZED
        self.frame_count = None
        self.frames_lost = 0

    def make(self, count: int) -> None:
        """Deliver more frames, and return when whoever reads the source has asked for the one after."""
        for _ in range(count):
            self.go.release()
            self.settle()

    def settle(self) -> None:
        """Wait until a frame that was let go has been laid down."""
        assert self.made.acquire(timeout=WITHIN_S)

    def frames(self) -> Iterator[Frame]:
        """As the port."""
        sequence = 0
        while self.go.acquire(timeout=WITHIN_S) and not self.is_closed:
            yield Frame("live", sequence, datetime.now(UTC), float(sequence), Picture.of(BLACK.copy()))
            self.made.release()
            sequence += 1

    def close(self) -> None:
        """As the port."""
        self.is_closed = True
        self.go.release()


def several(*sources: FrameSource) -> RoundRobin:
    """Put sources together, each with counts of its own."""
    return RoundRobin(sources, [LiveStats() for _ in sources])


def played(*sources: FrameSource) -> list[SourceEvent]:
    """Return every event."""
    return [event for event in several(*sources).frames() if event is not None]


def numbers(events: list[SourceEvent], place: int) -> list[int]:
    """Return the frame numbers of one source."""
    return [event.what.sequence for event in events if event.place == place and isinstance(event.what, Frame)]


def test_every_frame_of_every_recording_is_handed_out_in_order() -> None:
    """Nothing is skipped, however unequal they are, and each source ends once."""
    events = played(*(ReplaySource([BLACK] * count) for count in (5, 40, 1, 0)))
    assert [numbers(events, place) for place in range(4)] == [list(range(count)) for count in (5, 40, 1, 0)]
    ends = [event for event in events if isinstance(event.what, SourceEnd)]
    assert sorted(event.place for event in ends) == [0, 1, 2, 3]
    assert all(isinstance(event.what, SourceEnd) and event.what.failure is None for event in ends)


def test_a_source_that_fails_ends_alone() -> None:
    """Its frames come first, then its failure; the other plays on to its end."""
    events = played(ReplaySource([BLACK] * 3, fault=SourceError("it went")), ReplaySource([BLACK] * 30))
    assert (numbers(events, 0), numbers(events, 1)) == ([0, 1, 2], list(range(30)))
    failures = [str(event.what.failure) for event in events if isinstance(event.what, SourceEnd) and event.what.failure]
    assert failures == ["it went"]


def test_of_a_camera_the_newest_frame_is_handed_out() -> None:
    """Frames that nobody was quick enough for are counted, not queued."""
    camera = GatedCamera()
    stats = LiveStats()
    with closing(RoundRobin([camera], [stats]).frames()) as events:
        camera.go.release()
        first = next(event for event in events if event is not None)
        camera.settle()
        camera.make(5)
        second = next(event for event in events if event is not None)
        camera.close()
    assert isinstance(first.what, Frame)
    assert isinstance(second.what, Frame)
    assert (first.what.sequence, second.what.sequence, stats.frames_dropped_waiting) == (0, 5, 4)


def test_cameras_take_turns_however_fast_one_is() -> None:
    """Two cameras that always have a frame: whoever had the last look waits for the other."""
    cameras = [GatedCamera(), GatedCamera()]
    order = []
    with closing(several(*cameras).frames()) as events:
        cameras[0].go.release()
        for event in events:
            if event is None:
                continue
            order.append(event.place)
            if len(order) == 1:
                cameras[0].settle()
            if len(order) == 12:
                break
            # Both are ready before each turn, the first with many more frames than the second.
            cameras[0].make(7)
            cameras[1].make(1)
        for camera in cameras:
            camera.close()
    assert order == [0, 1] * 6


def test_an_idle_moment_is_said() -> None:
    """While nothing comes the waiting loop gets the word, so that it can do what must not wait."""
    camera = GatedCamera()
    with closing(several(camera).frames()) as events:
        assert next(events) is None
        camera.close()


def test_what_is_no_failure_of_a_source_comes_through() -> None:
    """A defect is not taken for a camera's end."""

    class Broken(ReplaySource):
        def frames(self) -> Iterator[Frame]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        played(Broken([]), ReplaySource([BLACK]))


def test_closing_ends_threads_that_wait() -> None:
    """A recording whose next frame nobody takes lets go."""
    with closing(several(ReplaySource([BLACK] * 50), ReplaySource([BLACK] * 50)).frames()) as events:
        next(events)
        mine = [thread for thread in threading.enumerate() if thread.name.startswith("source ")]
    assert mine
    wait_until(lambda: not any(thread.is_alive() for thread in mine))
