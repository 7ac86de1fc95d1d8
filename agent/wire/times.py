"""Times in the format: whole milliseconds since 1970 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from agent.wire import cbor

MAX_TIME_MS: Final = 253_402_300_799_999
"""9999-12-31, the last day that datetime can hold."""

FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No receiver existed before: none signs a receipt with an earlier time, and whoever verifies one doubts it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970 UTC of an aware time, rounded down."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def from_ms(milliseconds: int) -> datetime:
    """Return the aware UTC time of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def as_time(value: object, what: str) -> datetime:
    """Return the time that a decoded integer stands for.

    Raises:
        FormatError: Not an integer from 0 to the end of the year 9999.
    """
    return from_ms(cbor.as_uint(value, MAX_TIME_MS, what))
