"""The part of a spool that only tombstones may take, so that a full one can still say what it forced out.

Pure.
"""

from __future__ import annotations

from typing import Final

MAX_RESERVE_BYTES: Final = 1 << 20
MAX_RESERVE_COUNT: Final = 64


def reserve_bytes(max_bytes: int) -> int:
    """Return how many of a spool's bytes only tombstones may take: a full spool must be able to say what it forced out.

    An eighth, at least a tombstone of the largest size where `max_bytes` is what the configuration allows.
    """
    return min(max_bytes // 8, MAX_RESERVE_BYTES)


def reserve_count(max_count: int) -> int:
    """Return how many of a spool's places only tombstones may take."""
    return min(max_count // 8, MAX_RESERVE_COUNT)
