"""Several cameras in one capture daemon, as a process: two clips the whole way; two RTSP streams, one of them lost."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from agent.bench.truth import load_truth
from agent.errors import SourceDamagedError
from tests.fakes.bench import LiveBench
from tests.fakes.rtsp import PlainRtspServer
from tests.fakes.waiting import WITHIN_S
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = pytest.mark.e2e

SECOND = '\n[[camera]]\ncamera_id = "second"\nsite = "ramp"\n[camera.source]\nuri = "{uri}"\n'
TEXTS = random_texts(7)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make toy models and two clips with different vehicles once for all tests here."""
    folder = write_toy_models(tmp_path_factory.mktemp("toys"))
    render_clip(folder / "clip.mp4", TEXTS[:4])
    render_clip(folder / "second.mp4", TEXTS[4:])
    return folder


@pytest.fixture
def bench(tmp_path: Path, toys: Path) -> Iterator[LiveBench]:
    """Return a bench of one camera with its receiver running; everything is stopped afterwards."""
    live = LiveBench(root=tmp_path / "bench", clip=toys / "clip.mp4", models=toys)
    try:
        live.set_up()
        yield live
    finally:
        live.stop()


def count(bench: LiveBench, name: str, camera: str) -> float:
    """Return one of a camera's metrics."""
    return bench.measured().get(name, camera) or 0.0


def test_two_clips_go_the_whole_way_under_their_names(bench: LiveBench, toys: Path) -> None:
    """One chain without a gap, each read with its camera and place, every vehicle of both clips once."""
    with bench.config.open("a") as config:
        config.write(SECOND.format(uri=toys / "second.mp4"))
    bench.start("upload")
    bench.start("capture")
    bench.wait_until(bench.capture_ended)
    bench.wait_until(bench.is_drained)
    opened = bench.opened()
    reads = {(item.read.camera, item.read.site, item.read.text) for item in opened}
    assert reads == {("demo", None, text) for text in TEXTS[:4]} | {("second", "ramp", text) for text in TEXTS[4:]}
    assert len({item.envelope.position.chain for item in opened}) == 1
    assert sorted(item.envelope.position.seq for item in opened) == list(range(7))
    for camera, clip in (("demo", "clip"), ("second", "second")):
        assert count(bench, "frames", camera) == load_truth(toys / f"{clip}.truth.json").frames


def test_a_folder_with_a_bad_picture_is_captured_to_its_end(bench: LiveBench, toys: Path, tmp_path: Path) -> None:
    """The vehicles before and after it are sealed; then capture says which picture was bad, with exit code 4."""
    folder, video = tmp_path / "pictures", cv2.VideoCapture(str(toys / "clip.mp4"))
    folder.mkdir()
    for number in itertools.count():
        done, image = video.read()
        if not done:
            break
        cv2.imwrite(str(folder / f"{number}.png"), image)
    (folder / "5.png").write_bytes(b"no picture")
    text = bench.config.read_text().replace(f'"{toys / "clip.mp4"}"', f'"{folder}"\nframe_rate = 15.0')
    assert str(folder) in text
    bench.config.write_text(text)
    bench.start("capture")
    assert bench.processes.pop("capture").wait(WITHIN_S) == SourceDamagedError.exit_code == 4
    assert bench.measured().get("sealed") == len(TEXTS[:4])
    assert "5.png: not a picture" in (bench.root / "capture.log").read_text()


def test_a_refused_login_is_said_by_everybody(bench: LiveBench, toys: Path, tmp_path: Path) -> None:
    """The metric, `status` with its newest error, and the doctor, each in the same words; the password in none."""
    login = tmp_path / "camera.login"
    login.touch(mode=0o600)
    login.write_text("admin:not-this-one")
    with PlainRtspServer("--user", "admin", "--password", "right") as server:
        uri = f'"{server.url}"\ncredential = "{login}"'
        text = bench.config.read_text().replace(f'"{toys / "clip.mp4"}"', uri)
        lines = [line for line in text.splitlines() if not line.startswith(("started_at", "pace"))]
        bench.config.write_text("\n".join(lines))
        bench.start("capture")
        bench.wait_until(lambda: count(bench, "camera_login_refused", "demo") == 1)
        assert count(bench, "camera_up", "demo") == 0
        status, doctor = (
            subprocess.run(
                [sys.executable, "-m", "agent.cli.main", command, "--config", str(bench.config)],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
            for command in ("status", "doctor")
        )
    for said in (status, doctor):
        assert "refuses the login" in said
        assert "source.credential" in said
        assert "not-this-one" not in said
    assert "refuses this user or password" in " ".join(status.split())


def test_a_lost_camera_does_not_stop_the_other(bench: LiveBench, toys: Path) -> None:
    """Two RTSP cameras; one is killed and comes back: the other's frames go on, and so do its own."""
    with PlainRtspServer() as first, PlainRtspServer() as second:
        text = bench.config.read_text().replace(f'uri = "{toys / "clip.mp4"}"', f'uri = "{first.url}"\nstall_s = 2.0')
        lines = [line for line in text.splitlines() if not line.startswith(("started_at", "pace"))]
        assert first.url in text
        bench.config.write_text("\n".join(lines) + SECOND.format(uri=second.url))
        bench.start("capture")
        bench.wait_until(lambda: count(bench, "camera_up", "demo") == count(bench, "camera_up", "second") == 1)
        bench.wait_until(lambda: count(bench, "frames", "demo") >= 5 <= count(bench, "frames", "second"))
        first.stop()
        bench.wait_until(lambda: count(bench, "camera_up", "demo") == 0)
        lost_at = {camera: count(bench, "frames", camera) for camera in ("demo", "second")}
        bench.wait_until(lambda: count(bench, "frames", "second") >= lost_at["second"] + 20)
        assert count(bench, "frames", "demo") == lost_at["demo"]
        assert count(bench, "camera_up", "second") == 1
        first.start()
        bench.wait_until(lambda: count(bench, "frames", "demo") > lost_at["demo"])
        assert count(bench, "camera_reconnects", "second") == 0
        process = bench.processes["capture"]
        process.terminate()
        assert process.wait(WITHIN_S) == 0
