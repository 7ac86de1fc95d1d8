"""Ground truth of a recorded clip, and scoring passages against it.

The truth file is JSON: `{"fps", "frames", "passes": [{"text", "first", "last", "boxes"}]}`; `first` and `last` are
frame numbers between which the plate is wholly visible, null if it never is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import UsageError
from agent.vision.alignment import changes

MAX_TRUTH_BYTES: Final = 64 << 20
EDGE_FRAMES: Final = 8
"""A passage counts for a vehicle if its best look is this close to the frames in which the plate is wholly visible:
half a second at 15 frames/s, less than the empty road between two vehicles."""
MISREAD_CHANGES: Final = 1
"""A text that differs from the vehicle's by more characters, changed, added or taken away, is no reading of its plate:
it is a sign's, a badge's or half a plate's, and nobody would find the vehicle by it."""


class TruthPass(BaseModel):
    """One vehicle: its text and the frames in which its plate is wholly visible."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str = Field(repr=False)
    first: Annotated[int, Field(ge=0)] | None
    last: Annotated[int, Field(ge=0)] | None

    def holds(self, frame: int) -> bool:
        """Whether this vehicle's plate is in view, or nearly, at `frame`."""
        if self.first is None or self.last is None:
            return False
        return self.first - EDGE_FRAMES <= frame <= self.last + EDGE_FRAMES


class Truth(BaseModel):
    """All vehicles of a clip, in order."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    frames: int = Field(ge=0)
    passes: tuple[TruthPass, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """How passages compare with the truth.

    Attributes:
        vehicles: Vehicles in the truth.
        exact: Vehicles with a passage whose text equals the truth's.
        misread: Vehicles with passages of their own, none of them exact.
        missed: Vehicles without a passage of their own.
        duplicates: Further passages of vehicles that have one.
        spurious: Passages of no vehicle: none was in view, or none whose text is within one edit.
    """

    vehicles: int
    exact: int
    misread: int
    missed: int
    duplicates: int
    spurious: int


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """What scoring needs of a passage: its text and the number of the frame that won."""

    text: str = field(repr=False)
    frame: int


def truth_of(clip: Path, named: Path | None) -> Truth | None:
    """Read a recording's truth: the file that is named, else CLIP.truth.json beside it; None where neither is there.

    Raises:
        UsageError: As `load_truth`.
    """
    beside = clip.with_suffix(".truth.json")
    path = named or (beside if beside.is_file() else None)
    return None if path is None else load_truth(path)


def load_truth(path: Path) -> Truth:
    """Read a truth file.

    Raises:
        UsageError: It cannot be read or is not one.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_TRUTH_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    if len(raw) > MAX_TRUTH_BYTES:
        raise UsageError(f"{path}: longer than {MAX_TRUTH_BYTES} bytes")
    try:
        return Truth.model_validate(json.loads(raw))
    except (ValueError, RecursionError, ValidationError):
        raise UsageError(f'{path}: not a truth file; expected {{"frames": .., "passes": [{{"text", ..}}]}}') from None


class Verdict(StrEnum):
    """What a passage is, held against the truth."""

    EXACT = "exact"
    MISREAD = "misread"
    DUPLICATE = "duplicate"
    SPURIOUS = "spurious"


@dataclass(frozen=True, slots=True)
class Judged:
    """One passage against the truth.

    Attributes:
        verdict: What it is. Of several passages of one vehicle the first exact one counts, else the first; the others
            are duplicates.
        vehicle: Index of its vehicle in the truth; None if it is of none.
    """

    verdict: Verdict
    vehicle: int | None


def judge(truth: Truth, passages: Sequence[ScoredPassage]) -> list[Judged]:
    """Say of each passage what it is.

    A passage belongs to the vehicle in view at its best look, if its text is within one edit of the vehicle's; where
    two are nearly in view, to the one whose text it has, else to the first.
    """
    owners = [vehicle_of(truth, passage.text, passage.frame) for passage in passages]
    counted: dict[int, int] = {}  # vehicle to the passage that counts for it
    for place, (owner, passage) in enumerate(zip(owners, passages, strict=True)):
        if owner is None:
            continue
        first = counted.setdefault(owner, place)
        text = truth.passes[owner].text
        if passage.text == text != passages[first].text:
            counted[owner] = place
    judged = []
    for place, (owner, passage) in enumerate(zip(owners, passages, strict=True)):
        if owner is None:
            verdict = Verdict.SPURIOUS
        elif counted[owner] != place:
            verdict = Verdict.DUPLICATE
        else:
            verdict = Verdict.EXACT if passage.text == truth.passes[owner].text else Verdict.MISREAD
        judged.append(Judged(verdict, owner))
    return judged


def score(truth: Truth, passages: Iterable[ScoredPassage]) -> Score:
    """Compare passages with the truth, as `judge` does."""
    judged = judge(truth, list(passages))
    counts = Counter(one.verdict for one in judged)
    found = {one.vehicle for one in judged if one.vehicle is not None}
    return Score(
        vehicles=len(truth.passes),
        exact=counts[Verdict.EXACT],
        misread=counts[Verdict.MISREAD],
        missed=len(truth.passes) - len(found),
        duplicates=counts[Verdict.DUPLICATE],
        spurious=counts[Verdict.SPURIOUS],
    )


def vehicle_of(truth: Truth, text: str, frame: int) -> int | None:
    """Return the index of the vehicle in view, or nearly, that a text is of; None if it is of none."""
    edits = {index: changes(truth.passes[index].text, text) for index in in_view(truth, frame)}
    return next((index for most in range(MISREAD_CHANGES + 1) for index in edits if edits[index] <= most), None)


def in_view(truth: Truth, frame: int) -> list[int]:
    """Return the indices of the vehicles whose plates are in view, or nearly."""
    return [index for index, vehicle in enumerate(truth.passes) if vehicle.holds(frame)]
