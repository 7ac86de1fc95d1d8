"""FFmpeg through PyAV: opening a recording, its packets, and what FFmpeg's errors mean.

Owns: which protocols and containers a recording may use, and going on after what cannot be read. Leaves to others:
frames (`decoder`), times (`frame_times`), whether all of it came (`wholeness`). PyAV prints nothing unless it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from agent.errors import SourceError

MAX_READ_FAILURES: Final = 100
"""Reads in a row that may fail before a recording counts as being at its end: FFmpeg skips at least a byte each time,
and finds the next packet of a damaged file within a few."""
PLAYLISTS: Final = frozenset({"concat", "dash", "hls", "imf"})
"""Containers that name other files. A recording is one file."""
AnyPacket: TypeAlias = "Packet[Stream]"  # a string: the class knows its type for checkers only
"""A packet of sound, video or anything else."""
AVI_HEAD_BYTES: Final = 8
"""Name and length, before each packet of an AVI file: its index names their place, a packet that of what follows."""
NO_TIMESTAMPS: Final = 0x0080
"""`AVFMT_NOTIMESTAMPS`, among the flags of a format."""

__all__ = ["AnyPacket", "FFmpegError", "VideoStream", "has_times", "index_times", "open_recording", "packets_of"]


def open_recording(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a recording; the caller closes the container.

    Raises:
        SourceError: FFmpeg cannot read it, or there is no video in it that can be decoded.
    """
    try:
        # An absolute path and one protocol: neither the name nor the content can send FFmpeg anywhere else.
        container = av.open(str(path.absolute()), mode="r", container_options={"protocol_whitelist": "file"})
    except (FFmpegError, UnicodeError, ValueError) as error:
        raise SourceError(f"{path}: not a video that FFmpeg can read, or cut off before its index") from error
    try:
        return container, _video_of(container, path)
    except SourceError:
        container.close()
        raise


def packets_of(container: InputContainer) -> Iterator[AnyPacket]:
    """Yield the packets of all streams to the end of the recording; what cannot be read is passed over."""
    failures = 0
    while failures < MAX_READ_FAILURES:
        try:
            for packet in container.demux():
                if packet.size:
                    failures = 0
                    yield packet
            return
        except IndexError:
            # PyAV looks, after the last packet, for a stream that a damaged file showed after it was opened.
            return
        except FFmpegError:
            failures += 1


def index_times(container: InputContainer, stream: VideoStream) -> dict[int, int] | None:
    """Return the time of each packet of an AVI file by its place, in the stream's time base; None for other containers.

    AVI has no times; FFmpeg counts the packets that come, so that all after a missing one are dated too early.
    """
    if "avi" not in container.format.name.split(","):
        return None
    return {entry.pos + AVI_HEAD_BYTES: entry.timestamp for entry in stream.index_entries}


def has_times(container: InputContainer) -> bool:
    """Tell whether the container dates its frames; those of a raw stream are counted by FFmpeg, at any rate."""
    name = container.format.name
    return not (container.format.flags & NO_TIMESTAMPS or name.endswith("_pipe"))


def _video_of(container: InputContainer, path: Path) -> VideoStream:
    if not PLAYLISTS.isdisjoint(container.format.name.split(",")):
        raise SourceError(f"{path}: a list of other files; name the video itself")
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise SourceError(f"{path}: there is no video in this file")
    if stream.codec_context is None:
        raise SourceError(f"{path}: the video's codec is none that this FFmpeg can decode")
    return stream
