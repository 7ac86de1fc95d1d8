"""What the first bytes of a picture file say, before a decoder allocates anything for it.

Owns: size from the header and wholeness of JPEG and PNG files. Pure: bytes in, answers out.

Source:
    ITU-T T.81 annex B (JPEG), W3C PNG (Third Edition) section 5.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
JPEG_SOI: Final = b"\xff\xd8"
_JPEG_EOI: Final = 0xD9
_JPEG_SOS: Final = 0xDA
_SOF_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; C4, C8 and CC in their midst are Huffman tables, a reserve and arithmetic conditioning."""
_BARE_MARKERS: Final = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})
"""Markers (and the fill byte) that no length follows."""


def picture_wh(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels that a JPEG or PNG header states; None where there is none to be found."""
    if data.startswith(PNG_SIGNATURE):
        return _png_wh(data)
    if data.startswith(JPEG_SOI):
        return _jpeg_wh(data)
    return None


def is_cut_off(data: bytes) -> bool:
    """Tell whether a JPEG or PNG file ends before its picture does, or (PNG) fails its own checksums."""
    if data.startswith(PNG_SIGNATURE):
        return not _png_is_whole(data)
    if data.startswith(JPEG_SOI):
        return not _jpeg_is_whole(data)
    return False


def _png_wh(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _png_is_whole(data: bytes) -> bool:
    offset = len(PNG_SIGNATURE)
    while offset + 12 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        end = offset + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[offset + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[offset + 4 : offset + 8] == b"IEND":
            return True
        offset = end + 4
    return False


def _jpeg_is_whole(data: bytes) -> bool:
    """Follow the markers to the end of the first picture: a thumbnail lies inside a segment, a film behind the end."""
    offset, has_scan = 2, False
    while (offset := data.find(b"\xff", offset)) >= 0 and offset + 1 < len(data):
        marker = data[offset + 1]
        if marker == _JPEG_EOI:
            return has_scan
        if marker == 0 or marker in _BARE_MARKERS:  # 0: FF itself, inside a scan
            offset += 1 if marker == 0xFF else 2
            continue
        has_scan = has_scan or marker == _JPEG_SOS
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    return False


def _jpeg_wh(data: bytes) -> tuple[int, int] | None:
    offset = 2
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker in _BARE_MARKERS:
            offset += 1 if marker == 0xFF else 2
            continue
        if marker in _SOF_MARKERS:
            if offset + 9 > len(data):
                return None
            height, width = struct.unpack(">HH", data[offset + 5 : offset + 9])
            return width, height
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    return None
