"""Trains the detector; see `train`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .cache import build_cache
from .detector import PlateDetector, all_centres, detector_loss
from .detector_data import Composer, load_scenes
from .loop import LossOf, Trainer
from .plan import DETECTOR_CROP_PX, DETECTOR_PLATES, SIGNS, Plan
from .streams import DetectorStream, batches


def loss_on(device: torch.device) -> LossOf:
    """The loss of a batch that lies on a device."""
    cells = all_centres(DETECTOR_CROP_PX, device)

    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        pictures = batch[0].to(memory_format=torch.channels_last).float().div_(255)
        with torch.autocast(device.type, torch.bfloat16):
            logits, boxes = model(pictures)
        return detector_loss(logits.float(), boxes.float(), batch[1], cells)

    return loss_of


def train_detector(data: Path, runs: Path, plan: Plan, *, workers: int) -> None:
    """Train, or go on training from the checkpoint.

    Args:
        data: Folder of the labelled folders.
        runs: Where caches and checkpoints lie.
        plan: How long.
        workers: Processes that render, and then compose pictures.
    """
    trainer = Trainer(PlateDetector(), plan, runs / "detector")
    if trainer.is_done:
        return
    plates = build_cache(runs / "cache", DETECTOR_PLATES, workers=workers)
    signs = build_cache(runs / "cache", SIGNS, workers=workers)
    composer = Composer(load_scenes(data), plates, signs)
    first = trainer.step * plan.batch
    stream = DetectorStream(composer, size=DETECTOR_CROP_PX, seed=plan.seed, first=first)
    trainer.run(batches(stream, plan, workers=workers), loss_on(trainer.device))
