"""A unit with a wrong clock seals to no destroyed key; the issue of its keyring is enough to know better."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.destroy import destroy, plan_destruction
from agent.custody.opener import open_envelope
from agent.custody.owner import Owner
from agent.disk.files import LocalFiles
from agent.errors import OpenError
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import SerialNote
from agent.seal.sealer import Sealer
from agent.unit.process.clock_trust import BUILT_AT, ClockTrust, ReceiptTime
from agent.wire.plaintext import ClockState
from agent.wire.suites import ContentCipher
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import first_position
from tests.fakes.owner import DAY, MANDATE, make_owner
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
