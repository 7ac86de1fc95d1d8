"""Several cameras in one process: one chain and one spool, each read under its camera's name."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.capture import LiveStats
from agent.config.load import load_config
from agent.custody.opener import open_envelope
from agent.errors import InferenceError, SourceError
from agent.keys.keyring import KeyringBook
from agent.records import Detection, Plaintext, SpoolState
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.unit.capture.cameras import Camera, open_cameras
from agent.unit.capture.daemon import CaptureLoop
from agent.unit.capture.eviction import Bounds
from agent.unit.capture.recorder import Recorder
from agent.unit.status.samples import Snapshot
from agent.vision.pipeline import PlatePipeline
from agent.wire.suites import ContentCipher
from tests.fakes.clock import FakeClock
from tests.fakes.reads import make_keyring, make_recipient
from tests.fakes.source import ReplaySource
from tests.fakes.spool import MemorySpool
from tests.fakes.vision import CannedDetector, CannedReader, plate
from tests.toy_models import render_clip, write_toy_models
from tests.unit.config.test_load import GOOD

RECIPIENT, PRIVATE = make_recipient()
PICTURE = np.random.default_rng(1).integers(0, 255, (120, 200, 3)).astype(np.uint8)
BOX = Detection(20, 20, 100, 50, 0.9)
SCRIPT = [[BOX]] * 5 + [[]] * 30
SOUTH = '\n[[camera]]\ncamera_id = "bridge-south"\nsite = "ramp"\n[camera.source]\nuri = "south.mp4"\n'


class Unit:
    """Two cameras on fakes around one recorder."""

    def __init__(self, tmp_path: Path, *, fault: SourceError | None = None, script: list[object] | None = None) -> None:
        """Wire them; `fault` ends the first camera, `script` is what its detector does."""
        path = tmp_path / "unit.toml"
        path.write_text(GOOD + SOUTH)
        self.live = (LiveStats(), LiveStats())
        scripts = (script or SCRIPT, SCRIPT * 3)
        faults = (fault, None)
        self.cameras = [
            Camera(
                config,
                ReplaySource([PICTURE] * len(played), camera_id=config.camera_id, frame_rate=10, fault=failure),
                PlatePipeline(CannedDetector(played), CannedReader(self._reader(config.camera_id))),  # type: ignore[arg-type]
                live,
            )
            for config, played, failure, live in zip(load_config(path).cameras, scripts, faults, self.live, strict=True)
        ]
        self.spool, self.chain = MemorySpool(max_bytes=1 << 20), Chain()
        sealer = Sealer(
            signing_key=Ed25519PrivateKey.generate(),
            book=KeyringBook(make_keyring(RECIPIENT)),
            cipher=ContentCipher.AES_256_GCM,
        )
        recorder = Recorder(
            sealer=sealer,
            spool=self.spool,
            chain=self.chain,
            clock=FakeClock(),
            bounds=Bounds(max_bytes=1 << 20),
            may_expire=lambda: False,
        )
        self.stop = threading.Event()
        self.loop = CaptureLoop(self.cameras, recorder=recorder, stop=self.stop)

    @staticmethod
    def _reader(camera_id: str):  # type: ignore[no-untyped-def]  # noqa: ANN205  a closure for the fake
        prefix = camera_id.removeprefix("bridge-")[0].upper()
        return lambda number, _: plate(f"{prefix}LATE{number // 5}")

    def reads(self) -> list[Plaintext]:
        """Return what is in the spool, oldest first."""
        entries = self.spool.entries(SpoolState.PENDING)
        return [open_envelope(self.spool.get(entry.envelope_id), {PRIVATE.kid: PRIVATE}) for entry in entries]


def test_each_read_has_its_cameras_name_and_place(tmp_path: Path) -> None:
    """One chain, without a gap, over the reads of both."""
    unit = Unit(tmp_path)
    unit.loop.run()
    reads = unit.reads()
    assert sorted((read.camera, read.site, read.text) for read in reads) == [
        ("bridge-north", "bridge", "NLATE0"),
        ("bridge-south", "ramp", "SLATE0"),
        ("bridge-south", "ramp", "SLATE1"),
        ("bridge-south", "ramp", "SLATE2"),
    ]
    assert unit.chain.next.seq == 4


def test_metrics_are_kept_by_camera(tmp_path: Path) -> None:
    """Labelled with its name; the spool's are the unit's."""
    unit = Unit(tmp_path)
    unit.loop.run()
    measured = Snapshot(unit.loop.samples())
    assert measured.get("passages", "bridge-north") == 1
    assert measured.get("passages", "bridge-south") == 3
    assert measured.get("frames", "bridge-south") == 3 * len(SCRIPT)
    assert measured.get("sealed") == 4
    assert measured.get("rejected_passages", "bridge-north", "unsure") == 0


def test_a_camera_that_fails_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it saw is sealed, the failure is logged once, and raised when all have ended."""
    unit = Unit(tmp_path, fault=SourceError("clip.mp4: cut off"), script=[[BOX]] * 5)
    with pytest.raises(SourceError, match="cut off"):
        unit.loop.run()
    assert sorted(read.text for read in unit.reads()) == ["NLATE0", "SLATE0", "SLATE1", "SLATE2"]
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "bridge-north has ended, others go on: clip.mp4: cut off"
    ]


def test_too_few_looks_of_one_camera_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of the one whose recording has them, when it has ended."""
    Unit(tmp_path, script=[[BOX]]).loop.run()
    told = [message for record in caplog.records if "min_votes" in (message := record.getMessage())]
    assert len(told) == 1
    assert told[0].startswith("bridge-north: ")
    assert "has 1 frame" in told[0]


def test_a_failing_model_ends_the_unit(tmp_path: Path) -> None:
    """The models are one for all; whatever the other camera saw is sealed."""
    unit = Unit(tmp_path, script=[*SCRIPT, InferenceError("broken")])
    with pytest.raises(InferenceError, match="broken"):
        unit.loop.run()
    assert "NLATE0" in [read.text for read in unit.reads()]


def test_a_lost_cameras_passages_are_sealed_while_another_delivers(tmp_path: Path) -> None:
    """They do not wait until it is back; afterwards it is followed afresh."""
    unit = Unit(tmp_path, script=[[BOX]] * 5)
    for frame in unit.cameras[0].source.frames():
        unit.cameras[0].pipeline.process(frame)
    unit.live[0].is_up = True
    unit.loop.on_idle()
    assert unit.reads() == []
    unit.live[0].is_up = False
    unit.loop._look_for_lost()
    assert [read.text for read in unit.reads()] == ["NLATE0"]


def test_a_stop_ends_all(tmp_path: Path) -> None:
    """At the next frame, with what is in view sealed."""
    unit = Unit(tmp_path)
    unit.stop.set()
    unit.loop.run()
    assert sum(camera.pipeline.stats.frames for camera in unit.cameras) <= 1


def test_models_are_loaded_once_for_all_cameras(tmp_path: Path) -> None:
    """The same reader, however else their settings differ; the pipelines are apart."""
    toys = write_toy_models(tmp_path / "toys")
    for name in ("clip", "south", "west"):
        render_clip(tmp_path / f"{name}.mp4", [])
    west = SOUTH.replace("south", "west") + "[camera.vision]\nmin_votes = 3\n"
    path = tmp_path / "unit.toml"
    path.write_text(GOOD.replace("/opt/models", str(toys)) + SOUTH + west)
    configs = load_config(path).cameras
    north, south, other = open_cameras(configs, clock=FakeClock(), stop=threading.Event(), on_idle=lambda: None)
    assert north.pipeline is not south.pipeline
    assert north.pipeline._reader is south.pipeline._reader is other.pipeline._reader
    assert other.config.vision.min_votes == 3
    assert [camera.source.frame_count for camera in (north, south, other)] == [15, 15, 15]
