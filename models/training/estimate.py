"""How long a training will take on this machine: a few steps of each kind, timed on made-up scenes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .cache import PlateCache, build_cache
from .detector import PlateDetector
from .detector_data import Composer, Scene
from .features import build_features, stored
from .loop import Trainer
from .plan import DETECTOR_PLATES, READER_RENDERINGS, SIGNS, Plan, Renderings
from .reader import PlateReader
from .reader_data import CropComposer, Sources
from .streams import CropStream, DetectorStream, batches
from .train_detector import loss_on
from .train_reader import batch_loss, head_loss

SAMPLE = 120  # renderings that are timed
FINISH_MIN = 5.0  # writing, calibrating and measuring, seen on two cores


@dataclass(frozen=True, slots=True)
class Estimate:
    """Minutes by stage, for what is still to do.

    Attributes:
        rendering: Plates and signs.
        detector: Its training.
        reader: Its training.
    """

    rendering: float
    detector: float
    reader: float

    def line(self) -> str:
        """For the person who waits."""
        total = self.rendering + self.detector + self.reader + FINISH_MIN
        return (
            f"about {total:.0f} minutes on this machine: rendering {self.rendering:.0f}, detector {self.detector:.0f}, "
            f"reader {self.reader:.0f}, files and figures {FINISH_MIN:.0f}"
        )


def estimate(runs: Path, detector: Sequence[Plan], reader: Plan, *, workers: int) -> Estimate:
    """Time a little of every stage.

    Args:
        runs: Its caches and checkpoints are work that is done.
        detector: The detector's plans, one after the other.
        reader: The reader's plan.
        workers: Processes that render and compose.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        plates = build_cache(folder, Renderings("plates", SAMPLE, 1), workers=0)
        per_rendering_s = (time.monotonic() - start) / SAMPLE
        signs = build_cache(folder, Renderings("signs", SAMPLE, 2), workers=0)
        left = _left_to_render(runs, reader)
        return Estimate(
            rendering=left * per_rendering_s / workers / 60,
            detector=sum(_detector_min(runs, folder, plan, (plates, signs), workers=workers) for plan in detector),
            reader=(_head_min if reader.crops else _reader_min)(runs, folder, reader, plates, workers=workers),
        )


def _left_to_render(runs: Path, reader: Plan) -> int:
    """Renderings that the caches do not have."""
    wanted = sum(what.count for what in {DETECTOR_PLATES, SIGNS, *READER_RENDERINGS[reader.name].all})
    there = 0
    for index in (runs / "cache").glob("*.index.jsonl"):
        with index.open() as lines:
            there += sum(1 for _ in lines)
    return max(wanted - there, 0)


def _detector_min(
    runs: Path, folder: Path, plan: Plan, caches: tuple[PlateCache, PlateCache], *, workers: int
) -> float:
    """Minutes of one of the detector's trainings."""
    grey = np.full((720, 1280, 3), 110, np.uint8)
    scene = Scene(grey, np.array([[600, 400, 700, 430]], np.float32), (0.3, 0.6), stretched=False, pink=False)
    trainer = Trainer(PlateDetector(), plan, folder)
    stream = DetectorStream(Composer([[scene]], *caches), size=plan.picture_px, seed=0, first=0)
    per_step_s = trainer.seconds_a_step(
        batches(stream, plan, workers=workers), loss_on(trainer.device, plan.picture_px)
    )
    return minutes_left(Trainer(PlateDetector(), plan, runs), per_step_s)


def _reader_min(runs: Path, folder: Path, plan: Plan, plates: PlateCache, *, workers: int) -> float:
    """Minutes of the reader's training."""
    trainer = Trainer(PlateReader(), plan, folder)
    stream = CropStream(CropComposer(Sources([plates])), seed=0, first=0)
    per_step_s = trainer.seconds_a_step(batches(stream, plan, workers=workers), batch_loss)
    return minutes_left(Trainer(PlateReader(), plan, runs), per_step_s)


def _head_min(runs: Path, folder: Path, plan: Plan, plates: PlateCache, *, workers: int) -> float:
    """Minutes of the training of the reader's last layers, and of what its trunk sees before."""
    few, stem = replace(plan, crops=2 * plan.batch), folder / "few"
    start = time.monotonic()
    composer = CropComposer(Sources([plates]))
    seen = build_features(stem, PlateReader(), lambda n: CropStream(composer, seed=0, first=n), few, workers=workers)
    per_crop_s = (time.monotonic() - start) / few.crops
    per_step_s = Trainer(PlateReader(), few, folder).seconds_a_step(seen.batches(few, first=0), head_loss)
    left = Trainer(PlateReader(), plan, runs)
    missing = (
        0 if left.step else plan.crops - max(map(stored, (runs / "cache").glob(f"{plan.name}-*.targets")), default=0)
    )
    return missing * per_crop_s / 60 + minutes_left(left, per_step_s)


def minutes_left(trainer: Trainer, per_step_s: float) -> float:
    """What is left of a plan at so many seconds a step."""
    if trainer.is_done:
        return 0.0
    by_steps = (trainer.plan.steps - trainer.step) * per_step_s / 60
    limit = trainer.plan.minutes
    return min(by_steps, limit - trainer.spent_s / 60) if limit else by_steps
