"""What the reader's trunk makes of training crops, kept on disk, so that its last layers are trained in minutes.

Owns the files `<stem>.features` (float16, one crop after the other) and `<stem>.targets` (int16, one row a crop,
written after its features). A build that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .contract import GRID, SLOTS
from .plan import Plan
from .progress import say
from .reader import PlateReader
from .streams import CropStream, batches

TARGETS = 2 * SLOTS  # numbers a crop: labels, then cells


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStore:
    """Read-only store of crops as the trunk sees them.

    Attributes:
        features: float16 (n, features, rows, columns), on disk.
        targets: int16 (n, TARGETS): labels, then cells, as in `train_reader.reader_loss`.
    """

    features: npt.NDArray[np.float16]
    targets: npt.NDArray[np.int16]

    def batches(self, plan: Plan, *, first: int) -> Iterator[list[Tensor]]:
        """Endless batches from batch `first` on: every epoch has all crops once, in an order of its own."""
        each = len(self.targets) // plan.batch
        number = first
        while True:
            epoch, at = divmod(number, each)
            order = np.random.default_rng((plan.seed, epoch)).permutation(len(self.targets))
            rows = np.sort(order[at * plan.batch : (at + 1) * plan.batch])
            yield [torch.from_numpy(self.features[rows]), torch.from_numpy(self.targets[rows].astype(np.int64))]
            number += 1


def build_features(
    stem: Path, model: PlateReader, crops_from: Callable[[int], CropStream], plan: Plan, *, workers: int
) -> FeatureStore:
    """Compute what is not there yet.

    Args:
        stem: Path of the files without their ending; names the weights and the seed.
        model: Whose trunk sees the crops.
        crops_from: The crops from a number on; asked only if some are missing.
        plan: Says how many crops there are to be, and how many at once.
        workers: Processes that compose crops.
    """
    paths = stem.with_suffix(".features"), stem.with_suffix(".targets")
    done = stored(stem)
    if done < plan.crops:
        with paths[0].open("ab") as features, paths[1].open("ab") as targets:
            features.truncate(done * _row_bytes(model))
            targets.truncate(done * TARGETS * 2)
            crops = batches(crops_from(done), plan, workers=workers)
            _append(model, crops, (features, targets), plan.crops - done)
    shape = (plan.crops, model.features, *GRID)
    kept = np.fromfile(paths[1], np.int16, plan.crops * TARGETS).reshape(-1, TARGETS)
    return FeatureStore(np.memmap(paths[0], np.float16, "r", shape=shape), kept)


def stored(stem: Path) -> int:
    """How many crops are there."""
    targets = stem.with_suffix(".targets")
    return targets.stat().st_size // (TARGETS * 2) if targets.exists() else 0


def _row_bytes(model: PlateReader) -> int:
    return model.features * GRID[0] * GRID[1] * 2


def _append(model: PlateReader, crops: Iterator[list[Tensor]], files: tuple[BinaryIO, BinaryIO], missing: int) -> None:
    """Write the features of so many crops; features first, so that a target vouches for its own."""
    model = model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    left = missing
    while left > 0:
        pictures, targets = next(crops)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            said = model.trunk(pictures.to(memory_format=torch.channels_last).float().div_(255))
        count = min(len(said), left)
        files[0].write(said[:count].half().contiguous().numpy().tobytes())
        files[0].flush()
        files[1].write(targets[:count].to(torch.int16).numpy().tobytes())
        files[1].flush()
        left -= count
        if left % 2_000 < count:
            say(f"features: {missing - left} of {missing} crops")
