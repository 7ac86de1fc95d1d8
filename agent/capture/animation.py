"""Pictures that move, of the kind that FFmpeg does not decode: animated WebP.

Owns: how many pictures a file of any kind holds, and playing WebP at its own times. OpenCV decodes it from the first
each time it is asked for some, so they are asked for in as large parts as memory allows. Sequences of AVIF, GIF and
animated PNG are played by `video`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from agent.capture.avif import avif_count
from agent.capture.header import BMP_MARK, JPEG_SOI, is_avif, picture_wh
from agent.capture.opencv import check_size, cv2
from agent.capture.pacing import Pacer, recording_start
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, SourceError
from agent.ports import Clock
from agent.records import ClockState, Frame, Image, Picture, TimeSource

ANIMATED_SUFFIX: Final = ".webp"
"""What is played here, in lower case."""
PART_BYTES: Final = 64 << 20
"""Decoded pictures that are held at a time: 24 of 960x720 with their transparency."""
SINGLE: Final = (JPEG_SOI, BMP_MARK)
"""How kinds begin that hold one picture: OpenCV would read the whole file again to find that out."""
UNTIMED_S: Final = 0.1
"""How long a picture is shown that states no time: what browsers do."""


def pictures_in(path: Path) -> int:
    """Return how many pictures a file holds by its own word: 1 where it does not say, or cannot be understood."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
        if head.startswith(SINGLE):
            return 1
        if is_avif(head):
            return avif_count(path)
        return max(int(cv2.imcount(str(path))), 1)
    except (OSError, cv2.error):
        return 1


class AnimatedPicture:
    """One animated picture, played as a recording."""

    def __init__(self, config: SourceConfig, *, data: bytes, camera_id: str, clock: Clock) -> None:
        """Find out how long it is.

        Args:
            config: Its path, and how it is played.
            data: The whole file.
            camera_id: The camera's id.
            clock: Paces it where it is played in real time.

        Raises:
            SourceError: An absurd size, or no time that can be used.
        """
        self._path = Path(config.uri)
        stated_wh = picture_wh(data)
        if stated_wh is not None:
            check_size(*stated_wh, where=str(self._path))
        width, height = stated_wh or (1, 1)
        self._part = max(PART_BYTES // (width * height * 4), 1)
        self._data = np.frombuffer(data, np.uint8).reshape(1, -1)  # OpenCV 4 takes no other shape
        self._count = pictures_in(self._path)
        self._config = config
        self._camera_id = camera_id
        self._clock = clock
        self._closed = False
        length_s = sum(shown_s for _, shown_s in self._shown()) if config.started_at is None else 0.0
        self._started_at = recording_start(config, self._path, length_s=length_s)

    @property
    def frame_count(self) -> int | None:
        """Pictures that the file says it holds."""
        return self._count

    @property
    def clock_state(self) -> ClockState:
        """Times are the recording's."""
        return ClockState.RECORDED

    @property
    def frames_lost(self) -> int:
        """None is known to be lost: what cannot be decoded ends it."""
        return 0

    def frames(self) -> Iterator[Frame]:
        """Yield its pictures from the first.

        Raises:
            SourceError: The source is closed, or none can be decoded.
            SourceDamagedError: At the end: fewer came than the file says it holds.
        """
        if self._closed:
            raise SourceError(f"{self._path}: the source is closed")
        yield from self._play()

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent."""
        self._closed = True

    def _play(self) -> Iterator[Frame]:
        pacer = Pacer(self._clock, self._config, camera_id=self._camera_id, started_at=self._started_at)
        came, since_start_s = 0, 0.0
        for image, shown_s in self._shown():
            if self._closed:
                return
            yield pacer.frame(came, Picture.of(image), since_start_s=since_start_s, time_source=TimeSource.PTS)
            came += 1
            since_start_s += shown_s
        if came == 0:
            raise SourceError(f"{self._path}: no frame in it can be decoded")
        if came < self._count:
            raise SourceDamagedError(
                f"{self._path}: the picture is cut off or damaged: {came} of {self._count} frames came; "
                "those that came were used"
            )

    def _shown(self) -> Iterator[tuple[Image, float]]:
        """Yield each picture, BGR, and for how long it is shown, seconds."""
        for first in range(0, self._count, self._part):
            try:
                done, part = cv2.imdecodeanimation(self._data, start=first, count=self._part)
            except cv2.error:
                return
            if not done:
                return
            for image, shown_ms in zip(part.frames, part.durations, strict=True):
                yield np.ascontiguousarray(image[:, :, :3], dtype=np.uint8), float(shown_ms) / 1000 or UNTIMED_S
