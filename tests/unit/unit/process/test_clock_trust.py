"""How far the clock is trusted: floors, jumps of years, restarts; an age limit that waits for certainty."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.records import ClockState
from agent.unit.process.clock_trust import BUILT_AT, RECEIPT_FILE, TRUST_FILE, ClockTrust, ReceiptTime
from agent.wire.header import SeenReceipt
from tests.fakes.clock import FakeClock
from tests.fakes.files import FaultyFiles
from tests.fakes.memory_disk import MemoryDisk
from tests.fakes.receipts import verified_at

STATE_DIR = Path("/state")
NOW = BUILT_AT + timedelta(days=100)
YEARS = timedelta(days=50 * 365)
MAX_AGE = timedelta(hours=48)
DAY_S = 86_400.0


class Unit:
    """A unit's clock, its notes, and the trust that the capturing process has in it."""

    def __init__(self, *, now: datetime = NOW, max_age: timedelta = MAX_AGE, note: bytes | None = None) -> None:
        self.files, self.clock, self.max_age = MemoryDisk(), FakeClock(now), max_age
        self.files.prepare([STATE_DIR])
        if note is not None:
            self.files.create(STATE_DIR / TRUST_FILE, note)
            self.files.create(STATE_DIR / RECEIPT_FILE, note)
        self.upload = ReceiptTime(STATE_DIR, self.files, self.clock)
        self.trust = self.start()

    def start(self) -> ClockTrust:
        """Start the capturing process anew."""
        self.trust = ClockTrust(self.clock, state_dir=STATE_DIR, files=self.files, max_age=self.max_age)
        return self.trust

    def state(self) -> ClockState:
        """Look at the clock as capture does before each frame, and say what a read says of it."""
        self.trust.follow()
        return self.trust.state()

    def run(self, seconds: float, *, every_s: float = 600.0) -> None:
        """Let time pass, with a look every so often as the recorder has it."""
        while seconds > 0:
            step_s = min(seconds, every_s)
            self.clock.advance(step_s)
            self.trust.judge_age()
            seconds -= step_s

    def receipt(self, *, off: timedelta = timedelta()) -> None:
        """Have a receipt come whose time is that far from the clock, and let capture see it."""
        self.clock.advance(60.0)
        self.upload.note_receipt(verified_at(self.clock.now() + off))
        self.clock.advance(10.0)
        self.trust.judge_age()

    def settle(self) -> None:
        """Have the clock trusted for as long as the age limit is."""
        self.receipt()
        self.run(self.max_age.total_seconds() + 60)
        assert self.trust.judge_age()


@pytest.fixture
def unit() -> Unit:
    """Return a unit that starts for the first time, its kernel's clock synchronised."""
    return Unit()


def test_a_first_start_erases_nothing_until_a_day_has_passed_in_step() -> None:
    """Without receipts: a day of a synchronised kernel, and as long as the age limit."""
    unit = Unit(max_age=timedelta(hours=1))
    unit.run(DAY_S - 600)
    assert not unit.trust.judge_age()
    unit.run(1200)
    assert unit.trust.judge_age()


def test_a_receipt_that_agrees_ends_the_doubt_and_the_age_limit_counts_from_its_beginning(unit: Unit) -> None:
    """What was stamped before is only then surely as old as it looks."""
    unit.receipt()
    unit.run(MAX_AGE.total_seconds() - 600)
    assert not unit.trust.judge_age()
    unit.run(600)
    assert unit.trust.judge_age()


def test_an_unsynchronised_kernel_never_expires(unit: Unit) -> None:
    """Whatever the receipts say; and its reads say so."""
    unit.settle()
    unit.clock.clock_state = ClockState.UNSYNCHRONIZED
    assert unit.state() is ClockState.UNSYNCHRONIZED
    assert not unit.trust.judge_age()


@pytest.mark.parametrize("jump", [YEARS, -YEARS, timedelta(hours=2), timedelta(hours=-2)])
def test_a_jump_suspends_the_age_limit_until_a_receipt_agrees(unit: Unit, jump: timedelta) -> None:
    """In both directions, and back again: nothing is erased early, and nothing is suspended for ever."""
    unit.settle()
    unit.clock.current += jump
    assert not unit.trust.judge_age()
    unit.receipt(off=-jump)  # the receiver's clock did not jump
    unit.run(3600)
    assert not unit.trust.judge_age()
    unit.clock.current -= jump
    unit.run(3600)
    assert not unit.trust.judge_age()
    unit.settle()


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_jump_between_two_runs_suspends_the_age_limit(unit: Unit, jump: timedelta) -> None:
    """A start years after, or before, the last trusted time."""
    unit.settle()
    unit.clock.current += jump
    unit.start()
    assert not unit.trust.judge_age()
    unit.run(3600)
    assert not unit.trust.judge_age()


def test_a_short_restart_changes_nothing(unit: Unit) -> None:
    """The note carries the time since which there was no doubt."""
    unit.settle()
    unit.clock.current += timedelta(days=2)  # switched off: the monotonic clock starts anew
    unit.clock.elapsed_s = 0.0
    unit.start()
    assert unit.trust.judge_age()


def test_a_jump_to_the_future_that_lasts_erases_only_what_is_old_in_truth(unit: Unit) -> None:
    """No receipt, a kernel that swears by 2076: the limit is waited out on the clock that is steady."""
    unit.settle()
    unit.clock.current += YEARS
    unit.run(max(DAY_S, MAX_AGE.total_seconds()) - 600)
    assert not unit.trust.judge_age()
    unit.run(1200)
    assert unit.trust.judge_age()


def test_a_clock_that_comes_back_from_the_future_recovers_by_a_receipt(unit: Unit) -> None:
    """A floor of 2076 that was noted in good faith does not block the unit until 2076."""
    unit.settle()
    unit.clock.current += YEARS
    unit.run(3 * DAY_S)
    unit.clock.current -= YEARS
    unit.run(DAY_S * 2)
    assert unit.state() is ClockState.BEHIND
    unit.receipt()
    assert unit.state() is ClockState.SYNCHRONIZED
    unit.settle()


def test_time_before_the_package_was_built_is_not_synchronised() -> None:
    """Whatever the kernel and a receipt say."""
    unit = Unit(now=datetime(1970, 1, 2, tzinfo=UTC))
    assert unit.state() is ClockState.BEHIND
    unit.receipt()
    unit.run(2 * DAY_S)
    assert unit.state() is ClockState.BEHIND
    assert not unit.trust.judge_age()


@pytest.mark.parametrize("restart", [False, True])
def test_time_before_a_receipt_or_a_trusted_time_is_not_synchronised(unit: Unit, *, restart: bool) -> None:
    """The floor holds across a restart; a correction of seconds is not below it."""
    unit.settle()
    unit.clock.current -= timedelta(seconds=30)
    assert unit.state() is ClockState.SYNCHRONIZED
    unit.clock.current -= timedelta(days=30)
    if restart:
        unit.start()
    assert unit.state() is ClockState.BEHIND


def test_a_receipt_from_the_future_is_a_floor_only_until_the_next(unit: Unit) -> None:
    """A receiver whose clock is wrong for a moment neither erases nor blocks."""
    unit.settle()
    unit.receipt(off=YEARS)
    assert unit.state() is ClockState.BEHIND
    unit.receipt()
    assert unit.state() is ClockState.SYNCHRONIZED


def test_a_receipt_that_was_there_before_the_doubt_does_not_end_it(unit: Unit) -> None:
    """A clock that was set back to the time of the last receipt agrees with it and is wrong."""
    unit.settle()
    unit.receipt()
    stale = unit.clock.now()
    unit.run(10 * DAY_S, every_s=1200)
    unit.clock.current = stale
    unit.run(3600)
    assert not unit.trust.judge_age()
    unit.start()
    unit.run(60)
    assert not unit.trust.judge_age()


@pytest.mark.parametrize(
    "note", [b"", b"nonsense\n", b"99999999999999999999 1\n", b"999999999999999 999999999999999\n"]
)
def test_a_damaged_note_is_no_note(note: bytes) -> None:
    """There is doubt, and no error."""
    unit = Unit(note=note)
    assert unit.state() is ClockState.SYNCHRONIZED
    assert not unit.trust.judge_age()
    unit.settle()


def test_a_disk_that_refuses_the_notes_stops_nothing(tmp_path: Path) -> None:
    """The clock's trust is as before; the next note is tried an hour later."""
    clock, files = FakeClock(NOW), FaultyFiles()
    trust, upload = ClockTrust(clock, state_dir=tmp_path, files=files), ReceiptTime(tmp_path, files, clock)
    files.fail_at(1, 5)
    upload.note_receipt(verified_at(clock.now()))
    assert upload.read() is None
    clock.advance(61)
    upload.note_receipt(verified_at(clock.now()))
    clock.advance(10)
    files.fail_at(1, 5)
    assert trust.judge_age()
    assert not (tmp_path / TRUST_FILE).exists()
    clock.advance(3601)
    assert trust.judge_age()
    assert (tmp_path / TRUST_FILE).exists()


def test_receipts_are_noted_once_a_minute(unit: Unit) -> None:
    """A note costs a sync, and a drain brings thousands of receipts."""
    unit.upload.note_receipt(verified_at(NOW))
    unit.upload.note_receipt(verified_at(NOW + timedelta(seconds=1)))
    assert unit.upload.read() == (NOW, NOW)
    unit.clock.advance(30)
    unit.upload.write_note()  # at the end of a process
    assert unit.upload.read() == (NOW + timedelta(seconds=1), NOW)
    unit.clock.advance(30)
    unit.upload.note_receipt(verified_at(NOW + timedelta(seconds=2)))
    noted = unit.upload.read()
    assert noted is not None
    assert noted[0] == NOW + timedelta(seconds=2)


def test_doubt_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Not at each look; and not at all where no age limit rests on it."""
    caplog.set_level(logging.INFO, logger="agent.unit.process.clock_trust")
    Unit(max_age=timedelta()).receipt()
    assert caplog.messages == []
    unit = Unit()
    unit.run(3600)
    unit.receipt()
    unit.run(3600)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_the_newest_receipt_of_the_receiver_is_seen(unit: Unit) -> None:
    """For the next envelopes' headers: of one receiver the one with the highest index, also after a restart."""
    first, newest, older = (verified_at(NOW, log_index=index) for index in (7, 9, 8))
    for receipt in (first, newest, older):
        unit.clock.advance(60.0)
        unit.upload.note_receipt(receipt)
    unit.clock.advance(10.0)
    unit.trust.follow()
    assert unit.trust.seen() == SeenReceipt(newest.receiver_kid[:8], 9, newest.digest)
    assert unit.start().seen() == unit.trust.seen()
    unit.clock.advance(60.0)
    ReceiptTime(STATE_DIR, unit.files, unit.clock).note_receipt(older)
    assert unit.start().seen() == SeenReceipt(newest.receiver_kid[:8], 9, newest.digest)


def test_a_new_receivers_receipts_take_the_place_of_the_old_ones(unit: Unit) -> None:
    """Its log begins anew; what the old one signed is in the headers before."""
    other = verified_at(NOW, log_index=1, key=Ed25519PrivateKey.generate())
    for receipt in (verified_at(NOW, log_index=70), other):
        unit.clock.advance(60.0)
        unit.upload.note_receipt(receipt)
    assert unit.start().seen() == SeenReceipt(other.receiver_kid[:8], 1, other.digest)
