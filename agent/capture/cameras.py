"""From a camera's URI to a `LiveCamera`: RTSP through PyAV, V4L2 and GStreamer through OpenCV.

Owns: how each kind is opened, with which time limits, and what it is called in messages. A user and password are put
into an RTSP URL here, in memory, and go to FFmpeg only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from agent.capture.camera_tls import require_trust
from agent.capture.live import LiveCamera, LiveHooks
from agent.capture.opencv import cv2
from agent.capture.opencv_stream import OpenCvStream
from agent.capture.rtsp import RtspStream
from agent.config.models import GSTREAMER_PREFIX, RTSP_PREFIXES, SourceConfig
from agent.errors import SourceError
from agent.ports import Clock

V4L2_PREFIXES: Final = ("/dev/video", "/dev/v4l/")
"""A device, and the names by which udev finds it again on another port or at another start."""
OPEN_TIMEOUT_MS: Final = 10_000
"""How long connecting may take: longer than a camera's encoder needs to start, shorter than FFmpeg's own 30 s."""
MAX_CREDENTIAL_BYTES: Final = 1024
"""Longest user and password together; cameras stop at 64 characters or so each."""


def rtsp_camera(
    config: SourceConfig, *, camera_id: str, clock: Clock, credential: bytes | None, hooks: LiveHooks
) -> LiveCamera:
    """Return the camera behind an RTSP URL.

    Args:
        config: The URL, and how the camera is watched.
        camera_id: The camera's id.
        clock: Dates the frames.
        credential: `USER:PASSWORD`, UTF-8; a line end after it is no part of it.
        hooks: What a daemon gives the camera.

    Raises:
        SourceError: The URL has no host, the credential is none, or nothing says whose certificate is right.
    """
    name = source_name(config.uri)
    require_trust(config, name=name)
    url = config.uri if credential is None else _with_credential(config.uri, credential, name=name)
    return LiveCamera(
        lambda: RtspStream(url, config, name=name, clock=clock),
        config,
        name=name,
        camera_id=camera_id,
        clock=clock,
        hooks=hooks,
    )


def v4l2_camera(config: SourceConfig, *, camera_id: str, clock: Clock, hooks: LiveHooks) -> LiveCamera:
    """Return the camera behind a V4L2 device node; one that is to be connected again may be plugged in later.

    Raises:
        SourceError: There is no such device, or it is something else.
    """
    device = Path(config.uri)
    if not device.exists() and not config.reconnect:
        present = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise SourceError(f"{device}: no such camera; this unit has {', '.join(present) or 'none'}")
    if device.exists() and not device.is_char_device():
        raise SourceError(f"{device}: not a camera device")
    return LiveCamera(
        lambda: OpenCvStream(cv2.VideoCapture(str(device), cv2.CAP_V4L2), name=str(device)),
        config,
        name=str(device),
        camera_id=camera_id,
        clock=clock,
        hooks=hooks,
    )


def gstreamer_camera(config: SourceConfig, *, camera_id: str, clock: Clock, hooks: LiveHooks) -> LiveCamera:
    """Return the camera behind a GStreamer pipeline that ends in an `appsink`.

    Raises:
        SourceError: The pipeline is empty, or this build of OpenCV has no GStreamer.
    """
    pipeline = config.uri.removeprefix(GSTREAMER_PREFIX)
    if not pipeline.strip():
        raise SourceError("gst: needs a pipeline after the colon, such as gst:libcamerasrc ! videoconvert ! appsink")
    if not has_gstreamer():
        raise SourceError(
            f"gst: this build of OpenCV ({cv2.__version__}) has no GStreamer; use rtsp://.. or /dev/videoN, "
            "or install an OpenCV built with GStreamer"
        )
    name = source_name(config.uri)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, config.stall_s * 1000]
    return LiveCamera(
        lambda: OpenCvStream(cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, [*map(round, limits)]), name=name),
        config,
        name=name,
        camera_id=camera_id,
        clock=clock,
        hooks=hooks,
    )


def has_gstreamer() -> bool:
    """Tell whether this build of OpenCV can open GStreamer pipelines."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def source_name(uri: str) -> str:
    """Return a source as it may be shown: of a URL its scheme and host, of a pipeline nothing, else all of it.

    Raises:
        SourceError: An RTSP URL has no host.
    """
    if uri.startswith(GSTREAMER_PREFIX):
        return f"{GSTREAMER_PREFIX} pipeline"
    if not uri.lower().startswith(RTSP_PREFIXES):
        return uri
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SourceError("an RTSP source must be rtsp://HOST[:PORT]/PATH")
    shown_host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown_host}{'' if port is None else f':{port}'}"


def _with_credential(uri: str, credential: bytes, *, name: str) -> str:
    refusal = (
        f"{name}: source.credential must hold one line USER:PASSWORD, at most {MAX_CREDENTIAL_BYTES} bytes of UTF-8"
    )
    try:
        text = credential.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SourceError(refusal) from None
    user, colon, password = text.partition(":")
    if not user or not colon or not text.isprintable() or len(credential) > MAX_CREDENTIAL_BYTES:
        raise SourceError(refusal)
    parts = urlsplit(uri)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{address}").geturl()
