"""The reader's network: plain convolutions, then one learned look at the plate a slot.

No recurrence and no attention between positions: each slot has a map of where to look, made by a
convolution, and one classifier shared by all slots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .contract import ALPHABET, GRID, SLOTS
from .detector import Conv

FEATURES = 96


class Residual(nn.Module):
    """x + 3x3 convolution of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        out: Tensor = x + self.conv(x)
        return out


class PlateReader(nn.Module):
    """Input float (n, 3, 64, 128) RGB 0..1; output logits float (n, SLOTS, 37)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            Conv(3, 20, 3, 2),
            Conv(20, 40, 3, 2),
            Residual(40),
            Residual(40),
            Conv(40, 64),
            nn.MaxPool2d((2, 1), (2, 1)),
            Residual(64),
            Residual(64),
            Conv(64, FEATURES),
            Residual(FEATURES),
            Residual(FEATURES),
        )
        self.place = nn.Parameter(torch.zeros(1, FEATURES, *GRID))
        self.context = nn.Sequential(
            Conv(FEATURES, 48, 3, 2),
            Residual(48),
            nn.Flatten(),
            nn.Linear(48 * 4 * 16, 96),
            nn.ReLU(),
        )
        self.spread = nn.Linear(96, FEATURES)
        self.look = nn.Sequential(Conv(FEATURES, 48), nn.Conv2d(48, SLOTS, 1))
        self.layout = nn.Linear(96, SLOTS * FEATURES)
        self.classify = nn.Linear(FEATURES, len(ALPHABET))
        nn.init.normal_(self.place, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every slot."""
        return self.forward_guided(x)[0]

    def forward_guided(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What training looks at.

        Returns:
            Logits (n, SLOTS, 37); where each slot looks, logits (n, SLOTS, cells); features
            (n, cells, FEATURES), cells in rows of `GRID`.
        """
        features = self.trunk(x)
        whole = self.context(features)
        steered = features + self.place + self.spread(whole)[:, :, None, None]
        where = self.look(steered).flatten(2)
        cells = features.flatten(2).transpose(1, 2)
        seen = where.softmax(-1) @ cells + self.layout(whole).view(-1, SLOTS, FEATURES)
        logits: Tensor = self.classify(functional.relu(seen))
        return logits, where, cells

    def classify_cells(self, cells: Tensor) -> Tensor:
        """Logits of single cells' features, (..., FEATURES) to (..., 37)."""
        logits: Tensor = self.classify(functional.relu(cells))
        return logits
