"""AVIF pictures: one, put together where it is made of tiles, or the first of those that move. FFmpeg decodes them.

Owns: which of a file's streams are the picture. Leaves to others: decoding (`decoder`), and playing one that moves
(`video`). What is transparent is passed over, and so is being mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.stream import Disposition

from agent.capture.decoder import Decoder
from agent.capture.ffmpeg import VideoStream, open_recording, packets_of
from agent.errors import SourceError
from agent.records import Image


def avif_count(path: Path) -> int:
    """Return how many pictures an AVIF file says it holds; 1 where it does not say, or cannot be understood."""
    try:
        container, stream = open_recording(path)
    except SourceError:
        return 1
    with container:
        return max(stream.frames, 1)


def read_avif(path: Path, stated_wh: tuple[int, int] | None) -> Image | None:
    """Decode an AVIF file's picture, or the first of several.

    Args:
        path: The file.
        stated_wh: Its width and height in pixels, as its header says.

    Returns:
        uint8, shape (H, W, 3), BGR, turned upright where the file says how it was held; None if it is not whole.

    Raises:
        SourceError: FFmpeg cannot read the file, or a part of it has an absurd size.
    """
    container, best = open_recording(path)
    with container:
        tiles = [one for one in container.streams.video if one.disposition & Disposition.dependent]
        if not tiles:
            return _first_pictures(container, [best], path).get(best.index)
        if stated_wh is None:
            return None
        columns, rows = (-(-side // of) for side, of in zip(stated_wh, (tiles[0].width, tiles[0].height), strict=True))
        tiles = tiles[: columns * rows]  # others are of the transparency
        parts = _first_pictures(container, tiles, path)
        if len(parts) < columns * rows:
            return None
        lines = [np.hstack([parts[one.index] for one in tiles[row * columns :][:columns]]) for row in range(rows)]
        return np.ascontiguousarray(np.vstack(lines)[: stated_wh[1], : stated_wh[0]])


def _first_pictures(container: InputContainer, streams: list[VideoStream], path: Path) -> Mapping[int, Image]:
    """Return the first picture of each stream, by its number; without those that cannot be decoded."""
    decoders = {stream.index: Decoder(stream, where=str(path)) for stream in streams}
    found: dict[int, Image] = {}
    for packet in packets_of(container):
        if packet.stream_index in decoders and packet.stream_index not in found:
            for decoded in decoders[packet.stream_index].decode(packet):
                found.setdefault(packet.stream_index, decoded.picture.bgr)
    for index, decoder in decoders.items():
        for decoded in decoder.flush():
            found.setdefault(index, decoded.picture.bgr)
    return found
