"""The time of recorded frames, and playing a recording at its own rate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.config.models import SourceConfig
from agent.errors import SourceError
from agent.ports import Clock
from agent.records import Frame, Picture


def recording_start(config: SourceConfig, path: Path) -> datetime:
    """Return when a recording began: as configured, else the modification time of `path`; aware UTC.

    Raises:
        SourceError: The file is gone.
    """
    if config.started_at is not None:
        return config.started_at.astimezone(UTC)
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError) as error:
        raise SourceError(f"{path}: no usable modification time; set started_at") from error


class Pacer:
    """Frame n of a recording was taken n / rate after its start."""

    def __init__(self, clock: Clock, *, frame_rate: float, started_at: datetime) -> None:
        """Take the rate in frames per second, > 0, and the aware UTC time of frame 0."""
        self._clock = clock
        self._frame_rate = frame_rate
        self._started_at = started_at
        self._began_s = clock.monotonic_s()

    def wait_for(self, sequence: int) -> None:
        """Wait until frame `sequence` is due; return at once when it is late."""
        due_s = self._began_s + sequence / self._frame_rate
        left_s = due_s - self._clock.monotonic_s()
        if left_s > 0:
            self._clock.sleep(left_s)

    def frame(self, sequence: int, picture: Picture, *, camera_id: str) -> Frame:
        """Make the frame, dated from the recording's start.

        Args:
            sequence: 0, 1, 2, ..
            picture: What was captured.
            camera_id: The camera's id.

        Raises:
            SourceError: The time is beyond what a date can hold.
        """
        since_start_s = sequence / self._frame_rate
        try:
            captured_at = self._started_at + timedelta(seconds=since_start_s)
        except OverflowError as error:
            raise SourceError(f"frame {sequence}: its time is beyond the year 9999; check started_at") from error
        return Frame(
            camera_id=camera_id,
            sequence=sequence,
            captured_at=captured_at,
            monotonic_s=since_start_s,
            picture=picture,
        )
