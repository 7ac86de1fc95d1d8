"""Roads on which nothing happens: what looking costs beside decoding alone."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from agent.capture.decoder import Decoded, Decoder
from agent.capture.ffmpeg import open_recording, packets_of
from agent.capture.frozen import FrozenWatch
from agent.records import Picture
from agent.vision.gate import MotionGate
from tests.bench import clips
from tests.bench.playing import measure
from tests.torture.campaign import Say
from tests.torture.report import Result

MINUTES: Final = 10
CAR_PARK_ROUNDS: Final = 10
MOST_CAR_PARK_RATIO: Final = 1.2
MOST_EMPTY_RATIO: Final = 1.08
FRAME_S: Final = 10
REDUCED_FRAME_S: Final = 1
MOST_FRAME_RATIO: Final = 1.15
FRAME_TARGET: Final = (
    f"1920x1080, H.264: a frame on which nothing moves takes at most {MOST_FRAME_RATIO} times its decoding alone"
)
TARGET: Final = "processor time at most {} times that of decoding alone"


def run_empty(*, full: bool, say: Say) -> Result:
    """Ten minutes of the empty road under noise: a minute's clip, ten times; reduced, ten seconds of it."""
    clip = clips.empty_road(60 if full else 10)
    rounds = MINUTES if full else 1
    return _row("empty road with noise", clip, rounds=rounds, full=full, say=say, most=MOST_EMPTY_RATIO)


def run_car_park(*, full: bool, say: Say) -> Result:
    """The real clip of a car park: cars pass, with plates too small to be read; played ten times, as it is short."""
    rounds = CAR_PARK_ROUNDS if full else 1
    return _row("car park", clips.CAR_PARK, rounds=rounds, full=full, say=say, most=MOST_CAR_PARK_RATIO)


def run_frame(*, full: bool, say: Say) -> Result:
    """Take one frame of an empty road apart, at 1920x1080: what decoding and each who looks at it take.

    Before, every frame was decoded by OpenCV and converted; now it is decoded by PyAV, and nobody looks at its colours.
    """
    began_s = time.monotonic()
    before, now = _take_apart(clips.camera_road(FRAME_S if full else REDUCED_FRAME_S), say)
    ratio = now.total_ms / now.stages["decoding"] if now.frames else math.inf
    figures = f"before {before}; now {now}, {ratio:.2f} times decoding alone; ms of processor time a frame"
    holds = before.frames == now.frames > 0 and (not full or ratio <= MOST_FRAME_RATIO)
    return Result("frame of an empty road", FRAME_TARGET, figures, holds, time.monotonic() - began_s)


class _Way:
    """One way to look at the frames of a clip, and the processor time of each stage of it."""

    def __init__(self, frames: Iterator[Callable[[], Picture]], *, converts: bool) -> None:
        """Take what decodes one frame after the other; each gives its picture when it is called."""
        self.frames = 0
        self._decoded, self._converts = frames, converts
        self._watch, self._gate = FrozenWatch(10.0), MotionGate()
        self._spent_s = dict.fromkeys(("decoding", *(("conversion",) if converts else ()), "frozen watch", "gate"), 0.0)

    @property
    def stages(self) -> dict[str, float]:
        """Milliseconds a frame, by stage."""
        return {stage: 1000 * seconds / max(self.frames, 1) for stage, seconds in self._spent_s.items()}

    @property
    def total_ms(self) -> float:
        """Milliseconds a frame."""
        return sum(self.stages.values())

    def __str__(self) -> str:
        """All stages in one line."""
        return f"{', '.join(f'{stage} {ms:.2f}' for stage, ms in self.stages.items())} = {self.total_ms:.2f}"

    def step(self) -> bool:
        """Look at the next frame; tell whether there was one."""
        at_s, moments_s = self.frames / 25, [time.process_time()]
        take = next(self._decoded, None)
        if take is None:
            return False
        if self._converts:
            moments_s.append(time.process_time())
        picture = take()
        moments_s.append(time.process_time())
        self._watch.note(picture.sample, now_s=at_s)
        moments_s.append(time.process_time())
        self._gate.moves(picture, at_s=at_s)
        moments_s.append(time.process_time())
        for stage, (before_s, after_s) in zip(self._spent_s, itertools.pairwise(moments_s), strict=True):
            self._spent_s[stage] += after_s - before_s
        self.frames += 1
        return True


def _take_apart(clip: Path, say: Say) -> tuple[_Way, _Way]:
    """Look at every frame in both ways, in turns; one thread decodes each, so that neither works ahead."""
    ways = _Way(_by_opencv(clip), converts=True), _Way(_by_pyav(clip), converts=False)
    while ways[0].step() & ways[1].step():
        pass
    say(f"{ways[0].frames} frames")
    return ways


def _by_opencv(clip: Path) -> Iterator[Callable[[], Picture]]:
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while capture.grab():
        yield lambda: Picture.of(np.asarray(capture.retrieve()[1], np.uint8))
    capture.release()


def _by_pyav(clip: Path) -> Iterator[Callable[[], Picture]]:
    container, stream = open_recording(clip)
    with container:
        decoder = Decoder(stream, where=str(clip))
        for packet in packets_of(container):
            for decoded in decoder.decode(packet):
                yield partial(_picture, decoded)
        for decoded in decoder.flush():
            yield partial(_picture, decoded)


def _picture(decoded: Decoded) -> Picture:
    return decoded.picture


def _row(name: str, clip: Path, *, rounds: int, full: bool, say: Say, most: float) -> Result:
    began_s = time.monotonic()
    outcome = measure(clip, "built-in", say=say, rounds=rounds)
    run, played = outcome.run, outcome.run.played
    figures = (
        f"{outcome.cpu_over_decoding:.2f} times ({run.cpu_seconds:.1f} s of {outcome.decoding.cpu_seconds:.1f} s for "
        f"{run.frames:,} frames); motion on {played.frames_moving:,} frames, detector on {played.frames_searched:,}; "
        f"{len(played.passages)} passages"
    )
    holds = not played.passages and (not full or outcome.cpu_over_decoding <= most)
    return Result(name, TARGET.format(most), figures, holds, time.monotonic() - began_s)
