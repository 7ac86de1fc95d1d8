"""Whether all of a recording came: what its container promised, and where its packets ended.

Owns: which promises are believed. A number of frames is none: FFmpeg counts those that an edit list leaves out, and
makes one up from length and rate where there is none. The length of the video is one, where the container states it
apart from the packets themselves, and sound that goes on longer does not lengthen it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import av
from av.container import InputContainer

from agent.capture.ffmpeg import AnyPacket, VideoStream

STATING: Final = frozenset({"avi", "flv", "matroska", "mov"})
"""Containers that state a length in their header. That of the others is made of the last packet, or of the bit rate."""
FROM_ITS_START: Final = "mov"
"""Of these the one whose length counts from the first packet. In the others it is the time of the end."""
SLACK_STEPS: Final = 1.0
"""Frame times by which the end may be missed: of the last frame, nobody may have stated the length."""
ROUNDING_S: Final = 0.002
"""Containers count in milliseconds, at either end."""


class Wholeness:
    """Compares the packets of one recording with its promise."""

    def __init__(self, container: InputContainer, stream: VideoStream, *, step_s: float) -> None:
        """Take the promise from the headers; `step_s` is the usual time between two frames, seconds."""
        self._stream = stream
        self._step_s = step_s
        kinds = STATING.intersection(container.format.name.split(","))
        self._of_video_s = _stated_s(stream, kinds)
        self._promised_s = self._end_s(container, kinds)
        self._came_s = 0.0

    def note(self, packet: AnyPacket) -> None:
        """Note a packet that came: where the video's own length is not stated, one of any stream."""
        if packet.is_discard or (self._of_video_s is not None and packet.stream_index != self._stream.index):
            return
        begins = [time for time in (packet.pts, packet.dts) if time is not None]
        if begins and packet.time_base:
            lasts_s = float(packet.duration * packet.time_base) if packet.duration else 0.0
            if not lasts_s and packet.stream_index == self._stream.index:
                lasts_s = self._step_s
            self._came_s = max(self._came_s, float(max(begins) * packet.time_base) + lasts_s)

    def missing_s(self) -> float:
        """Return how much of the end is missing, seconds; 0 where it is all there, or nothing was promised."""
        missing_s = 0.0 if self._promised_s is None else self._promised_s - self._came_s
        return missing_s if missing_s > SLACK_STEPS * self._step_s + ROUNDING_S else 0.0

    def _end_s(self, container: InputContainer, kinds: frozenset[str]) -> float | None:
        length_s = self._of_video_s
        if length_s is None and container.duration is not None:
            length_s = container.duration / av.time_base
        if not kinds or length_s is None:
            return None
        base = self._stream.time_base
        begins_s = float(self._stream.start_time * base) if self._stream.start_time and base else 0.0
        return length_s + begins_s if FROM_ITS_START in kinds else length_s


def length_s(container: InputContainer) -> float | None:
    """Return the time from the first to the end of the last packet, sound and all, seconds; None if nobody knows it."""
    if container.duration is None:
        return None
    names = STATING.intersection(container.format.name.split(","))
    begins = (container.start_time or 0) if names and FROM_ITS_START not in names else 0
    return max(container.duration - begins, 0) / av.time_base


def _stated_s(stream: VideoStream, kinds: frozenset[str]) -> float | None:
    """Return the video's own length, seconds: of the container's field, or of the tag that Matroska's writers add."""
    if "avi" in kinds and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # its length is what FFmpeg makes of the size of the file
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()
    except (ValueError, OverflowError):
        return None
