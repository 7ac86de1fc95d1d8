"""Playing a clip in a row, and what many rows say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from agent.bench.match import play
from agent.bench.measured import Job
from agent.bench.outcome import Outcome, make_outcome
from agent.bench.truth import load_truth
from agent.config.models import SourceConfig, VisionConfig
from tests.needs import SHARED
from tests.torture.campaign import Say

MODELS: Final[dict[str, Path | None]] = {"public": SHARED / "models", "built-in": None}
"""Model sets: the development models with the public reader, and those that come along."""
SAY_EVERY_FRAMES: Final = 3000


def measure(
    clip: Path, models: str, *, say: Say, compare: bool = False, rounds: int = 1, decode: bool = True
) -> Outcome:
    """Play a clip with plateseal and beside it, one thread inside each inference of everybody.

    Args:
        clip: A recording; its truth is taken where it lies beside it.
        models: A key of `MODELS`.
        say: Told how far it is.
        compare: Whether the plain loop plays too.
        rounds: How often the clip is played.
        decode: Whether decoding alone plays too; else plateseal's run stands in for it.
    """
    source, vision = SourceConfig(uri=str(clip)), VisionConfig(models=MODELS[models])
    names: list[Literal["plateseal", "decode", "fast-alpr"]] = ["plateseal"]
    if decode:
        names.append("decode")
    if compare:
        names.append("fast-alpr")
    said = 0

    def watch(frames: int, total: int | None) -> None:
        nonlocal said
        if frames - said >= SAY_EVERY_FRAMES:
            said = frames
            say(f"{frames:,} of {total:,} frames" if total is not None else f"{frames:,} frames")

    job = Job(contestant="plateseal", source=source, vision=vision, rounds=rounds, loop_threads=vision.threads)
    runs = play([job.model_copy(update={"contestant": name}) for name in names], watch=watch)
    if not decode:
        runs.insert(1, runs[0])
    truth_file = clip.with_suffix(".truth.json")
    return make_outcome(runs, load_truth(truth_file) if truth_file.exists() and rounds == 1 else None)
