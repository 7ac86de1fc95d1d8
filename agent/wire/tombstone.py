"""The tombstone: what a device says of reads that its bounds forced out, in the clear and signed.

It takes a place in the device's chain like a read does, so it cannot be left out unnoticed; and it names what is gone,
so that a loss by policy is told from a theft. It carries counts, times and digests, nothing of what was read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.header import CHAIN_ID_BYTES, DIGEST_BYTES, MAX_SEQ
from agent.wire.times import as_time

TOMBSTONE_VERSION: Final = 1
MAX_GONE: Final = 1024
"""Ranges that one tombstone names, about 72 kB; a range is as long as it likes."""
MAX_COUNT: Final = (1 << 53) - 1

_MAX_HEADS: Final = 64 + 5 * MAX_GONE
"""Heads: 13 to a tombstone itself, five to each range."""
_KEYS: Final = frozenset({"v", "reason", "count", "from", "until", "gone"})


class LossReason(StrEnum):
    """Which bound forced reads out."""

    OVERFLOW = "overflow"
    """The spool was full: these reads were never accepted, so they leave no gap in the chain."""
    EXPIRED = "expired"
    """They waited in the spool for longer than its age limit: the chain has a gap where they stood."""
    EVICTED = "evicted"
    """They were the oldest when the spool was full, and made room: the chain has a gap where they stood."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Consecutive places of one chain whose envelopes were accepted and then forced out.

    Attributes:
        chain: Their chain; it may be an earlier one of the same device.
        first, last: The places, both included.
        digest: SHA-256 of the envelope at `last`, 32 bytes: what the envelope behind it has as `prev`.
    """

    chain: bytes
    first: int
    last: int
    digest: bytes

    def __post_init__(self) -> None:
        """Refuse a range that is none.

        Raises:
            FormatError: It ends before it begins.
        """
        if self.first > self.last:
            raise FormatError(f"tombstone: a range from {self.first} to {self.last} ends before it begins")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was forced out, and why.

    Attributes:
        reason: Which bound.
        count: How many reads. An older tombstone that was forced out with them adds its own count, so `count` may be
            more or less than the number of places in `gone`.
        first_at, last_at: Aware UTC times, whole milliseconds: capture times of reads that overflowed, times of
            acceptance of envelopes that expired or were evicted.
        gone: The places of the envelopes, where they had been accepted; none for an overflow. Sorted by chain and
            place; ranges of one chain neither overlap nor touch.
    """

    reason: LossReason
    count: int
    first_at: datetime
    last_at: datetime
    gone: tuple[Gone, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what the format cannot express.

        Raises:
            FormatError: No read, or ranges that do not fit the reason, are too many or out of order.
        """
        if not 1 <= self.count <= MAX_COUNT:
            raise FormatError(f"tombstone: it must stand for 1 to {MAX_COUNT} reads")
        if len(self.gone) > MAX_GONE:
            raise FormatError(f"tombstone: names {len(self.gone)} ranges, at most {MAX_GONE} are allowed")
        if bool(self.gone) != (self.reason is not LossReason.OVERFLOW):
            raise FormatError(f"tombstone: names {len(self.gone)} ranges, which does not fit {self.reason}")
        for before, gone in zip(self.gone, self.gone[1:], strict=False):
            if (before.chain, before.last + 1) >= (gone.chain, gone.first):
                raise FormatError("tombstone: its ranges must be sorted, and neither overlap nor touch")

    def covers(self, chain: bytes, seq: int) -> bool:
        """Whether the place `seq` of a chain is one of those it names."""
        index = bisect_right(self.gone, (chain, seq), key=_begin)
        return index > 0 and self.gone[index - 1].chain == chain and seq <= self.gone[index - 1].last


def parse_tombstone(payload: bytes, *, max_bytes: int) -> Tombstone:
    """Parse what a tombstone signs.

    Args:
        payload: The signed bytes.
        max_bytes: Longest payload looked at.

    Raises:
        FormatError: Anything but the one layout, or what the format cannot express.
    """
    what = "tombstone"
    value = cbor.as_map(cbor.decode(payload, max_bytes=max_bytes, what=what, max_heads=_MAX_HEADS), what)
    if type(value.get("v")) is not int or value["v"] != TOMBSTONE_VERSION:
        raise FormatError(f"{what}: version {value.get('v')!r:.20}, only {TOMBSTONE_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, what)
    rows = cbor.as_list(value["gone"], None, f"{what}: gone")
    if len(rows) > MAX_GONE:
        raise FormatError(f"{what}: names {len(rows)} ranges, at most {MAX_GONE} are allowed")
    return Tombstone(
        reason=cbor.as_choice(LossReason, value["reason"], f"{what}: reason"),
        count=cbor.as_uint(value["count"], MAX_COUNT, f"{what}: count"),
        first_at=as_time(value["from"], f"{what}: from"),
        last_at=as_time(value["until"], f"{what}: until"),
        gone=tuple(_parse_gone(row) for row in rows),
    )


def merge_gone(ranges: Iterable[Gone]) -> tuple[Gone, ...]:
    """Sort ranges as a tombstone has them, and join those that overlap or touch."""
    merged: list[Gone] = []
    for gone in sorted(ranges, key=_begin):
        before = merged[-1] if merged else None
        if before is None or before.chain != gone.chain or before.last + 1 < gone.first:
            merged.append(gone)
        elif before.last < gone.last:
            merged[-1] = Gone(gone.chain, before.first, gone.last, gone.digest)
    return tuple(merged)


def _parse_gone(row: object) -> Gone:
    chain, first, last, digest = cbor.as_list(row, 4, "tombstone: gone")
    return Gone(
        chain=cbor.as_bytes(chain, CHAIN_ID_BYTES, "tombstone: chain"),
        first=cbor.as_uint(first, MAX_SEQ, "tombstone: first"),
        last=cbor.as_uint(last, MAX_SEQ, "tombstone: last"),
        digest=cbor.as_bytes(digest, DIGEST_BYTES, "tombstone: digest"),
    )


def _begin(gone: Gone) -> tuple[bytes, int]:
    return gone.chain, gone.first
