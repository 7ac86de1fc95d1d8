"""Whether a recording is made of what its container is made of, from its beginning to its end.

FFmpeg passes over what is none and finds the next part that is, without a word. Owns: containers whose parts can be
followed one after the other without a look inside. Leaves to others: what the parts hold.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

TS_PACKET_BYTES: Final = (188, 192, 204)
"""A transport stream is made of packets of one of these lengths, whole ones."""
TS_SYNC: Final = 0x47
"""A byte at the same place in every packet of a transport stream."""
PART_PACKETS: Final = 8192
"""How many of them are looked at together: 1.5 MB, whatever the recording's size."""
FLV_TAG_BYTES: Final = 11
"""Before what a tag holds; behind it stands its length with these, in four bytes (Adobe's specification, annex E)."""
FLV_KIND, FLV_KINDS = 0x1F, (8, 9, 18)
"""Where a tag says of which kind it is: sound, video, script."""
PS_PACK_START: Final = b"\0\0\1\xba"
PS_END, PS_PACK, PS_LEAST = 0xB9, 0xBA, 0xBB
"""Kinds of part of a program stream (ISO/IEC 13818-1, 2.5.3): its end, a pack's head, all that state their length."""

_NOT_ZERO: Final = re.compile(rb"[^\0]")


def structure_fault(path: Path, kinds: frozenset[str], *, is_indexed: bool) -> str | None:
    """Say what is wrong with the parts of a recording; None where nothing is, or its container cannot be followed.

    Args:
        path: Where it is; not empty.
        kinds: FFmpeg's names of its container.
        is_indexed: Whether one index of all frames was read: then that is the measure, and not the parts.
    """
    for kind, (is_made_of, words) in _KINDS.items():
        if kind in kinds and not (kind == "mov" and is_indexed):
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return None if is_made_of(content) else f"a part of it is no {words}"
    return None


def _is_boxes(content: mmap.mmap) -> bool:
    """Tell whether an MP4 file is boxes, as ISO/IEC 14496-12, section 4.2, has them."""
    offset = 0
    while offset < len(content):
        head = content[offset : offset + 16]
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:  # of more than 4 GiB: its length follows
            length = int.from_bytes(head[8:16], "big")
        if length == 0 and kind == b"mdat":  # the last one, to the end
            return True
        if length < 8 or not kind.replace(b"\xa9", b"c").decode("latin-1").isprintable():
            return False
        offset += length
    return offset == len(content)


def _is_transport_packets(content: mmap.mmap) -> bool:
    """Tell whether a transport stream is whole packets with their sync bytes, from the first one on.

    FFmpeg marks what is missing only inside a frame.
    """
    size = len(content)
    for length in TS_PACKET_BYTES:
        for first in range(min(length, size - length)):
            if content[first] == content[first + length] == TS_SYNC:
                is_cut = size % length and (size - first) % length
                part = length * PART_PACKETS
                return not is_cut and all(
                    (np.frombuffer(content[at : at + part], np.uint8)[::length] == TS_SYNC).all()
                    for at in range(first, size, part)
                )
    return False


def _is_tags(content: mmap.mmap) -> bool:
    """Tell whether an FLV file is tags, each followed by its length. That the last one is cut off, its time tells."""
    offset = int.from_bytes(content[5:9], "big") + 4
    while offset + FLV_TAG_BYTES <= len(content):
        length = FLV_TAG_BYTES + int.from_bytes(content[offset + 1 : offset + 4], "big")
        stated = content[offset + length : offset + length + 4]
        if content[offset] & FLV_KIND not in FLV_KINDS:
            return False
        if len(stated) == 4 and int.from_bytes(stated, "big") not in (length, 0):  # some writers leave it at 0
            return False
        offset += length + 4
    return True


def _is_program_parts(content: mmap.mmap) -> bool:
    """Tell whether a program stream is packs, heads and packets from its first pack on, with zeros between at most."""
    offset = max(content.find(PS_PACK_START), 0)
    if content[:4] == b"RIFF":  # of a video CD: sectors with heads of their own
        return True
    while offset + 4 <= len(content):
        if content[offset : offset + 3] == b"\0\0\1":
            offset = _behind_part(content, offset)
            continue
        filled = _NOT_ZERO.search(content, offset)
        if filled is None:
            return True
        if filled[0] != b"\1" or filled.start() < offset + 2:
            return False
        offset = filled.start() - 2
    return offset <= len(content)


def _behind_part(content: mmap.mmap, offset: int) -> int:
    """Return where the part of a program stream ends that begins at `offset`; where it is none, its next byte."""
    kind = content[offset + 3]
    if kind == PS_PACK:
        is_mpeg_2 = len(content) > offset + 13 and content[offset + 4] >> 6 == 1
        return offset + (14 + (content[offset + 13] & 7) if is_mpeg_2 else 12)
    if kind == PS_END:
        return offset + 4
    length = int.from_bytes(content[offset + 4 : offset + 6], "big")
    if length == 0 and kind > PS_LEAST:  # up to the next pack, as some writers have it
        following = content.find(PS_PACK_START, offset + 4)
        return len(content) if following < 0 else following
    return offset + 6 + length if kind >= PS_LEAST else offset + 1


_KINDS: Final[dict[str, tuple[Callable[[mmap.mmap], bool], str]]] = {
    "mov": (_is_boxes, "box"),
    "mpegts": (_is_transport_packets, "transport stream"),
    "flv": (_is_tags, "FLV tag"),
    "mpeg": (_is_program_parts, "program stream"),
}
