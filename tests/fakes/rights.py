"""A thread without root's rights, so that root's tests meet a refusal too."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_VERSION_3: Final = 0x20080522
"""Of capget(2) and capset(2), for two words of capabilities."""
_OVERRIDES: Final = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, capabilities(7)."""

_SETRESUID: Final = {"x86_64": 117, "aarch64": 147}
"""Numbers of the system call, from the kernel's tables (arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h)."""


def without_override(call: Callable[[], None]) -> None:
    """Call on a thread to which the permissions of files apply, whoever runs the tests; raise what it raises."""
    with ThreadPoolExecutor(1, initializer=_give_up_override) as pool:
        pool.submit(call).result()


def as_user(uid: int, call: Callable[[], None]) -> None:
    """Call on a thread that acts as another user, with that user's rights alone; raise what it raises. For root.

    Threads that the call starts are that user's too.
    """
    with ThreadPoolExecutor(1, initializer=_become, initargs=(uid,)) as pool:
        pool.submit(call).result()


def _become(uid: int) -> None:
    """Change the user of this thread alone: libc's own `setresuid` would change it for all threads."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SETRESUID[os.uname().machine], -1, uid, -1):
        raise OSError(ctypes.get_errno(), "setresuid")


def _give_up_override() -> None:
    """Drop the two capabilities for good; they are a thread's own, and it ends with the call."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    words = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, low words first
    if libc.capget(header, words):
        raise OSError(ctypes.get_errno(), "capget")
    for place in range(3):
        words[place] &= ~_OVERRIDES
    if libc.capset(header, words):
        raise OSError(ctypes.get_errno(), "capset")
