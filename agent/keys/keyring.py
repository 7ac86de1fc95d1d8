"""The keyring file on the device: the recipients to seal to, as the owner signed them.

Owns: which keyring is in use, when a new file takes its place, and the alarm when its epochs run out. Leaves to others:
the layout and the choice of keys (`agent.wire.keyring`), the memory of the newest serial (`keyring_serial`).

Invariant: a keyring is in use only if the pinned owner signed it and it is not older than any used before. A file that
fails a check, or that is gone, changes nothing: the last good keyring stays in use.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.disk.watch import FileWatch
from agent.errors import FormatError, KeyFileError, KeyringEndedError, KeyringVerificationError, SpoolError
from agent.health.limits import KEYRING_SHORT
from agent.keys.keyfiles import read_public_file
from agent.keys.keyring_serial import SerialNote
from agent.ports import TrustedClock
from agent.wire.keyring import MAX_KEYRING_BYTES, Keyring, RecipientKey, parse_keyring
from agent.wire.plaintext import ClockState

_log = logging.getLogger(__name__)


class KeyringBook:
    """`RecipientBook` over one verified keyring that never changes."""

    def __init__(self, keyring: Keyring) -> None:
        """Serve the keys of `keyring`, which has been verified."""
        self._keyring = keyring

    @classmethod
    def load(cls, path: Path, owner_key: Ed25519PublicKey) -> KeyringBook:
        """Read a keyring file once and check that the pinned owner signed it; its age is not checked.

        Raises:
            KeyFileError: It cannot be read, or is no keyring.
            KeyringVerificationError: Another owner's, or a wrong signature.
        """
        keyring, _ = read_keyring(path, owner_key)
        return cls(keyring)

    @property
    def keyring(self) -> Keyring:
        """The keyring itself, for reports."""
        return self._keyring

    def recipients_at(self, captured_at: datetime, clock: ClockState) -> tuple[RecipientKey, ...]:
        """Return one key per recipient for a read captured then; never empty.

        The only time that it knows to be over is when the keyring was signed. `KeyringFile` also asks the unit's clock.
        """
        floor = self._keyring.issued or captured_at
        return self._keyring.keys_at(sealing_time(self._keyring, captured_at, clock, floor=floor, now=captured_at))


def sealing_time(
    keyring: Keyring, captured_at: datetime, clock: ClockState, *, floor: datetime, now: datetime
) -> datetime:
    """Return the time whose epoch a read is sealed to.

    It is never before the floor, or a wrong clock could choose a key that was destroyed (then nobody could open the
    read) or stolen. The one exception is a recording, if the keyring allows it and has an epoch for its day.

    Args:
        keyring: The keyring in use.
        captured_at: Aware time at which the read was captured.
        clock: What that time rests on.
        floor: Aware time that is over for certain.
        now: Aware time that this unit's clock shows.
    """
    if clock is not ClockState.RECORDED:
        return max(captured_at, floor)
    return captured_at if keyring.may_seal_to_day_of(captured_at) else max(now, floor)


def read_keyring(path: Path, owner_key: Ed25519PublicKey) -> tuple[Keyring, bytes]:
    """Read a keyring file and check that the pinned owner signed it. Returns it and the file's bytes.

    Raises:
        KeyFileError: It cannot be read, or is no keyring.
        KeyringVerificationError: Another owner's, or a wrong signature.
    """
    data = read_public_file(path, max_bytes=MAX_KEYRING_BYTES)
    try:
        return parse_keyring(data, owner_key), data
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None
    except KeyringVerificationError as error:
        raise KeyringVerificationError(f"{path}: {error}") from None


class KeyringFile:
    """`RecipientBook` over a keyring file that may be replaced at any time. `look` and `recipients_at`: one thread."""

    def __init__(
        self,
        path: Path,
        owner_key: Ed25519PublicKey,
        *,
        note: SerialNote,
        clock: TrustedClock,
        stop_at_end: bool = False,
    ) -> None:
        """Load the keyring and remember its serial.

        Args:
            path: The signed keyring.
            owner_key: Who must have signed it.
            note: The newest keyring ever used.
            clock: Says when to look at the file, how many days are left, and which time is over for certain. It is
                told when the owner signed the keyring, as that time is over too.
            stop_at_end: Refuse to seal where no epoch holds the time of sealing; otherwise the newest key is used.

        Raises:
            KeyFileError: The file cannot be read, or is no keyring.
            KeyringVerificationError: Another owner's, a wrong signature, or older than one used before.
            SpoolError: The disk refused the note.
        """
        self._path = path
        self._owner_key = owner_key
        self._note = note
        self._clock = clock
        self._stop_at_end = stop_at_end
        self._is_short = self._has_ended = self._is_behind = False
        self._watch = FileWatch(path, clock=clock)  # before the file is read: a change meanwhile shows at the next look
        self._keyring = self._load()
        self._ends_at = keyring_end(self._keyring)
        self._note_days_left()

    @property
    def keyring(self) -> Keyring:
        """The keyring in use."""
        return self._keyring

    @property
    def days_left(self) -> float:
        """Days until the first recipient's last epoch ends; 0 when it has."""
        return max(self._ends_at - self._clock.now(), timedelta(0)) / timedelta(days=1)

    @property
    def has_ended(self) -> bool:
        """Whether the last read asked for was outside every epoch of one of its recipients."""
        return self._has_ended

    def recipients_at(self, captured_at: datetime, clock: ClockState) -> tuple[RecipientKey, ...]:
        """Return one key per recipient for a read captured then; never empty.

        They are those whose epochs hold `sealing_time`. Where the clock shows a time that is over, an alarm in the log
        names the clock.

        Raises:
            KeyringEndedError: No epoch holds the time, and the unit is told to stop then.
        """
        self.look()
        floor, now = self._clock.floor(), self._clock.now()
        self._note_behind(now, floor)
        moment = sealing_time(self._keyring, captured_at, clock, floor=floor, now=now)
        keys = self._keyring.keys_at(moment)
        outside = sorted(key.recipient for key in keys if not key.is_valid_at(moment))
        if outside and self._stop_at_end:
            raise KeyringEndedError(
                f"{self._path}: no epoch of {', '.join(outside)} holds {moment:%Y-%m-%d %H:%M} UTC, and "
                f"seal.on_keyring_end is stop; {self._cure()}. Sealed reads stay in the spool"
            )
        self._note_end(outside, moment)
        return keys

    def look(self) -> None:
        """Take up a keyring that has been replaced, if it passes every check. Cheap: asks the disk once a second."""
        if self._watch.take_change():
            self._reload()
        self._note_days_left()

    def _reload(self) -> None:
        try:
            keyring = self._load()
        except (KeyFileError, KeyringVerificationError, SpoolError) as error:
            if self._watch.refused(str(error)):
                _log.error("the keyring is refused, serial %d stays in use: %s", self._keyring.serial, error)
            return
        was_refused = self._watch.accepted()
        before, self._keyring, self._ends_at = self._keyring.serial, keyring, keyring_end(keyring)
        if keyring.serial != before:
            _log.info("keyring serial %d in use, until %s UTC", keyring.serial, f"{self._ends_at:%Y-%m-%d %H:%M}")
        elif was_refused:
            _log.info("the keyring is serial %d again, as in use", keyring.serial)

    def _load(self) -> Keyring:
        keyring, data = read_keyring(self._path, self._owner_key)
        try:
            self._note.admit(keyring, data)
        except KeyringVerificationError as error:
            raise KeyringVerificationError(f"{self._path}: {error}") from None
        if keyring.issued is not None:
            self._clock.raise_floor(keyring.issued)
        return keyring

    def _note_days_left(self) -> None:
        is_short = self.days_left * timedelta(days=1) < KEYRING_SHORT
        if is_short and not self._is_short:
            _log.warning("the keyring has %.1f days left; %s", self.days_left, self._cure())
        if self._is_short and not is_short:
            _log.info("the keyring has %.0f days left", self.days_left)
        self._is_short = is_short

    def _cure(self) -> str:
        """Say what is to be done where no epoch fits: look at the clock, where something speaks against it."""
        doubt = self._clock.doubt()
        if doubt is None:
            return "bring a new keyring"
        return f"look at the clock first: {doubt}. Set it right; only if it is right, bring a new keyring"

    def _note_behind(self, now: datetime, floor: datetime) -> None:
        is_behind = now < floor
        if is_behind and not self._is_behind:
            _log.error(
                "ALARM: the clock shows %s UTC, but %s is over; reads are sealed to the keys of that time. Set the "
                "clock right; the keyring is not the cause",
                f"{now:%Y-%m-%d %H:%M}",
                f"{floor:%Y-%m-%d %H:%M}",
            )
        if self._is_behind and not is_behind:
            _log.info("the clock shows %s UTC, which can be true again", f"{now:%Y-%m-%d %H:%M}")
        self._is_behind = is_behind

    def _note_end(self, outside: list[str], moment: datetime) -> None:
        if outside and not self._has_ended:
            _log.error(
                "ALARM: no epoch of %s holds %s UTC; reads are sealed to the nearest key: %s",
                ", ".join(outside),
                f"{moment:%Y-%m-%d %H:%M}",
                self._cure(),
            )
        if self._has_ended and not outside:
            _log.info("reads are sealed to keys of their own epochs again")
        self._has_ended = bool(outside)


def keyring_end(keyring: Keyring) -> datetime:
    """Return the aware UTC time at which the first recipient runs out of epochs."""
    last: dict[str, datetime] = {}
    for key in keyring.keys:
        last[key.recipient] = max(key.valid_until, last.get(key.recipient, key.valid_until))
    return min(last.values())
