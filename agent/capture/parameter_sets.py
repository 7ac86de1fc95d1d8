"""Parameter sets of H.264 and H.265: the few bytes without which no picture after them can be decoded.

Cameras send them with each key frame. A decoder takes damaged ones in place of those it knows; everything up to the
next key frame is then lost, or is no picture. So a key frame with other sets than before is tried beforehand, by a
decoder that knows nothing else: where that finds a whole picture, the camera has changed; where not, the sets of before
stay.

Owns: finding and replacing them, in streams with start codes (Annex B of both standards). In files with lengths in
place of those, they stand in the header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from av import CodecContext, Packet
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from agent.capture.ffmpeg import AnyPacket

START_CODE: Final = b"\x00\x00\x01"
_KINDS: Final[dict[str, tuple[frozenset[int], Callable[[int], int]]]] = {
    "h264": (frozenset({7, 8}), lambda head: head & 0x1F),
    "hevc": (frozenset({32, 33, 34}), lambda head: head >> 1 & 0x3F),
}
"""By FFmpeg's name of the codec: which kinds of unit they are, and a unit's kind by its first byte."""


class ParameterSets:
    """The sets of one stream."""

    def __init__(self, codec: str, header: bytes | None) -> None:
        """Begin with those of the stream's header, if it has any with start codes; `codec` is FFmpeg's name."""
        self._codec = codec
        self._known, _ = self._taken_apart(header or b"")

    def checked(self, packet: AnyPacket) -> AnyPacket:
        """Return a key frame's packet, or the same picture with the sets of before, if its own are damaged."""
        if self._codec not in _KINDS or START_CODE not in bytes(memoryview(packet)[:4]):
            return packet
        sets, picture = self._taken_apart(bytes(packet))
        if not sets or sets == self._known:
            return packet
        if not self._known or _can_be_decoded(bytes(packet), self._codec):
            self._known = sets
            return packet
        mended: AnyPacket = Packet(self._known + picture)
        mended.pts, mended.dts, mended.time_base = packet.pts, packet.dts, packet.time_base
        mended.is_keyframe = True
        return mended

    def _taken_apart(self, content: bytes) -> tuple[bytes, bytes]:
        """Return the parameter sets, and all else, each unit after its start code."""
        kinds, kind_of = _KINDS.get(self._codec, (frozenset(), int))
        if not content.startswith((START_CODE, b"\x00" + START_CODE)):
            return b"", content
        sets, others = b"", b""
        for unit in filter(None, (unit.rstrip(b"\x00") for unit in content.split(START_CODE))):
            if kind_of(unit[0]) in kinds:
                sets += START_CODE + unit
            else:
                others += START_CODE + unit
        return sets, others


def _can_be_decoded(content: bytes, codec: str) -> bool:
    """Tell whether a key frame is a whole picture by itself."""
    context = CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext), "it is a video's"
    context.thread_count = 1  # several threads leave damage unmarked where each decodes slices
    try:
        frames = context.decode(Packet(content)) + context.decode(None)
    except FFmpegError:
        return False
    return bool(frames) and not frames[0].is_corrupt
