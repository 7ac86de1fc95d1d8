"""Recordings as users have them, each with what must come of it (`../shared/cases/video`), through `plateseal read`.

Of every kind, a small one is made in `tests/unit/capture/test_kinds_of_video.py`, which needs no folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from agent.capture import open_source
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError
from tests.fakes.clock import FakeClock
from tests.needs import SHARED

pytestmark = [pytest.mark.e2e, pytest.mark.needs("shared-cases")]

CASES: Final = SHARED / "cases" / "video"
PASSAGES: Final = {"KAYM1655": 2.2, "FV13NGT": 4.6, "CSP543": 7.2, "BYF4584": 9.7}
"""Text to seconds from the start of its best look, of the clip that all cases are made of."""
IN_VIEW_S: Final = 1.5
"""Which look of a passage is the best may change with the case; each vehicle is in view for about as long."""
FRAME_S: Final = 1 / 12.5


@dataclass(frozen=True, slots=True)
class Case:
    """What must come of one recording.

    Attributes:
        name: Its file.
        passages: Text to seconds from the start.
        status: Of the command.
        says: What a line on standard error holds; nothing is said where it is empty.
        time_source: Of its reads.
    """

    name: str
    passages: dict[str, float]
    status: int = 0
    says: str = ""
    time_source: str = "pts"


READ: Final = [
    Case("ref.mp4", PASSAGES),
    Case("interlaced.mp4", PASSAGES),
    Case("gap60.mp4", {"KAYM1655": 2.2, "FV13NGT": 4.6, "CSP543": 67.2, "BYF4584": 69.7}),
    Case("trim_copy.mp4", {text: seconds - 1.2 for text, seconds in PASSAGES.items()}),
    Case("audio_longer.mkv", PASSAGES),
    Case("raw.h264", PASSAGES, says="Set frame_rate", time_source="rate"),
    Case("zeros_mid.mp4", {"KAYM1655": 2.2, "CSP543": 7.2, "BYF4584": 9.7}, status=4, says="46 were lost"),
]


def _read(name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent.cli.main", "read", str(CASES / name), "--jsonl", "-"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _start_of(path: Path) -> datetime:
    return next(open_source(SourceConfig(uri=str(path)), camera_id="a", clock=FakeClock()).frames()).captured_at


@pytest.mark.parametrize("case", READ, ids=lambda case: case.name)
def test_a_recording_is_read_as_it_must_be(case: Case) -> None:
    """Every passage, at the time at which it was, and what was lost is told."""
    done = _read(case.name)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    start = _start_of(CASES / case.name)
    came = {line["text"]: (datetime.fromisoformat(line["captured_at"]) - start).total_seconds() for line in lines}
    assert done.returncode == case.status, done.stderr
    assert set(came) == set(case.passages)
    for text, seconds in case.passages.items():
        assert abs(came[text] - seconds) < IN_VIEW_S, (text, came[text])
    assert {line["time_source"] for line in lines} == {case.time_source}
    assert (case.says in done.stderr) if case.says else not done.stderr


def _played(name: str, **options: object) -> tuple[list[float], SourceDamagedError | None, int]:
    config = SourceConfig.model_validate({"uri": str(CASES / name), **options})
    source, seconds = open_source(config, camera_id="a", clock=FakeClock()), list[float]()
    try:
        seconds.extend(frame.monotonic_s for frame in source.frames())
    except SourceDamagedError as error:
        return seconds, error, source.frames_lost
    return seconds, None, source.frames_lost


def test_frames_are_dated_within_one_frame() -> None:
    """By the times that the files were made with."""
    even = [number * FRAME_S for number in range(125)]
    assert _played("ref.mp4")[0] == pytest.approx(even, abs=0.001)
    assert _played("raw.h264", frame_rate=12.5)[0] == pytest.approx(even, abs=0.001)
    assert _played("raw.h264", frame_rate=5.0)[0] == pytest.approx([number / 5 for number in range(125)])
    pause = [seconds if number < 60 else seconds + 60 for number, seconds in enumerate(even)]
    assert _played("gap60.mp4")[0] == pytest.approx(pause, abs=FRAME_S)
    assert _played("trim_copy.mp4")[0] == pytest.approx(even[:110], abs=0.001)
    uneven, damage, lost = _played("vfr.ts")
    assert (len(uneven), damage, lost) == (70, None, 0)
    steps = [late - early for early, late in pairwise(uneven)]
    assert all(abs(step / FRAME_S - round(step / FRAME_S)) < 0.02 for step in steps)
    assert uneven[-1] == pytest.approx(even[-1], abs=FRAME_S)


def test_damage_is_counted() -> None:
    """As many frames as can be had, and the others told of."""
    frames, damage, lost = _played("damaged_mid.mjpeg")
    assert (len(frames), lost) == (52, 1)
    assert "52 frames came, 1 was lost" in str(damage)
    frames, damage, lost = _played("zeros_mid.mp4")
    assert len(frames) + lost == 125
    assert len(frames) == pytest.approx(80, abs=2)
    assert "were lost" in str(damage)


def test_pictures_with_something_wrong() -> None:
    """What lies behind a picture is no part of it; one of a folder that lacks its end marker is told, and read."""
    photo, folder = _read("motion_photo.jpg"), _read("folder_one_bad")
    assert (photo.returncode, len(photo.stdout.splitlines())) == (0, 1)
    assert (folder.returncode, len(folder.stdout.splitlines())) == (0, 5)
    assert "3.jpg: its end marker is missing" in folder.stderr
    frames, damage, lost = _played("folder_one_bad", started_at=datetime(2026, 3, 1, tzinfo=UTC))
    assert (frames, damage, lost) == ([0.0, 1.0, 2.0, 3.0, 4.0], None, 0)
