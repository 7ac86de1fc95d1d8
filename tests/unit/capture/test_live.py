"""The live camera: newest frame first, connected again, told to stop.

Against a real server: tests/e2e/test_live_rtsp.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import pytest

from agent.capture import live
from agent.capture.live import LiveCamera, LiveHooks
from agent.capture.opencv_stream import OpenCvStream
from agent.config.models import SourceConfig
from agent.errors import SourceError, SourceLostError, SourceRefusedError
from agent.records import ClockState
from tests.fakes.capture import ScriptedCapture, Shot
from tests.fakes.clock import FakeClock
from tests.fakes.waiting import wait_until


class Site:
    """A camera whose connections a test hands out one after the other."""

    def __init__(self, *captures: ScriptedCapture, clock: FakeClock, **options: object) -> None:
        """Take the connections in order; after the last one none can be made."""
        self.clock = clock
        self.captures = list(captures)
        self.hooks = LiveHooks()
        config = SourceConfig.model_validate({"uri": "rtsp://camera/", **options})
        self.camera = LiveCamera(self.connect, config, name="cam", camera_id="cam-1", clock=clock, hooks=self.hooks)
        self._made: list[ScriptedCapture] = []

    def connect(self) -> OpenCvStream:
        """Hand out the next connection."""
        capture = self.captures.pop(0) if self.captures else ScriptedCapture(self.clock, opened=False)
        self._made.append(capture)
        return OpenCvStream(capture, name="cam")  # type: ignore[arg-type]

    def end(self) -> None:
        """Close the camera and free a thread that waits for a frame."""
        self.camera.close()
        for capture in self._made:
            capture.shots.put(ScriptedCapture.LOSE)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until a camera takes its time."""
    return FakeClock()


@pytest.fixture
def site_of(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Make cameras that are ended with the test and connected again without a wait, nor waited for."""
    monkeypatch.setattr(live, "RETRY_FIRST_S", 0.0)
    monkeypatch.setattr(live, "_END_WAIT_S", 0.0)
    made: list[Site] = []

    def make(*captures: ScriptedCapture, **options: object) -> Site:
        made.append(Site(*captures, clock=clock, **options))
        return made[-1]

    yield make
    for site in made:
        site.end()


def test_the_newest_frame_is_delivered_and_older_ones_are_counted(
    site_of: Callable[..., Site], clock: FakeClock
) -> None:
    """Whoever looks too slowly misses frames, and sees by their numbers which."""
    capture = ScriptedCapture(clock, Shot(0))
    site = site_of(capture)
    frames = site.camera.frames()
    assert next(frames).sequence == 0
    for value in (1, 2, 3):
        capture.shots.put(Shot(value))
    stats = site.hooks.stats
    wait_until(lambda: stats.frames_dropped_stale == 2)
    frame = next(frames)
    assert (frame.sequence, frame.image[0, 0, 0]) == (3, 3)
    assert not frame.image.flags.writeable
    assert stats.frames_received == 4


def test_a_reader_too_slow_for_the_camera_makes_few_pictures_until_it_has_caught_up(
    site_of: Callable[..., Site], clock: FakeClock
) -> None:
    """Frames come ever later while they are made into pictures; a burst after a stalled network is no reason yet."""
    on_time = [Shot(n, stream_s=n * 0.04, after_s=0.04) for n in range(1, 26)]
    burst = [Shot(26, stream_s=1.04, after_s=0.6), *(Shot(n, stream_s=n * 0.04, after_s=0.001) for n in range(27, 51))]
    late = [Shot(n, stream_s=n * 0.04, after_s=0.08) for n in range(51, 101)]
    capture = ScriptedCapture(clock, *on_time, *burst)
    site = site_of(capture)
    frames, stats = site.camera.frames(), site.hooks.stats
    next(frames)
    wait_until(lambda: capture.retrieved == 50)
    for shot in late:
        capture.shots.put(shot)
    wait_until(lambda: stats.frames_received == 100)
    assert 65 <= capture.retrieved <= 80  # all are on time for half a second, and late for one, before it catches up


def test_a_refused_login_is_an_alarm_of_its_own(
    site_of: Callable[..., Site], clock: FakeClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error, also of a camera that was lost before; it ends when the camera takes the login, or fails otherwise."""
    monkeypatch.setattr(live, "REFUSED_S", 0.0)
    caplog.set_level(logging.INFO, "agent.capture.live")
    first, last = ScriptedCapture(clock, Shot(1)), ScriptedCapture(clock)
    site = site_of(first, last)
    opened, attempts, seen = site.connect, iter(["lost", "no", "no", "gone", "no"]), list[bool]()

    def connect() -> OpenCvStream:
        if first in site.captures:
            return opened()
        seen.append(site.hooks.stats.refuses_login)
        match next(attempts, None):
            case None:
                return opened()
            case "no":
                raise SourceRefusedError("cam: the camera refuses this user or password")
            case what:
                raise SourceLostError(f"cam: {what}")

    monkeypatch.setattr(site.camera, "_connect", connect)
    frames = site.camera.frames()
    next(frames)
    first.shots.put(ScriptedCapture.LOSE)
    last.shots.put(Shot(2))
    next(frames)
    assert seen == [False, False, True, True, False, True]
    assert not site.hooks.stats.refuses_login
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 2
    assert all("refuses this user or password; it is tried every" in line for line in told)


def test_a_lost_camera_is_connected_again_and_numbers_and_times_go_on(
    site_of: Callable[..., Site], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it is lost, one when it is back, however many attempts lie between."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    dead = [ScriptedCapture(clock, opened=False) for _ in range(3)]
    first, second = ScriptedCapture(clock, Shot(1)), ScriptedCapture(clock)
    site = site_of(first, *dead, second)
    frames = site.camera.frames()
    seen = [next(frames)]
    first.shots.put(ScriptedCapture.LOSE)
    for value in (2, 3, 4):
        second.shots.put(Shot(value, after_s=1.0))
        seen.append(next(frames))
    assert site.hooks.stats.is_up
    numbers = [frame.sequence for frame in seen]
    times = [frame.captured_at for frame in seen]
    assert numbers == [0, 1, 2, 3]
    assert times == sorted(set(times))
    assert site.hooks.stats.reconnects == 1
    assert first.released == 1
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "cam: the camera stopped delivering; connecting again until it delivers"
    assert lines[1].startswith("cam: the camera is back after ")
    assert len(lines) == 2


def test_time_does_not_go_back_when_a_faster_frame_comes(site_of: Callable[..., Site], clock: FakeClock) -> None:
    """A frame that shows the one before to have been dated too late takes its date, and no earlier one."""
    capture = ScriptedCapture(clock, Shot(0, stream_s=1.0, after_s=5.0))
    frames = site_of(capture).camera.frames()
    first = next(frames)
    clock.elapsed_s -= 2.0  # as if the first had come so much later than it could have
    clock.current -= timedelta(seconds=2)
    capture.shots.put(Shot(1, stream_s=1.04, after_s=0.04))
    second = next(frames)
    assert (second.monotonic_s, second.captured_at) == (first.monotonic_s, first.captured_at)


def test_a_frozen_camera_counts_as_lost_until_it_is_live_for_as_long(
    site_of: Callable[..., Site], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A new connection to the same still picture says nothing anew; a short stir after it is not yet life."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    captures = [ScriptedCapture(clock) for _ in range(3)]
    site = site_of(*captures, frozen_s=10.0)
    stats = site.hooks.stats
    frames = site.camera.frames()

    def deliver(capture: ScriptedCapture, values: Iterable[int]) -> None:
        for value in values:
            capture.shots.put(Shot(value, after_s=1.0))
            next(frames)

    deliver(captures[0], [1, 2, 3, *[3] * 9])
    assert (stats.frozen, stats.is_up) == (0, True)
    captures[0].shots.put(Shot(3, after_s=1.0))
    deliver(captures[1], [3] * 19)
    assert (stats.frozen, stats.is_up) == (1, False)
    captures[1].shots.put(Shot(3, after_s=1.0))
    deliver(captures[2], range(10, 19))
    assert (stats.frozen, stats.reconnects, stats.is_up) == (2, 2, False)
    deliver(captures[2], [19])
    assert stats.is_up
    assert [record.getMessage() for record in caplog.records] == [
        "cam: no new picture for 10 s, the camera is frozen; connecting again until it delivers",
        "cam: the camera is back after 30 s",
    ]


def test_a_still_picture_is_nothing_to_a_watchdog_that_is_off(site_of: Callable[..., Site], clock: FakeClock) -> None:
    """`frozen_s = 0` lets it be."""
    capture = ScriptedCapture(clock)
    site = site_of(capture, frozen_s=0.0)
    frames = site.camera.frames()
    for _ in range(100):
        capture.shots.put(Shot(1, after_s=1.0))
        next(frames)
    assert (site.hooks.stats.frozen, site.hooks.stats.reconnects, site.hooks.stats.is_up) == (0, 0, True)


def test_a_camera_that_is_not_to_be_connected_again_ends_with_its_loss(
    site_of: Callable[..., Site], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The frames before it are delivered; the error says it, and no log line."""
    capture = ScriptedCapture(clock, *(Shot(n, after_s=3.0) for n in range(3)))
    frames = site_of(capture, reconnect=False).camera.frames()
    next(frames)
    capture.shots.put(ScriptedCapture.LOSE)
    with pytest.raises(SourceLostError, match="cam: the camera stopped delivering"):
        list(frames)
    assert not caplog.records


def test_an_absurd_picture_ends_the_camera(site_of: Callable[..., Site], clock: FakeClock) -> None:
    """Connecting again would not mend it."""
    frames = site_of(ScriptedCapture(clock, Shot(wide_px=20_000))).camera.frames()
    with pytest.raises(SourceError, match="20000x8 pixels"):
        next(frames)


def test_a_defect_in_the_thread_is_raised_where_frames_are_awaited(
    site_of: Callable[..., Site], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not end in silence, with a daemon that waits for ever."""
    monkeypatch.setattr(ScriptedCapture, "get", lambda *_: "no number")
    frames = site_of(ScriptedCapture(clock, Shot())).camera.frames()
    with pytest.raises(TypeError):
        next(frames)


def test_while_no_frame_comes_the_waiting_thread_is_not_idle(site_of: Callable[..., Site]) -> None:
    """Expiry, key changes and the passages in view do not wait for a lost camera; nor does a stop."""
    site = site_of()
    calls: list[threading.Thread] = []

    def on_idle() -> None:
        calls.append(threading.current_thread())
        if len(calls) >= 2 and hooks.stats.is_up is False:
            site.hooks.stop.set()

    hooks = LiveHooks(stop=site.hooks.stop, on_idle=on_idle)
    config = SourceConfig(uri="rtsp://camera/")
    camera = LiveCamera(site.connect, config, name="cam", camera_id="cam-1", clock=site.clock, hooks=hooks)
    assert list(camera.frames()) == []
    assert set(calls) == {threading.current_thread()}
    assert len(calls) >= 2


def test_a_live_clock_state_is_the_units_own(site_of: Callable[..., Site], clock: FakeClock) -> None:
    """What the time rests on is asked of the clock."""
    clock.clock_state = ClockState.UNSYNCHRONIZED
    camera = site_of().camera
    assert camera.clock_state is ClockState.UNSYNCHRONIZED
    assert camera.frame_count is None


def test_a_closed_camera_stays_closed(site_of: Callable[..., Site], clock: FakeClock) -> None:
    """Closing twice is the same as once; a running playback ends, and its thread."""
    capture = ScriptedCapture(clock, Shot())
    camera = site_of(capture).camera
    frames = camera.frames()
    next(frames)
    camera.close()
    camera.close()
    capture.shots.put(ScriptedCapture.LOSE)
    assert list(frames) == []
    wait_until(lambda: capture.released == 1)
    with pytest.raises(SourceError, match="closed"):
        next(camera.frames())


def test_an_abandoned_playback_ends_its_thread_and_can_begin_again(
    site_of: Callable[..., Site], clock: FakeClock
) -> None:
    """Numbers go on, so that none is used twice."""
    first, second = ScriptedCapture(clock, Shot(0)), ScriptedCapture(clock, Shot(1))
    site = site_of(first, second)
    assert next(iter(site.camera.frames())).sequence == 0
    first.shots.put(ScriptedCapture.LOSE)
    wait_until(lambda: first.released == 1)
    assert next(site.camera.frames()).sequence == 1
