"""The keyring file on the device: what replaces it, what is refused, and how its end is announced."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.disk.watch import LOOK_EVERY_S, RETRY_AFTER_S, FileWatch
from agent.errors import KeyFileError, KeyringEndedError, KeyringVerificationError, PlatesealError, SpoolError
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import NOTE_FILE, SerialNote
from agent.wire.keyring import Keyring, encode_keyring
from agent.wire.plaintext import ClockState
from agent.wire.suites import KeyType
from tests.fakes.clock import FakeClock
from tests.fakes.files import FaultyFiles, PowerCutError
from tests.fakes.reads import NOON, make_keyring, make_recipient

OWNER = Ed25519PrivateKey.generate()
YEAR = timedelta(days=365)
KEY, _ = make_recipient(epoch=YEAR)
OTHER, _ = make_recipient(epoch=YEAR)


@dataclass
class Unit:
    """A state directory and a keyring file, over which the daemon may start again and again."""

    root: Path
    clock: FakeClock

    @property
    def path(self) -> Path:
        """The keyring file."""
        return self.root / "keyring.cose"

    @property
    def note(self) -> str:
        """What the serial note says."""
        return (self.root / NOTE_FILE).read_text()

    def place(self, keyring: Keyring | bytes, *, owner: Ed25519PrivateKey = OWNER) -> None:
        """Replace the file in one step."""
        new = self.root / "new"
        new.write_bytes(keyring if isinstance(keyring, bytes) else encode_keyring(keyring, owner))
        new.replace(self.path)

    def start(self, *, stop_at_end: bool = False, files: LocalFiles | FaultyFiles | None = None) -> KeyringFile:
        """Start the daemon's part that reads it."""
        note = SerialNote(self.root, files or LocalFiles())
        return KeyringFile(self.path, OWNER.public_key(), note=note, clock=self.clock, stop_at_end=stop_at_end)

    def look(self, book: KeyringFile) -> int:
        """Let enough time pass for a look, and return the serial in use."""
        self.clock.advance(LOOK_EVERY_S)
        book.look()
        return book.keyring.serial


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    """Return a unit with keyring 5 in place, not started."""
    unit = Unit(tmp_path, FakeClock())
    unit.place(make_keyring(KEY, serial=5))
    return unit


def test_a_new_keyring_is_used_without_a_restart(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    """The next look after the file was replaced takes it up, and says so once."""
    book = unit.start()
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (KEY,)
    unit.place(make_keyring(OTHER, serial=6))
    with caplog.at_level(logging.INFO):
        assert unit.look(book) == 6
        assert unit.look(book) == 6
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (OTHER,)
    assert [record.message.split(",")[0] for record in caplog.records] == ["keyring serial 6 in use"]
    assert unit.note.startswith("6 ")


def test_the_disk_is_asked_once_a_second(unit: Unit) -> None:
    """Between two looks the file may change unseen."""
    book = unit.start()
    unit.place(make_keyring(OTHER, serial=6))
    unit.clock.advance(LOOK_EVERY_S / 2)
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (KEY,)
    unit.clock.advance(LOOK_EVERY_S / 2)
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (OTHER,)


GOOD_6 = encode_keyring(make_keyring(OTHER, serial=6), OWNER)
FORGED = encode_keyring(make_keyring(OTHER, serial=6), Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (b"", KeyFileError, "not CBOR"),
        (b"garbage", KeyFileError, "keyring"),
        (GOOD_6[:-1], KeyFileError, "not CBOR"),
        (GOOD_6 + b"\x00", KeyFileError, "not deterministic"),
        (GOOD_6[:-1] + bytes([GOOD_6[-1] ^ 1]), KeyringVerificationError, "signature"),
        (FORGED, KeyringVerificationError, "signed by key"),
        (
            encode_keyring(make_keyring(KEY, serial=4), OWNER),
            KeyringVerificationError,
            "serial 4 is older than serial 5",
        ),
        (
            encode_keyring(make_keyring(OTHER, serial=5), OWNER),
            KeyringVerificationError,
            "serial 5 was another keyring",
        ),
        (None, KeyFileError, "No such file"),
    ],
    ids=["empty", "garbage", "truncated", "longer", "altered", "forged", "older", "same-serial", "gone"],
)
def test_a_bad_keyring_is_refused_running_and_at_a_start(
    unit: Unit,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
    error: type[PlatesealError],
    reason: str,
) -> None:
    """Running: the last good one goes on, with one line. At a start: one clear error. The note never moves."""
    book = unit.start()
    note = unit.note
    if content is None:
        unit.path.unlink()
    else:
        unit.place(content)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert unit.look(book) == 5
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (KEY,)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert reason in caplog.text
    with pytest.raises(error, match=reason) as caught:
        unit.start()
    assert str(unit.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert unit.note == note
    unit.place(make_keyring(KEY, serial=5))
    with caplog.at_level(logging.INFO):
        assert unit.look(book) == 5
    assert "serial 5 again" in caplog.text


def test_an_older_keyring_is_refused_after_a_restart_too(unit: Unit) -> None:
    """The newest serial ever used outlives the process."""
    book = unit.start()
    unit.place(GOOD_6)
    assert unit.look(book) == 6
    unit.place(make_keyring(KEY, serial=5))
    with pytest.raises(KeyringVerificationError, match="serial 5 is older than serial 6"):
        unit.start()
    unit.place(GOOD_6)
    assert unit.start().keyring.serial == 6


@pytest.mark.parametrize(
    "note", [b"", b"5", b"5 abc\n", b"-5 " + b"a" * 64 + b"\n", b"05 " + b"a" * 64 + b"\n", b"\xff"]
)
def test_a_damaged_note_is_not_taken_for_none(unit: Unit, note: bytes) -> None:
    """Without it an old keyring could not be told from a new one; the message says what a person may do."""
    (unit.root / NOTE_FILE).write_bytes(note)
    with pytest.raises(KeyringVerificationError, match="damaged.*remove it if"):
        unit.start()


def test_an_unreadable_note_is_not_taken_for_none(unit: Unit) -> None:
    """The same for a folder of that name."""
    (unit.root / NOTE_FILE).mkdir()
    with pytest.raises(KeyringVerificationError, match="cannot be read"):
        unit.start()


def test_the_note_is_durable_before_the_first_use(unit: Unit) -> None:
    """A power cut at any file step leaves the old note or the new one, and the new keyring is not in use before."""
    unit.start()
    unit.place(GOOD_6)
    for step in range(4):
        files = FaultyFiles()
        files.fail_at(step, None)
        with pytest.raises(PowerCutError):
            unit.start(files=files)
        assert unit.note.split()[0] in ("5", "6")
        assert unit.note.endswith("\n")
    assert unit.start().keyring.serial == 6


def test_a_full_disk_keeps_the_old_keyring_and_is_tried_again(unit: Unit) -> None:
    """Without the note the new keyring is not used; a minute later it is read again although it looks the same."""
    files = FaultyFiles()
    book = unit.start(files=files)
    unit.place(GOOD_6)
    files.fail_at(0, 28)
    assert unit.look(book) == 5
    assert unit.look(book) == 5
    unit.clock.advance(RETRY_AFTER_S)
    assert unit.look(book) == 6


def test_a_full_disk_at_the_first_start_is_an_error(unit: Unit) -> None:
    """Nothing is sealed to a keyring whose serial cannot be kept."""
    files = FaultyFiles()
    files.fail_at(1, 28)
    with pytest.raises(SpoolError, match="No space left"):
        unit.start(files=files)


def test_months_of_hybrid_epochs_fit(unit: Unit) -> None:
    """A keyring is larger than any key file: 60 days of the default key type are read whole."""
    keys = [make_recipient(KeyType.HYBRID, valid_from=NOON + timedelta(days=day))[0] for day in range(60)]
    unit.place(make_keyring(*keys, serial=6))
    assert unit.path.stat().st_size > 64 << 10
    assert len(unit.start().keyring.keys) == 60


@pytest.mark.parametrize(("left", "warns"), [(timedelta(days=15), False), (timedelta(days=13), True)])
def test_less_than_two_weeks_are_announced(
    unit: Unit, caplog: pytest.LogCaptureFixture, left: timedelta, warns: bool
) -> None:
    """One line when it falls below 14 days, at a start or later; one when a new keyring ends it."""
    unit.clock.current = KEY.valid_until - left
    with caplog.at_level(logging.WARNING):
        book = unit.start()
    assert (len(caplog.records) == 1) is warns
    caplog.clear()
    unit.clock.advance((left - timedelta(days=1)).total_seconds())
    with caplog.at_level(logging.INFO):
        book.look()
        book.look()
    assert (len(caplog.records) == 1) is not warns
    assert book.days_left == 1
    later, _ = make_recipient(epoch=2 * YEAR)
    unit.place(make_keyring(later, serial=6))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        unit.look(book)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]


def test_the_first_recipient_to_run_out_counts(unit: Unit) -> None:
    """An auditor with fewer epochs than the agency is the one that needs keys."""
    auditor, _ = make_recipient(recipient="auditor", epoch=timedelta(days=2))
    unit.place(make_keyring(KEY, auditor, serial=6))
    book = unit.start()
    assert book.days_left == 1.5
    book.recipients_at(NOON + timedelta(days=3), ClockState.SYNCHRONIZED)
    assert book.has_ended


def test_after_the_end_sealing_goes_on_with_an_alarm(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    """The default: the newest key, the gauge, and one line; another when epochs hold the reads again."""
    book = unit.start()
    unit.clock.current = after = KEY.valid_until + timedelta(days=1)
    with caplog.at_level(logging.ERROR):
        assert [book.recipients_at(after, ClockState.SYNCHRONIZED) for _ in range(2)] == [(KEY,), (KEY,)]
    assert (book.has_ended, book.days_left) == (True, 0)
    assert [record.message[:6] for record in caplog.records] == ["ALARM:"]
    with caplog.at_level(logging.INFO):
        assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (KEY,)
    assert not book.has_ended
    assert "of their own epochs again" in caplog.text


def test_after_the_end_sealing_stops_if_so_configured(unit: Unit) -> None:
    """A clear error that names file, recipient and setting; reads inside the epochs still seal."""
    book = unit.start(stop_at_end=True)
    assert book.recipients_at(NOON, ClockState.SYNCHRONIZED) == (KEY,)
    with pytest.raises(KeyringEndedError, match=r"keyring\.cose: no epoch of agency .*on_keyring_end"):
        book.recipients_at(KEY.valid_until, ClockState.SYNCHRONIZED)


def test_a_read_before_the_first_epoch_is_outside_too(unit: Unit) -> None:
    """A unit whose clock stands at 1970 must not seal in silence."""
    book = unit.start()
    book.recipients_at(KEY.valid_from - timedelta(days=1), ClockState.SYNCHRONIZED)
    assert book.has_ended


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"longer content"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.unlink(),
        lambda path: (path.with_name("b").write_bytes(b"content"), path.with_name("b").replace(path)),
    ],
    ids=["written", "touched", "removed", "replaced"],
)
def test_a_watch_sees_every_kind_of_change_once(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """In place, by renaming, by its times alone; then it is quiet again."""
    path, clock = tmp_path / "file", FakeClock()
    path.write_bytes(b"content")
    watch = FileWatch(path, clock=clock)
    clock.advance(LOOK_EVERY_S)
    assert not watch.take_change()
    change(path)
    clock.advance(LOOK_EVERY_S)
    assert watch.take_change()
    clock.advance(LOOK_EVERY_S)
    assert not watch.take_change()


def test_a_watch_of_several_files_tells_a_refusal_once(tmp_path: Path) -> None:
    """A change of any is told; the same reason is no news until another one comes or they are used."""
    clock, paths = FakeClock(), (tmp_path / "a", tmp_path / "b")
    watch = FileWatch(*paths, clock=clock)
    for path in paths:
        path.write_bytes(b"content")
        clock.advance(LOOK_EVERY_S)
        assert watch.take_change()
    assert [watch.refused(reason) for reason in ("half", "half", "torn")] == [True, False, True]
    clock.advance(RETRY_AFTER_S)
    assert watch.take_change()
    assert [watch.accepted(), watch.accepted(), watch.refused("torn")] == [True, False, True]
