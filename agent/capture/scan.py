"""Whether all of a JPEG is its picture: nothing missing before its end marker, and nothing too much."""

from __future__ import annotations

from typing import Final

import numpy as np
from av import CodecContext, Packet
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from agent.capture.header import JPEG_EOI

_FILLERS: Final = (b"\x00" * 64, b"\xaa" * 64)
"""Bytes that differ in their first bit and hold no marker."""


def lacks_end_only(jpeg: bytes) -> bool:
    """Tell whether a JPEG that ends without an end marker has all its blocks.

    A decoder that lacks bits takes the next ones for them, whatever they are. So the picture is whole where it stays
    the same, whatever is put behind it.
    """
    one, other = (_planes(jpeg + filler + JPEG_EOI) for filler in _FILLERS)
    return one is not None and other is not None and all(map(np.array_equal, one, other))


def has_too_much(jpeg: bytes) -> bool:
    """Tell whether a JPEG holds more than its picture: of two, for example, between which a part is gone.

    A decoder stops where the last block is full, and looks no further. So the picture of such a one stays the same
    whatever its last byte is. Bytes that only fill up are none of those. What cannot be decoded is not judged.
    """
    end = jpeg.rfind(JPEG_EOI)
    filled = jpeg[: max(end, 0)].rstrip(b"\x00\xff")
    return len(filled) > 1 and lacks_end_only(filled[:-1])


def _planes(jpeg: bytes) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] | None:
    context = CodecContext.create("mjpeg", "r")
    assert isinstance(context, VideoCodecContext), "mjpeg is video"
    context.options = {"err_detect": "explode"}
    try:
        frames = context.decode(Packet(jpeg))
    except FFmpegError:
        return None
    if len(frames) != 1 or frames[0].is_corrupt:
        return None
    return [np.frombuffer(memoryview(plane), np.uint8) for plane in frames[0].planes]
