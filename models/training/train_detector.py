"""Trains the detector; see `train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .cache import build_cache
from .detector import PlateDetector, all_centres, detector_loss
from .detector_data import Composer, load_scenes
from .loop import LossOf, Trainer
from .plan import DETECTOR_PLATES, SIGNS, Plan
from .progress import say
from .streams import DetectorStream, batches


def loss_on(device: torch.device, picture_px: int) -> LossOf:
    """The loss of a batch of square pictures that lies on a device."""
    cells = all_centres(picture_px, device)

    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        pictures = batch[0].to(memory_format=torch.channels_last).float().div_(255)
        with torch.autocast(device.type, torch.bfloat16):
            logits, boxes = model(pictures)
        return detector_loss(logits.float(), boxes.float(), batch[1], cells)

    return loss_of


def train_detector(data: Path, runs: Path, stages: Sequence[Plan], *, workers: int) -> None:
    """Train, or go on training from the checkpoints.

    Args:
        data: Folder of the labelled folders.
        runs: Where caches and checkpoints lie.
        stages: How long; each begins with the averaged weights of the one before.
        workers: Processes that render, and then compose pictures.
    """
    composer: Composer | None = None
    before: nn.Module | None = None
    for plan in stages:
        trainer = Trainer(PlateDetector(), plan, runs)
        if before is not None and trainer.step == 0:
            trainer.start_from(before)
        before = trainer.averaged
        if trainer.is_done:
            continue
        if composer is None:
            plates = build_cache(runs / "cache", DETECTOR_PLATES, workers=workers)
            signs = build_cache(runs / "cache", SIGNS, workers=workers)
            composer = Composer(load_scenes(data), plates, signs)
        say(f"pictures of {plan.picture_px} x {plan.picture_px}")
        first = trainer.step * plan.batch
        stream = DetectorStream(composer, size=plan.picture_px, seed=plan.seed, first=first)
        trainer.run(batches(stream, plan, workers=workers), loss_on(trainer.device, plan.picture_px))
