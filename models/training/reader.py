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

FEATURES = 96  # of a cell at width 1
WIDTH = 1.5  # of every layer beside the first reader's


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

    def __init__(self, width: float = WIDTH) -> None:
        """Draw random weights; `width` scales the channels of every layer, in steps of four."""
        super().__init__()
        few, some, many, self.features, narrow, whole = (
            round(channels * width / 4) * 4 for channels in (20, 40, 64, FEATURES, 48, 96)
        )
        self.trunk = nn.Sequential(
            Conv(3, few, 3, 2),
            Conv(few, some, 3, 2),
            Residual(some),
            Residual(some),
            Conv(some, many),
            nn.MaxPool2d((2, 1), (2, 1)),
            Residual(many),
            Residual(many),
            Conv(many, self.features),
            Residual(self.features),
            Residual(self.features),
        )
        self.place = nn.Parameter(torch.zeros(1, self.features, *GRID))
        self.context = nn.Sequential(
            Conv(self.features, narrow, 3, 2),
            Residual(narrow),
            nn.Flatten(),
            nn.Linear(narrow * 4 * 16, whole),
            nn.ReLU(),
        )
        self.spread = nn.Linear(whole, self.features)
        self.look = nn.Sequential(Conv(self.features, narrow), nn.Conv2d(narrow, SLOTS, 1))
        self.layout = nn.Linear(whole, SLOTS * self.features)
        self.classify = nn.Linear(self.features, len(ALPHABET))
        nn.init.normal_(self.place, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every slot."""
        return self.forward_guided(x)[0]

    def forward_guided(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What training looks at.

        Returns:
            Logits (n, SLOTS, 37); where each slot looks, logits (n, SLOTS, cells); features
            (n, cells, features), cells in rows of `GRID`.
        """
        return self.forward_head(self.trunk(x))

    def forward_head(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same from what the trunk makes of the pictures, float (n, features, rows, columns)."""
        whole = self.context(features)
        steered = features + self.place + self.spread(whole)[:, :, None, None]
        where = self.look(steered).flatten(2)
        cells = features.flatten(2).transpose(1, 2)
        seen = where.softmax(-1) @ cells + self.layout(whole).view(-1, SLOTS, self.features)
        logits: Tensor = self.classify(functional.relu(seen))
        return logits, where, cells

    def classify_cells(self, cells: Tensor) -> Tensor:
        """Logits of single cells' features, (..., features) to (..., 37)."""
        logits: Tensor = self.classify(functional.relu(cells))
        return logits
