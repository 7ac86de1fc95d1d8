"""From a read to its place in the spool and in the chain; and what becomes of reads that the bounds force out.

Owns: the order of sealing, acceptance and the chain's next link, and the device's tombstones. Invariants: a position
of the chain is used up by acceptance only; every read that a bound forced out is counted, and noted in the chain by a
tombstone: before it is erased if it had been accepted, as soon as there is room for one if it had not.

A crash between a tombstone and the erasure leaves reads that are named and still there. The next start erases them
(`Recorder.recover`). Where it cannot tell that it must, they are delivered, or named once more: after a crash a
tombstone may count too many, never too few.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agent.config.models import OnFull
from agent.errors import FormatError, SpoolFullError, SpoolMissingError
from agent.ports import Clock, SpoolIntake
from agent.records import Envelope, Plaintext, SpoolState
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.unit.capture.eviction import EVICT_MOST, Bounds, Eviction, Gauge, get_whole, oldest, plan_eviction
from agent.wire.tombstone import LossReason, Tombstone

EXPIRE_EVERY_S: Final = 60.0
"""How often the age limit is looked at, at most: a listing reads the whole directory."""
EXPIRE_SHARE: Final = 1000
"""A long age limit is looked at this many times while one read waits, so that its tombstones stay few."""
TELL_EVERY_S: Final = 3600.0
"""How often a spool that stays full is logged; the counters and tombstones tell of every read."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RecorderStats:
    """Counts of reads since the start.

    Attributes:
        sealed: Accepted by the spool.
        dropped: Refused by the full spool, never accepted.
        evicted: Accepted, and forced out by newer ones in a full spool.
        expired: Accepted, and forced out by the age limit.
        crops_left_out: Accepted without their crop, because of its size or a crowded spool.
    """

    sealed: int = 0
    dropped: int = 0
    evicted: int = 0
    expired: int = 0
    crops_left_out: int = 0


@dataclass(slots=True)
class _Losses:
    """Dropped reads that no tombstone stands for yet."""

    count: int
    first_at: datetime
    last_at: datetime


class Recorder:
    """Puts the reads of one chain into one spool.

    Attributes:
        stats: Counts since the start.
        full: Why the unit must end: the spool was full, and it is told to stop then. None as long as it may go on.
    """

    def __init__(
        self,
        *,
        sealer: Sealer,
        spool: SpoolIntake,
        chain: Chain,
        clock: Clock,
        bounds: Bounds,
        may_expire: Callable[[], bool],
    ) -> None:
        """Wire the parts together.

        Args:
            sealer: Seals and signs.
            spool: Where sealed reads wait; it keeps `bounds.max_bytes` and `max_count`.
            chain: The chain of this run.
            clock: For the age limit.
            bounds: What gives way when the spool is full, and how old a read may become.
            may_expire: Whether the clock can be trusted with an age limit.
        """
        self.stats = RecorderStats()
        self.full: SpoolFullError | None = None
        self._sealer = sealer
        self._spool = spool
        self._chain = chain
        self._clock = clock
        self._bounds = bounds
        self._may_expire = may_expire
        self._gauge = Gauge(spool, bounds, clock)
        self._crowded = False
        self._losses: _Losses | None = None
        self._unfinished: tuple[Envelope, Sequence[str]] | None = None
        self._expire_again_s = self._tell_again_s = clock.monotonic_s()

    def recover(self) -> None:
        """Erase what a tombstone names and a crash left; once, before the first read.

        Only the newest envelope can be such a tombstone: nothing is accepted between it and the erasure.

        Raises:
            SpoolError: The disk refused.
        """
        newest = self._spool.entries(SpoolState.PENDING, limit=1, newest=True)
        envelope = get_whole(self._spool, newest[0]) if newest else None
        if envelope is None or envelope.tombstone is None or not envelope.tombstone.gone:
            return
        found = [get_whole(self._spool, entry) for entry in self._spool.entries(SpoolState.PENDING, limit=EVICT_MOST)]
        covers = envelope.tombstone.covers
        left = [each.envelope_id for each in found if each and covers(each.position.chain, each.position.seq)]
        if left:
            _log.warning("%d envelopes that were forced out before a crash are erased now", len(left))
            self._unfinished = (envelope, left)
            with suppress(SpoolFullError):  # a disk without room for a directory entry: tried again when room is made
                self._finish_erasing()

    def keep(self, read: Plaintext) -> None:
        """Seal a read and have it accepted, whatever the policy gives up for it; or count it as dropped.

        Raises:
            SpoolError: The disk refused; whether this read is in the spool is not known.
        """
        read = self._lightened(read)
        while True:
            envelope = self._seal(read)
            try:
                self._accept(envelope)
                break
            except SpoolFullError as error:
                if len(envelope.data) > self._bounds.read_bytes or not self._make_room():
                    self._drop(read, error)
                    return
        self.stats.sealed += 1
        self._settle_losses()

    def expire(self) -> None:
        """Force out what has waited for too long; looks seldom, and only while the clock can be trusted.

        Raises:
            SpoolError: The disk refused.
        """
        now_s, max_age = self._clock.monotonic_s(), self._bounds.max_age
        if max_age is None or now_s < self._expire_again_s:
            return
        self._expire_again_s = now_s + max(EXPIRE_EVERY_S, max_age.total_seconds() / EXPIRE_SHARE)
        if not self._may_expire():
            return
        try:
            more = self._expire_before(self._clock.now() - max_age)
        except SpoolFullError as error:
            _log.error("reads that waited too long cannot be erased: %s", error)
        else:
            if more:
                self._expire_again_s = now_s + EXPIRE_EVERY_S

    def finish(self) -> None:
        """Note what is still to be noted, at the end of a run.

        Raises:
            SpoolError: The disk refused.
        """
        self._settle_losses()

    def _lightened(self, read: Plaintext) -> Plaintext:
        if self._bounds.on_full is not OnFull.DROP_CROP_FIRST or not read.crop:
            return read
        crowded = self._gauge.measure_crowded()
        if crowded != self._crowded:
            what = "is crowded: reads are sealed without their crops" if crowded else "has room again: crops are sealed"
            _log.warning("the spool %s", what)
        self._crowded = crowded
        return self._without_crop(read) if crowded else read

    def _without_crop(self, read: Plaintext) -> Plaintext:
        self.stats.crops_left_out += 1
        return replace(read, crop=b"")

    def _seal(self, read: Plaintext) -> Envelope:
        try:
            return self._sealer.seal(read, self._chain.next)
        except FormatError as error:
            if not read.crop:
                raise
            _log.warning("a crop of %d bytes is left out, its text is kept: %s", len(read.crop), error)
            return self._sealer.seal(self._without_crop(read), self._chain.next)

    def _accept(self, envelope: Envelope) -> None:
        self._spool.put(envelope)
        self._chain.advance(envelope)
        self._gauge.add(len(envelope.data))

    def _make_room(self) -> bool:
        """Force out the oldest if that is the policy; whether there is more room now."""
        if self._bounds.on_full is OnFull.STOP:
            return False
        try:
            if self._finish_erasing():
                return True
            eviction = plan_eviction(self._spool, oldest(self._spool, self._bounds))
            if not eviction.is_worth_it:
                return False
            self._force_out(LossReason.EVICTED, eviction)
        except SpoolFullError:
            return False  # not even the tombstone found room; nothing is erased before it is accepted
        self._tell_of_evictions()
        return True

    def _tell_of_evictions(self) -> None:
        if self._clock.monotonic_s() >= self._tell_again_s:
            self._tell_again_s = self._clock.monotonic_s() + TELL_EVERY_S
            _log.error(
                "the spool is full: %d reads since the start made room for newer ones; the chain says so",
                self.stats.evicted,
            )

    def _expire_before(self, limit: datetime) -> bool:
        """Force out what was accepted before `limit`; whether there may be more of it."""
        entries = self._spool.entries(SpoolState.PENDING, limit=EVICT_MOST)
        old = [entry for entry in entries if entry.spooled_at < limit]
        eviction = plan_eviction(self._spool, old)
        if eviction.is_worth_it:
            self._force_out(LossReason.EXPIRED, eviction)
            _log.error(
                "%d reads waited longer than %s and were erased; the chain says so",
                eviction.reads,
                self._bounds.max_age,
            )
        return len(old) == EVICT_MOST

    def _force_out(self, reason: LossReason, eviction: Eviction) -> None:
        """Name envelopes in an accepted tombstone, then erase them.

        Raises:
            SpoolFullError: No room for the tombstone, and nothing was erased; or none for erasing, which comes later.
        """
        envelope = self._sealer.sign(eviction.tombstone(reason), self._chain.next)
        self._accept(envelope)
        self._unfinished = (envelope, eviction.ids)
        if reason is LossReason.EVICTED:
            self.stats.evicted += eviction.reads
        else:
            self.stats.expired += eviction.reads
        self._finish_erasing()

    def _finish_erasing(self) -> bool:
        """Erase what an accepted tombstone names; whether there was anything to erase."""
        if self._unfinished is None:
            return False
        with suppress(SpoolMissingError):  # the tombstone is delivered already, so it is too late to act on it
            self._spool.expire(*self._unfinished)
        self._unfinished = None
        return True

    def _drop(self, read: Plaintext, error: SpoolFullError) -> None:
        self.stats.dropped += 1
        if self._bounds.on_full is OnFull.STOP and self.full is None:
            self.full = error
        if self._losses is None:
            _log.error("reads are dropped until there is room: %s", error)
            self._losses = _Losses(1, read.captured_at, read.captured_at)
            return
        self._losses.count += 1
        self._losses.last_at = max(self._losses.last_at, read.captured_at)

    def _settle_losses(self) -> None:
        if self._losses is None:
            return
        losses = self._losses
        tombstone = Tombstone(LossReason.OVERFLOW, losses.count, losses.first_at, losses.last_at)
        try:
            self._accept(self._sealer.sign(tombstone, self._chain.next))
        except SpoolFullError as error:
            _log.error("%d dropped reads could not be noted in the chain: %s", losses.count, error)
            return
        _log.warning("%d reads were dropped while the spool was full; the chain says so", losses.count)
        self._losses = None
