"""Roads on which nothing happens: what looking costs beside decoding alone."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from agent.capture.frozen import FrozenWatch
from agent.records import Picture
from agent.vision.gate import MotionGate
from tests.bench import clips
from tests.bench.playing import measure
from tests.torture.campaign import Say
from tests.torture.report import Result

MINUTES: Final = 10
CAR_PARK_ROUNDS: Final = 10
MOST_RATIO: Final = 1.5
FRAME_S: Final = 20
REDUCED_FRAME_S: Final = 1
MOST_WATCHING: Final = 0.1
FRAME_TARGET: Final = (
    f"1920x1080: frozen watch and gate together take at most {MOST_WATCHING:g} of decoding and conversion"
)
TARGET: Final = f"processor time at most {MOST_RATIO} times that of decoding alone"


def run_empty(*, full: bool, say: Say) -> Result:
    """Ten minutes of the empty road under noise: a minute's clip, ten times; reduced, ten seconds of it."""
    clip = clips.empty_road(60 if full else 10)
    return _row("empty road with noise", clip, rounds=MINUTES if full else 1, full=full, say=say)


def run_car_park(*, full: bool, say: Say) -> Result:
    """The real clip of a car park: cars pass, with plates too small to be read; played ten times, as it is short."""
    return _row("car park", clips.CAR_PARK, rounds=CAR_PARK_ROUNDS if full else 1, full=full, say=say)


def run_frame(*, full: bool, say: Say) -> Result:
    """Take one frame of an empty road apart, at 1920x1080: what decoding, conversion and each who looks at it take."""
    began_s = time.monotonic()
    spent_s, frames = _take_apart(clips.empty_road(FRAME_S if full else REDUCED_FRAME_S, clips.FULL_HD))
    say(f"{frames} frames")
    ms = {stage: 1000 * seconds / frames for stage, seconds in spent_s.items()}
    share = (ms["frozen watch"] + ms["gate"]) / (ms["decoding"] + ms["conversion"])
    stages = ", ".join(f"{stage} {taken:.2f}" for stage, taken in ms.items())
    figures = f"{stages} ms of processor time a frame; looking takes {share:.2f} of the rest"
    holds = frames > 0 and (not full or share <= MOST_WATCHING)
    return Result("frame of an empty road", FRAME_TARGET, figures, holds, time.monotonic() - began_s)


def _take_apart(clip: Path) -> tuple[dict[str, float], int]:
    """Return the processor seconds of each stage, and the number of frames.

    One thread decodes, so that it does not work ahead while another stage is measured.
    """
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    watch, gate = FrozenWatch(10.0), MotionGate()
    spent_s = dict.fromkeys(("decoding", "conversion", "frozen watch", "gate"), 0.0)
    for frame in itertools.count():
        at_s, moments_s = frame / clips.FPS, [time.process_time()]
        if not capture.grab():
            break
        moments_s.append(time.process_time())
        picture = Picture.of(np.asarray(capture.retrieve()[1], np.uint8))
        moments_s.append(time.process_time())
        watch.note(picture.luma, now_s=at_s)
        moments_s.append(time.process_time())
        gate.moves(picture, at_s=at_s)
        moments_s.append(time.process_time())
        for stage, (before_s, after_s) in zip(spent_s, itertools.pairwise(moments_s), strict=True):
            spent_s[stage] += after_s - before_s
    capture.release()
    return spent_s, frame


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
