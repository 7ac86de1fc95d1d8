"""The search for plaintext where there must be none."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

JPEG_HEADER: Final = rb"\xff\xd8\xff\xe0..\x4a\x46\x49\x46"
"""Start of a JFIF file: SOI, APP0, its length, "JFIF"."""
MIN_TEXT_CHARS: Final = 4
"""Shorter texts turn up in random bytes by chance (three bytes: once in 16 MiB), so they prove nothing."""


def plaintext_pattern(texts: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern that matches any of the plate texts, whatever their case, and any JPEG file's start."""
    words = sorted({re.escape(text.encode()) for text in texts if len(text) >= MIN_TEXT_CHARS})
    jpeg = b"(?s:" + JPEG_HEADER + b")"
    return re.compile(b"|".join([jpeg, *(b"(?i:" + word + b")" for word in words)]))


def count_hits(root: Path, pattern: re.Pattern[bytes]) -> int:
    """Search every regular file below `root`, byte by byte."""
    return sum(_count_in_file(path, pattern) for path in _files(root))


def count_hits_in(blobs: Iterable[bytes], pattern: re.Pattern[bytes]) -> int:
    """Search byte strings: the envelopes that were files until they were erased."""
    return sum(_count(blob, pattern) for blob in blobs)


def _files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def _count_in_file(path: Path, pattern: re.Pattern[bytes]) -> int:
    if path.stat().st_size == 0:
        return 0
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _count(content, pattern)


def _count(content: bytes | mmap.mmap, pattern: re.Pattern[bytes]) -> int:
    return sum(1 for _ in pattern.finditer(content))
