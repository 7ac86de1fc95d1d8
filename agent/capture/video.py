"""Recorded video: any file that FFmpeg reads.

Owns: one playback from the first frame to the last, the rate of a stream without times, and saying at the end what is
missing. Leaves to others: decoding (`decoder`), dates (`frame_times`, `pacing`), what was promised (`wholeness`).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Final

from av.container import InputContainer

from agent.capture.decoder import Decoded, Decoder
from agent.capture.ffmpeg import VideoStream, has_times, index_times, open_recording, packets_of
from agent.capture.frame_times import FrameTimes
from agent.capture.opencv import check_size
from agent.capture.pacing import Pacer, recording_start
from agent.capture.prefetch import prefetched
from agent.capture.wholeness import Wholeness, length_s
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, SourceError
from agent.ports import Clock
from agent.records import ClockState, Frame

MAX_FRAME_RATE: Final = 1000.0
"""Frames per second; above it the figure is a container's time base (90000 is common), not a rate."""
GUESSED_FRAME_RATE: Final = 25.0
"""Frames per second of a stream that has no times and states no rate: that of many cameras, and FFmpeg's own guess."""
FIRST_CREDIBLE_YEAR: Final = 1990
"""A creation time before this is a clock that was never set: 1904, 1970 and 1980 are where they begin."""

_log = logging.getLogger(__name__)


class VideoFile:
    """One recorded video, decoded from its first frame by each `frames()`."""

    def __init__(self, config: SourceConfig, *, camera_id: str, clock: Clock) -> None:
        """Open the file and read its headers.

        Raises:
            SourceError: Missing, empty, no video, or an absurd size.
        """
        self._path = Path(config.uri)
        _check_file(self._path)
        self._config = config
        self._camera_id = camera_id
        self._clock = clock
        self._lost = 0
        self._closed = False
        container, stream = open_recording(self._path)
        with container:
            context = stream.codec_context
            check_size(context.width, context.height, where=str(self._path))
            self._has_times = has_times(container)
            self._step_s = 1 / self._rate_of(stream)
            self._promised = stream.frames - sum(entry.is_discard for entry in stream.index_entries)
            self._started_at = self._start_of(container, stream)

    @property
    def frame_count(self) -> int | None:
        """Frames that the header promises; None where it counts none."""
        return self._promised if self._promised > 0 else None

    @property
    def clock_state(self) -> ClockState:
        """Times are the recording's."""
        return ClockState.RECORDED

    @property
    def frames_lost(self) -> int:
        """Frames that came and could not be decoded, in the latest playback."""
        return self._lost

    def frames(self) -> Iterator[Frame]:
        """Yield the frames from the first; damaged ones are left out and counted.

        Raises:
            SourceError: The source is closed, a frame has an absurd size, or none can be decoded.
            SourceDamagedError: At the end: frames were lost, or the file ends before its header says.
        """
        if self._closed:
            raise SourceError(f"{self._path}: the source is closed")
        self._lost = 0
        played = self._play()
        with closing(played if self._config.pace == "real" else prefetched(played)) as frames:
            yield from takewhile(lambda _: not self._closed, frames)

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent."""
        self._closed = True

    def _play(self) -> Generator[Frame]:
        container, stream = open_recording(self._path)
        pacer = Pacer(self._clock, self._config, camera_id=self._camera_id, started_at=self._started_at)
        times, came = FrameTimes(self._step_s), 0
        with container:
            decoder = Decoder(stream, where=str(self._path))
            whole = Wholeness(container, stream, step_s=self._step_s)
            index = index_times(container, stream)
            for decoded in self._decoded(container, decoder, whole, index):
                stream_s = decoded.pts_s if index is None else decoded.dts_s
                if not self._has_times:
                    stream_s = None
                    times.pass_over(decoder.lost - self._lost)
                self._lost = decoder.lost
                since_start_s, source = times.next(stream_s)
                yield pacer.frame(came, decoded.picture, since_start_s=since_start_s, time_source=source)
                came += 1
            self._lost, missing = decoder.lost, whole.faults()
        if not self._closed:
            self._check_whole(came, missing)

    def _decoded(
        self, container: InputContainer, decoder: Decoder, whole: Wholeness, index: dict[int, int] | None
    ) -> Iterator[Decoded]:
        for packet in packets_of(container):
            if self._closed:
                return
            whole.note(packet)
            if packet.stream_index == decoder.stream_index:
                if index is not None and packet.pos is not None:
                    packet.dts = index.get(packet.pos, packet.dts)
                yield from decoder.decode(packet)
        yield from decoder.flush()

    def _check_whole(self, came: int, missing: list[str]) -> None:
        if came == 0:
            raise SourceError(f"{self._path}: no frame in it can be decoded")
        faults = [f"{self._lost} {'was' if self._lost == 1 else 'were'} lost"] if self._lost else []
        faults += missing
        if faults:
            raise SourceDamagedError(
                f"{self._path}: the video is cut off or damaged: {came} frames came, {' and '.join(faults)}; "
                "those that came were used"
            )

    def _rate_of(self, stream: VideoStream) -> float:
        """Return the frames a second: with times of its own, they are for where those fail; without, for all of it."""
        stated = _credible(stream.guessed_rate if self._has_times else stream.codec_context.framerate)
        if self._has_times:
            return stated or GUESSED_FRAME_RATE
        if "frame_rate" in self._config.model_fields_set:
            return self._config.frame_rate
        _log.warning(
            "%s: has no times; its frames are dated at %g a second, which %s. Set frame_rate if that is wrong",
            self._path,
            stated or GUESSED_FRAME_RATE,
            "it states" if stated else "is a guess",
        )
        return stated or GUESSED_FRAME_RATE

    def _start_of(self, container: InputContainer, stream: VideoStream) -> datetime:
        created_at = _created_at(container, stream)
        length = 0.0
        if self._config.started_at is None and created_at is None:
            known = length_s(container) if self._has_times else None
            length = self._counted_s(container, stream) if known is None else known
        return recording_start(self._config, self._path, created_at=created_at, length_s=length)

    def _counted_s(self, container: InputContainer, stream: VideoStream) -> float:
        """Return the length of a recording that does not state it: its packets are read, none is decoded."""
        count, first, end = 0, None, 0
        for packet in packets_of(container):
            if packet.stream_index == stream.index:
                count += 1
                if packet.pts is not None:
                    first = packet.pts if first is None else min(first, packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
        if not self._has_times or first is None or stream.time_base is None:
            return self._step_s * count
        return float((end - first) * stream.time_base)


def _credible(rate: Fraction | None) -> float | None:
    return float(rate) if rate is not None and 0 < rate <= MAX_FRAME_RATE else None


def _created_at(container: InputContainer, stream: VideoStream) -> datetime | None:
    text = container.metadata.get("creation_time") or stream.metadata.get("creation_time") or ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.year < FIRST_CREDIBLE_YEAR:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
