"""Contestants in their processes: turns, figures, failures."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.bench.contestant import Witness
from agent.bench.match import play
from agent.bench.measured import Job
from agent.config.models import SourceConfig, VisionConfig
from agent.errors import BenchError, ModelMissingError, SourceError
from tests.fakes.recordings import packets, spoil
from tests.fakes.waiting import wait_until
from tests.toy_models import ToyClip, render_clip, write_toy_models


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toy models."""
    return write_toy_models(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ToyClip:
    """A clip with two vehicles."""
    return render_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", ["KRW482", "XBT739"])


def job(contestant: str, clip: Path, models: Path, **more: object) -> Job:
    """Return a job on toy models."""
    source, vision = SourceConfig(uri=str(clip)), VisionConfig(models=models)
    return Job.model_validate({"contestant": contestant, "source": source, "vision": vision, **more})


def quiet(_frames: int, _total: int | None) -> None:
    """Watch nothing."""


@pytest.mark.needs("campaigns")
def test_all_play_the_whole_clip_in_turns(toys: Path, clip: ToyClip) -> None:
    """Every frame once each, whatever a turn's length; what each saw comes back."""
    told: list[tuple[int, int | None]] = []
    jobs = [job(name, clip.clip, toys) for name in ("plateseal", "decode", "fast-alpr")]
    ours, decoding, loop = play(jobs, watch=lambda *one: told.append(one), turn_frames=50)
    assert ours.frames == decoding.frames == loop.frames == 69
    assert told == [(50, 207), (100, 207), (150, 207), (169, 207), (188, 207), (207, 207)]
    assert len(ours.rss_bytes) == 2
    assert min(ours.cpu_seconds, decoding.cpu_seconds, loop.cpu_seconds, *ours.rss_bytes) > 0
    assert ours.played.peak_rss_bytes >= max(ours.rss_bytes) * 0.9
    assert [passage.text for passage in ours.played.passages] == list(clip.texts)
    assert all(one.first_s <= one.last_s <= one.reported_s for one in ours.played.passages)
    assert ours.played.models == loop.played.models == ("toy-detector", "toy-reader")
    assert {"detect", "read", "vote"} <= set(ours.played.stages_s)
    assert ours.played.frames_searched > 0
    assert ours.played.looks >= 4
    assert len(ours.played.frame_ms) == ours.frames
    assert {text for one in loop.played.sightings for text in one.texts} >= set(clip.texts)
    assert decoding.played.passages == ()
    assert not any(passage.crop for passage in ours.played.passages)


def test_crops_come_only_where_they_are_wanted(toys: Path, clip: ToyClip) -> None:
    """A JPEG each, for a report."""
    (run,) = play([job("plateseal", clip.clip, toys, crops=True)], watch=quiet)
    assert len(run.played.passages) > 0
    assert all(passage.crop.startswith(b"\xff\xd8\xff") for passage in run.played.passages)


def test_a_clip_can_be_played_again_and_again_as_one(toys: Path, clip: ToyClip) -> None:
    """Numbers and times go on, so that the second round's vehicles are new ones."""
    (run,) = play([job("plateseal", clip.clip, toys, rounds=3)], watch=quiet)
    assert run.frames == 3 * 69
    assert run.played.stream_s == pytest.approx((3 * 69 - 1) / 15, abs=0.01)
    frames = [passage.frame for passage in run.played.passages]
    assert frames == sorted(frames)
    assert frames[-1] > 2 * 69


def test_an_error_of_a_contestant_is_raised_as_its_own(toys: Path, clip: ToyClip, tmp_path: Path) -> None:
    """Of its own class, with its own line, whether it comes at the start or in the middle."""
    with pytest.raises(ModelMissingError, match="no such folder"):
        play([job("plateseal", clip.clip, tmp_path / "none")], watch=quiet)
    last_second = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    late = job("decode", clip.clip, toys).model_copy(
        update={"source": SourceConfig(uri=str(clip.clip), started_at=last_second)}
    )
    with pytest.raises(SourceError, match="year 9999"):
        play([late], watch=quiet)


def test_damage_does_not_end_a_run(toys: Path, tmp_path: Path) -> None:
    """What can be decoded is played, in each round; what was lost is counted, and what the source said is kept."""
    clip = render_clip(tmp_path / "clip.mp4", ["KRW482"]).clip
    spoil(clip, packets(clip)[5:6])
    (run,) = play([job("decode", clip, toys, rounds=2)], watch=quiet)
    assert run.played.frames_lost >= 2
    assert "damaged" in run.played.damage


def test_a_contestant_that_breaks_off_is_said(toys: Path, clip: ToyClip, monkeypatch: pytest.MonkeyPatch) -> None:
    """No word and a status: one line that names it."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BenchError, match="decode ended with status 1 in the middle of the clip: it logged nothing"):
        play([job("decode", clip.clip, toys)], watch=quiet)


def test_what_a_contestant_logged_last_is_said(
    toys: Path, clip: ToyClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program error of it is not lost with its process."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('disk on fire')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BenchError, match="disk on fire"):
        play([job("decode", clip.clip, toys)], watch=quiet)


PARENT = """
import subprocess, sys
command = [sys.executable, "-m", "agent.bench.contestant"]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
    print(sys.argv[1], file=child.stdin, flush=True)
    child.stdout.readline()
    print(0, file=child.stdin, flush=True)
    print(child.pid, flush=True)
    child.wait()
"""
"""Starts a contestant's turn, and says its process id."""


def test_a_contestant_ends_with_its_bench(toys: Path, clip: ToyClip) -> None:
    """A bench that is killed in the middle of a turn of hours leaves nobody who plays on."""
    long = job("decode", clip.clip, toys, rounds=100_000)
    long = long.model_copy(update={"source": SourceConfig(uri=str(clip.clip), pace="real")})
    command = [sys.executable, "-c", PARENT, long.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().strip()
        assert "contestant" in (child / "cmdline").read_text()
        parent.kill()
    wait_until(lambda: not _is_running(child), otherwise="it plays on")


def _is_running(process: Path) -> bool:
    """Whether a process is there and no zombie, whose command line is empty."""
    try:
        return bool((process / "cmdline").read_text())
    except OSError:
        return False


def test_a_witness_keeps_counts_and_bounds_what_it_keeps() -> None:
    """Times add up; a track without a look is kept as one."""
    witness = Witness(crops=True)
    witness.stage("detect", 0.25)
    witness.stage("detect", 0.5)
    for _ in range(600):
        witness.rejected("no_text", None)
    assert witness.stages_s == {"detect": 0.75}
    assert len(witness.rejections) == 500
    assert (witness.rejections[0].frame, witness.rejections[0].crop) == (None, b"")
