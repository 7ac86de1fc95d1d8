"""Live sources, as far as they go without a camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.capture import open_source
from agent.capture.live import LiveCamera, has_gstreamer
from agent.config.models import SourceConfig
from agent.errors import SourceError, SourceLostError
from agent.records import ClockState
from tests.fakes.clock import FakeClock


class _Camera:
    """Stands in for cv2.VideoCapture: delivers `count` pictures, then nothing; each decode takes 3 s."""

    def __init__(self, clock: FakeClock, count: int, *, opened: bool = True, side_px: int = 8) -> None:
        self._clock, self._left, self._opened, self._side_px = clock, count, opened, side_px
        self.released = 0

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return self._opened

    def grab(self) -> bool:
        self._clock.advance(1.0)
        self._left -= 1
        return self._left >= 0

    def retrieve(self) -> tuple[bool, object]:
        self._clock.advance(3.0)
        return True, np.zeros((8, self._side_px, 3), np.uint8)

    def release(self) -> None:
        self.released += 1


def _live(camera: _Camera, clock: FakeClock) -> LiveCamera:
    return LiveCamera(lambda: camera, name="cam", camera_id="cam-1", clock=clock)  # type: ignore[arg-type,return-value]


def _open(uri: str) -> object:
    return open_source(SourceConfig(uri=uri), camera_id="cam-1", clock=FakeClock())


def test_captured_at_is_when_the_frame_left_the_camera() -> None:
    """Decoding and waiting come after and do not age the frame."""
    clock = FakeClock()
    begin = clock.now()
    frame = next(_live(_Camera(clock, 1), clock).frames())
    assert (frame.captured_at - begin).total_seconds() == 1.0
    assert frame.monotonic_s == 1.0


def test_a_lost_camera_is_retryable_and_the_numbers_go_on() -> None:
    """Connecting again continues the sequence, so no frame number is used twice."""
    clock = FakeClock()
    camera = _Camera(clock, 2)
    source = _live(camera, clock)
    seen = []
    with pytest.raises(SourceLostError, match="stopped delivering after 2 frames") as caught:
        seen += [frame.sequence for frame in source.frames()]
    assert caught.value.retryable
    assert camera.released == 1
    camera._left = 1
    assert next(source.frames()).sequence == 2


def test_a_live_clock_state_is_the_units_own() -> None:
    """What the time rests on is asked of the clock."""
    clock = FakeClock()
    clock.clock_state = ClockState.UNSYNCHRONIZED
    source = _live(_Camera(clock, 0), clock)
    assert source.clock_state is ClockState.UNSYNCHRONIZED
    assert source.frame_count is None


def test_a_camera_that_does_not_open_is_lost_and_released() -> None:
    """It may come back: the caller retries."""
    clock = FakeClock()
    camera = _Camera(clock, 0, opened=False)
    with pytest.raises(SourceLostError, match="cannot be opened"):
        next(_live(camera, clock).frames())
    assert camera.released == 1


def test_an_absurd_live_picture_is_refused() -> None:
    """The limits hold for cameras too."""
    clock = FakeClock()
    with pytest.raises(SourceError, match="20000x8 pixels"):
        next(_live(_Camera(clock, 1, side_px=20_000), clock).frames())


def test_a_closed_camera_stays_closed() -> None:
    """Closing twice is the same as once."""
    clock = FakeClock()
    source = _live(_Camera(clock, 5), clock)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    with pytest.raises(SourceError, match="closed"):
        next(source.frames())


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("/dev/video987", "no such camera; this unit has"),
        ("gst:", "needs a pipeline"),
        ("rtsp://", "must be rtsp://"),
        ("rtsp://host:port/", "must be rtsp://"),
        ("http://camera/stream", "http:// is no kind of source; allowed are"),
    ],
)
def test_an_unusable_uri_is_one_clear_line(uri: str, message: str) -> None:
    """What is allowed is part of the line."""
    with pytest.raises(SourceError, match=message):
        _open(uri)


def test_passwords_of_cameras_are_in_no_message() -> None:
    """A URL's user and password stay out of errors, refused schemes included."""
    for uri in ("http://admin:hunter2@camera/", "rtsp://admin:hunter2@"):
        with pytest.raises(SourceError) as caught:
            _open(uri)
        assert "hunter2" not in str(caught.value)


def test_an_unreachable_rtsp_camera_is_lost_and_unnamed_by_its_password(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing listens on port 9 of this machine: one line, retryable, silent."""
    source = open_source(SourceConfig(uri="rtsp://admin:hunter2@127.0.0.1:9/x"), camera_id="cam-1", clock=FakeClock())
    with pytest.raises(SourceLostError, match=r"rtsp://127\.0\.0\.1:9: the camera cannot be opened") as caught:
        next(source.frames())
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_gstreamer_without_support_says_what_to_use() -> None:
    """The OpenCV of the wheels has no GStreamer; one that has it makes a camera."""
    if has_gstreamer():
        assert isinstance(_open("gst:videotestsrc ! appsink"), LiveCamera)
        return
    with pytest.raises(SourceError, match=r"has no GStreamer; use rtsp://.. or /dev/videoN"):
        _open("gst:videotestsrc ! appsink")


def test_a_device_name_that_is_no_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain file under the device's name is no camera."""
    fake = tmp_path / "video0"
    fake.touch()
    monkeypatch.setattr("agent.capture.opening.V4L2_PREFIX", str(tmp_path))
    with pytest.raises(SourceError, match="not a camera device"):
        _open(str(fake))
