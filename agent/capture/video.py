"""Recorded video: any file that OpenCV's FFmpeg reads.

Owns: frame rate, the promise of the file's header, and noticing that a file ends before it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Final

import numpy as np

from agent.capture.opencv import check_size, cv2
from agent.capture.pacing import Pacer, recording_start
from agent.capture.prefetch import prefetched
from agent.config.models import SourceConfig
from agent.errors import SourceError
from agent.ports import Clock
from agent.records import ClockState, Frame, Picture

MAX_FRAME_RATE: Final = 1000.0
"""Frames per second; above it the figure is a container's time base (90000 is common), not a rate."""
COUNT_SLACK_FRAMES: Final = 2
COUNT_SLACK_SHARE: Final = 0.01
"""A header may promise this many frames more than come: some containers state a duration only, and the count made of it
is off by a frame at either end, or by the rounding of the rate."""


class VideoFile:
    """One recorded video, decoded from its first frame by each `frames()`."""

    def __init__(self, config: SourceConfig, *, camera_id: str, clock: Clock) -> None:
        """Open the file and read its header.

        Raises:
            SourceError: Missing, empty, no video, an absurd size, or no usable frame rate.
        """
        self._path = Path(config.uri)
        _check_file(self._path)
        self._config = config
        self._camera_id = camera_id
        self._clock = clock
        self._started_at = recording_start(config, self._path)
        capture = self._open()
        try:
            self._frame_rate = self._rate_of(capture)
            self._promised = _count_of(capture)
        finally:
            capture.release()
        self._closed = False

    @property
    def frame_count(self) -> int | None:
        """Frames that the header promises."""
        return self._promised

    @property
    def clock_state(self) -> ClockState:
        """Times are the recording's."""
        return ClockState.RECORDED

    def frames(self) -> Iterator[Frame]:
        """Yield the frames from the first.

        Raises:
            SourceError: The source is closed, a frame has an absurd size, or the file ends before its header says.
        """
        if self._closed:
            raise SourceError(f"{self._path}: the source is closed")
        decoded = self._decode(self._open())
        with closing(decoded if self._config.pace == "real" else prefetched(decoded)) as frames:
            yield from takewhile(lambda _: not self._closed, frames)

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent."""
        self._closed = True

    def _decode(self, capture: cv2.VideoCapture) -> Generator[Frame]:
        try:
            yield from self._frames_of(capture)
        finally:
            capture.release()

    def _frames_of(self, capture: cv2.VideoCapture) -> Iterator[Frame]:
        pacer = Pacer(self._clock, frame_rate=self._frame_rate, started_at=self._started_at)
        came = 0
        while not self._closed:
            done, image = capture.read()
            if not done:
                self._check_whole(came)
                return
            check_size(image.shape[1], image.shape[0], where=f"{self._path}: frame {came}")
            if self._config.pace == "real":
                pacer.wait_for(came)
            # OpenCV forgets a frame with the next one, which is decoded ahead: it cannot be converted later.
            picture = Picture.of(np.asarray(image, dtype=np.uint8))
            yield pacer.frame(came, picture, camera_id=self._camera_id)
            came += 1

    def _check_whole(self, came: int) -> None:
        if came == 0:
            raise SourceError(f"{self._path}: no frame in it can be decoded")
        if self._promised is None:
            return
        missing = self._promised - came
        if missing > max(COUNT_SLACK_FRAMES, math.ceil(self._promised * COUNT_SLACK_SHARE)):
            raise SourceError(
                f"{self._path}: the video is cut off or damaged: {came} of {self._promised} frames came; "
                "those were used"
            )

    def _open(self) -> cv2.VideoCapture:
        # An absolute path, and FFmpeg by name: a relative one could be taken for a protocol, a pattern or a device.
        capture = cv2.VideoCapture(str(self._path.absolute()), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(f"{self._path}: not a video that OpenCV can read, or cut off before its index")
        try:
            width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            check_size(width, height, where=str(self._path))
        except SourceError:
            capture.release()
            raise
        return capture

    def _rate_of(self, capture: cv2.VideoCapture) -> float:
        stated = float(capture.get(cv2.CAP_PROP_FPS))
        if math.isfinite(stated) and 0.0 < stated <= MAX_FRAME_RATE:
            return stated
        if "frame_rate" in self._config.model_fields_set:
            return self._config.frame_rate
        raise SourceError(
            f"{self._path}: states {stated:g} frames per second; allowed are more than 0 and at most "
            f"{MAX_FRAME_RATE:g}. Set frame_rate for this source, or copy the video into another container"
        )


def _check_file(path: Path) -> None:
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror}") from error
    if not path.is_file():
        raise SourceError(f"{path}: neither a file nor a folder")
    if size_bytes == 0:
        raise SourceError(f"{path}: the file is empty")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


def _count_of(capture: cv2.VideoCapture) -> int | None:
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if math.isfinite(count) and count >= 1 else None
