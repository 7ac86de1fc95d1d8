"""How one camera's frames are looked at: what `PlatePipeline` is told beside its models.

Owns: the settings and their defaults. Leaves to others: where they are read from (`agent.config`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.vision.regions import Regions
from agent.vision.settling import Settler
from agent.vision.textfilter import TextFilter


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The settings of one pipeline.

    Attributes:
        detector_confidence: The detector's threshold, 0..1. Boxes well below it go on with a plate that is in view, but
            are no plate of their own.
        reader_confidence: Characters of which the reader is less sure do not vote, nor do looks whose mean is below,
            0..1.
        min_votes: Looks that must agree before a text is a passage, at least 1.
        text_filter: Which texts a plate can have; the built-in pattern if left out.
        settler: The formats by which look-alikes are settled; none if left out.
        regions: Masks and lanes; none if left out.
        has_gate: Whether the detector rests while nothing moves.
        detect_every_s: Longest time between two runs of the detector while something moves, seconds; 0: every frame.
        detect_moving_part: Whether the detector sees only the part of the picture where the gate saw motion or a plate
            is followed. It needs the gate.
        early_read: Whether a passage is reported as soon as its text is firm.
    """

    detector_confidence: float = 0.0
    reader_confidence: float = 0.3
    min_votes: int = 2
    text_filter: TextFilter = field(default_factory=TextFilter)
    settler: Settler = field(default_factory=Settler)
    regions: Regions = field(default_factory=Regions)
    has_gate: bool = False
    detect_every_s: float = 0.0
    detect_moving_part: bool = False
    early_read: bool = False
