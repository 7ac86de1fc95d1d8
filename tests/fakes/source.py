"""A source that replays frames from memory, beside the `FrameSource` port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from agent.errors import SourceError
from agent.records import ClockState, Frame, Image, Picture, TimeSource

STARTED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class ReplaySource:
    """Plays pictures at a rate; after the last it raises `fault`, if there is one."""

    def __init__(
        self,
        images: Sequence[Image],
        *,
        camera_id: str = "cam-1",
        frame_rate: float = 10.0,
        started_at: datetime = STARTED_AT,
        clock_state: ClockState = ClockState.RECORDED,
        fault: SourceError | None = None,
    ) -> None:
        """Take the pictures: uint8, shape (H, W, 3), BGR."""
        self._images = images
        self._camera_id = camera_id
        self._frame_rate = frame_rate
        self._started_at = started_at
        self._clock_state = clock_state
        self._fault = fault
        self.is_closed = False

    @property
    def frame_count(self) -> int | None:
        """As the port."""
        return len(self._images)

    @property
    def clock_state(self) -> ClockState:
        """As the port."""
        return self._clock_state

    @property
    def frames_lost(self) -> int:
        """As the port."""
        return 0

    def frames(self) -> Iterator[Frame]:
        """As the port."""
        if self.is_closed:
            raise SourceError("replay: the source is closed")
        yield from self._play()

    def close(self) -> None:
        """As the port."""
        self.is_closed = True

    def _play(self) -> Iterator[Frame]:
        for sequence, image in enumerate(self._images):
            if self.is_closed:
                return
            since_start_s = sequence / self._frame_rate
            yield Frame(
                camera_id=self._camera_id,
                sequence=sequence,
                captured_at=self._started_at + timedelta(seconds=since_start_s),
                monotonic_s=since_start_s,
                picture=Picture.of(image.copy()),
                time_source=TimeSource.RATE,
            )
        if self._fault is not None:
            raise self._fault
