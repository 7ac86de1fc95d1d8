"""Roads on which nothing happens: what looking costs beside decoding alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from tests.bench import clips
from tests.bench.playing import measure
from tests.torture.campaign import Say
from tests.torture.report import Result

MINUTES: Final = 10
CAR_PARK_ROUNDS: Final = 10
MOST_RATIO: Final = 1.5
TARGET: Final = f"processor time at most {MOST_RATIO} times that of decoding alone"


def run_empty(*, full: bool, say: Say) -> Result:
    """Ten minutes of the empty road under noise: a minute's clip, ten times; reduced, ten seconds of it."""
    clip = clips.empty_road(60 if full else 10)
    return _row("empty road with noise", clip, rounds=MINUTES if full else 1, full=full, say=say)


def run_car_park(*, full: bool, say: Say) -> Result:
    """The real clip of a car park: cars pass, with plates too small to be read; played ten times, as it is short."""
    return _row("car park", clips.CAR_PARK, rounds=CAR_PARK_ROUNDS if full else 1, full=full, say=say)


def _row(name: str, clip: Path, *, rounds: int, full: bool, say: Say) -> Result:
    began_s = time.monotonic()
    outcome = measure(clip, "built-in", say=say, rounds=rounds)
    run, played = outcome.run, outcome.run.played
    figures = (
        f"{outcome.cpu_over_decoding:.2f} times ({run.cpu_seconds:.1f} s of {outcome.decoding.cpu_seconds:.1f} s for "
        f"{run.frames:,} frames); motion on {played.frames_moving:,} frames, detector on {played.frames_searched:,}; "
        f"{len(played.passages)} passages"
    )
    holds = not played.passages and (not full or outcome.cpu_over_decoding <= MOST_RATIO)
    return Result(name, TARGET, figures, holds, time.monotonic() - began_s)
