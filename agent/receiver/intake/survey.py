"""One look at every entry of a store without its envelope: whether the old ones are as they were, where new ones are.

Owns: the digest over entries, and the counts by chain. Leaves to others: what the envelopes say (`verification`).

The digest is SHA-256 over the entries in the order of the log. Each adds five integers of eight bytes, big-endian and
signed: log, seq, length, stored_at_ms, and the receipt's length, -1 for none; then id, device, chain, prev, and the
receipt. Whether an envelope was dropped does not count: that may change.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

from agent.receiver.intake.reports import MAX_LISTED, Day, day_of
from agent.receiver.ports import Outline, WholeStore

_NUMBERS: Final = struct.Struct(">qqqqq")
_NO_RECEIPT: Final = -1


@dataclass(slots=True)
class Tally:
    """What a store has of one chain.

    Attributes:
        days: Of the entries that are not new: how many were stored on which day.
        receipted: How many of these have a receipt, and were not dropped.
        old, new: How many entries there are.
        first_new: The lowest sequence number of the new ones; None if there are none.
    """

    days: dict[int, Day] = field(default_factory=dict)
    receipted: int = 0
    old: int = 0
    new: int = 0
    first_new: int | None = None

    @property
    def dropped(self) -> int:
        """How many of the old ones were dropped."""
        return sum(day.dropped for day in self.days.values())

    def add_old(self, entry: Outline) -> None:
        """Count an entry that is not new."""
        self.old += 1
        number = day_of(entry.stored_at_ms)
        day = self.days.get(number)
        if day is None:
            day = self.days[number] = Day()
        if entry.is_dropped:
            day.dropped += 1
            return
        day.envelopes += 1
        self.receipted += entry.receipt is not None

    def add_new(self, entry: Outline) -> None:
        """Count a new entry."""
        self.new += 1
        self.first_new = entry.seq if self.first_new is None else min(self.first_new, entry.seq)


@dataclass(slots=True)
class Survey:
    """What was seen.

    Attributes:
        first: Id of the first entry of the log; None for an empty one.
        digest_of_old, digest: Over the entries that are not new, and over all.
        chains: By device key and chain.
        back: By how many milliseconds the log's time goes back at which entries; at most `MAX_LISTED`.
    """

    first: bytes | None = None
    digest_of_old: bytes = b""
    digest: bytes = b""
    chains: dict[tuple[bytes, bytes], Tally] = field(default_factory=dict)
    back: dict[int, int] = field(default_factory=dict)


def survey(store: WholeStore, *, old: int, end: int) -> Survey:
    """Look at the entries up to `end`, of which those up to `old` are not new.

    Raises:
        ReceiverError: The store cannot be read.
    """
    seen, digest, before_ms, old_digest = Survey(), hashlib.sha256(), 0, None
    for entry in store.outlines(end):
        tally = seen.chains.get((entry.device, entry.chain))
        if tally is None:
            tally = seen.chains[entry.device, entry.chain] = Tally()
        if entry.log <= old:
            tally.add_old(entry)
        else:
            old_digest = old_digest or digest.digest()
            tally.add_new(entry)
        if seen.first is None:
            seen.first = entry.id
        if entry.stored_at_ms < before_ms and len(seen.back) < MAX_LISTED:
            seen.back[entry.log] = before_ms - entry.stored_at_ms
        before_ms = entry.stored_at_ms
        digest.update(_digested(entry))
    seen.digest = digest.digest()
    seen.digest_of_old = old_digest or seen.digest
    return seen


def _digested(entry: Outline) -> bytes:
    log, envelope_id, device, chain, seq, prev, length, stored_at_ms, receipt, _ = entry
    kept = _NO_RECEIPT if receipt is None else len(receipt)
    numbers = _NUMBERS.pack(log, seq, length, stored_at_ms, kept)
    return b"".join((numbers, envelope_id, device, chain, prev, receipt or b""))


__all__ = ["Survey", "Tally", "survey"]
