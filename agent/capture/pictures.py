"""Still pictures: one file, and a folder of them played as a recording.

Owns: which files count as pictures, their natural order, and decoding within limits. A picture is read whole and
checked before the decoder sees it, because decoders fill what is missing with grey and say nothing. Of a file that
holds several pictures the first is used here, and that is told; `opening` has one that moves played.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from agent.capture.animation import pictures_in
from agent.capture.avif import read_avif
from agent.capture.header import JPEG_EOI, JPEG_SOI, is_avif, is_cut_off, picture_wh
from agent.capture.opencv import check_size, cv2
from agent.capture.pacing import Pacer, recording_start
from agent.capture.scan import lacks_end_only
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, SourceError
from agent.ports import Clock
from agent.records import ClockState, Frame, Image, Picture, TimeSource

PICTURE_SUFFIXES: Final = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a picture, in lower case."""
PAGED_SUFFIXES: Final = (".tif", ".tiff")
"""Of these, whose further pictures are pages and no film."""
MAX_PICTURE_BYTES: Final = 64 << 20
"""Largest picture file: 64 MiB, a 20-megapixel picture without compression."""
_DIGITS: Final = re.compile(r"(\d+)")

_log = logging.getLogger(__name__)


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder in natural order: `eu2.jpg` before `eu10.jpg`. Hidden files are left out.

    Raises:
        SourceError: The folder cannot be listed, or holds no picture.
    """
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "."]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be listed: {error.strerror}") from error
    if not names:
        raise SourceError(f"{folder}: no picture in this folder; allowed are {', '.join(PICTURE_SUFFIXES)}")
    return sorted(names, key=_natural)


def read_picture(path: Path) -> Image:
    """Read one picture. The log says where more is in the file, or its end marker is missing.

    Returns:
        uint8, shape (H, W, 3), BGR, turned upright where the file says how it was held.

    Raises:
        SourceError: Missing, not a file, empty, too large, cut off, or nothing that can be decoded.
    """
    data = picture_bytes(path)
    stated_wh = picture_wh(data)
    if stated_wh is not None:
        check_size(*stated_wh, where=str(path))
    if is_cut_off(data):
        if not data.startswith(JPEG_SOI) or not lacks_end_only(data):
            raise SourceError(f"{path}: the picture is cut off or damaged ({len(data)} bytes); copy it again")
        _log.warning("%s: its end marker is missing; the picture itself is whole, and read", path)
        data += JPEG_EOI
    image = _decoded(path, data, stated_wh)
    if image is None:
        raise SourceError(f"{path}: not a picture that can be decoded; allowed are {', '.join(PICTURE_SUFFIXES)}")
    check_size(image.shape[1], image.shape[0], where=str(path))
    if (count := pictures_in(path)) > 1:
        _log.warning("%s: holds %d pictures; the first is read", path, count)
    return image


def _decoded(path: Path, data: bytes, stated_wh: tuple[int, int] | None) -> Image | None:
    """Return the picture that a file holds; None if it cannot be decoded."""
    if is_avif(data):
        return read_avif(path, stated_wh)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None  # OpenCV's own limits refused it
    return None if image is None else np.asarray(image, dtype=np.uint8)


def is_picture(path: Path) -> bool:
    """Tell whether a file is one still picture by its name, and does not move. Only what has such a name is opened."""
    suffix = path.suffix.lower()
    return suffix in PICTURE_SUFFIXES and (suffix in PAGED_SUFFIXES or pictures_in(path) == 1)


class Pictures:
    """A folder of pictures, played as a recording at the configured rate; or one picture."""

    def __init__(self, config: SourceConfig, *, camera_id: str, clock: Clock) -> None:
        """List the folder; no picture is read yet.

        Raises:
            SourceError: The folder cannot be listed, or holds no picture.
        """
        self._folder = Path(config.uri)
        self._paths = list_pictures(self._folder) if self._folder.is_dir() else [self._folder]
        self._started_at: datetime = recording_start(config, self._paths[0])
        self._config = config
        self._camera_id = camera_id
        self._clock = clock
        self._lost = 0
        self._closed = False

    @property
    def frame_count(self) -> int | None:
        """Pictures in the folder when it was opened."""
        return len(self._paths)

    @property
    def clock_state(self) -> ClockState:
        """Times are the recording's."""
        return ClockState.RECORDED

    @property
    def frames_lost(self) -> int:
        """Pictures that could not be decoded, in the latest playback."""
        return self._lost

    def frames(self) -> Iterator[Frame]:
        """Yield one frame a picture, in natural order, from the first; one that cannot be decoded is left out.

        Its place and its time stay empty. The log names it.

        Raises:
            SourceError: The source is closed, or no picture can be decoded.
            SourceDamagedError: At the end: some could not be decoded; the first is named.
        """
        if self._closed:
            raise SourceError(f"{self._folder}: the source is closed")
        self._lost = 0
        yield from self._play()

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent."""
        self._closed = True

    def _play(self) -> Iterator[Frame]:
        pacer = Pacer(self._clock, self._config, camera_id=self._camera_id, started_at=self._started_at)
        faults: list[SourceError] = []
        for sequence, path in enumerate(self._paths):
            if self._closed:
                return
            try:
                picture = Picture.of(read_picture(path))
            except SourceError as error:
                _log.warning("%s; going on with the others", error)
                faults.append(error)
                self._lost = len(faults)
                continue
            since_start_s = sequence / self._config.frame_rate
            yield pacer.frame(sequence, picture, since_start_s=since_start_s, time_source=TimeSource.RATE)
        if len(faults) == len(self._paths):
            raise faults[0]
        if faults:
            raise SourceDamagedError(
                f"{self._folder}: {len(faults)} of {len(self._paths)} pictures cannot be decoded, "
                f"the others were used; the first is {faults[0]}"
            )


def picture_bytes(path: Path) -> bytes:
    """Return what a picture's file holds.

    Raises:
        SourceError: Missing, not a file, empty or too large.
    """
    if not path.is_file():
        raise SourceError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise SourceError(f"{path}: the file is empty")
    if len(data) > MAX_PICTURE_BYTES:
        raise SourceError(f"{path}: larger than {MAX_PICTURE_BYTES >> 20} MiB, the most that a picture may have")
    return data


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = _DIGITS.split(path.name.casefold())
    # Odd places hold the digits. A number sorts by its value; the name itself breaks the tie of `1` and `01`.
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)], path.name
