"""Trains the detector: `python -m models.training.train_detector`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .cache import build_cache
from .detector import PlateDetector, all_centres, detector_loss
from .detector_data import Composer, DetectorStream, load_scenes
from .folders import DEFAULT_DATA
from .loop import Plan, Trainer

SEED = 11
PLATES, SIGNS = 30_000, 1_500
PLAN = Plan(steps=14_000, batch=16, rate=1.5e-3)
SIZE = 192  # side of the training crops, pixels; the same plates for a quarter of the work of 384


def make_batches(data: Path, runs: Path, plan: Plan, *, size: int, first: int, workers: int) -> Iterator[list[Tensor]]:
    """Endless batches: uint8 (batch, 3, size, size), float32 (batch, m, 5)."""
    plates = build_cache(runs / "cache", "plates", count=PLATES, seed=1)
    signs = build_cache(runs / "cache", "signs", count=SIGNS, seed=2)
    stream = DetectorStream(Composer(load_scenes(data), plates, signs), size=size, seed=SEED, first=first)
    return iter(DataLoader(stream, batch_size=plan.batch, num_workers=workers, prefetch_factor=3))


def train_detector(data: Path, runs: Path, plan: Plan, *, size: int, workers: int = 1) -> nn.Module:
    """Train or go on training; the averaged model.

    Args:
        data: Folder of the labelled folders.
        runs: Where caches and checkpoints lie.
        plan: How long.
        size: Side of the square training crops, pixels; smaller than the input the model will see, at the
            same scale, which costs less for the same plates.
        workers: Processes that compose pictures.
    """
    trainer = Trainer(PlateDetector(), plan, runs / "detector")
    cells = all_centres(size, trainer.device)

    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        pictures = batch[0].to(memory_format=torch.channels_last).float().div_(255)
        with torch.autocast(trainer.device.type, torch.bfloat16):
            logits, boxes = model(pictures)
        return detector_loss(logits.float(), boxes.float(), batch[1], cells)

    first = trainer.step * plan.batch
    trainer.run(make_batches(data, runs, plan, size=size, first=first, workers=workers), loss_of)
    return trainer.averaged


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--steps", type=int, default=PLAN.steps)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = Plan(args.steps, PLAN.batch, PLAN.rate, minutes=args.minutes)
    train_detector(args.data, args.runs, plan, size=args.size)


if __name__ == "__main__":
    main()
