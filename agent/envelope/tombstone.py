"""The tombstone: what a device says of reads that its bounds forced out, in the clear and signed.

It takes a place in the device's chain like a read does, so it cannot be left out unnoticed; and it names what is gone,
so that a loss by policy is told from a theft. It carries counts, times and digests, nothing of what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from agent.errors import FormatError

CONTENT_TYPE: Final = "application/plateseal-tombstone+cbor"
TOMBSTONE_VERSION: Final = 1
MAX_GONE: Final = 1024
"""Envelopes that one tombstone names, about 60 kB; more are named by further ones."""
MAX_COUNT: Final = (1 << 53) - 1


class LossReason(StrEnum):
    """Which bound forced reads out."""

    OVERFLOW = "overflow"
    """The spool was full: these reads were never accepted, so they leave no gap in the chain."""
    EXPIRED = "expired"
    """They waited in the spool for longer than its age limit: the chain has a gap where they stood."""


@dataclass(frozen=True, slots=True)
class Gone:
    """One envelope that was accepted and then forced out.

    Attributes:
        chain, seq: Its place; the chain may be an earlier one of the same device.
        digest: SHA-256 of it, 32 bytes.
    """

    chain: bytes
    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was forced out, and why.

    Attributes:
        reason: Which bound.
        count: How many reads.
        first_at, last_at: Aware UTC times, whole milliseconds: capture times of reads that overflowed, times of
            acceptance of envelopes that expired.
        gone: The envelopes, where the reads had been accepted; as many as `count`, or none.
    """

    reason: LossReason
    count: int
    first_at: datetime
    last_at: datetime
    gone: tuple[Gone, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what the format cannot express.

        Raises:
            FormatError: No read, or a list of envelopes that does not fit reason and count.
        """
        if self.count < 1:
            raise FormatError("tombstone: it must stand for at least one read")
        expected = self.count if self.reason is LossReason.EXPIRED else 0
        if len(self.gone) != expected or len(self.gone) > MAX_GONE:
            raise FormatError(
                f"tombstone: names {len(self.gone)} envelopes, {expected} (at most {MAX_GONE}) are needed"
            )
