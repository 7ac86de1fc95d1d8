"""The whole way with real processes over loopback TLS: nothing is lost, whichever part is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from agent.bench.truth import ScoredPassage, load_truth, score
from agent.custody.opener import OpenedRead
from tests.fakes.bench import LiveBench
from tests.fakes.waiting import WITHIN_S
from tests.toy_models import random_texts, render_clip, write_toy_models

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make toy models and a rendered clip once for all tests here."""
    folder = write_toy_models(tmp_path_factory.mktemp("toys"))
    render_clip(folder / "clip.mp4", random_texts(8))
    return folder


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path, toys: Path) -> Iterator[LiveBench]:
    """Return a bench with its receiver running, `fast` or at the clip's own pace; everything is stopped afterwards."""
    live = LiveBench(root=tmp_path / "bench", clip=toys / "clip.mp4", models=toys)
    try:
        live.set_up(pace=getattr(request, "param", "fast"))
        yield live
    finally:
        live.stop()


def assert_chains_are_whole(opened: list[OpenedRead]) -> None:
    """Every chain counts from 0 without a gap, each envelope naming the one before it."""
    places = sorted((item.envelope.position.chain, item.envelope.position.seq, item.envelope) for item in opened)
    for _, links in groupby(places, key=lambda place: place[0]):
        envelopes = [envelope for _, _, envelope in links]
        assert [envelope.position.seq for envelope in envelopes] == list(range(len(envelopes)))
        for before, after in pairwise(envelopes):
            assert after.position.prev == before.digest


def assert_nothing_lost(bench: LiveBench, toys: Path) -> None:
    """Every accepted read is at the receiver once, opened, and gone from the device; no vehicle is missing."""
    opened = bench.opened()
    stored = [item.envelope.envelope_id for item in opened]
    assert len(stored) == len(set(stored))
    assert bench.seen <= set(stored)
    assert bench.quarantined() == []
    assert_chains_are_whole(opened)
    truth = load_truth(toys / "clip.truth.json")
    found = score(truth, [ScoredPassage(item.read.text, item.read.frame_sequence) for item in opened])
    assert found.missed == 0


def plateseal(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "agent.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


@pytest.fixture(scope="module")
def demo(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Play the demo once: what it printed, and a folder with `demo.json` and its `work`."""
    folder = tmp_path_factory.mktemp("demo")
    options = ["--workdir", str(folder / "work"), "--json", str(folder / "demo.json")]
    return folder, plateseal("demo", "--clip", str(toys / "clip.mp4"), "--models", str(toys), *options)


def test_the_demo_counts_every_read_the_whole_way(
    toys: Path, demo: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """One command: all counts equal, nothing pending, lost, doubled or in plain text; at least 90 % exact."""
    folder, done = demo
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "demo.json").read_text())
    assert report["passages"] == report["sealed"] == report["acknowledged"] == report["shredded"] == report["opened"]
    assert report["passages"] >= 3
    assert (report["pending"], report["lost"], report["duplicates"], report["plaintext_hits"]) == (0, 0, 0, 0)
    truth = load_truth(toys / "clip.truth.json")
    assert report["frames"] == truth.frames
    assert f"of {len(truth.passes)} vehicles read exactly" in done.stdout
    assert done.stderr == f"everything is in {folder / 'work'}\n"


def test_a_demo_in_a_folder_leaves_everything_to_look_at(
    toys: Path, demo: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """`--workdir` keeps device, receiver and owner apart; the device's side holds no plate text."""
    workdir = demo[0] / "work"
    assert sorted(path.name for path in workdir.iterdir() if path.is_dir()) == ["device", "owner", "receiver"]
    texts = [vehicle.text.encode() for vehicle in load_truth(toys / "clip.truth.json").passes]
    for path in (workdir / "device").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(text in content for text in texts), path
    again = plateseal("demo", "--clip", str(toys / "clip.mp4"), "--models", str(toys), "--workdir", str(workdir))
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_killing_capture_loses_nothing(bench: LiveBench, toys: Path) -> None:
    """Killed in the middle of the clip and started again: what was accepted arrives, the rest is read again."""
    bench.start("capture")
    bench.wait_until(lambda: bool(bench.seen))
    bench.kill("capture")
    bench.start("upload")
    bench.start("capture")
    bench.wait_until(bench.capture_ended)
    bench.wait_until(bench.is_drained)
    assert_nothing_lost(bench, toys)
    assert len({item.envelope.position.chain for item in bench.opened()}) == 2


at_its_own_pace = pytest.mark.parametrize("bench", ["real"], indirect=True)


@at_its_own_pace
def test_killing_upload_loses_nothing(bench: LiveBench, toys: Path) -> None:
    """Killed again and again while reads arrive; none is delivered twice into the store."""
    bench.start("upload")
    bench.start("capture")
    kills = 0
    while kills < 3 or (kills < 6 and not bench.capture_ended()):
        bench.wait_until(lambda: bench.capture_ended() or not bench.is_drained())
        bench.kill("upload")
        bench.start("upload")
        kills += 1
    bench.wait_until(lambda: bench.capture_ended() and bench.is_drained())
    assert_nothing_lost(bench, toys)


@at_its_own_pace
def test_killing_the_receiver_loses_nothing(bench: LiveBench, toys: Path) -> None:
    """Killed while it stores, down for a while, started again on the same port."""
    bench.start("upload")
    bench.start("capture")
    bench.wait_until(lambda: bench.measured().total("acknowledged") >= 1)
    bench.kill("receiver")
    bench.wait_until(lambda: bench.measured().total("failed_batches") >= 1)
    assert not bench.is_drained()
    bench.start("receiver")
    bench.wait_until(lambda: bench.capture_ended() and bench.is_drained())
    assert_nothing_lost(bench, toys)


def test_run_plays_a_recording_delivers_it_and_ends(bench: LiveBench, toys: Path) -> None:
    """`plateseal run` starts both daemons and exits 0 when all is delivered."""
    done = plateseal("run", "--config", str(bench.config))
    assert done.returncode == 0, done.stderr
    assert bench.is_drained()
    assert_nothing_lost(bench, toys)


def test_run_reports_a_daemon_that_fails(bench: LiveBench) -> None:
    """A key that others can read stops the capture daemon, and with it `run`, with one line of its own."""
    (bench.root / "device" / "identity" / "signing.key").chmod(0o644)
    done = plateseal("run", "--config", str(bench.config))
    assert done.returncode == 12
    assert "chmod 600" in done.stderr
    assert "capture ended with status 8" in done.stderr
    assert "Traceback" not in done.stderr
