"""A unit with a wrong clock seals to no destroyed key; the issue of its keyring is enough to know better."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.destroy import destroy, plan_destruction
from agent.custody.opener import open_envelope
from agent.disk.files import LocalFiles
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import SerialNote
from agent.seal.sealer import Sealer
from agent.unit.process.clock_trust import BUILT_AT, ClockTrust
from agent.wire.plaintext import ClockState
from agent.wire.suites import ContentCipher
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import first_position
from tests.fakes.owner import DAY, MANDATE, make_owner
from tests.fakes.reads import make_plaintext

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
