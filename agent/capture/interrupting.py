"""Reads of a network camera that end when their thread is to end, and not only by their time limit.

PyAV bounds each read in time and cannot break one off. A thread that still reads while the program ends costs the
program a crash now and then: FFmpeg asks ten times a second whether the time is up, PyAV asks Python's clock, and
Python may be gone by then. Here that clock runs ahead on a thread that is to end, so the read ends within 0.1 s.

Owns: the clock that PyAV's time limits go by. Leaves to others: which thread is to end, and what follows.

Source: PyAV 18.1 and 19, `av/container/core.py`. `tests/unit/capture/test_interrupting.py` fails where that changes.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from av.container import core

_AHEAD_S: Final = 1e6
"""How much further ahead it is at each look: beyond any limit, also of a read that began after the first look."""


class _Clock(threading.local):
    """Stands for the module `time` in PyAV; each thread sees its own."""

    ended: threading.Event | None = None
    ahead_s = 0.0

    def monotonic(self) -> float:
        """Return seconds since some moment, as `time.monotonic`, or far more."""
        if self.ended is not None and self.ended.is_set():
            self.ahead_s += _AHEAD_S
        return time.monotonic() + self.ahead_s


_clock = _Clock()
vars(core)["time"] = _clock


def end_reads_with(ended: threading.Event) -> None:
    """Have every read of this thread end as soon as an event is set, as if its time were up."""
    _clock.ended = ended
