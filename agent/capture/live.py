"""Live cameras: RTSP, V4L2 and GStreamer, through OpenCV.

Owns: connecting, the time of capture, and saying that a camera is lost. Leaves to others: connecting again (call
`frames()` again; the frame numbers go on). A camera's user and password are never in a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from agent.capture.opencv import check_size, cv2
from agent.errors import SourceError, SourceLostError
from agent.ports import Clock
from agent.records import ClockState, Frame

V4L2_PREFIX: Final = "/dev/video"
RTSP_PREFIXES: Final = ("rtsp://", "rtsps://")
OPEN_TIMEOUT_MS: Final = 10_000
READ_TIMEOUT_MS: Final = 10_000
"""How long a camera may be silent: longer than its encoder takes to start again, shorter than FFmpeg's own 30 s."""

Connect = Callable[[], cv2.VideoCapture]


class LiveCamera:
    """A camera that delivers frames until it is closed or lost."""

    def __init__(self, connect: Connect, *, name: str, camera_id: str, clock: Clock) -> None:
        """Keep the way to connect; nothing is opened yet.

        Args:
            connect: Opens the device or stream.
            name: What it is called in messages, without secrets.
            camera_id: The camera's id.
            clock: Dates each frame.
        """
        self._connect = connect
        self._name = name
        self._camera_id = camera_id
        self._clock = clock
        self._next_sequence = 0
        self._closed = False

    @property
    def frame_count(self) -> int | None:
        """A camera has no end."""
        return None

    @property
    def clock_state(self) -> ClockState:
        """What this unit's clock says of itself."""
        return self._clock.state()

    def frames(self) -> Iterator[Frame]:
        """Connect and yield frames until closed. Called again, it connects again; the numbers go on.

        Raises:
            SourceError: The source is closed, or delivers an absurd size.
            SourceLostError: The camera cannot be reached or stopped delivering.
        """
        if self._closed:
            raise SourceError(f"{self._name}: the source is closed")
        capture = self._connect()
        try:
            if not capture.isOpened():
                raise SourceLostError(f"{self._name}: the camera cannot be opened, or another program has it")
            while not self._closed:
                yield self._next(capture)
        finally:
            capture.release()

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent."""
        self._closed = True

    def _next(self, capture: cv2.VideoCapture) -> Frame:
        taken = capture.grab()
        # The frame has left the camera; decoding it and waiting for our turn comes after and is not its age.
        captured_at, monotonic_s = self._clock.now(), self._clock.monotonic_s()
        done, image = capture.retrieve() if taken else (False, None)
        if not done or image is None:
            raise SourceLostError(f"{self._name}: the camera stopped delivering after {self._next_sequence} frames")
        check_size(image.shape[1], image.shape[0], where=self._name)
        frame = Frame(
            camera_id=self._camera_id,
            sequence=self._next_sequence,
            captured_at=captured_at,
            monotonic_s=monotonic_s,
            image=np.asarray(image, dtype=np.uint8),
        )
        self._next_sequence += 1
        return frame


def rtsp_camera(url: str, *, camera_id: str, clock: Clock) -> LiveCamera:
    """Return the camera behind an RTSP URL.

    Raises:
        SourceError: The URL has no host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SourceError("an RTSP source must be rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH")
    name = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS,
    ]  # fmt: skip
    return LiveCamera(
        lambda: cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits), name=name, camera_id=camera_id, clock=clock
    )


def v4l2_camera(device: str, *, camera_id: str, clock: Clock) -> LiveCamera:
    """Return the camera behind a V4L2 device node.

    Raises:
        SourceError: There is no such device.
    """
    if not Path(device).exists():
        present = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise SourceError(f"{device}: no such camera; this unit has {', '.join(present) or 'none'}")
    if not Path(device).is_char_device():
        raise SourceError(f"{device}: not a camera device")
    return LiveCamera(lambda: cv2.VideoCapture(device, cv2.CAP_V4L2), name=device, camera_id=camera_id, clock=clock)


def gstreamer_camera(pipeline: str, *, camera_id: str, clock: Clock) -> LiveCamera:
    """Return the camera behind a GStreamer pipeline that ends in an `appsink`.

    Raises:
        SourceError: The pipeline is empty, or this build of OpenCV has no GStreamer.
    """
    if not pipeline.strip():
        raise SourceError("gst: needs a pipeline after the colon, such as gst:libcamerasrc ! videoconvert ! appsink")
    if not has_gstreamer():
        raise SourceError(
            f"gst: this build of OpenCV ({cv2.__version__}) has no GStreamer; use rtsp://.. or /dev/videoN, "
            "or install an OpenCV built with GStreamer"
        )
    return LiveCamera(
        lambda: cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER), name="gst: pipeline", camera_id=camera_id, clock=clock
    )


def has_gstreamer() -> bool:
    """Tell whether this build of OpenCV can open GStreamer pipelines."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))
