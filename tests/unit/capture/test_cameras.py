"""From a URI to a camera: what is refused, what is shown, and the password."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import av
import pytest

from agent.capture import open_source, source_name
from agent.capture.cameras import has_gstreamer
from agent.capture.live import LiveCamera
from agent.config.models import SourceConfig
from agent.errors import SourceError, SourceLostError
from agent.ports import FrameSource
from tests.fakes.clock import FakeClock


def _open(uri: str, *, credential: bytes | None = None, reconnect: bool = False) -> FrameSource:
    config = SourceConfig(uri=uri, reconnect=reconnect)
    return open_source(config, camera_id="cam-1", clock=FakeClock(), credential=credential)


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


def test_a_device_that_is_not_plugged_in_is_waited_for() -> None:
    """A daemon may start before its camera."""
    assert isinstance(_open("/dev/video987", reconnect=True), LiveCamera)


def test_a_device_name_that_is_no_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain file under the device's name is no camera, and waiting does not make it one."""
    fake = tmp_path / "video0"
    fake.touch()
    monkeypatch.setattr("agent.capture.opening.V4L2_PREFIXES", str(tmp_path))
    with pytest.raises(SourceError, match="not a camera device"):
        _open(str(fake), reconnect=True)


def test_gstreamer_without_support_says_what_to_use() -> None:
    """The OpenCV of the wheels has no GStreamer; one that has it makes a camera."""
    if has_gstreamer():
        assert isinstance(_open("gst:videotestsrc ! appsink"), LiveCamera)
        return
    with pytest.raises(SourceError, match=r"has no GStreamer; use rtsp://.. or /dev/videoN"):
        _open("gst:videotestsrc ! appsink")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:hunter2@cam.example:8554/live?password=hunter2", "rtsp://cam.example:8554"),
        ("rtsps://[fe80::1]/live", "rtsps://[fe80::1]"),
        ("gst:rtspsrc location=x user-pw=hunter2 ! appsink", "gst: pipeline"),
        ("/dev/video0", "/dev/video0"),
        ("clips/a.mp4", "clips/a.mp4"),
    ],
)
def test_a_source_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    """Some cameras take the password in the path or the query, so of a URL only the host is shown."""
    assert source_name(uri) == shown


def test_passwords_of_cameras_are_in_no_message() -> None:
    """A URL's user and password stay out of errors, refused schemes included."""
    for uri in ("http://admin:hunter2@camera/", "rtsp://admin:hunter2@"):
        with pytest.raises(SourceError) as caught:
            _open(uri)
        assert "hunter2" not in str(caught.value)


def test_an_unreachable_rtsp_camera_is_lost_and_unnamed_by_its_password(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing listens on port 9 of this machine: one line, of a camera that may come back, silent."""
    source = _open("rtsp://127.0.0.1:9/x", credential=b"admin:hunter2")
    with pytest.raises(SourceLostError, match=r"rtsp://127\.0\.0\.1:9: .* nothing listens at this port") as caught:
        next(source.frames())
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "credential",
    [b"", b"hunter2", b":hunter2", b"admin:hunter2\nmore", b"admin:\xffhunter2", b"admin:" + b"hunter2" * 200],
    ids=["empty", "no colon", "no user", "two lines", "no UTF-8", "too long"],
)
def test_a_credential_of_another_form_is_refused(credential: bytes) -> None:
    """The line says the form, and nothing of the content."""
    with pytest.raises(SourceError, match="must hold one line USER:PASSWORD") as caught:
        _open("rtsp://camera/", credential=credential)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ECONNREFUSED, "nothing listens at this port"),
        (errno.EHOSTUNREACH, "no way to it in the network"),
        (errno.ETIMEDOUT, "no answer within 10 s"),
        (errno.EIO, "the connection fails"),
        (av.error.tag_to_code(b"\xf8404"), "no stream at this path"),
        (av.error.tag_to_code(b"\xf8401"), "refuses this user or password"),
        (av.error.tag_to_code(b"\xf85XX"), "answers with an error"),
        (av.error.tag_to_code(b"INDA"), "no RTSP camera"),
        (av.error.tag_to_code(b"EXIT"), "no answer within 10 s"),
    ],
)
def test_a_camera_that_cannot_be_opened_tells_why(code: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In our own words: FFmpeg's hold the password."""

    def fail(url: str, **_: object) -> None:
        av.error.err_check(-abs(code), url)

    monkeypatch.setattr(av, "open", fail)
    source = _open("rtsp://127.0.0.1/x", credential=b"admin:hunter2")
    with pytest.raises(SourceLostError, match=reason) as caught:
        next(source.frames())
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_host_that_nobody_knows_is_told() -> None:
    """FFmpeg says the same of it as of a broken cable."""
    with pytest.raises(SourceLostError, match="no host of this name is known"):
        next(_open("rtsp://camera.invalid/x").frames())


def test_a_credential_may_hold_what_a_url_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is quoted into the URL that FFmpeg gets, in place of what stands there."""
    opened: list[object] = []

    def refuse(url: str, **_: object) -> None:
        opened.append(url)
        raise av.error.ConnectionRefusedError(111, "refused", url)

    monkeypatch.setattr(av, "open", refuse)
    monkeypatch.setattr("agent.capture.rtsp._resolve", lambda *_, **__: None)
    source = _open("rtsp://old:login@camera:8554/live?x=1", credential=b"admin:p@ss:w/rd #%41?\r\n")
    with pytest.raises(SourceLostError):
        next(source.frames())
    assert opened == ["rtsp://admin:p%40ss%3Aw%2Frd%20%23%2541%3F@camera:8554/live?x=1"]
