"""Cameras with clocks of their own, as real servers send them: right, hours off, set while it runs, or none at all.

On our own server each case; on GStreamer's, where it is installed, that the reports of one that nobody here wrote mean
what we take them for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agent.capture import LiveHooks, LiveStats, camera_clock, open_source
from agent.cli.read import read
from agent.config.load import load_config
from agent.config.models import SourceConfig
from agent.errors import SourceLostError
from agent.ports import FrameSource
from agent.records import Frame, TimeSource
from agent.unit.process.clock import SystemClock
from agent.unit.status.report import read_health
from tests.fakes.bench import LiveBench
from tests.fakes.rtsp import PlainRtspServer, RtspServer
from tests.fakes.waiting import WITHIN_S, patiently
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = pytest.mark.e2e

HOURS = 2
SHOWS_ITS_CLOCK = [
    pytest.param(lambda: PlainRtspServer("--clock", "0"), id="plain"),
    pytest.param(RtspServer, id="gstreamer", marks=pytest.mark.needs("rtsp-server", "campaigns")),
]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock proves itself in a second: our server reports twice in that time."""
    monkeypatch.setattr(camera_clock, "PROVE_S", 1.0)
    monkeypatch.setattr(camera_clock, "SETTLE_S", 0.5)


def camera(server: RtspServer, stats: LiveStats, clock: str = "camera") -> FrameSource:
    """Open the server's stream as the daemon does."""
    config = SourceConfig.model_validate({"uri": server.url, "stall_s": WITHIN_S, "clock": clock})
    return open_source(config, camera_id="cam-1", clock=SystemClock(), hooks=LiveHooks(stats=stats))


def take_until(frames: Iterator[Frame], is_so: Callable[[Frame], object]) -> Frame:
    """Take frames until a condition holds."""
    for frame in patiently(frames, otherwise="it did not come about in time"):
        if is_so(frame):
            return frame
    raise AssertionError("the frames ended")


def hours_off(stats: LiveStats) -> int | None:
    """Return how many hours the camera's clock is off; None while nothing is known of it."""
    return None if stats.clock is None else round(stats.clock.offset_s / 3600)


@pytest.mark.parametrize("kind", SHOWS_ITS_CLOCK)
def test_a_right_clock_dates_the_frames(kind: Callable[[], RtspServer]) -> None:
    """Once it has proved itself, and frames come in order all the same."""
    stats, seen = LiveStats(), []
    with kind() as server, closing(camera(server, stats)) as source:
        for frame in patiently(source.frames(), otherwise="the camera's clock did not come into use"):
            seen.append(frame)
            if [each.time_source for each in seen[-5:]] == [TimeSource.CAMERA] * 5:
                break
        assert stats.clock is not None
        assert stats.clock.dates
        assert hours_off(stats) == 0
    assert seen[0].time_source is TimeSource.ARRIVAL
    assert [frame.captured_at for frame in seen] == sorted(frame.captured_at for frame in seen)


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--sound",), marks=pytest.mark.needs("campaigns"))], ids=["video", "with sound"]
)
def test_a_clock_that_is_set_wrong_is_left_and_one_set_right_comes_back(options: tuple[str, ...]) -> None:
    """In one connection: the frames go on, dated by arrival as long as the clock is two hours ahead.

    Where sound comes beside the video, FFmpeg counts the times of both by the camera's clock, and they jump with it.
    """
    stats = LiveStats()
    with PlainRtspServer("--clock", "0", *options) as server, closing(camera(server, stats)) as source:
        frames = source.frames()
        take_until(frames, lambda frame: frame.time_source is TimeSource.CAMERA)
        server.tell(f"clock {HOURS * 3600}")
        wrong = take_until(frames, lambda frame: frame.time_source is TimeSource.ARRIVAL and hours_off(stats) == HOURS)
        server.tell("clock 0")
        right = take_until(frames, lambda frame: frame.time_source is TimeSource.CAMERA)
        assert stats.reconnects == 0
    assert right.captured_at > wrong.captured_at


@pytest.mark.parametrize(
    ("clock", "shown", "off"),
    [("unit", "0", 0), ("camera", str(HOURS * 3600), HOURS), ("camera", f"-{HOURS * 3600}", -HOURS)],
    ids=["not asked for", "ahead", "behind"],
)
def test_what_is_not_asked_for_or_does_not_agree_dates_nothing(clock: str, shown: str, off: int) -> None:
    """However long it goes on; the offset is told."""
    stats, frames_seen = LiveStats(), set()
    with PlainRtspServer("--clock", shown) as server, closing(camera(server, stats, clock)) as source:
        for frame in patiently(source.frames(), otherwise="the camera's clock was not watched"):
            frames_seen.add(frame.time_source)
            if stats.clock is not None and stats.clock.watched_s > 3 * camera_clock.PROVE_S:
                break
        assert hours_off(stats) == off
    assert frames_seen == {TimeSource.ARRIVAL}


def test_a_camera_without_reports_shows_no_clock() -> None:
    """It is dated by arrival, and nothing is told of its clock."""
    stats = LiveStats()
    with PlainRtspServer() as server, closing(camera(server, stats)) as source:
        frame = take_until(source.frames(), lambda frame: frame.sequence > 60)
        assert stats.clock is None
    assert frame.time_source is TimeSource.ARRIVAL


@pytest.mark.needs("campaigns")
@pytest.mark.parametrize("clock", ["unit", "camera"])
def test_each_read_says_whose_clock_dates_it(tmp_path: Path, clock: str) -> None:
    """In `read --jsonl`: the camera's once that has proved itself, if it was asked for; else arrival."""
    models = write_toy_models(tmp_path / "toys")
    clip = render_clip(tmp_path / "clip.mp4", random_texts(4)).clip
    app = typer.Typer()
    app.command()(read)
    with PlainRtspServer("--clock", "0", "--rate", "10", "--clip", str(clip)) as server:
        result = CliRunner().invoke(app, [server.url, "--models", str(models), "--jsonl", "-", "--clock", clock])
    assert isinstance(result.exception, SourceLostError)  # the clip is at its end
    sources = [json.loads(line)["time_source"] for line in result.stdout.splitlines()]
    assert sources
    assert sources[-1] == ("camera" if clock == "camera" else "arrival")
    assert sources == sorted(sources)  # arrival first


def test_the_health_report_has_the_clock_of_each_camera(tmp_path: Path) -> None:
    """Of a unit at work: how far it is off, for how long it is watched, and that it dates nothing."""
    toys = write_toy_models(tmp_path / "toys")
    render_clip(toys / "clip.mp4", random_texts(1))
    bench = LiveBench(root=tmp_path / "bench", clip=toys / "clip.mp4", models=toys)
    try:
        bench.set_up()
        with PlainRtspServer("--clock", str(HOURS * 3600)) as server:
            text = bench.config.read_text().replace(f'uri = "{toys / "clip.mp4"}"', f'uri = "{server.url}"')
            lines = [line for line in text.splitlines() if not line.startswith(("started_at", "pace"))]
            assert server.url in text
            bench.config.write_text("\n".join(lines))
            bench.start("capture")
            bench.wait_until(lambda: (bench.measured().get("camera_clock_watched_seconds", "demo") or 0) >= 1)
            (said,) = read_health(load_config(bench.config)).cameras
        assert said.is_up
        assert said.clock is not None
        assert round(said.clock.offset_ms / 3_600_000) == HOURS
        assert said.clock.drift_ms_per_day is None
        assert not said.clock.dates
    finally:
        bench.stop()
