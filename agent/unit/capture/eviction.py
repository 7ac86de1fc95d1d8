"""What the spool may hold, how full it is, and which envelopes give way when it is full.

Owns: the choice of what is forced out, and what a tombstone says of it. Leaves to others: the limits themselves, which
the spool keeps, and the order of the steps (`agent.unit.capture.recorder`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from agent.config.models import OnFull
from agent.errors import EnvelopeVerificationError, FormatError, SpoolFileError, SpoolFullError, SpoolMissingError
from agent.ports import Clock, SpoolIntake
from agent.records import Envelope, SpoolEntry, SpoolState
from agent.spool.reserve import reserve_bytes, reserve_count
from agent.wire.tombstone import MAX_GONE, Gone, LossReason, Tombstone, merge_gone

EVICT_SHARE: Final = 16
"""One sixteenth of a bound is forced out at once, so that tombstones are rare and most of the spool stays."""
EVICT_MOST: Final = 256
"""Envelopes forced out at once: each is overwritten and synced, and meanwhile no frame is looked at."""
CROWDED: Final = 7 / 8
"""The share of a bound from which on crops are left out, where that is the policy."""
LOOK_EVERY_S: Final = 30.0
"""How often a crowded spool is measured anew: that reads the whole directory."""
START_ROOM_BYTES: Final = 1 << 16
"""A unit told to stop when its spool is full does not start with less room: a read with its crop may take this much."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the spool may hold.

    Attributes:
        max_bytes, max_count: The limits that the spool keeps, tombstones included; None is no limit.
        max_age: Reads that wait for longer are expired; None keeps them.
        on_full: What gives way at the first two.
    """

    max_bytes: int
    max_count: int | None = None
    max_age: timedelta | None = None
    on_full: OnFull = OnFull.DROP_OLDEST

    @property
    def read_bytes(self) -> int:
        """How much reads may take: the rest is for tombstones."""
        return self.max_bytes - reserve_bytes(self.max_bytes)

    @property
    def read_count(self) -> int | None:
        """How many reads there may be."""
        return None if self.max_count is None else self.max_count - reserve_count(self.max_count)

    @property
    def evict_count(self) -> int:
        """How many envelopes are forced out at once, at most."""
        return EVICT_MOST if self.read_count is None else max(2, min(EVICT_MOST, self.read_count // EVICT_SHARE))

    def share(self, *, held_bytes: int, held_count: int) -> float:
        """Return how full a spool is for reads: 1 is at the nearer bound."""
        by_count = 0.0 if self.read_count is None else held_count / self.read_count
        return max(held_bytes / self.read_bytes, by_count)


@dataclass(slots=True)
class Eviction:
    """Envelopes that are to be forced out together.

    Attributes:
        entries: These envelopes, oldest first.
        reads: How many of them are reads.
        count: How many reads their tombstone stands for: those, and what the tombstones among them stood for.
        gone: Their places in their chains, and the places that the tombstones among them named.
    """

    entries: list[SpoolEntry] = field(default_factory=list)
    reads: int = 0
    count: int = 0
    gone: tuple[Gone, ...] = ()

    @property
    def is_worth_it(self) -> bool:
        """Whether forcing them out makes room: one tombstone for another does not."""
        return self.reads > 0 or len(self.entries) > 1

    @property
    def ids(self) -> list[str]:
        """Their envelope ids."""
        return [entry.envelope_id for entry in self.entries]

    def add(self, entry: SpoolEntry, envelope: Envelope) -> None:
        """Add an envelope, unless a single tombstone could then no longer name all of them."""
        position, note = envelope.position, envelope.tombstone
        inherited = note.gone if note is not None else ()
        place = Gone(position.chain, position.seq, position.seq, envelope.digest)
        gone = merge_gone([*self.gone, place, *inherited])
        if len(gone) > MAX_GONE:
            return
        self.entries.append(entry)
        self.reads += note is None
        self.count += 1 if note is None else note.count
        self.gone = gone

    def tombstone(self, reason: LossReason) -> Tombstone:
        """Return what is to be said of them."""
        times = [entry.spooled_at for entry in self.entries]
        return Tombstone(reason, self.count, min(times), max(times), self.gone)


def plan_eviction(spool: SpoolIntake, entries: Iterable[SpoolEntry]) -> Eviction:
    """Plan which of these envelopes are forced out together; one that the tombstone cannot name stays in the spool.

    Raises:
        SpoolError: The disk refused.
    """
    eviction = Eviction()
    for entry in entries:
        envelope = get_whole(spool, entry)
        if envelope is not None:
            eviction.add(entry, envelope)
    return eviction


def oldest(spool: SpoolIntake, bounds: Bounds) -> list[SpoolEntry]:
    """Return the pending envelopes that give way first: about a sixteenth of a bound, at least two if there are two.

    Raises:
        SpoolError: The disk refused.
    """
    chosen: list[SpoolEntry] = []
    size_bytes = 0
    for entry in spool.entries(SpoolState.PENDING, limit=bounds.evict_count):
        size_bytes += entry.size_bytes
        if size_bytes > bounds.read_bytes // EVICT_SHARE and len(chosen) > 1:
            break
        chosen.append(entry)
    return chosen


def get_whole(spool: SpoolIntake, entry: SpoolEntry) -> Envelope | None:
    """Return a pending envelope; None if it was delivered meanwhile, or is for the uploader to set aside.

    That is one that is damaged, or that the system keeps from this process.

    Raises:
        SpoolError: The disk refused.
    """
    try:
        return spool.get(entry.envelope_id)
    except (SpoolMissingError, SpoolFileError, FormatError, EnvelopeVerificationError):
        return None


class Gauge:
    """How full the spool is, by what this process puts and by a look now and then: another one erases meanwhile."""

    def __init__(self, spool: SpoolIntake, bounds: Bounds, clock: Clock) -> None:
        """Measure `spool` against `bounds`, at first when asked."""
        self._spool = spool
        self._bounds = bounds
        self._clock = clock
        self._bytes = bounds.max_bytes  # not known yet, so the first question looks
        self._count = 0
        self._look_again_s = clock.monotonic_s()

    def add(self, size_bytes: int) -> None:
        """Note an accepted envelope."""
        self._bytes += size_bytes
        self._count += 1

    def measure_crowded(self) -> bool:
        """Measure the spool if that is due, and return whether a bound is near.

        It is measured at most twice a minute, and not at all while there is room.

        Raises:
            SpoolError: The disk refused.
        """
        if self._is_crowded() and self._clock.monotonic_s() >= self._look_again_s:
            self._bytes, self._count = held(self._spool)
            self._look_again_s = self._clock.monotonic_s() + LOOK_EVERY_S
        return self._is_crowded()

    def _is_crowded(self) -> bool:
        return self._bounds.share(held_bytes=self._bytes, held_count=self._count) >= CROWDED


def held(spool: SpoolIntake) -> tuple[int, int]:
    """Return (bytes, envelopes) that wait or are set aside: what counts against the bounds.

    Raises:
        SpoolError: The disk refused.
    """
    usages = [spool.usage(state) for state in SpoolState]
    return sum(usage.bytes for usage in usages), sum(usage.count for usage in usages)


def require_room(spool: SpoolIntake, bounds: Bounds) -> None:
    """Refuse to start a unit that would stop at its first read.

    Raises:
        SpoolFullError: The spool is full, and the unit is told to stop then.
    """
    if bounds.on_full is not OnFull.STOP:
        return
    held_bytes, held_count = held(spool)
    if bounds.share(held_bytes=held_bytes + START_ROOM_BYTES, held_count=held_count + 1) > 1:
        raise SpoolFullError(
            f"spool: it holds {held_count} envelopes of {held_bytes} bytes, which leaves no room, "
            f'and spool.on_full is "stop": deliver them, or allow more'
        )
