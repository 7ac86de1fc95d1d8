"""How capture takes up a new configuration: which way each change goes, and no passage lost or told twice."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.capture import LiveStats
from agent.capture.replaceable import ReplaceableSource
from agent.config.load import load_config
from agent.config.models import VisionConfig
from agent.disk.files import LocalFiles
from agent.errors import ModelMissingError, PlatesealError, SourceError, SourceLostError
from agent.keys.keyfiles import write_public
from agent.records import Detection, Passage
from agent.unit.capture.cameras import Camera
from agent.unit.reload import capture as reload_capture
from agent.unit.reload import trial as reload_module
from agent.unit.reload.capture import HEALTHY_FRAMES, WAIT_FOR_GAP_S, CaptureChange, CaptureReload, Idle
from agent.unit.reload.trial import Reload
from agent.vision.pipeline import PlatePipeline
from tests.fakes.bundles import changed, put_bundle, unit_table
from tests.fakes.clock import FakeClock
from tests.fakes.source import ReplaySource
from tests.fakes.vision import CannedDetector, CannedReader, plate
from tests.fakes.waiting import wait_until
from tests.unit.config.test_load import GOOD

OWNER = Ed25519PrivateKey.generate()
PICTURES = list(np.random.default_rng(1).integers(0, 255, (200, 120, 200, 3), np.uint8))
BOX = Detection(20, 20, 100, 50, 0.9)
RTSP = "rtsp://192.0.2.1/stream"


class Rig:
    """A camera at work on fakes, its configuration, and what the pipelines that gave way reported."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: list[list[Detection]]) -> None:
        """Start on the unit's own file; `script` is what the detector sees, in the old pipeline and in any new one."""
        self.folder = folder
        text = GOOD + '[bundle]\nincoming = "unit.bundle"\n'
        (folder / "unit.toml").write_text(text)
        (folder / "state").mkdir()
        write_public(folder / "owner.pub", OWNER.public_key())
        self.base = load_config(folder / "unit.toml")
        self.table = changed(unit_table(text, folder), {"bundle.incoming": str(folder / "unit.bundle")})
        self.clock, self.stop = FakeClock(), threading.Event()
        self.detector = CannedDetector(script)
        self.built: list[VisionConfig] = []
        monkeypatch.setattr(reload_module, "LOOK_EVERY_S", 0.005)
        monkeypatch.setattr(reload_capture, "Models", lambda: self)
        self.source = ReplaySource(PICTURES, frame_rate=10)
        (config,) = self.base.cameras
        self.cameras: tuple[Camera, ...] = (
            Camera(config, ReplaceableSource(self.source), self._pipeline(), LiveStats()),
        )
        self.reload: Reload[CaptureChange] = Reload(self.base, "capture", files=LocalFiles(), clock=self.clock)
        self.changes = CaptureReload(self.reload, clock=self.clock, stop=self.stop)
        self.kept: list[Passage] = []
        self.frames = self.cameras[0].source.frames()
        self.changes.watch()

    def put(self, **settings: object) -> None:
        """Put a bundle, and wait until it is prepared."""
        table = changed(self.table, {name.replace("__", "."): value for name, value in settings.items()})
        put_bundle(self.folder / "unit.bundle", table, serial=1, key=OWNER, camera="bridge-north")
        self.clock.advance(2.0)
        wait_until(lambda: self.reload.ready() is not None)

    def play(self, count: int) -> None:
        """Play so many frames as the loop does."""
        for _ in range(count):
            frame = next(self.frames)
            self.kept += self.cameras[0].pipeline.process(frame)
            self.step()

    def step(self) -> None:
        """Take up or judge, as the loop does after each frame and while none comes."""
        self.cameras = self.changes.step(
            self.cameras, keep=lambda _, passages: self.kept.extend(passages), on_idle=lambda: None
        )

    def texts(self) -> list[str]:
        """Return what was reported."""
        return [passage.text for passage in self.kept]

    def _pipeline(self) -> PlatePipeline:
        return PlatePipeline(self.detector, CannedReader(lambda _, __: plate("ABC123")))

    def pipeline(self, config: VisionConfig) -> PlatePipeline:
        """Build a pipeline, in the place of `Models`."""
        if config.models is not None and "missing" in str(config.models):
            raise ModelMissingError("no such model")
        self.built.append(config)
        return self._pipeline()


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Make a rig on an empty road."""
    return Rig(tmp_path, monkeypatch, [])


def stopped(rig: Rig) -> None:
    """End its threads."""
    rig.stop.set()


def test_settings_of_a_passage_hold_from_the_next_one(quiet: Rig) -> None:
    """The pipeline and the source stay; no model is loaded."""
    before = quiet.cameras[0]
    quiet.put(site="ramp", vision__jpeg_quality=50)
    quiet.play(1)
    after = quiet.cameras[0]
    assert (after.config.site, after.config.vision.jpeg_quality) == ("ramp", 50)
    assert (after.pipeline is before.pipeline, after.source is before.source, quiet.built) == (True, True, [])
    was_on_trial = quiet.reload.on_trial
    quiet.play(HEALTHY_FRAMES)
    assert (was_on_trial, quiet.reload.on_trial) == (True, False)
    stopped(quiet)


def test_a_bundle_without_news_for_capture_is_good_at_once(quiet: Rig) -> None:
    """What changes in `[upload]` is upload's."""
    quiet.put(upload__poll_s=2.0)
    quiet.play(1)
    assert (quiet.reload.serial, quiet.reload.on_trial) == (1, False)
    stopped(quiet)


def test_a_new_pipeline_waits_for_the_gap_between_vehicles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vehicle in view is read by one pipeline to its end, and told once."""
    rig = Rig(tmp_path, monkeypatch, [[BOX]] * 10 + [[]] * 60)
    rig.play(3)
    rig.put(vision__reader_confidence=0.5)
    old = rig.cameras[0].pipeline
    rig.play(7)
    assert rig.cameras[0].pipeline is old
    rig.play(40)
    assert rig.cameras[0].pipeline is not old
    assert rig.texts() == ["ABC123"]
    assert rig.cameras[0].pipeline.stats.passages == 1
    assert rig.cameras[0].pipeline.stats.frames == 50
    stopped(rig)


def test_a_road_without_a_gap_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in view is settled with the looks it has, and is no news to the new pipeline."""
    rig = Rig(tmp_path, monkeypatch, [[BOX]] * 60)
    rig.play(5)
    rig.put(vision__reader_confidence=0.5)
    rig.play(1)
    assert rig.kept == []
    rig.clock.advance(WAIT_FOR_GAP_S)
    rig.play(1)
    assert rig.texts() == ["ABC123"]
    rig.play(40)
    rig.kept += rig.cameras[0].pipeline.flush()
    assert rig.texts() == ["ABC123"]
    stopped(rig)


def test_another_recording_takes_over_with_its_first_frame(
    quiet: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was connected beside the old one, which is closed then."""
    new = ReplaySource(PICTURES[:9], camera_id="new")
    monkeypatch.setattr(reload_capture, "open_camera", lambda *_, **__: new)
    quiet.put(source__uri=str(tmp_path / "other.mp4"))
    quiet.play(1)
    assert quiet.source.is_closed
    assert [frame.camera_id for frame in quiet.frames] == ["new"] * 9
    stopped(quiet)


@pytest.mark.parametrize(
    "settings",
    [
        {"seal__cipher": "A256GCM"},
        {"spool__max_bytes": 20_000_000},
        {"source": {"uri": "/dev/video7"}},
        {"source": {"uri": "gst:videotestsrc ! appsink"}},
        {"camera": [{"camera_id": "second", "source": {"uri": RTSP}}]},
    ],
    ids=str,
)
def test_what_cannot_be_built_beside_itself_begins_anew(
    quiet: Rig, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    """In order, with the bundle on trial at the next start."""
    monkeypatch.setattr(reload_capture, "_check_start", lambda _: None)
    quiet.put(**settings)
    quiet.play(1)
    assert (quiet.changes.wants_restart, quiet.stop.is_set(), quiet.reload.on_trial) == (True, True, True)
    again: Reload[CaptureChange] = Reload(quiet.base, "capture", files=LocalFiles(), clock=quiet.clock)
    assert (again.serial, again.on_trial) == (1, True)


def test_what_would_not_start_is_refused_beforehand(quiet: Rig) -> None:
    """A keyring that is missing, and models that are: nothing changes, and nothing restarts."""
    (one,) = quiet.base.cameras
    for unit in (
        quiet.base.model_copy(update={"spool": quiet.base.spool.model_copy(update={"max_bytes": 1 << 21})}),
        quiet.base.model_copy(update={"vision": VisionConfig(models=Path("/missing"))}),
        quiet.base.model_copy(update={"source": one.source.model_copy(update={"uri": "/missing.mp4"})}),
    ):
        with pytest.raises(PlatesealError):
            quiet.changes.prepare(quiet.base, unit)
    assert not quiet.changes.wants_restart
    stopped(quiet)


def test_a_source_without_a_frame_is_refused(quiet: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends at once, and one that fails."""
    (one,) = quiet.base.cameras
    unit = quiet.base.model_copy(update={"source": one.source.model_copy(update={"uri": "/other.mp4"})})
    for source, word in (
        (ReplaySource([]), "delivers no frame"),
        (ReplaySource([], fault=SourceError("no route")), "no route"),
    ):
        monkeypatch.setattr(reload_capture, "open_camera", lambda *_, source=source, **__: source)
        with pytest.raises(SourceError, match=word):
            quiet.changes.prepare(quiet.base, unit)
        assert source.is_closed
    stopped(quiet)


def test_a_new_source_has_its_time_and_then_rests_with_the_loop() -> None:
    """Before the switch the deadline ends the wait; after it the loop is called."""
    clock, calls = FakeClock(), [0]
    idle = Idle(clock, 10.0)
    idle()
    clock.advance(10.0)
    with pytest.raises(SourceLostError, match="no frame came in time"):
        idle()
    idle.on_idle = lambda: calls.append(1)
    idle()
    assert calls == [0, 1]


def test_without_a_frame_in_time_it_is_taken_back(quiet: Rig) -> None:
    """The process begins anew with the last good one."""
    quiet.put(site="ramp")
    quiet.play(1)
    quiet.clock.advance(61.0)
    quiet.step()
    assert (quiet.reload.serial, quiet.reload.on_trial, quiet.changes.wants_restart) == (0, False, True)
    assert quiet.stop.is_set()


def test_a_camera_that_was_lost_before_is_not_held_against_it(quiet: Rig) -> None:
    """Its source is the same, so the configuration has nothing to do with it."""
    quiet.cameras = (replace(quiet.cameras[0], live=LiveStats(is_up=False)),)
    quiet.put(site="ramp")
    quiet.step()
    quiet.step()
    assert (quiet.reload.serial, quiet.reload.on_trial) == (1, False)
    stopped(quiet)
