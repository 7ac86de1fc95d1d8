"""Whether all of a recording came: what its container promised, and where its packets ended.

Owns: which promises are believed. A number of frames is none: FFmpeg counts those that an edit list leaves out, and
makes one up from length and rate where there is none. The length of the video is one, where the container states it
apart from the packets themselves, and sound that goes on longer does not lengthen it.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer

from agent.capture.ffmpeg import AnyPacket, VideoStream
from agent.capture.scan import has_too_much
from agent.capture.structure import structure_fault

STATING: Final = frozenset({"avi", "flv", "matroska", "mov"})
"""Containers that state a length in their header. That of the others is made of the last packet, or of the bit rate."""
FROM_ITS_START: Final = "mov"
"""Of these the one whose length counts from the first packet. In the others it is the time of the end."""
SLACK_STEPS: Final = 0.5
"""Frame times by which the end may be missed: less than one, so that no frame is missed."""
ROUNDING_S: Final = 0.002
"""Containers count in milliseconds, at either end."""
RAW_JPEG: Final = frozenset({"jpeg_pipe", "mjpeg"})
"""JPEG after JPEG, without a container, by FFmpeg's two names: where a part is gone, two of them become one, and nobody
says so."""
CONTIGUOUS: Final = frozenset({"flv", "matroska"})
"""Containers in which one packet follows on the other in the file, with little between them."""
MOST_BETWEEN_BYTES: Final = 512
"""Between two packets: headers, and what a writer leaves room for. What FFmpeg cannot read it skips without a word."""


class Wholeness:
    """Compares the packets of one recording with its promise."""

    def __init__(self, container: InputContainer, stream: VideoStream, *, step_s: float) -> None:
        """Take the promise from the headers; `step_s` is the usual time between two frames, seconds."""
        self._stream = stream
        self._step_s = step_s
        self._kinds = frozenset(container.format.name.split(","))
        self._name = container.name
        self._of_video_s = _stated_s(stream, self._kinds)
        self._promised_s = self._end_s(container)
        self._came_s = 0.0
        self._came = 0
        self._place_bytes: int | None = None
        self._has_hole = False
        self._is_raw_jpeg = not RAW_JPEG.isdisjoint(self._kinds)

    def note(self, packet: AnyPacket) -> None:
        """Note a packet that came: where the video's own length is not stated, one of any stream."""
        self._came += packet.stream_index == self._stream.index
        self._note_place(packet)
        if self._is_raw_jpeg and not self._has_hole:
            self._has_hole = has_too_much(bytes(packet))
        if packet.is_discard or (self._of_video_s is not None and packet.stream_index != self._stream.index):
            return
        begins = [time for time in (packet.pts, packet.dts) if time is not None]
        if begins and packet.time_base:
            lasts_s = float(packet.duration * packet.time_base) if packet.duration else 0.0
            if not lasts_s and packet.stream_index == self._stream.index:
                lasts_s = self._step_s
            self._came_s = max(self._came_s, float(max(begins) * packet.time_base) + lasts_s)

    def faults(self) -> list[str]:
        """Return what is missing, in a few words each; nothing where it is all there, or nothing was promised."""
        faults = []
        missing_s = 0.0 if self._promised_s is None else self._promised_s - self._came_s
        if missing_s > SLACK_STEPS * self._step_s + ROUNDING_S:
            faults.append(f"{missing_s:.1f} s are missing at its end")
        elif "avi" in self._kinds and self._stream.frames > self._came:
            faults.append(f"{self._stream.frames - self._came} are missing in its midst")
        elif self._has_hole:
            faults.append("a part in its midst cannot be read")
        elif what := structure_fault(Path(self._name), self._kinds, is_indexed=self._stream.frames > 0):
            faults.append(what)
        return faults

    def _note_place(self, packet: AnyPacket) -> None:
        if packet.pos is None or packet.pos < 0 or CONTIGUOUS.isdisjoint(self._kinds):
            return
        if self._place_bytes is not None and packet.pos - self._place_bytes > MOST_BETWEEN_BYTES:
            self._has_hole = True
        self._place_bytes = max(self._place_bytes or 0, packet.pos + packet.size)

    def _end_s(self, container: InputContainer) -> float | None:
        length_s = self._of_video_s
        if length_s is None and container.duration is not None:
            length_s = container.duration / av.time_base
        if STATING.isdisjoint(self._kinds) or length_s is None:
            return None
        base = self._stream.time_base
        begins_s = float(self._stream.start_time * base) if self._stream.start_time and base else 0.0
        return length_s + begins_s if FROM_ITS_START in self._kinds else length_s


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
