"""Which rows of an index may fit a pattern, over columns of characters.

A column of texts has one block of bytes for each place: the first characters of all rows, then the second ones. So a
place of the pattern is one translation of a block into a byte 1 for each row that has what is wanted there, and blocks
are joined as one large number each, all rows at once. Texts that do not fit the width may be anything.

Owns: that layout, and the choice. It never leaves out a row that fits; one that does not may be chosen, as whoever asks
opens the read and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from agent.custody.plates import ANY, ONE, PlatePattern, normalise_plate

WIDTH: Final = 10
"""Characters of a text in a column; the longest plates in use have ten."""
_FEW: Final = 64
"""Rows that are quicker looked at one by one than with all the others."""
_END: Final = 0
_OTHER: Final = 0xFF
"""Each byte of a text that does not fit the width, or has other characters than ASCII."""


def encode_texts(texts: Sequence[str]) -> bytes:
    """Return a column of plates' texts, in the form in which they are compared."""
    rows = b"".join(map(_encoded, texts))
    return b"".join(rows[place::WIDTH] for place in range(WIDTH))


def rows_that_may_fit(column: bytes, pattern: PlatePattern) -> list[int]:
    """Return the numbers of a column's rows that may fit a pattern, in their order."""
    count = len(column) // WIDTH
    fits = _beginning_fits(column, count, pattern)
    chosen = _set_bytes(fits, count)
    if ANY in pattern.glob or len(chosen) <= _FEW:
        chosen = [row for row in chosen if pattern.matches(_text_of(column, row, count))]
    others = _set_bytes(_marks(column[:count], _table_of(_OTHER)), count)
    return sorted({*chosen, *others}) if others else chosen


def _beginning_fits(column: bytes, count: int, pattern: PlatePattern) -> int:
    """Return a number with a byte 1 for each row that fits the pattern up to its first *, and 0 for the others."""
    beginning, any_more, _ = pattern.glob.partition(ANY)
    if len(beginning) > WIDTH:
        return 0
    fits = int.from_bytes(b"\1" * count, "big")
    misses = 0
    for place, wanted in enumerate(beginning):
        block = _block(column, count, place)
        if wanted != ONE:
            same = _table_of(ord(wanted)) if wanted.isascii() else bytes(256)
            if not pattern.near:
                fits &= _marks(block, same)
            else:
                misses += _marks(block, _turned(same))
        if wanted == ONE or pattern.near:
            fits &= _marks(block, _turned(_table_of(_END)))
        if fits.bit_count() <= _FEW:
            break
    if not any_more and len(beginning) < WIDTH:
        fits &= _marks(_block(column, count, len(beginning)), _table_of(_END))
    if misses:
        few = _table(lambda number: number <= pattern.near)
        fits &= _marks(misses.to_bytes(count, "big"), few)
    return fits


def _block(column: bytes, count: int, place: int) -> bytes:
    return column[place * count : (place + 1) * count]


def _marks(block: bytes, table: bytes) -> int:
    return int.from_bytes(block.translate(table), "big")


def _set_bytes(number: int, count: int) -> list[int]:
    """Return the places of the bytes 1 in a number of so many bytes."""
    marks, rows = number.to_bytes(count, "big") if number else b"", list[int]()
    at = marks.find(1)
    while at >= 0:
        rows.append(at)
        at = marks.find(1, at + 1)
    return rows


def _table(is_marked: Callable[[int], bool]) -> bytes:
    return bytes(is_marked(number) for number in range(256))


@lru_cache(maxsize=256)
def _table_of(number: int) -> bytes:
    return bytes(number) + b"\1" + bytes(255 - number)


@lru_cache(maxsize=256)
def _turned(table: bytes) -> bytes:
    return bytes(1 - mark for mark in table)


def _encoded(text: str) -> bytes:
    plate = normalise_plate(text)
    return plate.encode().ljust(WIDTH, b"\0") if plate.isascii() and len(plate) <= WIDTH else bytes([_OTHER]) * WIDTH


def _text_of(column: bytes, row: int, count: int) -> str:
    return column[row::count].rstrip(b"\0").decode("latin-1")
