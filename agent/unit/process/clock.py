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
_ADJTIMEX: Final = getattr(ctypes.CDLL(None), "adjtimex", None)
"""None where this is not Linux. To look it up costs a hundred times as much as to call it."""


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
        answer = -1 if _ADJTIMEX is None else _ADJTIMEX(ctypes.create_string_buffer(_TIMEX_BYTES))
        return ClockState.UNSYNCHRONIZED if answer in (_TIME_ERROR, -1) else ClockState.SYNCHRONIZED
