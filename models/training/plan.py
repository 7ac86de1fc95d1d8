"""How much is trained, with which seeds: the one place to change it. Needs no PyTorch.

The shipped models were trained in stretches, while the renderings grew more varied; the steps are the sums of them.
"""

from __future__ import annotations

from dataclasses import dataclass

DETECTOR_STEPS = 33_126
READER_STEPS = 40_648


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: Batches in all.
        batch: Pictures a batch.
        rate: Highest learning rate, reached after `warm` steps, then a cosine down to 2 %.
        seed: Of the training pictures; picture k is the same for the same seed.
        warm: Steps of linear warm-up.
        average: Decay of the moving average of the weights.
        minutes: Limit on the time spent training, all runs together, 0 for none; the cosine ends with it.
    """

    steps: int
    batch: int
    rate: float
    seed: int
    warm: int = 150
    average: float = 0.998
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Renderings:
    """A cache of rendered things.

    Attributes:
        kind: `plates` or `signs`.
        count: How many.
        seed: The same seed gives the same pixels.
    """

    kind: str
    count: int
    seed: int


DETECTOR = Plan(steps=DETECTOR_STEPS, batch=16, rate=1.5e-3, seed=11, average=0.999)
DETECTOR_CROP_PX = 192  # side of its training crops: the same plates for a quarter of the work of 384
READER = Plan(steps=READER_STEPS, batch=64, rate=1.5e-3, seed=23, average=0.999)

DETECTOR_PLATES = Renderings("plates", 30_000, 1)
SIGNS = Renderings("signs", 5_000, 2)
READER_PLATES = Renderings("plates", 30_000, 3)
HELD_OUT = Renderings("plates", 1_000, 101)  # never trained on; the reader is measured on them by kind
