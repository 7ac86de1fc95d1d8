"""What is kept of memory that pictures had."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes
from agent.capture.allocator import APART_FROM_BYTES, limit_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
limit_memory()
for _ in range(3):
    blocks = [libc.malloc(APART_FROM_BYTES) for _ in range(8)]
    for block in blocks:
        ctypes.memset(block, 1, APART_FROM_BYTES)
    full = resident()
    for block in blocks[:-1]:
        libc.free(block)
    print(full - resident() > 6 * APART_FROM_BYTES)
    libc.free(blocks[-1])
"""


def test_large_blocks_go_back_at_once_whatever_was_freed_before() -> None:
    """Also while a later one is still in use; glibc by itself would keep them from the second time on."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
