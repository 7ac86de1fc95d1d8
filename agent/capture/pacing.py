"""The time of recorded frames, and playing a recording at its own rate."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.config.models import SourceConfig
from agent.errors import SourceError
from agent.ports import Clock
from agent.records import Frame, Picture, TimeSource

_log = logging.getLogger(__name__)


def recording_start(
    config: SourceConfig, path: Path, *, created_at: datetime | None = None, length_s: float = 0.0
) -> datetime:
    """Return when a recording began; aware UTC. The log says where that comes from, if it is not configured.

    Args:
        config: What is configured comes first.
        path: The file, whose modification time is the end of the recording.
        created_at: When the recording began by its own word, which comes second.
        length_s: Length of the recording, seconds.

    Raises:
        SourceError: The file is gone, or its time is no date.
    """
    if config.started_at is not None:
        return config.started_at.astimezone(UTC)
    if created_at is not None:
        _log.info("%s: dated from %s, as the file itself says", path, created_at.isoformat())
        return created_at
    try:
        began_at = datetime.fromtimestamp(path.stat().st_mtime, UTC) - timedelta(seconds=length_s)
    except (OSError, OverflowError, ValueError) as error:
        raise SourceError(f"{path}: no usable modification time; set started_at") from error
    _log.info("%s: dated from %s, its modification time less its length", path, began_at.isoformat())
    return began_at


class Pacer:
    """Dates the frames of a recording from its start, and waits for each where it is played in real time."""

    def __init__(self, clock: Clock, config: SourceConfig, *, camera_id: str, started_at: datetime) -> None:
        """Take how it is played, the camera's id, and the aware UTC time of its first frame."""
        self._clock = clock
        self._waits = config.pace == "real"
        self._camera_id = camera_id
        self._started_at = started_at
        self._began_s = clock.monotonic_s()

    def frame(self, sequence: int, picture: Picture, *, since_start_s: float, time_source: TimeSource) -> Frame:
        """Make a frame, once it is due.

        Args:
            sequence: 0, 1, 2, ..
            picture: What was captured.
            since_start_s: When, seconds from the first frame.
            time_source: Where that comes from.

        Raises:
            SourceError: The time is beyond what a date can hold.
        """
        try:
            captured_at = self._started_at + timedelta(seconds=since_start_s)
        except OverflowError as error:
            raise SourceError(f"frame {sequence}: its time is beyond the year 9999; check started_at") from error
        if self._waits:
            self._wait(since_start_s)
        return Frame(
            camera_id=self._camera_id,
            sequence=sequence,
            captured_at=captured_at,
            monotonic_s=since_start_s,
            picture=picture,
            time_source=time_source,
        )

    def _wait(self, since_start_s: float) -> None:
        left_s = self._began_s + since_start_s - self._clock.monotonic_s()
        if left_s > 0:
            self._clock.sleep(left_s)
