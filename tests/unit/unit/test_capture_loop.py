"""The capture loop: what is sealed, what a full or failing spool does, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.capture import LiveStats
from agent.config.load import load_config
from agent.config.models import OnFull
from agent.custody.opener import open_envelope
from agent.errors import InferenceError, SourceError, SpoolError, SpoolFullError
from agent.keys.keyring import KeyringBook
from agent.records import ClockState, Detection, Envelope, SpoolState
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.unit.capture.cameras import Camera
from agent.unit.capture.daemon import CaptureLoop
from agent.unit.capture.eviction import Bounds
from agent.unit.capture.recorder import Recorder
from agent.unit.status.samples import Snapshot
from agent.vision.pipeline import PlatePipeline
from agent.wire.envelope import MAX_ENVELOPE_BYTES
from agent.wire.suites import ContentCipher
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.clock import FakeClock
from tests.fakes.reads import make_keyring, make_plaintext, make_recipient
from tests.fakes.source import ReplaySource
from tests.fakes.spool import MemorySpool
from tests.fakes.vision import CannedDetector, CannedReader, plate
from tests.unit.config.test_load import GOOD

RECIPIENT, PRIVATE = make_recipient()
PICTURE = np.random.default_rng(1).integers(0, 255, (120, 200, 3)).astype(np.uint8)
BOX = Detection(20, 20, 100, 50, 0.9)
LOOKS, GAP = 5, 30
"""Frames with and without a plate; at 10 frames/s the gap ends every track."""


@dataclass
class Rig:
    """A loop with everything around it."""

    loop: CaptureLoop
    recorder: Recorder
    spool: MemorySpool
    chain: Chain
    clock: FakeClock
    stop: threading.Event
    source: ReplaySource

    def texts(self) -> list[str]:
        """Return what the spooled reads say, oldest first."""
        entries = self.spool.entries(SpoolState.PENDING)
        envelopes = [self.spool.get(entry.envelope_id) for entry in entries]
        reads = [envelope for envelope in envelopes if envelope.tombstone is None]
        return [open_envelope(envelope, {PRIVATE.kid: PRIVATE}).text for envelope in reads]

    def tombstones(self) -> list[Tombstone]:
        """Return the spooled tombstones, oldest first."""
        entries = self.spool.entries(SpoolState.PENDING)
        found = [self.spool.get(entry.envelope_id).tombstone for entry in entries]
        return [tombstone for tombstone in found if tombstone is not None]


def make_rig(
    tmp_path: Path,
    *,
    vehicles: int = 2,
    spool: MemorySpool | None = None,
    script: Sequence[Sequence[Detection] | InferenceError] | None = None,
    fault: SourceError | None = None,
    max_age: timedelta | None = None,
    on_full: OnFull = OnFull.DROP_OLDEST,
    live: LiveStats | None = None,
    frame_rate: float = 10,
) -> Rig:
    """Wire a loop to fakes: `vehicles` plates pass one after the other."""
    path = tmp_path / "unit.toml"
    path.write_text(GOOD)
    script = script if script is not None else ([[BOX]] * LOOKS + [[]] * GAP) * vehicles
    source = ReplaySource([PICTURE] * len(script), frame_rate=frame_rate, fault=fault)
    reader = CannedReader(lambda number, _: plate(f"PLATE{number // LOOKS}"))
    spool = spool or MemorySpool(max_bytes=1 << 20)
    chain, clock, stop = Chain(), FakeClock(), threading.Event()
    recorder = Recorder(
        sealer=Sealer(
            signing_key=Ed25519PrivateKey.generate(),
            book=KeyringBook(make_keyring(RECIPIENT)),
            cipher=ContentCipher.AES_256_GCM,
        ),
        spool=spool,
        chain=chain,
        clock=clock,
        bounds=Bounds(max_bytes=1 << 20, max_age=max_age, on_full=on_full),
        may_expire=lambda: clock.clock_state is ClockState.SYNCHRONIZED,
    )
    (config,) = load_config(path).cameras
    camera = Camera(config, source, PlatePipeline(CannedDetector(script), reader), live or LiveStats())
    loop = CaptureLoop([camera], recorder=recorder, stop=stop)
    return Rig(loop, recorder, spool, chain, clock, stop, source)


@pytest.mark.parametrize(
    ("frames", "frame_rate", "said"),
    [(1, 10, "has 1 frame, and min_votes = 2"), (5, 1, "has a frame every 1.0 s, and min_votes = 2"), (5, 10, None)],
)
def test_a_recording_with_too_few_looks_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, frames: int, frame_rate: float, said: str | None
) -> None:
    """When it has ended; whoever waits for reads of it would look for the reason elsewhere."""
    with caplog.at_level(logging.WARNING):
        make_rig(tmp_path, script=[[BOX]] * frames, frame_rate=frame_rate).loop.run()
    told = [record.getMessage() for record in caplog.records if "min_votes" in record.getMessage()]
    assert len(told) == (said is not None)
    assert said is None or said in told[0]


def test_a_recording_that_was_stopped_is_not_said_to_be_short(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """How many frames it has was not seen."""
    rig = make_rig(tmp_path)
    rig.stop.set()
    rig.loop.run()
    assert Snapshot(rig.loop.samples()).get("frames", "bridge-north") == 1
    assert "min_votes" not in caplog.text


def test_every_passage_is_sealed_and_spooled_in_order(tmp_path: Path) -> None:
    """Two vehicles, two reads, two links of the chain, and the counts say so."""
    rig = make_rig(tmp_path)
    rig.loop.run()
    assert rig.texts() == ["PLATE0", "PLATE1"]
    assert rig.chain.next.seq == 2
    measured = Snapshot(rig.loop.samples())
    assert (measured.get("passages", "bridge-north"), measured.get("sealed"), measured.get("dropped")) == (2, 2, 0)
    assert (
        measured.get("frames", "bridge-north") == measured.get("frames_expected", "bridge-north") == 2 * (LOOKS + GAP)
    )


def test_a_vehicle_still_in_view_at_the_end_is_kept(tmp_path: Path) -> None:
    """A recording that ends, or a stop, finishes what is in view."""
    rig = make_rig(tmp_path, script=[[BOX]] * LOOKS)
    rig.loop.run()
    assert rig.texts() == ["PLATE0"]


def test_a_failing_source_keeps_what_was_seen(tmp_path: Path) -> None:
    """The error comes through after the passage in view is sealed."""
    rig = make_rig(tmp_path, script=[[BOX]] * LOOKS, fault=SourceError("the camera went"))
    with pytest.raises(SourceError, match="the camera went"):
        rig.loop.run()
    assert rig.texts() == ["PLATE0"]


def test_a_failing_model_keeps_what_was_seen(tmp_path: Path) -> None:
    """The same for inference."""
    rig = make_rig(tmp_path, script=[[BOX]] * LOOKS + [InferenceError("broken")])
    with pytest.raises(InferenceError, match="broken"):
        rig.loop.run()
    assert rig.texts() == ["PLATE0"]


def test_a_stop_ends_the_loop_at_the_next_frame(tmp_path: Path) -> None:
    """SIGTERM: one frame at most."""
    rig = make_rig(tmp_path)
    rig.stop.set()
    rig.loop.run()
    assert Snapshot(rig.loop.samples()).get("frames", "bridge-north") == 1


class Tight(MemorySpool):
    """Without room for a read, but for a tombstone; and with nothing in it that could give way."""

    def put(self, envelope: Envelope) -> None:
        """As the port."""
        if envelope.tombstone is None:
            raise SpoolFullError("spool: no room for a read")
        super().put(envelope)


def test_a_full_spool_drops_counts_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The dropped reads are counted, logged once, and stand in the chain as one tombstone."""
    rig = make_rig(tmp_path, vehicles=3, spool=Tight(max_bytes=1 << 20))
    with caplog.at_level(logging.ERROR):
        rig.loop.run()
    assert (rig.recorder.stats.sealed, rig.recorder.stats.dropped) == (0, 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert rig.texts() == []
    (tombstone,) = rig.tombstones()
    assert (tombstone.reason, tombstone.count, tombstone.gone) == (LossReason.OVERFLOW, 3, ())
    assert tombstone.first_at < tombstone.last_at
    assert rig.chain.next.seq == 1
    assert "PLATE" not in caplog.text


def test_a_unit_told_to_stop_ends_when_its_spool_is_full(tmp_path: Path) -> None:
    """The read that did not fit is noted by a tombstone, no further frame is looked at, and the error says why."""
    rig = make_rig(tmp_path, vehicles=3, spool=Tight(max_bytes=1 << 20), on_full=OnFull.STOP)
    with pytest.raises(SpoolFullError, match="no room for a read") as caught:
        rig.loop.run()
    assert caught.value.exit_code == 16
    assert Snapshot(rig.loop.samples()).total("frames") < 2 * (LOOKS + GAP)
    assert [(each.reason, each.count) for each in rig.tombstones()] == [(LossReason.OVERFLOW, 1)]


class RoomLater(MemorySpool):
    """Full for the first envelope, roomy afterwards."""

    refused = False

    def put(self, envelope: Envelope) -> None:
        """As the port."""
        if not self.refused:
            self.refused = True
            raise SpoolFullError("spool: no room")
        super().put(envelope)


def test_room_again_is_logged_once_and_the_chain_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Transitions, not attempts; the refused read leaves a tombstone behind the next one, and no hole."""
    rig = make_rig(tmp_path, vehicles=3, spool=RoomLater(max_bytes=1 << 20))
    with caplog.at_level(logging.INFO):
        rig.loop.run()
    assert rig.texts() == ["PLATE1", "PLATE2"]
    assert [tombstone.count for tombstone in rig.tombstones()] == [1]
    assert rig.chain.next.seq == 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_reads_that_wait_too_long_are_erased_and_named(tmp_path: Path) -> None:
    """The tombstone is in the spool before they go, and says which places of the chain are empty."""
    rig = make_rig(tmp_path, max_age=timedelta(hours=1))
    rig.loop.run()
    waiting = [entry.envelope_id for entry in rig.spool.entries(SpoolState.PENDING)]
    rig.clock.current = rig.spool.entries(SpoolState.PENDING)[0].spooled_at + timedelta(hours=1, seconds=0.5)
    rig.clock.elapsed_s += 61
    rig.recorder.expire()
    assert rig.texts() == ["PLATE1"]
    (tombstone,) = rig.tombstones()
    assert (tombstone.reason, tombstone.count) == (LossReason.EXPIRED, 1)
    assert [gone.digest.hex() for gone in tombstone.gone] == waiting[:1]
    assert [(gone.first, gone.last) for gone in tombstone.gone] == [(0, 0)]
    assert rig.recorder.stats.expired == 1
    assert Snapshot(rig.loop.samples()).get("expired") == 1


def test_nothing_expires_by_a_clock_that_is_not_trusted(tmp_path: Path) -> None:
    """A unit that boots in 2042 erases nothing until its clock is synchronised; a lone tombstone never expires."""
    rig = make_rig(tmp_path, max_age=timedelta(hours=1))
    rig.loop.run()
    rig.clock.clock_state = ClockState.UNSYNCHRONIZED
    rig.clock.advance(10 * 365 * 86_400)
    rig.recorder.expire()
    assert rig.texts() == ["PLATE0", "PLATE1"]
    rig.clock.clock_state = ClockState.SYNCHRONIZED
    for _ in range(2):
        rig.clock.advance(61)
        rig.recorder.expire()
    assert rig.texts() == []
    assert [tombstone.count for tombstone in rig.tombstones()] == [2]


class BrokenSpool(MemorySpool):
    """A disk that refuses."""

    def put(self, envelope: Envelope) -> None:
        """As the port, failing."""
        raise SpoolError("spool: Input/output error")


def test_a_broken_disk_ends_the_loop(tmp_path: Path) -> None:
    """Nothing is called accepted; the daemon ends with the error and its service starts it anew."""
    rig = make_rig(tmp_path, spool=BrokenSpool(max_bytes=1 << 20))
    with pytest.raises(SpoolError, match="Input/output error"):
        rig.loop.run()
    assert rig.recorder.stats.sealed == 0


def test_a_crop_too_large_for_an_envelope_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The text is sealed all the same, and the daemon goes on."""
    rig = make_rig(tmp_path)
    rig.recorder.keep(make_plaintext(crop=bytes(MAX_ENVELOPE_BYTES)))
    (entry,) = rig.spool.entries(SpoolState.PENDING)
    read = open_envelope(rig.spool.get(entry.envelope_id), {PRIVATE.kid: PRIVATE})
    assert (read.text, read.crop) == ("AB123CD", b"")
    assert "left out" in caplog.text
    assert "AB123CD" not in caplog.text


def test_a_recording_is_marked_as_one(tmp_path: Path) -> None:
    """The clock's state travels with every read."""
    rig = make_rig(tmp_path, vehicles=1)
    rig.loop.run()
    (entry,) = rig.spool.entries(SpoolState.PENDING)
    read = open_envelope(rig.spool.get(entry.envelope_id), {PRIVATE.kid: PRIVATE})
    assert read.clock is ClockState.RECORDED
    assert (read.detector_digest, read.reader_digest) == (b"\x01" * 32, b"\x02" * 32)


def test_while_a_camera_is_lost_the_plates_in_view_are_sealed(tmp_path: Path) -> None:
    """They do not wait for a camera that may be away for days; while it is there, a pause ends no passage."""
    live = LiveStats(is_up=True)
    rig = make_rig(tmp_path, vehicles=1, script=[[BOX]] * LOOKS, live=live)
    for frame in rig.source.frames():
        rig.loop._cameras[0].pipeline.process(frame)
    rig.loop.on_idle()
    assert rig.texts() == []
    live.is_up = False
    rig.loop.on_idle()
    assert rig.texts() == ["PLATE0"]
