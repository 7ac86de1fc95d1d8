"""A unit with a wrong clock seals to no destroyed key; the issue of its keyring is enough to know better."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.destroy import destroy, plan_destruction
from agent.custody.opener import open_envelope
from agent.custody.owner import Owner
from agent.disk.files import LocalFiles
from agent.errors import OpenError, UsageError
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import SerialNote
from agent.seal.sealer import Sealer
from agent.unit.process.clock_trust import BUILT_AT, ClockTrust, ReceiptTime
from agent.wire.plaintext import ClockState
from agent.wire.suites import ContentCipher
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import first_position
from tests.fakes.owner import DAY, MANDATE, make_owner, make_owner_keys
from tests.fakes.reads import make_plaintext
from tests.fakes.receipts import verified_at

FIRST = BUILT_AT + timedelta(days=100)
TODAY = FIRST + 20 * DAY + timedelta(hours=12)
CLOCKS = [datetime(1970, 1, 2, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC), TODAY - 365 * DAY, TODAY + 365 * DAY]


@pytest.mark.parametrize("is_recorded", [False, True], ids=["live", "recorded"])
@pytest.mark.parametrize("shown", CLOCKS, ids=["1970", "2000", "a year back", "a year ahead"])
@pytest.mark.parametrize("recordings", [False, True])
def test_no_read_is_sealed_to_a_destroyed_key(
    tmp_path: Path, shown: datetime, recordings: bool, is_recorded: bool
) -> None:
    """Every read opens with a key that is left, also a recording of a day whose key is gone."""
    owner = make_owner(tmp_path / "owner", start=FIRST, epochs=30, now=FIRST, recordings=recordings)
    destroy(owner, plan_destruction(owner.layout, owner.keyring(), FIRST + 10 * DAY), MANDATE, now=TODAY)
    clock = ClockTrust(FakeClock(shown), state_dir=tmp_path, files=LocalFiles())
    note = SerialNote(tmp_path, LocalFiles())
    book = KeyringFile(owner.layout.keyring, owner.signing_key.public_key(), note=note, clock=clock)
    sealer = Sealer(signing_key=Ed25519PrivateKey.generate(), book=book, cipher=ContentCipher.AES_256_GCM)
    state = ClockState.RECORDED if is_recorded else clock.state()
    assert is_recorded or (state is ClockState.BEHIND) == (shown < TODAY)
    for captured_at in (shown, FIRST + DAY) if is_recorded else (shown,):
        read = make_plaintext(captured_at=captured_at, clock=state)
        for run in (None, 0):
            opened = open_envelope(sealer.seal(read, first_position(run=run)), owner.private_keys())
            assert opened.captured_at == captured_at


def rig(tmp_path: Path, clock: ClockTrust, owner: Owner) -> Sealer:
    """Return the sealer of a unit that has the owner's keyring as it is now."""
    note = SerialNote(tmp_path, LocalFiles())
    book = KeyringFile(owner.layout.keyring, owner.signing_key.public_key(), note=note, clock=clock)
    return Sealer(signing_key=Ed25519PrivateKey.generate(), book=book, cipher=ContentCipher.AES_256_GCM)


def test_the_thief_of_an_old_epochs_key_gets_no_new_reads(tmp_path: Path) -> None:
    """With the clock set back into that epoch, of a unit whose keyring is as old as the key: it had a receipt since."""
    owner = make_owner(tmp_path / "owner", start=FIRST, epochs=30, now=FIRST)
    stolen = next(key for key in owner.keyring().keys if key.is_valid_at(FIRST))
    real = FakeClock(TODAY)
    ReceiptTime(tmp_path, LocalFiles(), real).note_receipt(verified_at(TODAY))
    clock = ClockTrust(FakeClock(FIRST + timedelta(hours=3)), state_dir=tmp_path, files=LocalFiles())
    read = make_plaintext(captured_at=clock.now(), clock=clock.state())
    envelope = rig(tmp_path, clock, owner).seal(read, first_position(run=0))
    kept = owner.private_keys()
    with pytest.raises(OpenError, match="none of these private keys"):
        open_envelope(envelope, {stolen.kid: kept[stolen.kid]})
    assert open_envelope(envelope, kept).clock is ClockState.BEHIND


def test_the_alarm_names_the_clock_and_not_the_keyring(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bringing a new keyring would mend nothing."""
    owner = make_owner(tmp_path / "owner", start=FIRST, epochs=30, now=FIRST)
    clock = ClockTrust(FakeClock(datetime(1970, 1, 2, tzinfo=UTC)), state_dir=tmp_path, files=LocalFiles())
    sealer = rig(tmp_path, clock, owner)
    for _ in range(3):
        sealer.seal(make_plaintext(captured_at=clock.now(), clock=clock.state()), first_position(run=0))
    (alarm,) = [record.message for record in caplog.records if "ALARM" in record.message]
    assert "the clock shows 1970-01-02" in alarm
    assert "Set the clock" in alarm
    assert "new keyring" not in alarm


def test_a_clock_ahead_of_the_receiver_is_what_the_alarm_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A year ahead every epoch is over: the read goes to the newest key, and the clock is to be looked at first."""
    owner = make_owner(tmp_path / "owner", start=FIRST, epochs=30, now=FIRST)
    shown = FakeClock(TODAY + 365 * DAY)
    ReceiptTime(tmp_path, LocalFiles(), shown).note_receipt(verified_at(TODAY))
    clock = ClockTrust(shown, state_dir=tmp_path, files=LocalFiles())
    read = make_plaintext(captured_at=clock.now(), clock=clock.state())
    envelope = rig(tmp_path, clock, owner).seal(read, first_position(run=0))
    newest = owner.keyring().keys[-1].kid
    assert open_envelope(envelope, {newest: owner.private_keys()[newest]}) == read
    (alarm,) = [record.message for record in caplog.records if "ALARM" in record.message]
    assert "look at the clock first" in alarm
    assert f"when the receiver showed {TODAY:%Y-%m-%d}" in alarm


def test_an_owner_whose_clock_was_ahead_makes_every_clock_look_behind(tmp_path: Path) -> None:
    """Known limit: the reads open, they say `behind`, and no keyring can be signed before that time has come."""
    owner = make_owner(tmp_path / "owner", start=FIRST, epochs=30, now=TODAY + 730 * DAY)
    clock = ClockTrust(FakeClock(TODAY), state_dir=tmp_path, files=LocalFiles())
    sealer = rig(tmp_path, clock, owner)
    read = make_plaintext(captured_at=TODAY, clock=clock.state())
    opened = open_envelope(sealer.seal(read, first_position(run=0)), owner.private_keys())
    assert opened.clock is ClockState.BEHIND
    with pytest.raises(UsageError, match="set the clock right, nothing was done"):
        make_owner_keys(tmp_path / "owner", start=FIRST + 30 * DAY, now=TODAY)
    assert owner.keyring().serial == 1


def test_who_copies_the_owners_folder_opens_the_days_to_come(tmp_path: Path) -> None:
    """The keys of thirty days lie in it: what a unit seals tomorrow opens with a copy of today, and not for longer."""
    owner = make_owner(tmp_path / "owner", start=FIRST, epochs=30, now=FIRST)
    copied = owner.private_keys()
    make_owner_keys(tmp_path / "owner", start=FIRST + 30 * DAY, epochs=30, now=FIRST)
    days = FakeClock(FIRST)
    sealer = rig(tmp_path, ClockTrust(days, state_dir=tmp_path, files=LocalFiles()), owner)
    opened = []
    for _ in range(40):
        envelope = sealer.seal(make_plaintext(captured_at=days.now()), first_position(run=0))
        with contextlib.suppress(OpenError):
            opened.append(open_envelope(envelope, copied))
        days.advance(DAY.total_seconds())
    assert len(opened) == 30
