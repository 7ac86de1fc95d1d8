"""The vote: several looks at one plate become one text, or none.

Owns: which looks vote, what a vote weighs, when the outcome is a passage, and when it is firm.

Looks vote character by character. One may have lost a character or seen one too many, so each text is first aligned to
the reference, the text that weighs most, with the fewest edits. A look weighs the product of its character confidences,
the reader's own probability that the whole text is right: the mean would let one hopeless character pass among eight
sure ones. A character's vote weighs that times its own confidence.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from typing import Final

from agent.records import Detection, Direction, Passage, PlateRead, PlateText
from agent.vision.alignment import align, changes
from agent.vision.fragments import is_elsewhere, parts_among
from agent.vision.looks import picture_quality
from agent.vision.regions import Lane
from agent.vision.settling import Settler, look_alikes
from agent.vision.textfilter import TextFilter
from agent.vision.trend import Trend

MIN_SHARE: Final = 1 / 3
"""Least share of the weight that each character of the outcome needs: below it two others of the same weight were
possible, so the looks disagree more than they agree."""
AGREEMENT_ABOVE: Final = 1 / 3
"""More than this share of the looks that vote must agree, each counted once whatever it weighs: in lamps, badges and
halves of plates a few sure looks are outvoted by many that see something else. On clips made of rpi-dayride, right
texts had 0.39 and more, with either reader."""
MIN_SUPPORT: Final = 0.5
"""Least sum, over the looks that agree, of the probability that the whole text is right: as likely as not, one of them
is. Real plates have 1 and more; what readers agree on in lamps and grilles, 0.2 and less."""
WEIGHT_DIGITS: Final = 9
"""Decimals to which weights are compared: the order in which the same looks were added must not decide."""
FIRM_VOTES: Final = 3
"""So many looks must agree on every character before the outcome is firm: two may share a blur, as they are close."""
FIRM_SHARE: Final = 0.8
"""Least share for a firm character: another look of the same weight against it would not turn it over."""
FIRM_CONFIDENCE: Final = 0.8
"""Least mean confidence of a firm character: looks that agree and are unsure wait for better ones."""
END_VOTES: Final = 2
"""So many looks must see the same character before a text's first or behind its last, as sure of it as of a firm one
and with a support of `MIN_SUPPORT`, for looks that see none there to abstain: a box that is too tight cuts a character
off and leaves the rest as sure as before, while a wider one does not show a character that is not there."""


class Rejection(StrEnum):
    """Why a plate that was in view is not a passage."""

    NOT_READ = "not_read"
    """It was never whole in the picture."""
    NO_TEXT = "no_text"
    """No look had any text."""
    UNSURE = "unsure"
    """The reader was less sure than demanded: of every text on the whole, or of some character in all of them."""
    TEXT_FILTER = "text_filter"
    """No plate of that region has such a text."""
    TOO_FEW_VOTES = "too_few_votes"
    """Fewer looks agree than are demanded."""
    DISAGREEMENT = "disagreement"
    """The looks disagree more than they agree."""
    REPEAT = "repeat"
    """The same plate was reported just before: a track that was lost and found again, or a parked car."""


LOOK_REJECTIONS: Final = (Rejection.NO_TEXT, Rejection.UNSURE, Rejection.TEXT_FILTER)
"""Why a single look does not vote."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the looks agree on.

    Attributes:
        plate: The text, the mean confidence of each character among the looks that agree on it, and the region.
        votes: Looks that agree on the character that the fewest agree on.
        share: Least share of the weight that a character has, 0..1.
        agreement: Least share of the looks that a character has, 0..1.
        parts: Looks that saw a part of the plate only, and did not vote.
    """

    plate: PlateText
    votes: int
    share: float
    agreement: float
    parts: int = 0

    @property
    def confidences(self) -> tuple[float, ...]:
        """Each character's mean x the text's least share; less if few looks say that parts of it were parts."""
        share = min(self.share, 1.0) * (min(self.votes / FIRM_VOTES, 1.0) if self.parts else 1.0)
        return tuple(share * each for each in self.plate.confidences)

    @property
    def support(self) -> float:
        """How many of the looks that agree are right, by the reader's own account."""
        return self.votes * text_probability(self.plate)

    @property
    def is_firm(self) -> bool:
        """Whether further looks are not worth their price."""
        return (
            self.votes >= FIRM_VOTES
            and self.share >= FIRM_SHARE
            and min(self.plate.confidences, default=0.0) >= FIRM_CONFIDENCE
        )


class Ballot:
    """Collects the looks of one plate."""

    def __init__(
        self, *, reader_confidence: float, text_filter: TextFilter | None = None, settler: Settler | None = None
    ) -> None:
        """Start empty.

        Args:
            reader_confidence: Characters below do not vote, nor does a look whose mean is below, 0..1.
            text_filter: Looks with a text that no plate has do not vote; it is asked of texts as they are settled.
            settler: Knows the formats of plates; if left out, texts stay as they were seen.
        """
        self._reader_confidence = reader_confidence
        self._filter = text_filter or TextFilter()
        self._settler = settler or Settler()
        self._trend = Trend()
        self._lanes: Counter[Lane] = Counter()
        self._votes: list[PlateRead] = []
        self._best: PlateRead | None = None
        self._seen: tuple[datetime, datetime] | None = None
        self._consensus: Consensus | None = None
        self._outcome: PlateText | None = None
        self.rejected: Counter[Rejection] = Counter()
        """Looks that do not vote, by reason."""

    @property
    def looks(self) -> int:
        """Looks that were read."""
        return len(self._votes) + self.rejected.total()

    @property
    def _with_text(self) -> int:
        """Looks in which the reader saw any text."""
        return self.looks - self.rejected[Rejection.NO_TEXT]

    @property
    def best(self) -> PlateRead | None:
        """The best picture among the looks, whether it voted or not."""
        return self._best

    def see(self, box: Detection, *, captured_at: datetime, at_s: float, lane: Lane | None = None) -> None:
        """Note that the plate was there, in order of time; whether it is read or not."""
        self._seen = (captured_at if self._seen is None else self._seen[0], captured_at)
        self._trend.add(box, at_s)
        if lane is not None:
            self._lanes[lane] += 1

    def add(self, look: PlateRead) -> Rejection | None:
        """Take one look; return why it does not vote."""
        if self._best is None or look_quality(look) > look_quality(self._best):
            self._best = look
        fault = self._fault(look.plate)
        if fault is None:
            self._votes.append(look)
            self._consensus = self._outcome = None
        else:
            self.rejected[fault] += 1
        return fault

    @property
    def consensus(self) -> Consensus | None:
        """What the looks agree on so far; None while none votes."""
        if self._consensus is None and self._votes:
            self._consensus = vote([look.plate for look in self._votes], least=self._reader_confidence)
        return self._consensus

    @property
    def _settled(self) -> PlateText:
        """What the looks agree on, settled; there is a consensus."""
        consensus = self.consensus
        assert consensus is not None, "asked only of looks that vote"
        if self._outcome is None:
            self._outcome = settle(self._settler, consensus.plate, [look.plate for look in self._votes])
        return self._outcome

    @property
    def is_firm(self) -> bool:
        """Whether the outcome would not change with further looks."""
        consensus = self.consensus
        return consensus is not None and consensus.is_firm and self._allows(self._settled)

    @property
    def is_of_two_places(self) -> bool:
        """Whether the text was read at two places of the picture, so that nothing that stands there cut it off."""
        same = [look for look in self._votes if self.consensus and look.plate.text == self.consensus.plate.text]
        return any(is_elsewhere(*pair) for pair in combinations([(x.detection, x.monotonic_s) for x in same], 2))

    def verdict(self, *, min_votes: int) -> Passage | Rejection:
        """Count. At least `min_votes` looks must agree; the ballot stays open."""
        consensus = self.consensus
        if consensus is None:
            return self._why_none()
        if consensus.votes < min_votes:
            return Rejection.TOO_FEW_VOTES if consensus.votes else Rejection.UNSURE
        if consensus.share < MIN_SHARE or consensus.agreement <= AGREEMENT_ABOVE:
            return Rejection.DISAGREEMENT
        if consensus.support < MIN_SUPPORT:
            return Rejection.UNSURE
        plate = self._settled
        if not self._allows(plate):
            return Rejection.TEXT_FILTER
        return self._passage(consensus, plate)

    def _why_none(self) -> Rejection:
        """Return why no look votes: the reason that came closest to a vote."""
        for reason in reversed(LOOK_REJECTIONS):
            if self.rejected[reason]:
                return reason
        return Rejection.NOT_READ

    def _passage(self, consensus: Consensus, plate: PlateText) -> Passage:
        """Return the passage of a text that was agreed on, and settled."""
        assert self._seen is not None, "a look is of a plate that was seen"
        seen = consensus.plate.text
        # The picture to keep is of a look that read this text, or the nearest one where the vote made it up of several.
        best = min(self._votes, key=lambda look: (changes(look.plate.text, seen), -look_quality(look)))
        lane = self._lanes.most_common(1)[0][0] if self._lanes else None
        direction = self._trend.direction()
        if direction is Direction.UNKNOWN and lane is not None:
            direction = lane.direction
        return Passage(
            text=plate.text,
            confidences=consensus.confidences,
            votes=(consensus.votes, self._with_text),
            region=plate.region,
            best=best,
            first_seen=self._seen[0],
            last_seen=self._seen[1],
            direction=direction,
            lane=None if lane is None else lane.name,
            seen=plate.seen,
            format=plate.format,
        )

    def _fault(self, plate: PlateText) -> Rejection | None:
        if not plate.text:
            return Rejection.NO_TEXT
        if plate.confidence < self._reader_confidence:
            return Rejection.UNSURE
        if self._allows(plate) or self._allows(settle(self._settler, plate, [plate])):
            return None
        return Rejection.TEXT_FILTER

    def _allows(self, plate: PlateText) -> bool:
        return self._filter.allows(plate.text, plate.region)


def text_probability(plate: PlateText) -> float:
    """Return the reader's own probability that the whole text is right: the product over its characters, 0..1."""
    return math.prod(plate.confidences) if plate.confidences else 0.0


def settle(settler: Settler, plate: PlateText, looks: Sequence[PlateText]) -> PlateText:
    """Return what looks agree on as the formats of plates settle it; the same where no format is known."""
    return settler.settle(plate, believe(plate.text, looks)) if settler.has_formats else plate


def believe(seen: str, plates: Sequence[PlateText]) -> list[Mapping[str, float]]:
    """Return for each character of a text the weight that it and its look-alikes have among the looks that vote.

    Where a look sees one of them, each weighs what the reader's own probability of it is worth in the vote: times the
    probability of the look's whole text. A reader that gives no other probabilities speaks for what it saw alone.
    """
    beliefs: list[defaultdict[str, float]] = [defaultdict(float) for _ in seen]
    for plate in plates:
        weight = _weight(plate)
        for belief, char, places in zip(beliefs, seen, align(seen, plate.text)[1::2], strict=True):
            if len(places) != 1 or plate.text[places[0]] not in look_alikes(char):
                continue
            place = places[0]
            own = {plate.text[place]: plate.confidences[place]}
            for each, share in (plate.look_alikes[place] if plate.look_alikes else own).items():
                belief[each] += weight * share
    return list(beliefs)


def look_quality(look: PlateRead) -> float:
    """Return how good a look at its plate is: readable picture x the text's probability; for comparing only."""
    return text_probability(look.plate) * picture_quality(look.crop, look.detection.confidence)


def vote(plates: Sequence[PlateText], *, least: float = 0.0) -> Consensus:
    """Let texts of one plate, of whatever lengths, vote character by character.

    Args:
        plates: At least one, none empty.
        least: Characters of which the reader is less sure weigh what they weigh, but make no vote, 0..1.
    """
    parts = parts_among(plates)
    weights = [_weight(plate) for plate in plates]
    texts: defaultdict[str, float] = defaultdict(float)
    regions: defaultdict[str | None, float] = defaultdict(float)
    for plate, weight in zip(plates, weights, strict=True):
        regions[plate.region] += weight
        if plate.text not in parts:
            texts[plate.text] += weight
    reference = max(texts, key=lambda text: (round(texts[text], WEIGHT_DIGITS), text))
    places = 2 * len(reference) + 1
    columns = [_Column(is_end=place < 2 or place >= places - 2) for place in range(places)]
    for plate, weight in zip(plates, weights, strict=True):
        for place, at in enumerate(align(reference, plate.text)):
            if plate.text in parts and (place % 2 == 0 or not parts[plate.text].issuperset(at) or not at):
                continue  # it says nothing of what it lacks, and at its edge half a character is read as another
            pairs = [(plate.text[each], plate.confidences[each]) for each in at]
            columns[place].add(pairs, weight, least=least, gap_confidence=plate.confidence)
    found = _outcome(columns, max(regions, key=lambda region: regions[region]))
    return replace(found, parts=sum(plate.text in parts for plate in plates))


@dataclass(frozen=True, slots=True)
class _Winner:
    """What wins at one place: its text, each character's mean confidence, votes, and share of weight and of looks."""

    text: str
    means: list[float]
    votes: int
    share: float
    agreement: float


class _Column:
    """One place of the outcome: the characters (none, one, or several where a gap is) that the looks see there."""

    def __init__(self, *, is_end: bool) -> None:
        self._is_end = is_end
        self._weights: defaultdict[str, float] = defaultdict(float)
        self._looks: Counter[str] = Counter()
        self._votes: Counter[str] = Counter()
        self._confidences: dict[str, list[float]] = {}

    def add(self, pairs: Sequence[tuple[str, float]], weight: float, *, least: float, gap_confidence: float) -> None:
        text = "".join(char for char, _ in pairs)
        sure = min((confidence for _, confidence in pairs), default=gap_confidence)
        self._weights[text] += weight * sure
        self._looks[text] += 1
        self._votes[text] += sure >= least
        sums = self._confidences.setdefault(text, [0.0] * len(pairs))
        for place, (_, confidence) in enumerate(pairs):
            sums[place] += confidence

    def winner(self) -> _Winner:
        """Return what wins here."""
        weights = {one: weight for one, weight in self._weights.items() if one or not self._is_cut_off()}
        text = max(weights, key=lambda one: (round(weights[one], WEIGHT_DIGITS), one))
        means = [total / self._looks[text] for total in self._confidences[text]]
        return _Winner(
            text,
            means,
            self._votes[text],
            share=weights[text] / (sum(weights.values()) or 1.0),
            agreement=self._looks[text] / sum(self._looks[one] for one in weights),
        )

    def _is_cut_off(self) -> bool:
        """Whether looks that see nothing here abstain."""
        return self._is_end and any(
            self._looks[text] >= END_VOTES
            and self._weights[text] >= MIN_SUPPORT
            and min(totals) >= FIRM_CONFIDENCE * self._looks[text]
            for text, totals in self._confidences.items()
            if text
        )


def _outcome(columns: Sequence[_Column], region: str | None) -> Consensus:
    winners = [column.winner() for column in columns]
    text = "".join(winner.text for winner in winners)
    confidences = tuple(mean for winner in winners for mean in winner.means)
    return Consensus(
        PlateText(text, confidences, region),
        votes=min(winner.votes for winner in winners),
        share=min(winner.share for winner in winners),
        agreement=min(winner.agreement for winner in winners),
    )


def _weight(plate: PlateText) -> float:
    """Return what a look weighs: some trifle at least, so that looks of which the reader is not sure at all count."""
    return max(text_probability(plate), 1e-9)
