"""How much is trained, with which seeds: the one place to change it. Needs no PyTorch.

The shipped detector was trained in stretches, while the renderings grew more varied; its steps are the sums of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

DETECTOR_STEPS, DETECTOR_WHOLE_STEPS = 33_126, 8_787
READER_STEPS = 17_600  # nine million crops: a quarter of an hour where a GPU gets 10,000 a second, weeks on one core


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        name: Of the folder of its checkpoint.
        steps: Batches in all.
        batch: Pictures a batch.
        rate: Highest learning rate, reached after `warm` steps, then a cosine down to 2 %.
        seed: Of the training pictures; picture k is the same for the same seed.
        warm: Steps of linear warm-up.
        average: Decay of the moving average of the weights.
        picture_px: Side of the detector's pictures; the reader's have their own size.
        minutes: Limit on the time spent training, all runs together, 0 for none; the cosine ends with it.
        no_plates: Share of the reader's crops that show no plate.
        crops: How many different ones there are, each seen many times; 0 for endless new ones. Only for the last
            layers of the reader.
        kept: Share of the weights it began with in those that are exported, the rest are the trained ones.
    """

    name: str
    steps: int
    batch: int
    rate: float
    seed: int
    warm: int = 150
    average: float = 0.998
    picture_px: int = 0
    minutes: float = 0.0
    no_plates: float = 0.16
    crops: int = 0
    kept: float = 0.0

    @property
    def work(self) -> float:
        """What it costs beside another plan of the same model, in pixels."""
        return float(self.steps * self.batch * self.picture_px**2)


def share_minutes(plans: Sequence[Plan], minutes: float) -> tuple[Plan, ...]:
    """Limit the time of several plans of one model together, by their work; 0 is no limit."""
    whole = sum(plan.work for plan in plans)
    return tuple(replace(plan, minutes=minutes * plan.work / whole) for plan in plans)


@dataclass(frozen=True, slots=True)
class Renderings:
    """A cache of rendered things.

    Attributes:
        kind: `plates`, `hard` (see `hard_formats`), `signs` or `notices`.
        count: How many.
        seed: The same seed gives the same pixels.
    """

    kind: str
    count: int
    seed: int


DETECTOR = Plan("detector", DETECTOR_STEPS, batch=16, rate=1.5e-3, seed=11, average=0.999, picture_px=192)
"""Crops have the same plates for a quarter of the work of whole pictures."""
DETECTOR_WHOLE = Plan("detector-whole", DETECTOR_WHOLE_STEPS, batch=8, rate=5.0e-4, seed=14, picture_px=384)
"""In pictures as large as those that it will see, its deeper layers see as much around a plate as they will. On
openimages-plates/valid it then found 0.918 of the plates with 0.10 boxes a picture that are on none; after crops alone
it found as many with 1.01."""
DETECTOR_STAGES = (DETECTOR, DETECTOR_WHOLE)
READER = Plan("reader", READER_STEPS, batch=512, rate=2.0e-3, seed=23, warm=300, average=0.999)
READER_TUNED = Plan("reader-tuned", 4_000, batch=64, rate=3.0e-4, seed=29, warm=100, average=0.995)
"""From the weights of another training (`--reader-from`), where there is no GPU."""
READER_HEAD = Plan(
    "reader-head", 2_600, batch=64, rate=4.0e-4, seed=31, warm=60, average=0.996, no_plates=0.25, crops=10_000, kept=0.2
)
"""From those weights too, the layers behind the trunk alone (`--head-only`): on one core, minutes instead of hours."""

DETECTOR_PLATES = Renderings("plates", 30_000, 1)
SIGNS = Renderings("signs", 5_000, 2)
HELD_OUT = Renderings("plates", 1_000, 101)  # never trained on; the reader is measured on them by kind
HELD_OUT_HARD = Renderings("hard", 600, 102)
HELD_OUT_NOTICES = Renderings("notices", 600, 103)


@dataclass(frozen=True, slots=True)
class ReaderRenderings:
    """What a training of the reader draws from.

    Attributes:
        plates: Plates of the usual kinds.
        hard: Plates that readers get wrong.
        notices: What is no plate.
    """

    plates: tuple[Renderings, ...]
    hard: Renderings
    notices: Renderings

    @property
    def all(self) -> tuple[Renderings, ...]:
        """Every cache."""
        return (*self.plates, self.hard, self.notices)


NO_RENDERINGS = ReaderRenderings((), Renderings("hard", 0, 0), Renderings("notices", 0, 0))
READER_RENDERINGS = {
    READER.name: ReaderRenderings(
        (Renderings("plates", 60_000, 3), DETECTOR_PLATES),
        Renderings("hard", 60_000, 5),
        Renderings("notices", 20_000, 6),
    ),
    **dict.fromkeys(
        (READER_TUNED.name, READER_HEAD.name),
        ReaderRenderings(
            (Renderings("plates", 6_000, 3),), Renderings("hard", 6_000, 5), Renderings("notices", 4_000, 6)
        ),
    ),
}
"""By the name of the plan: a short training sees each rendering but a few times, however few there are."""
