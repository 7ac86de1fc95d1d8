"""A million reads into spools that are too small: never over the bound, and every read that gave way accounted for.

The recorder, the spool and the tombstones are the real ones, on a disk in memory. Reads are real envelopes, chained and
signed, but sealed to nobody: HPKE would take most of the time and has nothing to do with bounds. Now and then an
uploading process, a spool object of its own on the same disk, delivers some of the oldest or newest by honest receipts,
and the capturing process starts anew.

After every read the disk itself is asked what it holds. At the end every place of every chain must be delivered,
pending or named by a tombstone, once; and the reads put must be those delivered, those pending and those that the
tombstones count.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.models import OnFull
from agent.keys.keyring import KeyringBook
from agent.records import ChainPosition, Envelope, Plaintext, SpoolState
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.spool.spool import FileSpool
from agent.unit.capture.eviction import Bounds
from agent.unit.capture.recorder import Recorder
from agent.wire import suites
from agent.wire.envelope import SealedContent, sealed_content, sign_envelope
from agent.wire.header import Header
from agent.wire.tombstone import Gone, merge_gone
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import make_envelope
from tests.fakes.memory_disk import MemoryDisk
from tests.fakes.reads import SAMPLE, make_keyring, make_recipient
from tests.fakes.receipts import proof
from tests.torture.report import Result

FULL, REDUCED = 1_000_000, 3_000
STARTS: Final = 5
"""Starts of the capturing process, each with a chain of its own."""
DELIVER_EVERY: Final = 1000
"""Reads between two visits of the uploading process, on average."""
DELIVER_MOST: Final = 64
CROP_BYTES: Final = 600
READ_EVERY_S: Final = 0.5

SMALL_BYTES: Final = 1 << 17
"""About 180 reads: a bound that is met all the time. The configuration allows no less than 1 MiB."""
SETTINGS: Final = {
    "bytes": Bounds(max_bytes=SMALL_BYTES),
    "count": Bounds(max_bytes=1 << 30, max_count=100),
    "bytes, crops first": Bounds(max_bytes=SMALL_BYTES, on_full=OnFull.DROP_CROP_FIRST),
    "count, crops first": Bounds(max_bytes=1 << 30, max_count=400, on_full=OnFull.DROP_CROP_FIRST),
}
"""Each takes a quarter of the reads."""


class ToNobody(Sealer):
    """Signs and chains as ever; what it signs is as long as the read, and sealed to nobody."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Sign as the owner of `key`."""
        book = KeyringBook(make_keyring(make_recipient()[0]))
        super().__init__(signing_key=key, book=book, cipher=suites.ContentCipher.AES_256_GCM)
        self._key = key
        self._content: SealedContent = sealed_content(make_envelope(key))[0]

    def seal(self, read: Plaintext, position: ChainPosition) -> Envelope:
        """As ever, but for the ciphertext."""
        content = replace(self._content, ciphertext=bytes(suites.TAG_BYTES + len(read.crop)))
        return sign_envelope(
            Header(position, commitment=None if position.run is None else bytes(32)), content, self._key
        )


@dataclass(slots=True)
class Ledger:
    """What became of the envelopes that left the spool by delivery or are still there.

    Attributes:
        reads: How many of them are reads.
        noted: How many reads the tombstones among them stand for.
        tombstones: How many tombstones.
        places: Where they stood.
        named: What the tombstones name.
    """

    reads: int = 0
    noted: int = 0
    tombstones: int = 0
    places: list[Gone] = field(default_factory=list)
    named: list[Gone] = field(default_factory=list)

    def add(self, envelope: Envelope) -> None:
        """Enter one."""
        position = envelope.position
        self.places.append(Gone(position.chain, position.seq, position.seq, envelope.digest))
        if envelope.tombstone is None:
            self.reads += 1
            return
        self.tombstones += 1
        self.noted += envelope.tombstone.count
        self.named.extend(envelope.tombstone.gone)


class Unit:
    """Both processes of a unit with one spool on one disk."""

    def __init__(self, bounds: Bounds, rng: random.Random) -> None:
        """Make an empty spool."""
        self.bounds = bounds
        self.disk = MemoryDisk()
        self.clock = FakeClock()
        self.delivered = Ledger()
        self.chains: list[Chain] = []
        self.puts = self.evicted = self.dropped = self.crops_left_out = 0
        self.most_bytes = self.most_count = 0
        self._rng = rng
        self._sealer = ToNobody(Ed25519PrivateKey.generate())
        self._uploads = self._spool()

    def capture(self, reads: int) -> None:
        """Start, keep so many reads, and stop."""
        chain = Chain()
        self.chains.append(chain)
        recorder = Recorder(
            sealer=self._sealer,
            spool=self._spool(),
            chain=chain,
            clock=self.clock,
            bounds=self.bounds,
            may_expire=lambda: True,
        )
        recorder.recover()
        for _ in range(reads):
            recorder.keep(replace(SAMPLE, crop=bytes(self._rng.randrange(1, CROP_BYTES))))
            self.most_bytes = max(self.most_bytes, self.disk.size_bytes)
            self.most_count = max(self.most_count, len(self.disk))
            self.clock.advance(READ_EVERY_S)
            if not self._rng.randrange(DELIVER_EVERY):
                self._deliver(self._rng.randrange(DELIVER_MOST), newest=self._rng.random() < 1 / 4)
        recorder.finish()
        self.puts += reads
        self.evicted += recorder.stats.evicted
        self.dropped += recorder.stats.dropped
        self.crops_left_out += recorder.stats.crops_left_out

    def pending(self) -> Ledger:
        """Return what waits in the spool."""
        ledger = Ledger()
        for entry in self._uploads.entries(SpoolState.PENDING, limit=None):
            ledger.add(self._uploads.get(entry.envelope_id))
        return ledger

    def is_within_bounds(self) -> bool:
        """Whether the disk never held more than the bound."""
        by_count = self.bounds.max_count is None or self.most_count <= self.bounds.max_count
        return self.most_bytes <= self.bounds.max_bytes and by_count

    def unaccounted(self) -> int:
        """Return how many reads or places nobody can tell about, or are told about twice."""
        pending, delivered = self.pending(), self.delivered
        left = pending.reads + delivered.reads
        noted = pending.noted + delivered.noted
        here = merge_gone([*pending.places, *delivered.places])
        named = merge_gone([*pending.named, *delivered.named])
        every = [Gone(each.next.chain, 0, each.next.seq - 1, each.next.prev) for each in self.chains if each.next.seq]
        known = sum(_length(gone) for gone in merge_gone([*here, *named]))
        told_twice = sum(_length(gone) for gone in (*here, *named)) - known
        wrong = abs(self.puts - left - noted) + abs(self.evicted + self.dropped - noted)
        return wrong + abs(sum(_length(gone) for gone in every) - known) + told_twice

    def _deliver(self, envelopes: int, *, newest: bool) -> None:
        for entry in self._uploads.entries(SpoolState.PENDING, limit=envelopes, newest=newest):
            envelope = self._uploads.get(entry.envelope_id)
            self._uploads.shred(proof(envelope))
            self.delivered.add(envelope)

    def _spool(self) -> FileSpool:
        return FileSpool(
            Path("/spool"), max_bytes=self.bounds.max_bytes, max_count=self.bounds.max_count, files=self.disk
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """What one setting came to.

    Attributes:
        puts, evicted, crops_left_out: Reads.
        unaccounted: Reads and places of which nothing is known, or too much.
        share_of_bytes, share_of_count: The most that was on the disk, as a share of the bound.
        tombstones: That wait at the end.
        holds: Whether the bounds were kept, and met.
    """

    puts: int
    evicted: int
    crops_left_out: int
    unaccounted: int
    share_of_bytes: float
    share_of_count: float
    tombstones: int
    holds: bool


def run_setting(name: str, reads: int) -> Counted:
    """Put so many reads into one spool."""
    bounds = SETTINGS[name]
    unit = Unit(bounds, random.Random(f"quota {name}"))
    with _quiet(logging.getLogger("agent.unit")):  # that the spool is full is no news here
        for _ in range(STARTS):
            unit.capture(reads // STARTS)
    unaccounted = unit.unaccounted()
    return Counted(
        puts=unit.puts,
        evicted=unit.evicted,
        crops_left_out=unit.crops_left_out,
        unaccounted=unaccounted,
        share_of_bytes=unit.most_bytes / bounds.max_bytes,
        share_of_count=unit.most_count / bounds.max_count if bounds.max_count else 0.0,
        tombstones=unit.pending().tombstones,
        holds=unit.is_within_bounds() and unit.evicted > 0 and unaccounted == 0,
    )


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Run the row.

    Args:
        full: A million reads, each setting in a process of its own; otherwise a few thousand in this one.
        say: Told when a setting has ended.
    """
    began_s = time.monotonic()
    all_counted: list[Counted] = []
    for name, counted in zip(SETTINGS, _run_settings(full=full), strict=True):
        say(f"{name}: {counted}")
        all_counted.append(counted)
    unaccounted = sum(counted.unaccounted for counted in all_counted)
    crops = sum(counted.crops_left_out for counted in all_counted)
    return Result(
        name=f"quota over {FULL:,} puts (small envelopes, memory disk)",
        target="never exceeded by more than one read; every drop accounted for",
        figures=(
            f"{sum(counted.puts for counted in all_counted):,} puts: never more on the disk than "
            f"{max(counted.share_of_bytes for counted in all_counted):.1%} of max_bytes and "
            f"{max(counted.share_of_count for counted in all_counted):.1%} of max_count; "
            f"{sum(counted.evicted for counted in all_counted):,} evicted, {unaccounted} unaccounted for; "
            f"{crops:,} crops left out; at most {max(counted.tombstones for counted in all_counted)} tombstones left"
        ),
        holds=all(counted.holds for counted in all_counted) and crops > 0,
        seconds=time.monotonic() - began_s,
    )


def _run_settings(*, full: bool) -> Iterator[Counted]:
    reads = [(FULL if full else REDUCED) // len(SETTINGS)] * len(SETTINGS)
    if not full:
        yield from map(run_setting, SETTINGS, reads)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_setting, SETTINGS, reads)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _length(gone: Gone) -> int:
    return gone.last - gone.first + 1
