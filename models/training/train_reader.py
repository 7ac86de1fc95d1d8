"""Trains the reader: `python -m models.training.train_reader`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from .cache import build_cache
from .folders import DEFAULT_DATA
from .loop import Plan, Trainer
from .progress import say
from .reader import ALPHABET, SLOTS, PlateReader
from .reader_data import CropStream, label_real_crops

SEED = 23
PLATES, PLATE_SEED = 12_000, 3
PLAN = Plan(steps=30_000, batch=48, rate=1.5e-3)
PUBLIC_READER = Path("../shared/models/cct_xs_v1_global.onnx")


def make_batches(
    data: Path, runs: Path, public: Path, plan: Plan, *, first: int, workers: int
) -> Iterator[list[Tensor]]:
    """Endless batches: uint8 (batch, 3, 64, 128), int64 (batch, 2 * SLOTS)."""
    plates = build_cache(runs / "cache", "plates", count=PLATES, seed=PLATE_SEED)
    real = label_real_crops(data, public, runs / "reader-labels.json") if public.exists() else []
    say(f"{len(real)} real crops with a label")
    stream = CropStream(plates, real, seed=SEED, first=first)
    return iter(DataLoader(stream, batch_size=plan.batch, num_workers=workers, prefetch_factor=3))


def reader_loss(model: PlateReader, said: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Cross-entropy of the slots, and, where the renderer knows the characters' places, of where
    each slot looks and of what the cell there says. The last two only make the first learn sooner.

    Args:
        model: For its classifier.
        said: From `forward_guided`.
        target: int64 (n, 2 * SLOTS): labels, then cells or -1.
    """
    logits, where, cells = said
    labels, places = target[:, :SLOTS], target[:, SLOTS:]
    flat = logits.float().reshape(-1, len(ALPHABET))
    loss = functional.cross_entropy(flat, labels.reshape(-1), label_smoothing=0.02)
    known = places >= 0
    if known.any():
        picture = known.nonzero()[:, 0]
        spoken = model.classify_cells(cells[picture, places[known]])
        loss = loss + 0.3 * functional.cross_entropy(spoken.float(), labels[known])
        loss = loss + 0.2 * functional.cross_entropy(where[known].float(), places[known])
    return loss


def train_reader(data: Path, runs: Path, public: Path, plan: Plan, *, workers: int = 1) -> nn.Module:
    """Train or go on training; the averaged model.

    Args:
        data: Folder of the labelled folders.
        runs: Where caches and checkpoints lie.
        public: The public reader that labels real crops; without it only rendered plates are used.
        plan: How long.
        workers: Processes that compose crops.
    """
    trainer = Trainer(PlateReader(), plan, runs / "reader")

    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        pictures = batch[0].to(memory_format=torch.channels_last).float().div_(255)
        with torch.autocast(trainer.device.type, torch.bfloat16):
            assert isinstance(model, PlateReader)
            logits, where, cells = model.forward_guided(pictures)
            return reader_loss(model, (logits, where, cells), batch[1])

    first = trainer.step * plan.batch
    trainer.run(make_batches(data, runs, public, plan, first=first, workers=workers), loss_of)
    return trainer.averaged


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--public-reader", type=Path, default=PUBLIC_READER)
    parser.add_argument("--steps", type=int, default=PLAN.steps)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = Plan(args.steps, PLAN.batch, PLAN.rate, minutes=args.minutes)
    train_reader(args.data, args.runs, args.public_reader, plan)


if __name__ == "__main__":
    main()
