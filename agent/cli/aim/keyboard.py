"""Single keys of a terminal, without waiting for them and without Enter.

Owns: the terminal's mode, which is put back whatever happens. Ctrl-C stays what it is.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

MOST_BYTES: Final = 64
"""Keys that are taken at once; more wait for the next look."""


@contextmanager
def keyboard() -> Iterator[Callable[[], str]]:
    """Give a function that returns the characters typed since it was called last; none where input is no terminal."""
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):  # closed, replaced, or no terminal
        yield str
        return
    tty.setcbreak(descriptor)
    try:
        yield lambda: _typed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _typed(descriptor: int) -> str:
    is_ready, _, _ = select.select([descriptor], [], [], 0)
    typed = os.read(descriptor, MOST_BYTES).decode(errors="ignore") if is_ready else ""
    return "" if typed.startswith("\x1b") else typed  # an arrow or function key: its letters are none that were typed
