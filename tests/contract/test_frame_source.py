"""Contract of `FrameSource`, run on every recorded source and on the fake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.capture import open_source
from agent.config.models import SourceConfig
from agent.errors import SourceError
from agent.ports import FrameSource
from agent.records import ClockState, Image, TimeSource
from tests.fakes.clock import FakeClock
from tests.fakes.recordings import record
from tests.fakes.source import ReplaySource

COUNT = 12
RATE = 10.0
STARTED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Opener = Callable[[], FrameSource]


def _images() -> list[Image]:
    return [np.full((48, 64, 3), 10 * n, np.uint8) for n in range(COUNT)]


def _write_video(path: Path, codec: str) -> Path:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), RATE, (64, 48))
    for image in _images():
        video.write(image)
    video.release()
    return path


def _write_animation(path: Path) -> Path:
    made = cv2.Animation()
    made.frames, made.durations = _images(), [round(1000 / RATE)] * COUNT
    cv2.imwriteanimation(str(path), made)
    return path


def _write_folder(folder: Path) -> Path:
    folder.mkdir()
    for n, image in enumerate(_images()):
        cv2.imwrite(str(folder / f"picture{n}.png"), image)
    return folder


UNCOUNTED = ("mkv", "ts", "h264")
"""Containers that do not say how many frames they hold."""


ANIMATED = ("avif", "webp")


@pytest.fixture(params=["mp4", "avi", *UNCOUNTED, *ANIMATED, "folder", "fake"])
def kind(request: pytest.FixtureRequest) -> str:
    """Name of each implementation and each way in which it stores its pictures."""
    return str(request.param)


@pytest.fixture
def opener(kind: str, tmp_path: Path) -> Opener:
    """What opens each implementation on the same twelve pictures."""
    if kind == "fake":
        return lambda: ReplaySource(_images(), camera_id="cam-1", frame_rate=RATE, started_at=STARTED_AT)
    path = {
        "mp4": lambda: _write_video(tmp_path / "clip.mp4", "mp4v"),
        "avi": lambda: _write_video(tmp_path / "clip.avi", "MJPG"),
        "folder": lambda: _write_folder(tmp_path / "folder"),
        **dict.fromkeys(ANIMATED, lambda: _write_animation(tmp_path / f"clip.{kind}")),
        **dict.fromkeys(UNCOUNTED, lambda: record(tmp_path / f"clip.{kind}", _images(), rate=int(RATE))),
    }[kind]()
    config = SourceConfig(uri=str(path), started_at=STARTED_AT, frame_rate=RATE)
    return lambda: open_source(config, camera_id="cam-1", clock=FakeClock())


def test_frames_are_numbered_dated_and_read_only(opener: Opener, kind: str) -> None:
    """Every frame comes once, in order, dated by the recording's rate, and nobody can write into it."""
    source = opener()
    frames = list(source.frames())
    assert [frame.sequence for frame in frames] == list(range(COUNT))
    for frame in frames:
        late = timedelta(seconds=frame.sequence / RATE)
        assert abs(frame.captured_at - STARTED_AT - late) < timedelta(milliseconds=1)
        assert frame.captured_at.utcoffset() == timedelta(0)
        assert frame.monotonic_s == pytest.approx(frame.sequence / RATE)
        assert frame.time_source is (TimeSource.RATE if kind in {"h264", "folder", "fake"} else TimeSource.PTS)
        assert frame.camera_id == "cam-1"
        assert frame.wh == (64, 48)
        assert not frame.image.flags.writeable
        assert frame.picture.luma.shape == (48, 64)
        assert abs(frame.image.mean() - 10 * frame.sequence) < 5  # lossy codecs
    assert source.frames_lost == 0
    source.close()


def test_count_and_clock_state_are_known_beforehand(opener: Opener, kind: str) -> None:
    """The sealed read needs the state before the first frame, progress the count: which is never a guess."""
    source = opener()
    assert source.frame_count == (None if kind in UNCOUNTED else COUNT)
    assert source.frames_lost == 0
    assert source.clock_state is ClockState.RECORDED


def test_playing_again_starts_over(opener: Opener) -> None:
    """A second `frames()` is the whole recording again."""
    source = opener()
    first = next(source.frames())
    again = list(source.frames())
    assert first.sequence == 0
    assert len(again) == COUNT
    assert np.array_equal(first.image, again[0].image)


def test_close_is_idempotent_and_final(opener: Opener) -> None:
    """Closing twice is the same as once; after it nothing plays."""
    source = opener()
    source.close()
    source.close()
    with pytest.raises(SourceError, match="closed"):
        next(source.frames())


def test_close_ends_a_running_playback(opener: Opener) -> None:
    """A stop in the middle ends the frames without an error."""
    source = opener()
    frames = source.frames()
    next(frames)
    source.close()
    assert list(frames) == []
