"""The vote: many looks at one plate become one text, or none.

Owns: which looks vote, what a vote weighs, and when the outcome is a passage. Memory is bounded: of each text only its
best look is kept, with counts of the rest, so a car that stands for a day costs no more than one that passes.

What a look weighs is the product of its character confidences: the reader's own probability that the whole text is
right, if its characters err independently. The mean would let one hopeless character pass among eight sure ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

import cv2

from agent.records import Detection, Direction, Image, Passage, PlateRead, PlateText

MIN_SHARE: Final = 1 / 3
"""Least share of all the weight that the winning text needs: below it two other texts of the same weight were possible,
so the looks disagree more than they agree."""
MAX_TEXTS: Final = 32
"""Different texts kept for one plate; the lightest goes first. A readable plate has a handful."""
GROWTH_FOR_DIRECTION: Final = 1.15
"""How much a plate must grow (or shrink) in view to count as approaching (or receding): a trend well above the few
per cent by which boxes jitter from frame to frame."""
MIN_LOOKS_FOR_DIRECTION: Final = 3
"""A trend through two boxes is their jitter."""


class Rejection(StrEnum):
    """Why a plate that was in view is not a passage."""

    NO_TEXT = "no_text"
    """No look had any text."""
    UNSURE = "unsure"
    """Every text had a character below the reader's confidence threshold."""
    TOO_FEW_VOTES = "too_few_votes"
    """Fewer looks agree than are demanded."""
    DISAGREEMENT = "disagreement"
    """The looks disagree more than they agree."""
    REPEAT = "repeat"
    """The same plate was reported just before: a track that was lost and found again, or a parked car."""


@dataclass(slots=True)
class _Candidate:
    """One text, and what spoke for it."""

    best: PlateRead
    best_quality: float
    votes: int = 0
    weight: float = 0.0
    confidence_sums: list[float] = field(default_factory=list)


class Ballot:
    """Collects the looks of one track."""

    def __init__(self, *, reader_confidence: float) -> None:
        """Start empty; a look whose least sure character is below `reader_confidence`, 0..1, does not vote."""
        self._reader_confidence = reader_confidence
        self._candidates: dict[str, _Candidate] = {}
        self._trend = _Trend()
        self._looks_with_text = 0
        self._total_weight = 0.0
        self._first_seen: datetime | None = None
        self._last_seen: datetime | None = None

    def add(self, look: PlateRead) -> None:
        """Take one look, in order of time."""
        if self._first_seen is None:
            self._first_seen = look.captured_at
        self._last_seen = look.captured_at
        self._trend.add(look.detection, look.monotonic_s)
        if not look.plate.text:
            return
        self._looks_with_text += 1
        if min(look.plate.confidences) >= self._reader_confidence:
            self._vote(look)

    def verdict(self, *, min_votes: int) -> Passage | Rejection:
        """Count. At least `min_votes` looks must agree; the ballot stays open."""
        if self._looks_with_text == 0:
            return Rejection.NO_TEXT
        if not self._candidates:
            return Rejection.UNSURE
        text, winner = max(self._candidates.items(), key=lambda pair: (pair[1].weight, pair[1].votes))
        if winner.votes < min_votes:
            return Rejection.TOO_FEW_VOTES
        if winner.weight < MIN_SHARE * self._total_weight:
            return Rejection.DISAGREEMENT
        return self._passage(text, winner)

    def _passage(self, text: str, winner: _Candidate) -> Passage:
        first_seen, last_seen = self._first_seen, self._last_seen
        assert first_seen is not None, "a candidate comes from a look, and a look has a time"
        assert last_seen is not None, "a candidate comes from a look, and a look has a time"
        return Passage(
            text=text,
            confidences=tuple(total / winner.votes for total in winner.confidence_sums),
            votes=(winner.votes, self._looks_with_text),
            region=winner.best.plate.region,
            best=winner.best,
            first_seen=first_seen,
            last_seen=last_seen,
            direction=self._trend.direction(),
        )

    def _vote(self, look: PlateRead) -> None:
        weight = text_probability(look.plate)
        quality = look_quality(look)
        self._total_weight += weight
        candidate = self._candidates.get(look.plate.text)
        if candidate is None:
            candidate = _Candidate(look, quality, confidence_sums=[0.0] * len(look.plate.confidences))
            self._candidates[look.plate.text] = candidate
        candidate.votes += 1
        candidate.weight += weight
        for place, confidence in enumerate(look.plate.confidences):
            candidate.confidence_sums[place] += confidence
        if quality > candidate.best_quality:
            candidate.best, candidate.best_quality = look, quality
        if len(self._candidates) > MAX_TEXTS:
            self._drop_lightest(besides=look.plate.text)

    def _drop_lightest(self, *, besides: str) -> None:
        # Never the newest: a plate that has become readable must be able to gather votes.
        others = (pair for pair in self._candidates.items() if pair[0] != besides)
        lightest, _ = min(others, key=lambda pair: pair[1].weight)
        del self._candidates[lightest]


def text_probability(plate: PlateText) -> float:
    """Return the reader's own probability that the whole text is right: the product over its characters, 0..1."""
    return math.prod(plate.confidences) if plate.confidences else 0.0


def look_quality(look: PlateRead) -> float:
    """Return how good a picture of its plate a look is: confidence x width x sharpness; for comparing only."""
    width_px = look.detection.x2 - look.detection.x1
    return text_probability(look.plate) * look.detection.confidence * width_px * sharpness(look.crop)


def sharpness(crop: Image) -> float:
    """Return the standard deviation of the Laplacian in grey levels, at least 1 so that a flat crop still compares.

    Args:
        crop: uint8, shape (h, w, 3), BGR.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return max(float(cv2.Laplacian(grey, cv2.CV_32F).std()), 1.0)


class _Trend:
    """Least-squares slope of log size over time, from running sums: six numbers, however long the track."""

    def __init__(self) -> None:
        self._count = 0
        self._began_s = 0.0
        self._lasted_s = 0.0
        self._sum_t = self._sum_size = self._sum_tt = self._sum_t_size = 0.0

    def add(self, box: Detection, at_s: float) -> None:
        if self._count == 0:
            self._began_s = at_s
        self._lasted_s = at_s - self._began_s
        size = math.log(box.area_px) / 2
        self._count += 1
        self._sum_t += self._lasted_s
        self._sum_size += size
        self._sum_tt += self._lasted_s**2
        self._sum_t_size += self._lasted_s * size

    def direction(self) -> Direction:
        spread = self._count * self._sum_tt - self._sum_t**2
        if self._count < MIN_LOOKS_FOR_DIRECTION or spread <= 0.0:
            return Direction.UNKNOWN
        slope = (self._count * self._sum_t_size - self._sum_t * self._sum_size) / spread
        growth = slope * self._lasted_s
        if growth > math.log(GROWTH_FOR_DIRECTION):
            return Direction.APPROACHING
        if growth < -math.log(GROWTH_FOR_DIRECTION):
            return Direction.RECEDING
        return Direction.UNKNOWN
