"""Keys that change under a running capture loop: epochs, keyrings, signing keys, with reads in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.load import load_config
from agent.custody.opener import PrivateKey, open_envelope
from agent.disk.files import LocalFiles
from agent.errors import KeyringEndedError, OpenError
from agent.keys import keyfiles
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import SerialNote
from agent.keys.known_keys import KnownKeys
from agent.keys.signing_key import SigningKeyFile
from agent.records import ClockState, Detection, Envelope, Frame, SpoolState
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.unit.capture.cameras import Camera
from agent.unit.capture.daemon import CaptureLoop
from agent.unit.capture.eviction import Bounds
from agent.unit.capture.keys import KeyWatcher
from agent.unit.capture.recorder import Recorder
from agent.unit.status.samples import Snapshot
from agent.vision.pipeline import PlatePipeline
from agent.wire import cose
from agent.wire.envelope import sealed_content, verify_envelope
from agent.wire.keyring import Keyring, RecipientKey, encode_keyring
from agent.wire.suites import ContentCipher, KeyType
from tests.fakes.clock import FakeClock
from tests.fakes.reads import make_keyring, make_recipient
from tests.fakes.source import STARTED_AT, ReplaySource
from tests.fakes.spool import MemorySpool
from tests.fakes.vision import CannedDetector, CannedReader, plate
from tests.unit.config.test_load import GOOD

OWNER = Ed25519PrivateKey.generate()
PICTURE = np.random.default_rng(1).integers(0, 255, (120, 200, 3)).astype(np.uint8)
BOX = Detection(20, 20, 100, 50, 0.9)
FRAME_RATE = 10
LOOKS, GAP = 5, 30
"""Frames with and without a plate: a vehicle every 3.5 s; the gap ends its track."""
EPOCH_S = 35.7
"""Ten vehicles and a bit: the eleventh passes over the end of the first epoch."""
EPOCH = timedelta(seconds=EPOCH_S)
VEHICLES = 30

Action = Callable[[], None]


class DrivenSource(ReplaySource):
    """Turns the clock with the frames, and does something before chosen ones."""

    def __init__(self, clock: FakeClock, frames: int, actions: dict[int, Action]) -> None:
        super().__init__([PICTURE] * frames, frame_rate=FRAME_RATE, clock_state=ClockState.SYNCHRONIZED)
        self._clock = clock
        self._actions = actions

    def frames(self) -> Iterator[Frame]:
        """As the port."""
        for frame in super().frames():
            if frame.sequence in self._actions:
                self._actions[frame.sequence]()
            yield frame
            self._clock.advance(1 / FRAME_RATE)


def epochs(*numbers: int, key_type: KeyType = KeyType.X25519) -> list[tuple[RecipientKey, PrivateKey]]:
    """Return the keys of consecutive epochs; 0 begins with the recording."""
    return [make_recipient(key_type, valid_from=STARTED_AT + number * EPOCH, epoch=EPOCH) for number in numbers]


@dataclass
class Rig:
    """A capture loop over key files that a test replaces while it runs."""

    root: Path
    clock: FakeClock
    spool: MemorySpool
    chain: Chain

    def place_keyring(self, keyring: Keyring) -> None:
        """Replace the keyring in one step."""
        keyfiles.replace_file(self.root / "keyring.cose", encode_keyring(keyring, OWNER), keyfiles.PUBLIC_MODE)

    def place_signing_key(self, key: Ed25519PrivateKey) -> None:
        """Replace the signing key in one step."""
        keyfiles.replace_file(self.root / "signing.key", keyfiles.private_pem(key), keyfiles.PRIVATE_MODE)

    def loop(
        self, *, vehicles: int = VEHICLES, actions: dict[int, Action] | None = None, stop_at_end: bool = False
    ) -> CaptureLoop:
        """Wire everything as `run_capture` does, with fakes at the edges."""
        (self.root / "unit.toml").write_text(GOOD)
        script = ([[BOX]] * LOOKS + [[]] * GAP) * vehicles
        book = KeyringFile(
            self.root / "keyring.cose",
            OWNER.public_key(),
            note=SerialNote(self.root, LocalFiles()),
            clock=self.clock,
            stop_at_end=stop_at_end,
        )
        signing_key = SigningKeyFile(self.root / "signing.key", self.clock, known=KnownKeys(self.root))
        sealer = Sealer(signing_key=signing_key.key, book=book, cipher=ContentCipher.AES_256_GCM)
        recorder = Recorder(
            sealer=sealer,
            spool=self.spool,
            chain=self.chain,
            clock=self.clock,
            bounds=Bounds(max_bytes=1 << 24),
            may_expire=lambda: True,
        )
        (config,) = load_config(self.root / "unit.toml").cameras
        reader = CannedReader(lambda number, _: plate(f"PLATE{number // LOOKS:02}"))
        source = DrivenSource(self.clock, len(script), actions or {})
        return CaptureLoop(
            [Camera(config, source, PlatePipeline(CannedDetector(script), reader))],
            recorder=recorder,
            stop=threading.Event(),
            keys=KeyWatcher(keyring=book, signing_key=signing_key, sealer=sealer, chain=self.chain),
        )

    def envelopes(self) -> list[Envelope]:
        """Return what is in the spool, oldest first."""
        return [self.spool.get(entry.envelope_id) for entry in self.spool.entries(SpoolState.PENDING)]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a rig with a signing key and no keyring yet."""
    rig = Rig(tmp_path, FakeClock(STARTED_AT), MemorySpool(max_bytes=1 << 24), Chain())
    rig.place_signing_key(Ed25519PrivateKey.generate())
    return rig


def opens_with(envelope: Envelope, private: PrivateKey) -> datetime | None:
    """Return the read's capture time if this key opens it, under whatever key id it is tried."""
    kids = {slot.kid for slot in sealed_content(envelope)[0].recipients}
    try:
        return open_envelope(envelope, dict.fromkeys((*kids, private.kid), private)).captured_at
    except OpenError:
        return None


@pytest.mark.parametrize("key_type", list(KeyType))
def test_three_epochs_and_a_swap_with_reads_in_flight(rig: Rig, key_type: KeyType) -> None:
    """Each read opens with exactly the epoch key of its capture time, and with no other; none is missed."""
    keys = epochs(0, 1, 2, key_type=key_type)
    publics = [public for public, _ in keys]
    rig.place_keyring(make_keyring(*publics[:2], serial=1))
    straddling = round(EPOCH_S * FRAME_RATE)  # the eleventh vehicle is in view: seen in epoch 0, sealed in epoch 1
    actions = {straddling + 1: lambda: rig.place_keyring(make_keyring(*publics, serial=2))}
    loop = rig.loop(actions=actions)
    loop.run()
    sealed = rig.envelopes()
    assert len(sealed) == VEHICLES
    held = [0, 0, 0]
    for envelope in sealed:
        opened = [opens_with(envelope, private) for _, private in keys]
        captured_at = next(moment for moment in opened if moment is not None)
        assert [moment is not None for moment in opened] == [key.is_valid_at(captured_at) for key in publics]
        held = [count + (moment is not None) for count, moment in zip(held, opened, strict=True)]
    assert sum(held) == VEHICLES
    assert min(held) >= 8
    assert [envelope.position.seq for envelope in sealed] == list(range(VEHICLES))
    measured = Snapshot(loop.samples())
    assert (measured.get("keyring_serial"), measured.get("keyring_expired")) == (2, 0)


def test_a_read_that_crosses_midnight_is_sealed_to_the_day_it_was_captured(rig: Rig) -> None:
    """The eleventh vehicle was captured before the switch and sealed after it."""
    keys = epochs(0, 1)
    rig.place_keyring(make_keyring(*(public for public, _ in keys)))
    rig.loop(vehicles=11).run()
    last = rig.envelopes()[-1]
    captured_at = opens_with(last, keys[0][1])
    assert captured_at is not None
    assert captured_at < STARTED_AT + EPOCH < rig.clock.now()
    assert opens_with(last, keys[1][1]) is None


def test_a_bad_keyring_in_between_costs_no_read(rig: Rig) -> None:
    """Garbage, then an older one, then a good one: every vehicle is sealed, and the good one is in use at the end."""
    keys = epochs(0, 1, 2)
    publics = [public for public, _ in keys]
    rig.place_keyring(make_keyring(*publics[:2], serial=5))
    actions = {
        100: lambda: (rig.root / "keyring.cose").write_bytes(b"garbage"),
        200: lambda: rig.place_keyring(make_keyring(*publics[:1], serial=4)),
        300: lambda: rig.place_keyring(make_keyring(*publics, serial=6)),
    }
    loop = rig.loop(actions={frame: _quiet(action) for frame, action in actions.items()})
    loop.run()
    assert len(rig.envelopes()) == VEHICLES
    assert Snapshot(loop.samples()).get("keyring_serial") == 6


def _quiet(action: Callable[[], object]) -> Action:
    def act() -> None:
        action()

    return act


def test_when_the_keyring_ends_reads_go_to_the_newest_key_with_an_alarm(rig: Rig) -> None:
    """The default: nothing is missed, and the gauges say so."""
    ((public, private),) = epochs(0)
    rig.place_keyring(make_keyring(public))
    loop = rig.loop(vehicles=12)
    loop.run()
    sealed = rig.envelopes()
    assert len(sealed) == 12
    assert all(opens_with(envelope, private) is not None for envelope in sealed)
    measured = Snapshot(loop.samples())
    assert (measured.get("keyring_expired"), measured.get("keyring_left_seconds")) == (1, 0)


def test_when_told_to_stop_the_loop_ends_and_keeps_what_was_accepted(rig: Rig) -> None:
    """The error comes through; the reads before it are in the spool, in an unbroken chain."""
    ((public, private),) = epochs(0)
    rig.place_keyring(make_keyring(public))
    with pytest.raises(KeyringEndedError, match="bring a new keyring"):
        rig.loop(vehicles=20, stop_at_end=True).run()
    sealed = rig.envelopes()
    assert len(sealed) == 11
    assert all(opens_with(envelope, private) is not None for envelope in sealed)
    assert rig.chain.next.seq == 11
    assert rig.chain.next.prev == sealed[-1].digest


def test_a_new_signing_key_begins_a_new_chain_that_names_the_old_one(rig: Rig) -> None:
    """Swapped in the middle of a passage: no read is missed, each chain is signed by one key, `last` links them."""
    ((public, _),) = epochs(0)
    rig.place_keyring(make_keyring(public))
    old, new = keyfiles.load_ed25519_private(rig.root / "signing.key"), Ed25519PrivateKey.generate()
    rig.loop(vehicles=10, actions={177: lambda: rig.place_signing_key(new)}).run()
    sealed = rig.envelopes()
    assert len(sealed) == 10
    by_key = {
        key: [envelope for envelope in sealed if envelope.device_kid == cose.ed25519_kid(key.public_key())]
        for key in (old, new)
    }
    for key, envelopes in by_key.items():
        assert [envelope.position.seq for envelope in envelopes] == list(range(len(envelopes)))
        assert len({envelope.position.chain for envelope in envelopes}) == 1
        for envelope in envelopes:
            verify_envelope(envelope, key.public_key())
    assert by_key[new][0].position.prev == by_key[old][-1].digest
    assert len(by_key[old]) == 5


def test_a_chain_restarted_before_its_first_read_hands_the_link_on() -> None:
    """Two rotations without a read between them lose no link."""
    chain = Chain(last=b"\x07" * 32)
    first = chain.next
    chain.restart()
    assert chain.next.prev == b"\x07" * 32
    assert chain.next.chain != first.chain
