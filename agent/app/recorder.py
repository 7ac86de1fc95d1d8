"""From a read to its place in the spool and in the chain; and what becomes of reads that the bounds force out.

Owns: the order of sealing, acceptance and the chain's next link, and the device's tombstones. Invariants: a position
of the chain is used up by acceptance only; every read that a bound forced out is counted, and noted in the chain by a
tombstone as soon as there is room for one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from agent.envelope.tombstone import MAX_GONE, Gone, LossReason, Tombstone
from agent.errors import EnvelopeVerificationError, FormatError, SpoolFullError, SpoolMissingError
from agent.ports import Clock, SpoolIntake
from agent.records import ClockState, Envelope, Plaintext, SpoolEntry, SpoolState
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer

EXPIRE_EVERY_S: Final = 60.0
"""How often the age limit is looked at: a listing reads the whole directory, and an age limit is hours or days."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RecorderStats:
    """Counts since the start.

    Attributes:
        sealed: Reads accepted by the spool.
        dropped: Reads that the full spool refused.
        expired: Reads that waited longer than the age limit.
    """

    sealed: int = 0
    dropped: int = 0
    expired: int = 0


@dataclass(slots=True)
class _Losses:
    """Dropped reads that no tombstone stands for yet."""

    count: int
    first_at: datetime
    last_at: datetime


class Recorder:
    """Puts the reads of one chain into one spool."""

    def __init__(
        self, *, sealer: Sealer, spool: SpoolIntake, chain: Chain, clock: Clock, max_age: timedelta | None
    ) -> None:
        """Wire the parts together.

        Args:
            sealer: Seals and signs.
            spool: Where sealed reads wait.
            chain: The chain of this run.
            clock: For the age limit, which holds only while the clock is synchronised.
            max_age: Reads that wait for longer are expired; None keeps them until they are delivered.
        """
        self.stats = RecorderStats()
        self._sealer = sealer
        self._spool = spool
        self._chain = chain
        self._clock = clock
        self._max_age = max_age
        self._losses: _Losses | None = None
        self._expire_again_s = clock.monotonic_s()

    def keep(self, read: Plaintext) -> None:
        """Seal a read and have it accepted, or count it as dropped.

        Raises:
            SpoolError: The disk refused; whether this read is in the spool is not known.
        """
        envelope = self._seal(read)
        try:
            self._spool.put(envelope)
        except SpoolFullError as error:
            self._drop(read, error)
            return
        self._chain.advance(envelope)
        self.stats.sealed += 1
        self._settle_losses()

    def expire(self) -> None:
        """Force out what has waited for too long; looks once a minute, and only while the clock can be trusted.

        Raises:
            SpoolError: The disk refused.
        """
        now_s = self._clock.monotonic_s()
        if self._max_age is None or now_s < self._expire_again_s:
            return
        self._expire_again_s = now_s + EXPIRE_EVERY_S
        if self._clock.state() is ClockState.SYNCHRONIZED:
            self._expire_before(self._clock.now() - self._max_age)

    def finish(self) -> None:
        """Note what is still to be noted, at the end of a run.

        Raises:
            SpoolError: The disk refused.
        """
        self._settle_losses()

    def _seal(self, read: Plaintext) -> Envelope:
        try:
            return self._sealer.seal(read, self._chain.next)
        except FormatError as error:
            if not read.crop:
                raise
            _log.warning("a crop of %d bytes is left out, its text is kept: %s", len(read.crop), error)
            return self._sealer.seal(replace(read, crop=b""), self._chain.next)

    def _drop(self, read: Plaintext, error: SpoolFullError) -> None:
        self.stats.dropped += 1
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
            self._bury(tombstone)
        except SpoolFullError as error:
            _log.error("%d dropped reads could not be noted in the chain: %s", losses.count, error)
            return
        _log.warning("%d reads were dropped while the spool was full; the chain says so", losses.count)
        self._losses = None

    def _expire_before(self, limit: datetime) -> None:
        old = [entry for entry in self._spool.entries(SpoolState.PENDING, limit=MAX_GONE) if entry.spooled_at < limit]
        doomed = [(entry, gone) for entry in old if (gone := self._as_gone(entry)) is not None]
        if not doomed:
            return
        times = [entry.spooled_at for entry, _ in doomed]
        tombstone = Tombstone(
            LossReason.EXPIRED, len(doomed), min(times), max(times), tuple(gone for _, gone in doomed)
        )
        self._spool.expire(self._bury(tombstone))
        self.stats.expired += len(doomed)
        _log.error("%d reads waited longer than %s and were erased; the chain says so", len(doomed), self._max_age)

    def _as_gone(self, entry: SpoolEntry) -> Gone | None:
        try:
            envelope = self._spool.get(entry.envelope_id)
        except (SpoolMissingError, FormatError, EnvelopeVerificationError):
            return None  # delivered meanwhile, or damaged: the uploading process sets it aside
        if envelope.tombstone is not None:
            return None  # a few bytes that explain a gap are worth keeping
        return Gone(chain=envelope.position.chain, seq=envelope.position.seq, digest=envelope.digest)

    def _bury(self, tombstone: Tombstone) -> Envelope:
        envelope = self._sealer.sign(tombstone, self._chain.next)
        self._spool.put(envelope)
        self._chain.advance(envelope)
        return envelope
