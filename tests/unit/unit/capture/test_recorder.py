"""The bounds of the spool: what gives way, what is said of it, and what a crash in between leaves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.models import OnFull
from agent.custody.opener import open_envelope
from agent.errors import FormatError, SpoolFullError
from agent.keys.keyring import KeyringBook
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.verification import verify_store
from agent.receiver.stores.sqlite import SqliteStore
from agent.records import Envelope, SpoolEntry, SpoolState
from agent.seal.last_link import LastLink
from agent.seal.sealer import Sealer
from agent.spool.spool import FileSpool
from agent.unit.capture.eviction import EVICT_MOST, LOOK_EVERY_S, Bounds, Eviction, require_room
from agent.unit.capture.recorder import EXPIRE_EVERY_S, Recorder
from agent.wire.envelope import sign_tombstone
from agent.wire.suites import ContentCipher
from agent.wire.tombstone import MAX_GONE, Gone, LossReason, Tombstone
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import first_position, make_chain, next_position
from tests.fakes.memory_disk import MemoryDisk
from tests.fakes.pki import make_bench
from tests.fakes.reads import NOON, make_keyring, make_plaintext, make_recipient
from tests.fakes.receipts import proof

RECIPIENT, PRIVATE = make_recipient()
SPOOL, STATE = Path("/spool"), Path("/state")
SMALL = Bounds(max_bytes=1 << 16)
"""Room for about sixty reads, three of which give way at once."""


class PowerCutError(Exception):
    """Not one of ours, so nobody handles it."""


class FailingDisk(MemoryDisk):
    """A disk that refuses to move a file to `shredding`, after some that it did."""

    def __init__(self) -> None:
        """Work until told otherwise."""
        super().__init__()
        self.error: Exception | None = None
        self.good_moves = 0

    def rename(self, source: Path, target: Path) -> None:
        """As the port."""
        if self.error is not None and target.parent.name == "shredding":
            if not self.good_moves:
                raise self.error
            self.good_moves -= 1
        super().rename(source, target)


@dataclass
class Rig:
    """A recorder over a spool on a disk in memory; `start` begins the next run on the same disk."""

    bounds: Bounds = SMALL
    disk: FailingDisk = field(default_factory=FailingDisk)
    clock: FakeClock = field(default_factory=FakeClock)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    kept: int = 0
    delivered: list[Envelope] = field(default_factory=list)
    recorder: Recorder = field(init=False)
    spool: FileSpool = field(init=False)

    def __post_init__(self) -> None:
        """Start for the first time."""
        self.start()

    def start(self) -> None:
        """Begin a chain, with nothing but the disk left of the run before."""
        self.disk.prepare([STATE])
        self.spool = FileSpool(SPOOL, max_bytes=self.bounds.max_bytes, max_count=self.bounds.max_count, files=self.disk)
        self.recorder = Recorder(
            sealer=Sealer(
                signing_key=self.key,
                book=KeyringBook(make_keyring(RECIPIENT)),
                cipher=ContentCipher.AES_256_GCM,
            ),
            spool=self.spool,
            chain=LastLink(STATE, self.disk).begin(self.spool.newest),
            clock=self.clock,
            bounds=self.bounds,
            may_expire=lambda: True,
        )
        self.recorder.recover()

    def keep(self, reads: int, *, crop_bytes: int = 300) -> None:
        """Keep reads named by their number; the disk never holds more than the bound."""
        for _ in range(reads):
            self.recorder.keep(make_plaintext(f"{self.kept:05}", crop=bytes(crop_bytes)))
            self.kept += 1
            assert self.disk.size_bytes <= self.bounds.max_bytes

    def pending(self) -> list[Envelope]:
        """Return what waits, oldest first."""
        return [self.spool.get(entry.envelope_id) for entry in self.entries()]

    def entries(self) -> list[SpoolEntry]:
        """Return what waits, unopened."""
        return self.spool.entries(SpoolState.PENDING, limit=None)

    def tombstones(self) -> list[Tombstone]:
        """Return the notes that wait, oldest first."""
        return [each.tombstone for each in self.pending() if each.tombstone is not None]

    def numbers(self) -> list[int]:
        """Return the numbers of the reads that wait, oldest first."""
        reads = [each for each in self.pending() if each.tombstone is None]
        return [int(open_envelope(each, {PRIVATE.kid: PRIVATE}).text) for each in reads]

    def deliver(self, envelopes: int) -> None:
        """Deliver the oldest, as the uploading process does."""
        for entry in self.entries()[:envelopes]:
            envelope = self.spool.get(entry.envelope_id)
            self.spool.shred(proof(envelope))
            self.delivered.append(envelope)

    def noted(self) -> int:
        """Return how many reads the tombstones stand for, delivered or not."""
        notes = [each.tombstone for each in (*self.delivered, *self.pending())]
        return sum(note.count for note in notes if note is not None)


def test_the_oldest_reads_make_room_at_the_byte_limit() -> None:
    """What is left is the newest, in one piece; the rest is named, and counted once."""
    rig = Rig()
    rig.keep(120)
    left = rig.numbers()
    assert left == list(range(120 - len(left), 120))
    assert len(left) > 30
    stats = rig.recorder.stats
    assert (stats.sealed, stats.dropped, stats.evicted) == (120, 0, 120 - len(left))
    assert rig.noted() == stats.evicted
    assert {note.reason for note in rig.tombstones()} == {LossReason.EVICTED}


def test_the_oldest_reads_make_room_at_the_count_limit() -> None:
    """Places are a bound as bytes are."""
    rig = Rig(Bounds(max_bytes=1 << 30, max_count=100))
    rig.keep(250, crop_bytes=1)
    assert len(rig.entries()) <= 100
    assert rig.numbers()[-1] == 249
    assert rig.noted() == rig.recorder.stats.evicted == 250 - len(rig.numbers())


def test_the_chain_is_whole_but_for_what_tombstones_name() -> None:
    """Every place up to the last is either there or named, never both; and the links hold across a range."""
    rig = Rig()
    rig.keep(150)
    waiting = rig.pending()
    places = {each.position.seq for each in waiting}
    ranges = [gone for note in rig.tombstones() for gone in note.gone]
    for seq in range(max(places) + 1):
        assert any(gone.first <= seq <= gone.last for gone in ranges) != (seq in places)
    digests = {gone.last: gone.digest for gone in ranges}
    digests |= {each.position.seq: each.digest for each in waiting}
    assert all(digests.get(each.position.seq - 1, each.position.prev) == each.position.prev for each in waiting)
    assert waiting[0].position.seq - 1 in digests


def test_tombstones_give_way_too_and_do_not_pile_up() -> None:
    """A newer one takes over what an older one said, over many starts; what is counted stays counted."""
    rig = Rig()
    evicted = 0
    for _ in range(6):
        rig.keep(80)
        evicted += rig.recorder.stats.evicted
        rig.start()
    notes = rig.tombstones()
    assert len(notes) <= 20
    assert rig.noted() == evicted == 480 - len(rig.numbers())
    assert max(len(note.gone) for note in notes) >= 3  # a range for each of the chains that are gone


def test_what_was_delivered_is_not_named() -> None:
    """The uploading process is at work meanwhile: reads put are reads delivered, waiting or counted."""
    rig = Rig()
    for _ in range(10):
        rig.keep(30)
        rig.deliver(13)
    reads = [each for each in rig.delivered if each.tombstone is None]
    assert len(reads) + len(rig.numbers()) + rig.noted() == rig.kept == 300
    assert rig.noted() == rig.recorder.stats.evicted > 0


@pytest.mark.parametrize("good_moves", [0, 1, 2])
def test_a_power_cut_behind_the_tombstone_loses_nothing_uncounted(good_moves: int) -> None:
    """The reads it names are erased at the next start, and not named again."""
    rig = Rig()
    rig.disk.error, rig.disk.good_moves = PowerCutError(), good_moves
    with pytest.raises(PowerCutError):
        rig.keep(100)
    rig.disk.error = None
    (note,) = rig.tombstones()
    kept = rig.kept
    assert len(rig.numbers()) == kept - good_moves
    rig.start()
    rig.kept += 1  # the read in hand was never accepted
    assert rig.numbers() == list(range(note.count, kept))
    rig.keep(60)
    assert rig.noted() == note.count + rig.recorder.stats.evicted
    assert len(rig.numbers()) + rig.noted() == rig.kept - 1


def test_a_tombstone_that_was_acted_on_erases_nothing_more() -> None:
    """A start finds it as the newest of all, and everything it names is gone already."""
    rig = Rig()
    while not rig.recorder.stats.evicted:
        rig.keep(1)
    rig.spool.shred(*[proof(each) for each in rig.pending()[-1:]])
    assert rig.pending()[-1].tombstone is not None
    before = rig.numbers()
    rig.start()
    assert rig.numbers() == before


def test_a_physically_full_disk_erases_nothing_and_is_noted_later() -> None:
    """Below our own bound: not even a tombstone finds room, so nothing is erased; the note comes when there is room."""
    rig = Rig()
    rig.keep(10)
    rig.disk.max_bytes = rig.disk.size_bytes + 100
    rig.keep(5)
    assert rig.numbers() == list(range(10))
    assert (rig.recorder.stats.dropped, rig.noted()) == (5, 0)
    rig.disk.max_bytes = None
    rig.keep(1)
    assert rig.numbers() == [*range(10), 15]
    assert [(note.reason, note.count) for note in rig.tombstones()] == [(LossReason.OVERFLOW, 5)]


def test_a_disk_that_takes_the_tombstone_but_no_move_is_tried_again() -> None:
    """The reads it named are not named twice, and go as soon as the disk lets them."""
    rig = Rig()
    rig.disk.error = SpoolFullError("spool: cannot rename: No space left on device")
    while not rig.recorder.stats.dropped:
        rig.keep(1)
    rig.keep(3)
    (note,) = rig.tombstones()
    assert (rig.recorder.stats.evicted, rig.recorder.stats.dropped) == (note.count, 4)
    rig.disk.error = None
    before = rig.kept
    rig.keep(1)
    assert rig.numbers() == [*range(note.count, before - 4), before]
    assert rig.noted() == note.count + 4


def test_a_move_left_over_is_dropped_once_its_tombstone_is_delivered() -> None:
    """Then it is too late to act on it: the reads are delivered, or named again."""
    rig = Rig()
    rig.disk.error = SpoolFullError("spool: cannot rename: No space left on device")
    while not rig.recorder.stats.dropped:
        rig.keep(1)
    rig.disk.max_bytes = rig.disk.size_bytes
    rig.disk.error = None
    notes = [each for each in rig.pending() if each.tombstone is not None]
    rig.spool.shred(*[proof(each) for each in notes])
    rig.disk.max_bytes = None
    rig.keep(100)
    assert rig.numbers()[-1] == rig.kept - 1


def test_a_damaged_envelope_is_neither_named_nor_erased() -> None:
    """Nobody can say what place it had; setting it aside is for the uploading process."""
    rig = Rig()
    rig.keep(5)
    oldest = SPOOL / "pending" / rig.entries()[0].envelope_id
    rig.disk.overwrite(oldest)
    rig.keep(100)
    assert rig.disk.status(oldest).size_bytes > 0
    with pytest.raises(FormatError):
        rig.spool.get(oldest.name)
    others = [rig.spool.get(each.envelope_id) for each in rig.entries() if each.envelope_id != oldest.name]
    ranges = [gone for each in others if each.tombstone is not None for gone in each.tombstone.gone]
    assert min(gone.first for gone in ranges) == 1


def test_a_read_that_can_never_fit_pushes_nothing_out() -> None:
    """It is dropped and noted, and what waits stays."""
    rig = Rig()
    rig.keep(10)
    rig.keep(1, crop_bytes=SMALL.max_bytes)
    assert rig.numbers() == list(range(10))
    assert (rig.recorder.stats.dropped, rig.recorder.stats.evicted) == (1, 0)


def test_crops_go_first_and_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """From seven eighths on new reads have no crop; one line when it begins, one when it ends, none in between."""
    rig = Rig(Bounds(max_bytes=1 << 16, on_full=OnFull.DROP_CROP_FIRST))
    with caplog.at_level(logging.WARNING, logger="agent.unit.capture.recorder"):
        while not rig.recorder.stats.crops_left_out:
            rig.keep(1)
            rig.clock.advance(1)
        share = rig.disk.size_bytes / rig.bounds.read_bytes
        assert 7 / 8 <= share < 0.92
        assert rig.recorder.stats.evicted == 0
        rig.keep(3)
        crops = [len(open_envelope(each, {PRIVATE.kid: PRIVATE}).crop) for each in rig.pending()]
        assert crops == [300] * (rig.kept - 4) + [0] * 4
        rig.deliver(30)
        rig.clock.advance(LOOK_EVERY_S)
        rig.keep(2)
    assert rig.recorder.stats.crops_left_out == 4
    assert ["crowded" in record.message for record in caplog.records] == [True, False]


def test_without_crops_the_oldest_reads_make_room() -> None:
    """The policy's second half; the newest read is always there."""
    rig = Rig(Bounds(max_bytes=1 << 16, on_full=OnFull.DROP_CROP_FIRST))
    for _ in range(150):
        rig.keep(1)
        rig.clock.advance(1)
    stats = rig.recorder.stats
    assert stats.evicted > 0
    assert stats.crops_left_out > 50
    assert rig.numbers()[-1] == 149
    assert rig.noted() == stats.evicted


def test_a_unit_told_to_stop_erases_nothing_and_does_not_start_again() -> None:
    """It says why in one line; once reads are delivered it starts."""
    rig = Rig(Bounds(max_bytes=1 << 20, on_full=OnFull.STOP))
    while rig.recorder.full is None:
        rig.keep(1, crop_bytes=20_000)
    rig.keep(2, crop_bytes=20_000)
    rig.recorder.finish()
    assert (rig.recorder.stats.evicted, rig.recorder.stats.dropped) == (0, 3)
    assert rig.numbers() == list(range(rig.kept - 3))
    assert [(note.reason, note.count) for note in rig.tombstones()] == [(LossReason.OVERFLOW, 3)]
    with pytest.raises(SpoolFullError, match=r'^spool: it holds \d+ envelopes .* spool\.on_full is "stop"[^\n]*$'):
        require_room(rig.spool, rig.bounds)
    require_room(rig.spool, Bounds(max_bytes=1 << 20))
    rig.deliver(5)
    require_room(rig.spool, rig.bounds)


def test_expired_reads_and_old_tombstones_become_one_tombstone() -> None:
    """A note that is as old as the reads is taken over, a lone one is left as it is."""
    rig = Rig(Bounds(max_bytes=1 << 20, max_age=timedelta(hours=1)))
    for _ in range(3):
        rig.keep(4)
        _grow_old(rig)
    assert [(note.reason, note.count) for note in rig.tombstones()] == [(LossReason.EXPIRED, 12)]
    assert rig.recorder.stats.expired == 12
    (only,) = rig.entries()
    _grow_old(rig)
    assert rig.entries() == [only]


def test_more_expired_reads_than_one_look_takes_are_looked_at_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long age limit is looked at seldom, but not while there is more to erase."""
    monkeypatch.setattr("agent.unit.capture.recorder.EVICT_MOST", 8)
    rig = Rig(Bounds(max_bytes=1 << 20, max_age=timedelta(days=30)))
    rig.keep(20)
    _grow_old(rig)
    assert len(rig.numbers()) == 12
    rig.clock.elapsed_s += EXPIRE_EVERY_S
    rig.recorder.expire()
    assert len(rig.numbers()) == 4
    rig.clock.elapsed_s += EXPIRE_EVERY_S
    rig.recorder.expire()
    rig.keep(1)
    assert rig.noted() == 20
    rig.clock.elapsed_s += EXPIRE_EVERY_S
    before = rig.entries()
    rig.recorder.expire()
    assert rig.entries() == before


def test_a_full_disk_does_not_end_the_unit_over_an_age_limit(caplog: pytest.LogCaptureFixture) -> None:
    """The reads stay until there is room for their tombstone."""
    rig = Rig(Bounds(max_bytes=1 << 20, max_age=timedelta(hours=1)))
    rig.keep(4)
    rig.disk.max_bytes = rig.disk.size_bytes
    _grow_old(rig)
    assert rig.numbers() == [0, 1, 2, 3]
    assert "cannot be erased" in caplog.text
    rig.disk.max_bytes = None
    rig.clock.elapsed_s += EXPIRE_EVERY_S
    rig.recorder.expire()
    assert (rig.numbers(), rig.noted()) == ([], 4)


def _grow_old(rig: Rig) -> None:
    rig.clock.current = rig.entries()[-1].spooled_at + timedelta(days=31)
    rig.clock.elapsed_s += timedelta(days=1).total_seconds()
    rig.recorder.expire()


def chains(count: int) -> Iterator[Gone]:
    """Yield ranges that cannot be joined."""
    for index in range(count):
        yield Gone(index.to_bytes(16), 0, 0, bytes(32))


def test_one_tombstone_never_names_more_than_the_format_allows() -> None:
    """What would be too much is left where it is, and what still fits is taken."""
    key = Ed25519PrivateKey.generate()
    full = Tombstone(LossReason.EVICTED, 7, NOON, NOON, tuple(chains(MAX_GONE)))
    note = sign_tombstone(full, key, first_position())
    reads = make_chain(key, 2)
    follower = sign_tombstone(Tombstone(LossReason.OVERFLOW, 3, NOON, NOON), key, next_position(reads[-1]))
    eviction = Eviction()
    for envelope in (reads[0], note, reads[1], follower):
        eviction.add(SpoolEntry(envelope.envelope_id, len(envelope.data), SpoolState.PENDING, NOON), envelope)
    assert eviction.ids == [reads[0].envelope_id, reads[1].envelope_id, follower.envelope_id]
    assert (eviction.reads, eviction.count, len(eviction.gone)) == (2, 5, 1)


def test_a_bound_gives_way_by_a_sixteenth_at_once() -> None:
    """But never by so many that frames have to wait for long, and by two at least."""
    assert Bounds(max_bytes=1 << 30).evict_count == EVICT_MOST
    assert Bounds(max_bytes=1 << 30, max_count=1600).evict_count == (1600 - 64) // 16
    assert Bounds(max_bytes=1 << 30, max_count=10).evict_count == 2


def test_the_receiver_counts_what_is_lost_to_the_read(tmp_path: Path) -> None:
    """Some of what is forced out was delivered a moment before, tombstones too; starts and old notes in between."""
    bench = make_bench(tmp_path)
    rig = Rig(key=bench.device.signing_key)
    stored: dict[str, Envelope] = {}
    for round_ in range(12):
        rig.keep(25)
        for entry in rig.entries()[: round_ % 5]:  # the receiver has them, and its receipt does not arrive
            stored[entry.envelope_id] = rig.spool.get(entry.envelope_id)
        if round_ % 4 == 3:
            rig.start()
    stored |= {each.envelope_id: each for each in rig.pending()}
    with SqliteStore.open(bench.receiver.store) as store:
        for envelope in stored.values():
            store.store_batch([envelope], NOON, bench.receipt_key)
        reports = verify_store(store, DeviceBook(bench.receiver.devices))
    assert [finding for report in reports for finding in report.findings] == []
    arrived = sum(each.tombstone is None for each in stored.values())
    assert sum(sum(report.lost.values()) for report in reports) == rig.kept - arrived > 0
