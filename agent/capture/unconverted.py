"""A decoded frame as a `Picture` that is converted when it is first looked at.

Owns: brightness without a conversion, BGR with the frame's own colour space and range, turning, and square pixels.
A frame belongs to its picture: the decoder writes the next one elsewhere.
"""

from __future__ import annotations

import math
import threading
from fractions import Fraction
from functools import partial
from typing import Final, NamedTuple, Self

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from agent.capture.opencv import cv2
from agent.records import Image, Picture, Plane

MAX_SAMPLE_ASPECT: Final = 4
"""Widest and highest pixel, in that of a square one, that is believed: recorders have 4:3 and 16:11, a field 2:1."""


class Layout(NamedTuple):
    """How the frames of a stream lie in memory and are to be seen: the same from one key frame to the next.

    Attributes:
        coded_wh: Width and height as they are decoded, pixels.
        wh: The same in square pixels.
        turns: Quarter turns to the left that make it upright.
        luma_bits: Of the plane of brightness; None if there is none, or its bytes or lines have another order.
    """

    coded_wh: tuple[int, int]
    wh: tuple[int, int]
    turns: int
    luma_bits: int | None

    @classmethod
    def of(cls, frame: VideoFrame, sample_aspect: Fraction | None) -> Self:
        """Return a frame's layout.

        Args:
            frame: As decoded.
            sample_aspect: Width of a pixel in its height; None or 0 where nobody said.
        """
        turns = frame.rotation // 90 % 4 if frame.rotation % 90 == 0 else 0
        wh = _square(frame.width, frame.height, sample_aspect)
        return cls((frame.width, frame.height), wh, turns, _luma_bits(frame))


class Converter:
    """Converts the frames of one recording; keeps what the conversion needs from one to the next."""

    def __init__(self) -> None:
        """Begin without having converted any."""
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()

    def picture_of(self, frame: VideoFrame, layout: Layout) -> Picture:
        """Return a frame's picture, upright and with square pixels."""
        _, wh, turns, luma_bits = layout
        luma = None if luma_bits is None else partial(_upright, frame, luma_bits, wh, turns)
        return Picture(wh[::-1] if turns % 2 else wh, partial(self._bgr, frame, wh, turns), luma=luma)

    def _bgr(self, frame: VideoFrame, wh: tuple[int, int], turns: int) -> Image:
        # One thread: what others would save is less than it costs to start them for each frame.
        with self._lock:
            converted = self._reformatter.reformat(frame, *wh, format="bgr24", threads=1)
        image = _pixels_of(converted)
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _square(width: int, height: int, sample_aspect: Fraction | None) -> tuple[int, int]:
    """Return the size in square pixels; the side that is too short is made longer, so that no pixel is lost."""
    if not sample_aspect or not 1 / MAX_SAMPLE_ASPECT <= sample_aspect <= MAX_SAMPLE_ASPECT:
        return width, height
    if sample_aspect > 1:
        return round(width * sample_aspect), height
    return width, round(height / sample_aspect)


def luma_of(frame: VideoFrame) -> Plane | None:
    """Return a frame's brightness as it was decoded; None if it has no plane of its own, and must be converted.

    Returns:
        uint8, shape (H, W); of 8 bits, a view into the frame. Video range is left as it is.
    """
    bits = _luma_bits(frame)
    return None if bits is None else _luma(frame, bits)


def _pixels_of(frame: VideoFrame) -> Image:
    """Return the pixels of a frame in BGR; a view into it, where its lines follow one another without a gap."""
    plane, shape = frame.planes[0], (frame.height, frame.width, 3)
    if plane.line_size != 3 * frame.width:
        return np.asarray(frame.to_ndarray(), dtype=np.uint8)
    pixels: Image = np.frombuffer(memoryview(plane), np.uint8, math.prod(shape)).reshape(shape)
    return pixels


def _luma(frame: VideoFrame, bits: int) -> Plane:
    plane = frame.planes[0]
    line_bytes = plane.line_size
    lines = np.frombuffer(memoryview(plane), np.uint8, line_bytes * frame.height).reshape(frame.height, line_bytes)
    if bits == 8:
        return lines[:, : frame.width]
    return np.asarray(np.right_shift(lines.view(np.uint16)[:, : frame.width], bits - 8), dtype=np.uint8)


def _luma_bits(frame: VideoFrame) -> int | None:
    """Return the bits of the plane of brightness; None if there is none, or its bytes or lines have another order."""
    layout = frame.format
    if layout.is_rgb or layout.has_palette or layout.is_big_endian or layout.is_bayer or layout.name.startswith("p0"):
        return None
    first, *others = layout.components
    alone = first.is_luma and all(one.plane != first.plane for one in others)
    return first.bits if alone and first.bits >= 8 and frame.planes[0].line_size > 0 else None


def _upright(frame: VideoFrame, bits: int, wh: tuple[int, int], turns: int) -> Plane:
    luma = _luma(frame, bits)
    if wh != luma.shape[::-1]:
        luma = np.asarray(cv2.resize(luma, wh, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    return np.rot90(luma, turns) if turns else luma
