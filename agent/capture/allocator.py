"""What the C library does with the memory of pictures that are let go: three of its settings, for the whole process.

By itself glibc learns from the first picture that is freed to keep blocks as large as that one for itself (mallopt(3)).
At 3840x2160, where one picture in BGR has 25 MB, up to 50 MB of holes are then kept. It also gives each thread a heap
of its own, with holes of its own: at 1920x1080 that is 8 MB more, in some runs 16. Owns: these limits.
"""

from __future__ import annotations

import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
_ARENA_MAX: Final = -8
"""glibc's numbers for `M_MMAP_THRESHOLD`, `M_TRIM_THRESHOLD` and `M_ARENA_MAX` (malloc.h)."""
APART_FROM_BYTES: Final = 8 << 20
"""Blocks from this size on go back to the system when they are freed. A picture of 1920x1080 in BGR, 6 MB, is smaller:
it would cost more to get its pages again for each frame than to keep them."""
KEPT_BYTES: Final = 16 << 20
"""Most that is kept at the end of the heap: two such pictures."""
HEAPS: Final = 1
"""The few threads that there are seldom meet: what they need often, FFmpeg and onnxruntime keep for themselves."""
_MALLOPT: Final = getattr(ctypes.CDLL(None), "mallopt", None)


def limit_memory() -> None:
    """Set the limits; where the C library has none, nothing changes. Idempotent."""
    if _MALLOPT is not None:
        _MALLOPT(_MMAP_THRESHOLD, APART_FROM_BYTES)
        _MALLOPT(_TRIM_THRESHOLD, KEPT_BYTES)
        _MALLOPT(_ARENA_MAX, HEAPS)
