"""The detector's network and its training loss.

Plain 3x3 and 1x1 convolutions with ReLU; boxes are decoded from a grid at strides 8 and 16, without
anchors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16)
WIDTHS = (16, 32, 64, 96, 128)
NECK = 48
BEST_CELLS = 8  # cells a plate may claim; task-aligned assignment (Feng et al. 2021) uses 13 on larger boxes
LARGEST_LOG = 4.0  # box sides stop at e^4 strides, far beyond any input


class Conv(nn.Sequential):
    """Convolution, batch norm (folded at export) and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Block(nn.Module):
    """A residual pair: 1x1 to half the channels, 3x3 back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = Conv(channels, channels // 2, 1), Conv(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        out: Tensor = x + self.expand(self.reduce(x))
        return out


class Head(nn.Module):
    """Score and box of every cell of one stride."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(Conv(NECK, NECK), Conv(NECK, NECK))
        self.out = nn.Conv2d(NECK, 5, 1)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias = nn.Parameter(torch.tensor([-5.0, 0.0, 0.0, 0.7, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, 5, h, w): score logit, centre x and y, log width and height."""
        out: Tensor = self.out(self.tower(x))
        return out


class PlateDetector(nn.Module):
    """Input float (n, 3, h, w) RGB 0..1 with sides divisible by 16; see `forward`."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = WIDTHS
        self.stem = nn.Sequential(Conv(3, a, 3, 2), Conv(a, b, 3, 2), Block(b))
        self.stage8 = nn.Sequential(Conv(b, c, 3, 2), Block(c), Block(c))
        self.stage16 = nn.Sequential(Conv(c, d, 3, 2), Block(d), Block(d), Block(d))
        self.stage32 = nn.Sequential(Conv(d, e, 3, 2), Block(e), Block(e), Block(e))
        self.side8, self.side16, self.side32 = Conv(c, NECK, 1), Conv(d, NECK, 1), Conv(e, NECK, 1)
        self.heads = nn.ModuleList([Head(), Head()])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits float (n, cells) and boxes float (n, cells, 4) x1, y1, x2, y2 in input pixels."""
        f8 = self.stage8(self.stem(x))
        f16 = self.stage16(f8)
        p32 = self.side32(self.stage32(f16))
        p16 = self.side16(f16) + functional.interpolate(p32, size=f16.shape[-2:], mode="nearest")
        p8 = self.side8(f8) + functional.interpolate(p16, scale_factor=2.0, mode="nearest")
        parts = [self._decode(h(p), s) for h, p, s in zip(self.heads, (p8, p16), STRIDES, strict=True)]
        return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)

    def _decode(self, raw: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """Logits (n, h*w) and boxes (n, h*w, 4) of one stride."""
        centres = grid_centres(raw.shape[-2], raw.shape[-1], stride, raw.device)
        flat = raw.float().flatten(2).transpose(1, 2)
        middle = centres + flat[..., 1:3] * stride
        half = torch.exp(flat[..., 3:5].clamp(max=LARGEST_LOG)) * (stride / 2)
        return flat[..., 0], torch.cat([middle - half, middle + half], -1)


def grid_centres(height: int, width: int, stride: int, device: torch.device | str) -> Tensor:
    """Centres of the cells, float (h*w, 2) x, y in input pixels."""
    ys = (torch.arange(height, device=device) + 0.5) * stride
    xs = (torch.arange(width, device=device) + 0.5) * stride
    gy, gx = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([gx.flatten(), gy.flatten()], -1)


def all_centres(size: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Centres (cells, 2) and strides (cells,) of a square input."""
    centres = [grid_centres(-(-size // s), -(-size // s), s, device) for s in STRIDES]
    strides = [torch.full((len(c),), float(s), device=device) for c, s in zip(centres, STRIDES, strict=True)]
    return torch.cat(centres), torch.cat(strides)


def pair_iou(a: Tensor, b: Tensor, *, generalised: bool = False) -> Tensor:
    """(Generalised) IoU of boxes that broadcast against each other, (..., 4) x1, y1, x2, y2."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    outer = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    iou = inner / outer.clamp(min=1e-6)
    if not generalised:
        return iou
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return iou - (hull - outer) / hull.clamp(min=1e-6)


@torch.no_grad()
def assign(logits: Tensor, boxes: Tensor, targets: Tensor, cells: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Give cells to plates: the best by score^0.5 x IoU^4 among those near the plate's centre.

    Args:
        logits: (n, cells).
        boxes: (n, cells, 4), predicted.
        targets: (n, m, 5): present, x1, y1, x2, y2.
        cells: Centres (cells, 2) and strides (cells,).

    Returns:
        The quality to aim at (n, cells), 0 where no plate is, and the plate's index (n, cells).
    """
    centres, strides = cells
    present, real = targets[..., 0] > 0, targets[..., 1:]
    middle, half = (real[..., :2] + real[..., 2:]) / 2, (real[..., 2:] - real[..., :2]) / 2
    reach = torch.maximum(half[:, :, None] * 0.8, strides[None, None, :, None] * 0.75)
    near = ((centres - middle[:, :, None]).abs() <= reach).all(-1) & present[..., None]
    iou = pair_iou(boxes[:, None], real[:, :, None]) * near
    metric = (logits.sigmoid()[:, None].sqrt() + 1e-4) * (iou + 1e-3).pow(4) * near
    best = metric.topk(BEST_CELLS, -1)
    chosen = torch.zeros_like(metric).scatter(-1, best.indices, 1.0).bool() & near
    metric, iou = metric * chosen, iou * chosen
    owner = metric.argmax(1)
    top_metric, top_iou = metric.amax(-1, keepdim=True), iou.amax(-1, keepdim=True)
    # The root, because a plate a few cells wide is never met exactly and must still score well.
    quality = (metric / top_metric.clamp(min=1e-12) * top_iou.clamp(min=0.1).sqrt()).amax(1)
    return quality, owner


def detector_loss(logits: Tensor, boxes: Tensor, targets: Tensor, cells: tuple[Tensor, Tensor]) -> Tensor:
    """Quality-weighted cross-entropy over all cells and GIoU over the assigned ones."""
    quality, owner = assign(logits, boxes, targets, cells)
    weight = torch.where(quality > 0, quality.clamp(min=0.25), 0.75 * logits.sigmoid().detach() ** 2)
    scores = functional.binary_cross_entropy_with_logits(logits, quality, weight, reduction="sum")
    total = quality.sum().clamp(min=1.0)
    mask = quality > 0
    real = targets[..., 1:].gather(1, owner[..., None].expand(-1, -1, 4))
    overlap = pair_iou(boxes[mask], real[mask], generalised=True)
    fit = ((1 - overlap) * quality[mask]).sum()
    loss: Tensor = (scores + 2.5 * fit) / total
    return loss
