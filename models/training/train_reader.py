"""Trains the reader; see `train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .cache import build_cache
from .contract import ALPHABET, SLOTS
from .loop import Trainer
from .plan import DETECTOR_PLATES, READER_PLATES, Plan
from .progress import say
from .pseudo import label_real_crops
from .reader import PlateReader
from .reader_data import CropComposer, load_surroundings
from .streams import CropStream, batches


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


def batch_loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The loss of a batch, on the device that it lies on."""
    assert isinstance(model, PlateReader)
    pictures = batch[0].to(memory_format=torch.channels_last).float().div_(255)
    with torch.autocast(pictures.device.type, torch.bfloat16):
        return reader_loss(model, model.forward_guided(pictures), batch[1])


def train_reader(data: Path, runs: Path, public: Path, plan: Plan, *, workers: int) -> None:
    """Train, or go on training from the checkpoint.

    Args:
        data: Folder of the labelled folders.
        runs: Where caches and checkpoints lie.
        public: The public reader that labels real crops; without it only rendered plates are used.
        plan: How long.
        workers: Processes that render, and then compose crops.
    """
    trainer = Trainer(PlateReader(), plan, runs)
    if trainer.is_done:
        return
    caches = [build_cache(runs / "cache", what, workers=workers) for what in (READER_PLATES, DETECTOR_PLATES)]
    real = label_real_crops(data, public, runs / "reader-labels.json") if public.is_file() else []
    say(f"{len(real)} real crops with a label" if real else f"{public} is not here: rendered plates only")
    composer = CropComposer(caches, real, load_surroundings(data, np.random.default_rng(plan.seed)))
    stream = CropStream(composer, seed=plan.seed, first=trainer.step * plan.batch)
    trainer.run(batches(stream, plan, workers=workers), batch_loss)
