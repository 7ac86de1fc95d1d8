"""The clip of all photographed vehicles beside the plain fast-alpr loop, with one set of models and one seed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Final

from agent.bench.outcome import percentile
from agent.capture import read_picture
from agent.config.models import VisionConfig
from agent.records import Detection, Frame, Picture
from agent.vision import build_vision
from agent.vision.tracker import iou
from tests.bench import clips
from tests.bench.playing import MODELS, measure
from tests.torture.campaign import Say
from tests.torture.report import Result

REDUCED_VEHICLES: Final = 2
MATCH_IOU: Final = 0.5
LEAST_TIMES: Final = {"public": 6, "built-in": 8}
"""So many times less processor time than the plain loop on the same models, by model set."""
MOST_RATIO: Final = 1.6
TARGET: Final = (
    "at least {times} times less processor time than the plain loop, one thread each, and 4 times its frames a second; "
    f"at most {MOST_RATIO} times the processor time of decoding alone; as many exact as the loop; spurious and "
    "duplicates at most 2 % of the vehicles; at most 400 ms from last look to passage at the median; share exact not "
    "below that of single pictures"
)


def run(models: str, seed: int, *, full: bool, say: Say) -> Result:
    """Measure; reduced, only counts are judged, on a few vehicles."""
    began_s = time.monotonic()
    outcome = measure(clips.vehicles(seed, limit=0 if full else REDUCED_VEHICLES), models, say=say, compare=True)
    ours, theirs = outcome.score, outcome.loop_score
    speedup, share = outcome.speedup, outcome.cpu_share
    latency_ms = percentile(outcome.latencies_ms, 0.5)
    assert ours is not None
    assert theirs is not None
    assert speedup is not None
    assert share is not None
    assert latency_ms is not None, "no passage at all"
    odd = ours.spurious + ours.duplicates
    figures = (
        f"{1 / share:.1f} times less processor time than the loop, {outcome.cpu_over_decoding:.2f} times that of "
        f"decoding; {speedup:.1f} times the loop's frames a second ({outcome.run.fps:.0f} a second); "
        f"exact {ours.exact}, the loop {theirs.exact}, of {ours.vehicles}; misread {ours.misread}, "
        f"missed {ours.missed}, spurious {ours.spurious}, duplicates {ours.duplicates} (the loop: {theirs.misread}, "
        f"{theirs.missed}, {theirs.spurious}, {theirs.duplicates}); {latency_ms:.0f} ms; "
        f"{outcome.run.played.peak_rss_bytes >> 20} MB"
    )
    holds = latency_ms <= 400
    if full:
        singles, pictures = single_pictures(models)
        figures += f"; single pictures {singles} of {pictures} exact"
        holds &= speedup >= 4 and share * LEAST_TIMES[models] <= 1 and outcome.cpu_over_decoding <= MOST_RATIO
        holds &= ours.exact >= theirs.exact and odd <= 0.02 * ours.vehicles
        holds &= ours.exact * pictures >= singles * ours.vehicles
    target = TARGET.format(times=LEAST_TIMES[models])
    return Result(f"vehicles, {models} models, seed {seed}", target, figures, holds, time.monotonic() - began_s)


def single_pictures(models: str) -> tuple[int, int]:
    """Read each photograph by itself: how many labelled plates are read exactly, of how many.

    What counts is the text in the box that lies over the label's, whatever else is read in the picture.
    """
    pipeline = build_vision(VisionConfig(models=MODELS[models]))
    rows = [json.loads(line) for line in (clips.PHOTOS / "labels.jsonl").read_text().splitlines()]
    rows = [row for row in rows if len(row["plates"]) == 1]
    exact = 0
    for row in rows:
        image = read_picture(clips.PHOTOS / row["file"])
        looks = pipeline.read_picture(Frame("still", 0, datetime.now(UTC), 0.0, Picture.of(image)))
        (plate,) = row["plates"]
        x1, y1, x2, y2 = (round(side) for side in plate["box"])
        label = Detection(x1, y1, x2, y2, confidence=1.0)
        best = max(looks, key=lambda look: iou(look.detection, label), default=None)
        if best is not None and iou(best.detection, label) >= MATCH_IOU:
            exact += best.plate.text == plate["text"]
    return exact, len(rows)
