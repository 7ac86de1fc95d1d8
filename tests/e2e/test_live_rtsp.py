"""A live camera against RTSP servers: slow consumers, lost, stalled and frozen cameras, passwords, a clean end.

Each test runs on our own server, Motion JPEG, and where it is installed on GStreamer's, with the H.264 of real cameras.
"""

from __future__ import annotations

import logging
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from agent.app.clock import SystemClock
from agent.capture import LiveHooks, LiveStats, open_source
from agent.config.models import SourceConfig
from agent.errors import SourceLostError
from agent.ports import FrameSource
from agent.records import Frame
from tests.fakes.rtsp import PlainRtspServer, RtspServer, made_at_s

pytestmark = pytest.mark.e2e

PATIENCE_S = 40.0
"""Long enough for every wait here on a busy machine; a wait that takes it has failed."""


@pytest.fixture(
    scope="module",
    params=[PlainRtspServer, pytest.param(RtspServer, marks=pytest.mark.needs("rtsp-server"))],
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
    config = SourceConfig.model_validate({"uri": url, "stall_s": 3.0, **options})
    return open_source(config, camera_id="cam-1", clock=SystemClock(), hooks=hooks)


def wait_until(frames: Iterator[Frame], is_so: Callable[[Frame], object]) -> Frame:
    """Take frames until a condition holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    for frame in frames:
        if is_so(frame):
            return frame
        assert time.monotonic() < deadline_s, "it did not come about in time"
    raise AssertionError("the frames ended")


def camera_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the live camera logged, without figures."""
    return [re.sub(r"\d+", "N", r.getMessage()) for r in caplog.records if r.name == "agent.capture.live"]


def test_a_slow_consumer_gets_the_newest_frame_and_knows_its_age(shared: RtspServer) -> None:
    """Looking at five frames a second of 25, the delay does not grow, and `captured_at` is of capture."""
    stats = LiveStats()
    ages_s, errors_s, frames_seen = [], [], []
    with closing(camera(shared.url, LiveHooks(stats=stats))) as source:
        for frame in source.frames():
            made = made_at_s(frame.image)
            assert frame.captured_at.timestamp() <= time.time()
            ages_s.append(time.time() - made)
            errors_s.append(frame.captured_at.timestamp() - made)
            frames_seen.append(frame)
            time.sleep(0.2)
            if len(frames_seen) == 20:
                break
    times = [frame.captured_at for frame in frames_seen]
    numbers = [frame.sequence for frame in frames_seen]
    assert times == sorted(times)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 2 * len(numbers)
    assert stats.frames_dropped_stale >= stats.frames_received - len(numbers) - 2
    # Four seconds of frames, looked at five times too slowly, would have put the last one three seconds behind.
    assert max(ages_s) < 1.0, ages_s
    assert statistics.median(errors_s) < 0.5, errors_s
    assert min(errors_s) > -0.05, errors_s  # never dated earlier than it was made, but for the rounding of stamps


def test_a_camera_that_is_gone_is_waited_for_and_comes_back(
    kind: type[RtspServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Not there at the start, then there, killed, there again: frames go on, one line for each change."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    stats = LiveStats()
    idle = threading.Event()
    server = kind()
    with server, closing(camera(server.url, LiveHooks(stats=stats, on_idle=idle.set))) as source:
        server.stop()
        threading.Timer(1.5, server.start).start()
        frames = source.frames()
        first = next(frames)
        assert idle.is_set()
        last = wait_until(frames, lambda _: stats.is_up)  # whether another one is left to come is chance
        server.stop()
        server_up = threading.Timer(1.5, server.start)
        server_up.start()
        again = wait_until(frames, lambda frame: frame.captured_at.timestamp() > last.captured_at.timestamp() + 1.5)
        wait_until(frames, lambda _: stats.is_up)
        server_up.join()
    assert first.sequence < last.sequence < again.sequence
    assert first.monotonic_s < last.monotonic_s < again.monotonic_s
    assert abs(again.captured_at.timestamp() - made_at_s(again.image)) < 1.0
    assert stats.reconnects == 1
    where = "rtsp://N.N.N.N:N: "
    assert camera_lines(caplog) == [
        f"{where}the camera cannot be opened, or another program has it; connecting again until it delivers",
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
        wait_until(frames, lambda _: stats.is_up)
        assert stats.frozen == 0
        shared.tell("freeze")
        try:
            wait_until(frames, lambda _: stats.frozen)
            assert stats.is_up is False
        finally:
            shared.tell("live")
        wait_until(frames, lambda _: stats.is_up)
    assert stats.reconnects == stats.frozen
    assert camera_lines(caplog) == [
        "rtsp://N.N.N.N:N: no new picture for N s, the camera is frozen; connecting again until it delivers",
        "rtsp://N.N.N.N:N: the camera is back after N s",
    ]


def test_a_silent_camera_is_lost_and_a_stop_does_not_wait_for_it(
    shared: RtspServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stands and nothing comes; a daemon told to stop meanwhile does, and the thread ends by itself."""
    caplog.set_level(logging.INFO, "agent.capture.live")
    hooks = LiveHooks()
    with closing(camera(shared.url, hooks)) as source:
        frames = source.frames()
        wait_until(frames, lambda _: hooks.stats.is_up)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("read rtsp://")]
        shared.tell("stall")
        try:
            threading.Timer(5.0, hooks.stop.set).start()  # stalled at 3 s: connecting again, which blocks
            list(frames)
            assert hooks.stats.is_up is False
            assert camera_lines(caplog) == ["rtsp://N.N.N.N:N: no frame for N s; connecting again until it delivers"]
        finally:
            shared.tell("live")
        for thread in threads:
            thread.join(PATIENCE_S)
    assert threads
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_ends_while_a_read_blocks(shared: RtspServer) -> None:
    """The reading thread keeps nobody alive, and nothing crashes on the way out."""
    program = f"""
import sys
from agent.app.clock import SystemClock
from agent.capture import open_source
from agent.config.models import SourceConfig
config = SourceConfig(uri={shared.url!r}, stall_s=60.0)
for frame in open_source(config, camera_id="cam-1", clock=SystemClock()).frames():
    sys.stdout.write("a frame\\n")
    sys.stdout.flush()
    sys.stdin.readline()
    break
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "a frame\n"
    shared.tell("stall")
    try:
        time.sleep(1.0)  # until the read has nothing left
        _, errors = process.communicate("\n", timeout=PATIENCE_S)  # less than its 60 s
    finally:
        shared.tell("live")
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
        for wrong in (None, b"viewer:hunter2"):
            source = open_source(config, camera_id="cam-1", clock=SystemClock(), credential=wrong)
            with closing(source), pytest.raises(SourceLostError, match="cannot be opened") as caught:
                next(source.frames())
            assert "hunter2" not in str(caught.value)
    assert "p@ss" not in caplog.text
    assert "hunter2" not in caplog.text
    assert capfd.readouterr() == ("", "")
