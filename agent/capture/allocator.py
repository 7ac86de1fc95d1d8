"""What the C library does with the memory of pictures that are let go: two of its settings, for the whole process.

By itself glibc learns from the first picture that is freed to keep blocks as large as that one for itself (mallopt(3)).
At 3840x2160, where one picture in BGR has 25 MB, up to 50 MB of holes are then kept. Owns: the two limits.
"""

from __future__ import annotations

import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
"""glibc's numbers for `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD` (malloc.h)."""
APART_FROM_BYTES: Final = 8 << 20
"""Blocks from this size on go back to the system when they are freed. A picture of 1920x1080 in BGR, 6 MB, is smaller:
it would cost more to get its pages again for each frame than to keep them."""
KEPT_BYTES: Final = 16 << 20
"""Most that is kept at the end of the heap: two such pictures."""
_MALLOPT: Final = getattr(ctypes.CDLL(None), "mallopt", None)


def give_large_blocks_back() -> None:
    """Set both limits; where the C library has none, nothing changes. Idempotent."""
    if _MALLOPT is not None:
        _MALLOPT(_MMAP_THRESHOLD, APART_FROM_BYTES)
        _MALLOPT(_TRIM_THRESHOLD, KEPT_BYTES)
