"""Trains the reader; see `train`."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from agent.errors import ModelError

from .cache import build_cache
from .contract import ALPHABET, PAD_INDEX, SLOTS, UNKNOWN_LABEL
from .features import build_features
from .loop import Trainer
from .manifest_block import sha256
from .plan import READER_RENDERINGS, Plan
from .progress import say
from .pseudo import label_real_crops
from .reader import PlateReader
from .reader_data import CropComposer, Sources, load_surroundings
from .streams import CropStream, batches


def reader_loss(model: PlateReader, said: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Cross-entropy of the slots, and, where the renderer knows the characters' places, of where
    each slot looks and of what the cell there says. The last two only make the first learn sooner.
    A slot with a character outside the alphabet is to find all of the alphabet's equally likely.

    Args:
        model: For its classifier.
        said: From `forward_guided`.
        target: int64 (n, 2 * SLOTS): labels or `UNKNOWN_LABEL`, then cells or -1.
    """
    logits, where, cells = said
    labels, places = target[:, :SLOTS], target[:, SLOTS:]
    flat = logits.float().reshape(-1, len(ALPHABET))
    loss = functional.cross_entropy(flat, labels.reshape(-1), label_smoothing=0.02, ignore_index=UNKNOWN_LABEL)
    foreign = labels == UNKNOWN_LABEL
    if foreign.any():
        evenly = -logits.float().log_softmax(-1)[foreign][:, :PAD_INDEX].mean(-1)
        loss = loss + evenly.sum() / labels.numel()
    known = (places >= 0) & ~foreign
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


def head_loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The loss of a batch that the trunk has seen already; the trunk learns nothing."""
    assert isinstance(model, PlateReader)
    with torch.autocast(batch[0].device.type, torch.bfloat16):
        return reader_loss(model, model.forward_head(batch[0].float()), batch[1])


def load_start(path: Path) -> PlateReader:
    """A reader with the weights of a file.

    Raises:
        ModelError: It holds no weights of this network.
    """
    model = PlateReader()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, AttributeError, UnpicklingError) as error:
        raise ModelError(f"{path}: no weights of this reader: {str(error).splitlines()[0]:.120}") from error
    return model


def train_reader(data: Path, runs: Path, public: Path, plan: Plan, *, workers: int, start: Path | None = None) -> None:
    """Train, or go on training from the checkpoint.

    Args:
        data: Folder of the labelled folders.
        runs: Where caches and checkpoints lie.
        public: The public reader that labels real crops; without it only rendered plates are used.
        plan: How long.
        workers: Processes that render, and then compose crops.
        start: Weights to begin with, a PyTorch file of the averaged ones; None for random ones, which a plan with a
            number of crops cannot have.

    Raises:
        ModelError: `start` holds no weights of this network.
    """
    trainer = Trainer(PlateReader(), plan, runs)
    if trainer.is_done:
        return
    if start is not None and trainer.step == 0:
        trainer.start_from(load_start(start), name=f"`{start.name}` (SHA-256 {sha256(start)[:16]}..)")

    def crops_from(first: int) -> CropStream:
        sources = load_sources(data, runs, public, plan, workers=workers)
        return CropStream(CropComposer(sources, no_plates=plan.no_plates), seed=plan.seed, first=first)

    if start is not None and plan.crops:
        stem = runs / "cache" / f"{plan.name}-{plan.crops}-{plan.seed}-{sha256(start)[:12]}"
        seen = build_features(stem, load_start(start), crops_from, plan, workers=workers)
        trainer.run(seen.batches(plan, first=trainer.step), head_loss)
        return
    trainer.run(batches(crops_from(trainer.step * plan.batch), plan, workers=workers), batch_loss)


def load_sources(data: Path, runs: Path, public: Path, plan: Plan, *, workers: int) -> Sources:
    """What the crops of a plan are made of; renders what is missing. Arguments as of `train_reader`."""
    rendered = READER_RENDERINGS[plan.name]
    caches = {what: build_cache(runs / "cache", what, workers=workers) for what in rendered.all}
    real = label_real_crops(data, public, runs / "reader-labels.json") if public.is_file() else []
    say(f"{len(real)} real crops with a label" if real else f"{public} is not here: rendered plates only")
    return Sources(
        plates=[caches[what] for what in rendered.plates],
        hard=[caches[rendered.hard]],
        notices=[caches[rendered.notices]],
        real=real,
        surroundings=load_surroundings(data, np.random.default_rng(plan.seed)),
    )
