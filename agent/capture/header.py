"""What the first bytes of a picture file say, before a decoder allocates anything for it.

Owns: size from the header, and wholeness of JPEG and PNG files. Pure: bytes in, answers out. Decoders refuse files of
the other kinds that are cut off.

Source:
    ITU-T T.81 annex B (JPEG), W3C PNG (Third Edition) section 5, GIF89a section 18, TIFF 6.0 section 2,
    RFC 9649 section 2 (WebP), ISO/IEC 23008-12 section 6.5.3 (`ispe` of AVIF).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
JPEG_SOI: Final = b"\xff\xd8"
JPEG_EOI: Final = b"\xff\xd9"
BMP_MARK: Final = b"BM"
_JPEG_EOI: Final = 0xD9
_JPEG_SOS: Final = 0xDA
_SOF_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; C4, C8 and CC in their midst are Huffman tables, a reserve and arithmetic conditioning."""
_BARE_MARKERS: Final = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})
"""Markers (and the fill byte) that no length follows."""
_TIFF_SIDES: Final = frozenset({256, 257})
"""Tags of width and height."""
_TIFF_SHORT: Final = 3
"""Two bytes; four otherwise."""
_AVIF_HEAD_BYTES: Final = 1 << 16
"""Where the boxes that describe a picture lie, before its data."""


def picture_wh(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels that a picture's header states; None where there is none to be found."""
    for mark, place, wh_of in _KINDS:
        if data.startswith(mark, place):
            try:
                return wh_of(data)
            except (struct.error, ValueError):
                return None
    return None


def is_avif(data: bytes) -> bool:
    """Tell from the first twelve bytes of a picture's file whether it is AVIF, or another of its family."""
    return data.startswith(b"ftyp", 4)


def is_cut_off(data: bytes) -> bool:
    """Tell whether a JPEG or PNG file ends before its picture does, or (PNG) fails its own checksums."""
    if data.startswith(PNG_SIGNATURE):
        return not _png_is_whole(data)
    if data.startswith(JPEG_SOI):
        return not _jpeg_is_whole(data)
    return False


def _png_wh(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if data[12:16] == b"IHDR" else None


def _gif_wh(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp_wh(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # less than 0 where the first line is the uppermost


def _tiff_wh(data: bytes) -> tuple[int, int] | None:
    order = "<" if data.startswith(b"II") else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    sides: dict[int, int] = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in _TIFF_SIDES:
            (sides[tag],) = struct.unpack_from(f"{order}{'H' if kind == _TIFF_SHORT else 'I'}", data, entry + 8)
    return (sides[256], sides[257]) if len(sides) == len(_TIFF_SIDES) else None


def _webp_wh(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _avif_wh(data: bytes) -> tuple[int, int] | None:
    """Return the largest size that any item states: a picture may be made of tiles, each of which states its own."""
    sizes: list[tuple[int, int]] = []
    place = 0
    while (place := data.find(b"ispe", place, _AVIF_HEAD_BYTES)) >= 0:
        width, height = struct.unpack_from(">II", data, place + 8)
        sizes.append((width, height))
        place += 4
    return max(sizes, key=lambda wh: wh[0] * wh[1], default=None)


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


_KINDS: Final[tuple[tuple[bytes, int, Callable[[bytes], tuple[int, int] | None]], ...]] = (
    (PNG_SIGNATURE, 0, _png_wh),
    (JPEG_SOI, 0, _jpeg_wh),
    (b"GIF8", 0, _gif_wh),
    (BMP_MARK, 0, _bmp_wh),
    (b"II*\x00", 0, _tiff_wh),
    (b"MM\x00*", 0, _tiff_wh),
    (b"WEBP", 8, _webp_wh),
    (b"ftyp", 4, _avif_wh),
)
"""Mark, its place in the file, and who finds the size behind it."""
