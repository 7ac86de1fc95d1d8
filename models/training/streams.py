"""Endless training pictures and crops for PyTorch's loader.

Picture k is the same for the same seed, however many workers there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .contract import encode_text
from .detector_data import MOST_PLATES, Composer
from .plan import Plan
from .reader_data import CropComposer
from .render import Rng

Sample = tuple[torch.Tensor, torch.Tensor]


class _Stream(IterableDataset[Sample], ABC):
    """Samples `first`, `first` + 1, .. ; each from a generator of its own."""

    def __init__(self, seed: int, first: int) -> None:
        self._seed, self._first = seed, first

    def __iter__(self) -> Iterator[Sample]:
        """Yield this worker's share."""
        cv2.setNumThreads(0)
        info = get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        number = self._first + start
        while True:
            yield self.sample(np.random.default_rng((self._seed, number)))
            number += step

    @abstractmethod
    def sample(self, rng: Rng) -> Sample:
        """One sample."""


class DetectorStream(_Stream):
    """uint8 (3, size, size) RGB and float32 (MOST_PLATES, 5) present, x1, y1, x2, y2."""

    def __init__(self, composer: Composer, *, size: int, seed: int, first: int) -> None:
        super().__init__(seed, first)
        self._composer, self._size = composer, size

    def sample(self, rng: Rng) -> Sample:
        """One picture with its plates."""
        image, boxes = self._composer.compose(rng, self._size)
        target = np.zeros((MOST_PLATES, 5), np.float32)
        target[: len(boxes), 0] = 1
        target[: len(boxes), 1:] = boxes
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(target)


class CropStream(_Stream):
    """uint8 (3, 64, 128) RGB and int64 (2 * SLOTS,): labels, then cells."""

    def __init__(self, composer: CropComposer, *, seed: int, first: int) -> None:
        super().__init__(seed, first)
        self._composer = composer

    def sample(self, rng: Rng) -> Sample:
        """One crop with its text."""
        image, text, cells = self._composer.compose(rng)
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.tensor(encode_text(text) + cells)


def batches(stream: IterableDataset[Sample], plan: Plan, *, workers: int) -> Iterator[list[torch.Tensor]]:
    """Endless batches of a stream, composed by `workers` processes."""
    pinned = torch.cuda.is_available()
    return iter(
        DataLoader(
            stream,
            batch_size=plan.batch,
            num_workers=workers,
            prefetch_factor=3 if workers else None,
            pin_memory=pinned,
        )
    )
