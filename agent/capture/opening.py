"""From a source's URI to the adapter that reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agent.capture.animation import ANIMATED_SUFFIX, AnimatedPicture
from agent.capture.cameras import V4L2_PREFIXES, gstreamer_camera, rtsp_camera, v4l2_camera
from agent.capture.live import LiveHooks
from agent.capture.pictures import Pictures, is_picture, picture_bytes
from agent.capture.video import VideoFile
from agent.config.models import GSTREAMER_PREFIX, RTSP_PREFIXES, SourceConfig
from agent.errors import SourceError
from agent.ports import Clock, FrameSource

ALLOWED: Final = "a video file, a picture, a folder of pictures, rtsp://HOST/.., /dev/videoN or gst:PIPELINE"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_source(
    source: SourceConfig,
    *,
    camera_id: str,
    clock: Clock,
    credential: bytes | None = None,
    hooks: LiveHooks | None = None,
) -> FrameSource:
    """Open a source of frames.

    Recordings are checked at once, as far as their header goes; cameras are connected by `frames()`, and again
    whenever they are lost.

    Args:
        source: Where frames come from and how a recording is played.
        camera_id: The camera's id, put into every frame.
        clock: Dates live frames; paces recordings that are played in real time.
        credential: What the file `source.credential` holds, for an RTSP camera.
        hooks: What a daemon gives a camera: how to be told to stop, where to count, what to do meanwhile.

    Raises:
        SourceError: There is nothing at the URI that can be read; one line says what is allowed.
    """
    uri = source.uri
    hooks = hooks or LiveHooks()
    if uri.startswith(GSTREAMER_PREFIX):
        return gstreamer_camera(source, camera_id=camera_id, clock=clock, hooks=hooks)
    if uri.lower().startswith(RTSP_PREFIXES):
        return rtsp_camera(source, camera_id=camera_id, clock=clock, credential=credential, hooks=hooks)
    if scheme := _SCHEME.match(uri):
        # The rest of the URL may hold a password and stays out of the message.
        raise SourceError(f"{scheme[1]}:// is no kind of source; allowed are {ALLOWED}")
    if uri.startswith(V4L2_PREFIXES):
        return v4l2_camera(source, camera_id=camera_id, clock=clock, hooks=hooks)
    return _recording(source, camera_id=camera_id, clock=clock)


def _recording(source: SourceConfig, *, camera_id: str, clock: Clock) -> FrameSource:
    path = Path(source.uri)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise SourceError(f"{source.uri!r:.200}: not a usable path ({error.__class__.__name__})") from error
    if not exists:
        raise SourceError(f"{path}: no such file or folder; allowed are {ALLOWED}")
    if is_folder or is_picture(path):
        return Pictures(source, camera_id=camera_id, clock=clock)
    if path.suffix.lower() == ANIMATED_SUFFIX:
        return AnimatedPicture(source, data=picture_bytes(path), camera_id=camera_id, clock=clock)
    return VideoFile(source, camera_id=camera_id, clock=clock)
