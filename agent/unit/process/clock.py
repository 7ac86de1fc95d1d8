"""`Clock` on the operating system's clocks."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from typing import Final

from agent.records import ClockState

_TIMEX_BYTES: Final = 512
"""Room for Linux `struct timex`, 208 bytes on 64-bit systems; all zeros asks and changes nothing."""
_TIME_ERROR: Final = 5
"""`adjtimex` returns it while the kernel's clock is not synchronised (adjtimex(2))."""


class SystemClock:
    """Time as the kernel has it."""

    def now(self) -> datetime:
        """Return the aware UTC time."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def state(self) -> ClockState:
        """Ask the kernel whether something keeps its clock synchronised."""
        try:
            answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
        except (OSError, AttributeError):
            return ClockState.UNSYNCHRONIZED  # not Linux: nothing vouches for the clock
        return ClockState.UNSYNCHRONIZED if answer in (_TIME_ERROR, -1) else ClockState.SYNCHRONIZED
