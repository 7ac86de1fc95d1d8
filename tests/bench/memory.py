"""Resident memory: over half an hour of a busy road at 1920x1080, and at 3840x2160."""

from __future__ import annotations

import statistics
import time
from typing import Final

from tests.bench import clips
from tests.bench.playing import measure
from tests.torture.campaign import Say
from tests.torture.report import Result

VEHICLES: Final = 8
MINUTES: Final = 30
MOST_MIB: Final = 220
MOST_MIB_4K: Final = 300
MOST_GROWTH: Final = 0.02
"""Of the memory: the allocator's noise from turn to turn is one per cent."""
ROUNDS_4K: Final = 10
TARGET_4K: Final = f"at most {MOST_MIB_4K} MB"
TARGET: Final = f"at most {MOST_MIB} MB, and flat over {MINUTES} minutes of a looped clip"


def run(*, full: bool, say: Say) -> Result:
    """Play the clip again and again; reduced, twice, and only the most is judged."""
    began_s = time.monotonic()
    clip = clips.full_hd(1, limit=VEHICLES if full else 2)
    once_s = measure_length_s(clip)
    rounds = round(MINUTES * 60 / once_s) if full else 2
    outcome = measure(clip, "built-in", say=say, rounds=rounds, decode=False)
    mib = [one / (1 << 20) for one in outcome.run.rss_bytes]
    third = max(len(mib) // 3, 1)
    middle, last = statistics.median(mib[third : 2 * third] or mib), statistics.median(mib[-third:])
    peak = outcome.run.played.peak_rss_bytes / (1 << 20)
    figures = (
        f"{peak:.0f} MB at most; {middle:.1f} MB in the middle third, {last:.1f} MB in the last; "
        f"{outcome.run.played.stream_s / 60:.1f} minutes, {outcome.run.frames:,} frames, "
        f"{len(outcome.run.played.passages)} passages"
    )
    holds = peak <= MOST_MIB and (not full or last <= middle * (1 + MOST_GROWTH))
    return Result("memory at 1920x1080", TARGET, figures, holds, time.monotonic() - began_s)


def run_4k(*, full: bool, say: Say) -> Result:
    """Play a short clip of vehicles again and again, models and all; reduced, once."""
    began_s = time.monotonic()
    outcome = measure(clips.ultra_hd(1, limit=2), "built-in", say=say, rounds=ROUNDS_4K if full else 1, decode=False)
    peak = outcome.run.played.peak_rss_bytes / (1 << 20)
    width, height = outcome.run.played.frame_wh
    figures = f"{peak:.0f} MB at most; {outcome.run.frames:,} frames, {len(outcome.run.played.passages)} passages"
    holds = peak <= MOST_MIB_4K and (width, height) == clips.ULTRA_HD and bool(outcome.run.played.passages)
    return Result(f"memory at {width}x{height}", TARGET_4K, figures, holds, time.monotonic() - began_s)


def measure_length_s(clip: object) -> float:
    """Return a clip's length, seconds."""
    import cv2

    capture = cv2.VideoCapture(str(clip))
    return float(capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS))
