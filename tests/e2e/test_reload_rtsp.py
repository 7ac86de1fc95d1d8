"""A network camera in the place of another one, against RTSP servers: connected beside it, then taken up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.capture import LiveHooks
from agent.capture.replaceable import ReplaceableSource
from agent.config.document import Table
from agent.config.load import load_config
from agent.disk.files import LocalFiles
from agent.keys.keyfiles import write_public
from agent.records import Frame, Image
from agent.unit.capture.cameras import Camera, open_camera
from agent.unit.process.clock import SystemClock
from agent.unit.reload.capture import CaptureChange, CaptureReload
from agent.unit.reload.trial import Reload
from agent.vision.pipeline import PlatePipeline
from tests.fakes.bundles import changed, put_bundle, unit_table
from tests.fakes.rtsp import PlainRtspServer, RtspServer, made_at_s
from tests.fakes.vision import CannedDetector, CannedReader, plate
from tests.fakes.waiting import WITHIN_S, patiently
from tests.unit.config.test_load import GOOD

pytestmark = pytest.mark.e2e

OWNER = Ed25519PrivateKey.generate()
DEAD = "rtsp://127.0.0.1:9/none"


class LiveUnit:
    """One live camera, as the capture loop plays it."""

    def __init__(self, folder: Path, url: str) -> None:
        """Open the camera; bundles are taken."""
        self.folder = folder
        text = GOOD.replace("clip.mp4", url).replace("started_at", "# started_at")
        text += '[bundle]\nincoming = "unit.bundle"\n'
        (folder / "unit.toml").write_text(text)
        (folder / "state").mkdir()
        write_public(folder / "owner.pub", OWNER.public_key())
        base = load_config(folder / "unit.toml")
        self.table: Table = changed(
            unit_table(text, folder), {"source.uri": url, "bundle.incoming": str(folder / "unit.bundle")}
        )
        self.stop, clock = threading.Event(), SystemClock()
        (config,) = base.cameras
        hooks = LiveHooks(stop=self.stop, on_idle=self.step)
        source = ReplaceableSource(open_camera(config, clock=clock, hooks=hooks))
        pipeline = PlatePipeline(CannedDetector(), CannedReader(plate("ABC123")))
        self.cameras: tuple[Camera, ...] = (Camera(config, source, pipeline, hooks.stats),)
        self.reload: Reload[CaptureChange] = Reload(base, "capture", files=LocalFiles(), clock=clock)
        self.changes = CaptureReload(self.reload, clock=clock, stop=self.stop)
        self.frames = source.frames()
        self.changes.watch()

    def put(self, serial: int, url: str) -> None:
        """Put a bundle with another camera."""
        table = changed(self.table, {"source.uri": url, "bundle.healthy_within_s": WITHIN_S if url != DEAD else 3.0})
        put_bundle(self.folder / "unit.bundle", table, serial=serial, key=OWNER)

    def step(self) -> None:
        """What the loop does after each frame, and while none comes."""
        self.cameras = self.changes.step(self.cameras, keep=lambda *_: None, on_idle=self.step)

    def play_until(self, done: Callable[[Frame], bool]) -> list[Frame]:
        """Play until a frame fulfils `done`; return all."""
        seen: list[Frame] = []
        for frame in patiently(self.frames, otherwise="it did not come about in time"):
            self.cameras[0].pipeline.process(frame)
            self.step()
            seen.append(frame)
            if done(frame):
                return seen
        raise AssertionError("the frames ended")


@pytest.fixture
def servers() -> Iterator[tuple[RtspServer, RtspServer]]:
    """Two cameras, told apart by the size of their pictures."""
    with PlainRtspServer() as first, PlainRtspServer("--width", "480", "--height", "272") as second:
        yield first, second


def test_the_new_camera_takes_over_while_the_old_one_delivers(
    servers: tuple[RtspServer, RtspServer], tmp_path: Path
) -> None:
    """The frames of the one follow on the other's; a camera that is not there changes nothing."""
    first, second = servers
    unit = LiveUnit(tmp_path, first.url)
    try:
        wide = _width(unit.play_until(lambda _: True)[0].image)
        unit.put(1, second.url)
        seen = unit.play_until(lambda frame: _width(frame.image) != wide)
        assert len(seen) > 1
        unit.play_until(lambda _: not unit.reload.on_trial)
        assert unit.reload.serial == 1
        made = [made_at_s(frame.image) for frame in seen[:-1]]
        assert made == sorted(made)
        unit.put(2, DEAD)
        note = tmp_path / "state" / "config-capture.json"
        unit.play_until(lambda _: "does not work" in note.read_text())
        assert (unit.reload.serial, unit.changes.wants_restart) == (1, False)
        assert _width(unit.play_until(lambda _: True)[0].image) != wide
    finally:
        unit.stop.set()
        unit.cameras[0].source.close()


def test_a_camera_that_is_lost_gives_way_too(servers: tuple[RtspServer, RtspServer], tmp_path: Path) -> None:
    """A new address is often the very reason for a new configuration."""
    first, second = servers
    unit = LiveUnit(tmp_path, first.url)
    try:
        wide = _width(unit.play_until(lambda _: True)[0].image)
        first.stop()
        unit.put(1, second.url)
        unit.play_until(lambda frame: _width(frame.image) != wide)
        unit.play_until(lambda _: not unit.reload.on_trial)
        assert unit.reload.serial == 1
    finally:
        unit.stop.set()
        unit.cameras[0].source.close()


def _width(image: Image) -> int:
    return int(image.shape[1])
