"""How far this unit's own clock can be trusted: what a read may say of its time, and whether age may erase anything.

A unit's clock can be years off: no battery, a bad time server, somebody who sets it. Two things rest on it.

- A read says what its time rests on. Below the floor the clock is behind, whatever the kernel says: no true time lies
  before the package was built, before the owner signed the keyring, before a receipt came, or before a time that was
  trusted already. Nothing is sealed to an epoch below the floor (`agent.keys.keyring`).
- An age limit erases. It does so only when the clock is beyond doubt, and has been for as long as the age limit: then
  what looks too old is too old, whatever it was stamped with before.

Doubt begins with a first start, a start long after the last trusted time, a clock that moves against the monotonic
one, and a time below the floor. It ends when a receipt's signed time agrees with the clock, or when the kernel has
held the clock synchronised for a day, above the floor and without a jump. It erases nothing and stops nothing.

Owns: these rules and two notes in the state directory. `clock-trust` (capture writes it): the last trusted time and
the time since which there was no doubt. `receipt-time` (upload writes it, capture reads it): the time of the last
receipt. Both in milliseconds since 1970. A note that is damaged or missing is no note, so there is doubt.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.disk.notes import replace_note
from agent.errors import SpoolError
from agent.ports import Clock, Disk
from agent.records import ClockState
from agent.wire.header import RECEIVER_PREFIX_BYTES, VERSION_1, SeenReceipt
from agent.wire.receipt import VerifiedReceipt
from agent.wire.times import to_ms

BUILT_AT: Final = datetime(2026, 11, 22, tzinfo=UTC)
"""The day of this version of the package; moved with each release."""
TRUST_FILE: Final = "clock-trust"
RECEIPT_FILE: Final = "receipt-time"
AGREEMENT: Final = timedelta(hours=1)
"""How far a receipt's time may lie from the clock, how far below a noted time the floor lies, and how far the clock may
move against the monotonic one. No correction that a running time service makes is as large."""
LONGEST_GAP: Final = timedelta(days=7)
"""A start later than this after the last trusted time is a doubt."""
SYNCHRONIZED_FOR_S: Final = 86_400.0
NOTE_EVERY_S: Final = 3600.0
"""A note costs a sync; what is lost with a crash is an hour of floor."""
RECEIPT_EVERY_S: Final = 60.0
LOOK_EVERY_S: Final = 10.0
MAX_NOTE_BYTES: Final = 192

_NOTE: Final = re.compile(rb"([0-9]{1,15}) ([0-9]{1,15})(?: ([0-9a-f]{16}) ([0-9]{1,16}) ([0-9a-f]{64}))?\n")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class ReceiptTime:
    """The note of the last receipt: its time, and which it was, for the header of the next envelopes.

    The note's line has the receipt's time and this unit's; behind them, from the first receipt of version 2 on, the
    beginning of the receiver's key id, the index in its log, and the receipt's digest.
    """

    def __init__(self, state_dir: Path, files: Disk, clock: Clock) -> None:
        """Keep the note in `state_dir`, through `files`."""
        self._path = state_dir / RECEIPT_FILE
        self._files = files
        self._clock = clock
        self._again_s = clock.monotonic_s()
        self._newest = self.seen()
        self._unwritten: tuple[datetime, datetime] | None = None

    def note_receipt(self, verified: VerifiedReceipt) -> None:
        """Remember a verified receipt, on the disk at most once a minute. A disk that refuses is left alone.

        The time of the last receipt is noted, even if an earlier receipt had a later time: a receiver whose clock was
        years ahead for a moment must not spoil this unit's floor for years. Which receipt it was is noted of the one
        with the highest index in that receiver's log, because that one stands for all before it.
        """
        receipt, receiver = verified.receipt, verified.receiver_kid[:RECEIVER_PREFIX_BYTES]
        known = self._newest
        is_newer = known is None or known.receiver != receiver or known.log < receipt.log_index
        if receipt.version != VERSION_1 and is_newer:
            self._newest = SeenReceipt(receiver, receipt.log_index, verified.digest)
        self._unwritten = receipt.stored_at, self._clock.now()
        now_s = self._clock.monotonic_s()
        if now_s >= self._again_s:
            self._again_s = now_s + RECEIPT_EVERY_S
            self.write_note()

    def write_note(self) -> None:
        """Write down what was remembered since the last note, if anything was; for the end of a process, too."""
        if self._unwritten is None:
            return
        with suppress(SpoolError):
            replace_note(self._files, self._path, self._line(*self._unwritten))
            self._unwritten = None

    def seen(self) -> SeenReceipt | None:
        """Return the newest receipt of version 2 that is noted; None without one."""
        match = _match(self._files, self._path)
        if match is None or match[3] is None:
            return None
        return SeenReceipt(bytes.fromhex(match[3].decode()), int(match[4]), bytes.fromhex(match[5].decode()))

    def _line(self, at: datetime, came_at: datetime) -> bytes:
        line = b"%d %d" % (to_ms(at), to_ms(came_at))
        if self._newest is not None:
            seen = self._newest
            line += f" {seen.receiver.hex()} {seen.log} {seen.digest.hex()}".encode()
        return line + b"\n"

    def read(self) -> tuple[datetime, datetime] | None:
        """Return the last receipt's time, and what this unit's clock showed when it came; None without a note."""
        return _read(self._files, self._path)


class ClockTrust:
    """A `Clock` that doubts another one. Not safe for threads."""

    def __init__(self, clock: Clock, *, state_dir: Path, files: Disk, max_age: timedelta | None = None) -> None:
        """Read the notes in the state directory.

        Args:
            clock: The unit's own.
            state_dir: Where the notes are.
            files: What they are written through.
            max_age: The age limit that `judge_age` answers for, if there is one.
        """
        self._clock = clock
        self._files = files
        self._path = state_dir / TRUST_FILE
        self._receipts = ReceiptTime(state_dir, files, clock)
        self._max_age = max_age or timedelta()
        now, now_s = clock.now(), clock.monotonic_s()
        noted = _read(files, self._path)
        self._trusted = noted[0] if noted else BUILT_AT
        self._since = noted[1] if noted else now
        self._offset = now - timedelta(seconds=now_s)
        self._synchronized_at_s: float | None = None
        self._note_again_s = self._receipt_again_s = now_s
        self._receipt = self._spent = self._receipts.read()
        self._seen = self._receipts.seen()
        self._over = BUILT_AT
        self._in_doubt = False
        self._reason = ""
        if noted is None:
            self._doubt("no trusted time is noted")
        elif now - self._trusted > LONGEST_GAP:
            self._doubt(f"the last trusted time was {self._trusted:%Y-%m-%d}")

    def now(self) -> datetime:
        """Return the aware UTC time."""
        return self._clock.now()

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        return self._clock.monotonic_s()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._clock.sleep(seconds)

    def state(self) -> ClockState:
        """Say whether the kernel holds its time to be synchronised, and nothing that was seen speaks against it."""
        return ClockState.BEHIND if self._clock.now() < self.floor() else self._clock.state()

    def seen(self) -> SeenReceipt | None:
        """Return the newest receipt that the uploading process had verified at the last look, if any."""
        return self._seen

    def floor(self) -> datetime:
        """Return the latest aware UTC time that is over for certain."""
        return floor_of(self._over, trusted=self._trusted, receipt=self._receipt)

    def raise_floor(self, over: datetime) -> None:
        """Remember, until this process ends, that an aware UTC time is over: the owner signed the keyring then."""
        self._over = max(self._over, over)

    def doubt(self) -> str | None:
        """Say what speaks against the time that the clock shows; None where nothing does.

        That is a last receipt whose time was far from the clock's, or what the doubt began with.
        """
        if self._receipt is not None and abs(self._receipt[0] - self._receipt[1]) > AGREEMENT:
            return f"it showed {self._receipt[1]:%Y-%m-%d} when the receiver showed {self._receipt[0]:%Y-%m-%d}"
        return self._reason if self._in_doubt else None

    def judge_age(self) -> bool:
        """Look at the clock, and say whether what looks older than the age limit is so.

        It is, where the clock is synchronised and was long beyond doubt.
        """
        self.follow()
        if self.state() is not ClockState.SYNCHRONIZED or self._in_doubt:
            return False
        return self._clock.now() - self._since >= self._max_age

    def follow(self) -> None:
        """Look at the clock: begin or end a doubt, and note a trusted time now and then. Call it before each read."""
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        moved = now - timedelta(seconds=now_s) - self._offset
        if abs(moved) > AGREEMENT:
            self._doubt(f"it moved by {moved.total_seconds():.0f} s against the monotonic clock")
        if now_s >= self._receipt_again_s:
            self._receipt_again_s = now_s + LOOK_EVERY_S
            self._receipt = self._receipts.read()
            self._seen = self._receipts.seen()
        if now < self.floor() and not self._in_doubt:
            self._doubt(f"it shows {now:%Y-%m-%d}, before {self.floor():%Y-%m-%d}")
        if self._clock.state() is not ClockState.SYNCHRONIZED:
            self._synchronized_at_s = None
        elif self._synchronized_at_s is None:
            self._synchronized_at_s = now_s
        if self._in_doubt and self._is_confirmed(now, now_s):
            self._in_doubt = False
            self._trusted = now  # also where it lies before what was noted: a clock that was years ahead is back
            self._note_again_s = now_s
            if self._max_age:
                _log.info("the clock is trusted; the age limit counts from %s on", f"{self._since:%Y-%m-%d %H:%M}")
        self._note(now, now_s)

    def _is_confirmed(self, now: datetime, now_s: float) -> bool:
        if self._receipt is not None and self._receipt != self._spent and abs(self._receipt[0] - now) <= AGREEMENT:
            return now >= self._over
        if self._synchronized_at_s is None or now < self.floor():
            return False
        return now_s - self._synchronized_at_s >= SYNCHRONIZED_FOR_S

    def _doubt(self, reason: str) -> None:
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        if not self._in_doubt and self._max_age:
            _log.warning("the clock is in doubt, so nothing is erased by age: %s", reason)
        self._in_doubt, self._reason = True, reason
        self._since = now
        self._offset = now - timedelta(seconds=now_s)
        self._synchronized_at_s = None
        self._spent = self._receipts.read()

    def _note(self, now: datetime, now_s: float) -> None:
        if self._in_doubt or self._synchronized_at_s is None or now_s < self._note_again_s:
            return
        self._note_again_s = now_s + NOTE_EVERY_S
        self._trusted = now
        with suppress(SpoolError):  # the note of an hour ago does as well
            replace_note(self._files, self._path, b"%d %d\n" % (to_ms(now), to_ms(self._since)))


def floor_of(over: datetime, *, trusted: datetime, receipt: tuple[datetime, datetime] | None) -> datetime:
    """Return the latest aware UTC time that is known to be over.

    Args:
        over: An aware time that is over, because somebody who is trusted said so.
        trusted: The last time at which this unit's clock was beyond doubt.
        receipt: The last receipt's time, and the time that this unit's clock showed when it came; None without one.
    """
    seen = [trusted] if receipt is None else [trusted, receipt[0]]
    return max(BUILT_AT, over, *(at - AGREEMENT for at in seen))


def noted_floor(state_dir: Path, files: Disk, *, over: datetime = BUILT_AT) -> datetime:
    """Return the floor as a unit's notes and one other time give it, for commands that look at a unit from outside."""
    trusted, receipt = _read(files, state_dir / TRUST_FILE), _read(files, state_dir / RECEIPT_FILE)
    return floor_of(over, trusted=trusted[0] if trusted else BUILT_AT, receipt=receipt)


def _read(files: Disk, path: Path) -> tuple[datetime, datetime] | None:
    match = _match(files, path)
    try:
        return None if match is None else (_time(match[1]), _time(match[2]))
    except OverflowError:
        return None


def _match(files: Disk, path: Path) -> re.Match[bytes] | None:
    try:
        return _NOTE.fullmatch(files.read(path, limit_bytes=MAX_NOTE_BYTES))
    except SpoolError:
        return None


def _time(ms: bytes) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(ms))
