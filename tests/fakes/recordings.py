"""Recordings as cameras, recorders and phones make them: small ones, with a number in every picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from agent.records import Image

WH = (192, 128)
RATE = 25
BLOCK_PX = 32
BITS = 6


def picture(number: int, *, moment: int | None = None, wh: tuple[int, int] = WH) -> Image:
    """Return a picture that says its number, 0..63, in a row of black and white blocks, above a bar that moves.

    The bar is where it is at `moment`, which is the number if left out.
    """
    image = np.full((wh[1], wh[0], 3), 96, np.uint8)
    for bit in range(BITS):
        image[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = 224 if number >> bit & 1 else 32
    left = 5 * (number if moment is None else moment) % (wh[0] - 24)
    image[BLOCK_PX + 16 :, left : left + 24] = (40, 200, 220)
    return image


def number_of(image: Image) -> int:
    """Return the number that a picture says, of any size and after any codec."""
    scale = image.shape[1] / WH[0]
    middles = [image[8, round((bit + 0.5) * BLOCK_PX * scale), 1] for bit in range(BITS)]
    return sum((int(level) > 128) << bit for bit, level in enumerate(middles))


def record(
    path: Path,
    pictures: Iterable[Image],
    *,
    codec: str = "libx264",
    layout: str = "yuv420p",
    options: dict[str, str] | None = None,
    at: Callable[[int], int] = lambda number: number,
    rate: int = RATE,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    set_up: Callable[[VideoStream], object] = lambda _stream: None,
    sound_s: float = 0.0,
) -> Path:
    """Write a recording.

    Args:
        path: Where; its suffix chooses the container.
        pictures: uint8, shape (H, W, 3), BGR.
        codec: Name of FFmpeg's encoder.
        layout: Pixel format.
        options: The encoder's.
        at: Time of a picture by its place, in frame times.
        rate: Pictures a second.
        container: FFmpeg's name for it, where the suffix does not tell.
        container_options: The container's.
        set_up: Changes the stream before anything is encoded.
        sound_s: Length of a sound track beside it, seconds.
    """
    defaults = {"libx264": {"preset": "ultrafast", "g": "10", "bf": "0"}, "libx265": {"preset": "ultrafast"}}
    with av.open(str(path), "w", format=container, options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=rate)
        assert isinstance(stream, VideoStream)
        coming = iter(pictures)
        first = next(coming)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = layout
        stream.codec_context.options = defaults.get(codec, {}) | (options or {})
        if codec == "libx265":
            stream.codec_context.options |= {"x265-params": "log-level=none:keyint=10:bframes=0"}
        set_up(stream)
        sound = out.add_stream("aac", rate=8000) if sound_s else None
        for number, image in enumerate(chain([first], coming)):
            frame = VideoFrame.from_ndarray(image, format="bgr24").reformat(format=layout)
            frame.pts, frame.time_base = at(number), Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            for start in range(0, round(sound_s * 8000), 1024):
                silence = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.rate, silence.pts = 8000, start
                out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
    return path


def woven(first: Image, second: Image) -> Image:
    """Return a frame as an interlaced camera makes it: even lines of one moment, odd lines of the next."""
    frame = first.copy()
    frame[1::2] = second[1::2]
    return frame


def packets(path: Path) -> list[tuple[int, int]]:
    """Return (offset, length) in the file of each packet of its video, in order."""
    with av.open(str(path)) as container:
        return [(one.pos or 0, one.size) for one in container.demux(video=0) if one.size]


def spoil(path: Path, places: Sequence[tuple[int, int]], *, seed: int = 1, skip: int = 8) -> Path:
    """Write random bytes over parts of a file, but for the first `skip` bytes of each."""
    content, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for offset, length in places:
        content[offset + skip : offset + length] = random.bytes(length - skip)
    path.write_bytes(content)
    return path
