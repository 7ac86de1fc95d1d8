"""A live camera against RTSP servers: slow consumers, lost, stalled and frozen cameras, passwords, a clean end.

Each test runs on our own server, Motion JPEG, and where it is installed on GStreamer's, with the H.264 of real cameras.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from agent.capture import LiveHooks, LiveStats, open_source
from agent.config.models import SourceConfig
from agent.errors import SourceRefusedError
from agent.ports import FrameSource
from agent.records import Frame
from agent.unit.process.clock import SystemClock
from tests.fakes.rtsp import PlainRtspServer, RtspServer, made_at_s
from tests.fakes.waiting import WITHIN_S, patiently, wait_until

pytestmark = pytest.mark.e2e

STALL_S = 3.0
"""For the test that wants a stall; in the others a server that has no turn for seconds is none."""
ENDS_WITHIN_S = 0.8 * WITHIN_S
"""A process that waited for a read that blocks would end later, by `stall_s`."""
ROUNDING_S = 0.05
"""Of the stamps and of the stream's clock: so much earlier than it was made a frame may seem to be taken."""


@pytest.fixture(
    scope="module",
    params=[PlainRtspServer, pytest.param(RtspServer, marks=pytest.mark.needs("rtsp-server", "campaigns"))],
    ids=["plain", "gstreamer"],
)
def kind(request: pytest.FixtureRequest) -> type[RtspServer]:
    """Each kind of server."""
    found: type[RtspServer] = request.param
    return found


@pytest.fixture(scope="module")
def shared(kind: type[RtspServer]) -> Iterator[RtspServer]:
    """One server for the tests that leave it as it was."""
    with kind() as server:
        yield server


def camera(url: str, hooks: LiveHooks | None = None, **options: object) -> FrameSource:
    """Open the server's stream as the daemon does."""
    config = SourceConfig.model_validate({"uri": url, "stall_s": WITHIN_S, **options})
    return open_source(config, camera_id="cam-1", clock=SystemClock(), hooks=hooks)


def take_until(frames: Iterator[Frame], is_so: Callable[[Frame], object]) -> Frame:
    """Take frames until a condition holds."""
    for frame in patiently(frames, otherwise="it did not come about in time"):
        if is_so(frame):
            return frame
    raise AssertionError("the frames ended")


def camera_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the live camera logged, without figures."""
    return [re.sub(r"\d+", "N", r.getMessage()) for r in caplog.records if r.name == "agent.capture.live"]


def test_a_slow_consumer_gets_the_newest_frame_and_knows_its_age(shared: RtspServer) -> None:
    """Looking at one frame of five, what is looked at is newer than all that came before the look at the one before.

    How old a frame is when its turn comes is for `make bench`.
    """
    stats = LiveStats()
    frames_seen: list[Frame] = []
    received = [0]
    with closing(camera(shared.url, LiveHooks(stats=stats))) as source:
        for frame in source.frames():
            frames_seen.append(frame)
            if len(frames_seen) == 20:
                break
            received.append(stats.frames_received)
            wait_until(lambda: stats.frames_received >= received[-1] + 5)
    numbers = [frame.sequence for frame in frames_seen]
    assert all(number >= before - 1 for number, before in zip(numbers, received, strict=True)), (numbers, received)
    assert len(numbers) == 20
    assert numbers == sorted(set(numbers))
    assert stats.frames_dropped_stale >= stats.frames_received - len(numbers) - 2
    times = [frame.captured_at for frame in frames_seen]
    assert times == sorted(times)
    assert min(frame.captured_at.timestamp() - made_at_s(frame.image) for frame in frames_seen) > -ROUNDING_S


def test_a_camera_that_is_gone_is_waited_for_and_comes_back(
    kind: type[RtspServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Not there at the start, then there, killed, there again: frames go on, one line for each change."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    stats = LiveStats()
    server = kind()

    def start_when_missed() -> None:
        if stats.is_up is False and not server.is_running:
            server.start()

    with server, closing(camera(server.url, LiveHooks(stats=stats, on_idle=start_when_missed))) as source:
        server.stop()
        frames = source.frames()
        first = next(frames)
        last = take_until(frames, lambda _: stats.is_up)
        server.stop()
        again = take_until(frames, lambda _: stats.reconnects and stats.is_up)
    assert first.sequence < last.sequence < again.sequence
    assert first.monotonic_s < last.monotonic_s < again.monotonic_s
    assert again.captured_at.timestamp() > made_at_s(again.image) - ROUNDING_S
    assert stats.reconnects == 1
    where = "rtsp://N.N.N.N:N: "
    assert camera_lines(caplog) == [
        f"{where}the camera cannot be opened: nothing listens at this port; connecting again until it delivers",
        f"{where}the camera is back after N s",
        f"{where}the camera stopped delivering; connecting again until it delivers",
        f"{where}the camera is back after N s",
    ]


def test_a_frozen_camera_is_noticed_and_so_is_its_thaw(shared: RtspServer, caplog: pytest.LogCaptureFixture) -> None:
    """The server's encoder goes on with one picture; what it makes of it is not taken for news for long."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    stats = LiveStats()
    with closing(camera(shared.url, LiveHooks(stats=stats), frozen_s=2.0)) as source:
        frames = source.frames()
        take_until(frames, lambda _: stats.is_up)
        assert stats.frozen == 0
        shared.tell("freeze")
        try:
            take_until(frames, lambda _: stats.frozen)
        finally:
            shared.tell("live")
        take_until(frames, lambda _: stats.is_up)
    assert stats.reconnects == stats.frozen
    assert camera_lines(caplog) == stats.frozen * [  # more than once where nobody looks for long enough
        "rtsp://N.N.N.N:N: no new picture for N s, the camera is frozen; connecting again until it delivers",
        "rtsp://N.N.N.N:N: the camera is back after N s",
    ]


def test_a_silent_camera_is_lost_and_a_stop_does_not_wait_for_it(
    shared: RtspServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stands and nothing comes; a daemon told to stop meanwhile does, and the thread ends by itself."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    stop, lost = threading.Event(), ["rtsp://N.N.N.N:N: no frame for N s; connecting again until it delivers"]

    def stop_when_lost() -> None:
        if camera_lines(caplog) == lost:
            stop.set()

    hooks = LiveHooks(stop=stop, on_idle=stop_when_lost)
    with closing(camera(shared.url, hooks, stall_s=STALL_S)) as source:
        frames = source.frames()
        take_until(frames, lambda _: hooks.stats.is_up)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("read rtsp://")]
        shared.tell("stall")
        try:
            list(frames)
            assert stop.is_set()
            assert hooks.stats.is_up is False
            assert camera_lines(caplog) == lost
        finally:
            shared.tell("live")
        for thread in threads:
            thread.join(WITHIN_S)
    assert threads
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_ends_while_a_read_blocks(shared: RtspServer) -> None:
    """The reading thread keeps nobody alive, and nothing crashes on the way out."""
    program = f"""
import sys
from agent.unit.process.clock import SystemClock
from agent.capture import LiveHooks, open_source
from agent.config.models import SourceConfig
shown = []
def end_when_silent():
    if shown:
        sys.exit()
config = SourceConfig(uri={shared.url!r}, stall_s={WITHIN_S})
hooks = LiveHooks(on_idle=end_when_silent)
for frame in open_source(config, camera_id="cam-1", clock=SystemClock(), hooks=hooks).frames():
    sys.stdout.write("" if shown else "a frame\\n")
    sys.stdout.flush()
    shown.append(frame.sequence)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "a frame\n"
            shared.tell("stall")
            _, errors = process.communicate(timeout=ENDS_WITHIN_S)
        finally:
            shared.tell("live")
            process.kill()
    assert (process.returncode, errors) == (0, "")


def test_a_password_comes_from_its_file_and_is_never_shown(
    kind: type[RtspServer], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may hold what a URL must not; without it the camera is lost, and no message has it."""
    user, password = "viewer", "p@ss:w/rd #%41?"
    caplog.set_level(logging.DEBUG)
    with kind("--user", user, "--password", password) as server:
        config = SourceConfig(uri=server.url, reconnect=False)
        given = f"{user}:{password}\n".encode()
        with closing(open_source(config, camera_id="cam-1", clock=SystemClock(), credential=given)) as source:
            assert next(source.frames()).wh == (640, 360)
        for wrong, why in ((None, "wants a user and password"), (b"viewer:hunter2", "refuses this user or password")):
            source = open_source(config, camera_id="cam-1", clock=SystemClock(), credential=wrong)
            with closing(source), pytest.raises(SourceRefusedError, match=why) as caught:
                next(source.frames())
            assert "hunter2" not in str(caught.value)
    assert "p@ss" not in caplog.text
    assert "hunter2" not in caplog.text
    assert capfd.readouterr() == ("", "")
