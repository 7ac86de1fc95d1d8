"""The vote over the looks."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from agent.records import Detection, Direction, Passage, PlateRead, PlateText
from agent.vision.consensus import MAX_TEXTS, Ballot, Rejection, sharpness, text_probability
from tests.fakes.source import STARTED_AT
from tests.fakes.vision import plate


def _look(
    text: str | PlateText, n: int = 0, *, confidence: float = 0.9, width: int = 100, flat: bool = False
) -> PlateRead:
    crop = np.full((20, width, 3), 128, np.uint8)
    if not flat:
        crop[:, ::4] = 255
    return PlateRead(
        sequence=n,
        captured_at=STARTED_AT + timedelta(seconds=n / 10),
        monotonic_s=n / 10,
        frame_wh=(640, 360),
        detection=Detection(0, 0, width, 20, 0.9),
        plate=plate(text, confidence) if isinstance(text, str) else text,
        crop=crop,
    )


def _verdict(looks: list[PlateRead], *, min_votes: int = 2, reader_confidence: float = 0.3) -> Passage | Rejection:
    ballot = Ballot(reader_confidence=reader_confidence)
    for look in looks:
        ballot.add(look)
    return ballot.verdict(min_votes=min_votes)


def _passage(looks: list[PlateRead], *, min_votes: int = 2) -> Passage:
    verdict = _verdict(looks, min_votes=min_votes)
    assert isinstance(verdict, Passage)
    return verdict


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([], Rejection.NO_TEXT),
        ([_look("")], Rejection.NO_TEXT),
        ([_look("AB", confidence=0.2), _look("AB", 1, confidence=0.2)], Rejection.UNSURE),
        ([_look(PlateText("AB", (0.99, 0.1), None))], Rejection.UNSURE),
        ([_look("AB")], Rejection.TOO_FEW_VOTES),
        ([_look("AB"), _look("AC", 1)], Rejection.TOO_FEW_VOTES),
        ([_look(f"A{n // 2}", n) for n in range(8)], Rejection.DISAGREEMENT),
    ],
)
def test_what_is_no_passage_has_a_reason(looks: list[PlateRead], reason: Rejection) -> None:
    """Nothing is dropped silently."""
    assert _verdict(looks) is reason


def test_agreement_wins_over_a_single_sure_look() -> None:
    """Two that agree outvote one that is surer; votes count the looks with any text."""
    passage = _passage([_look("AB12"), _look("AB12", 1), _look("XX12", 2, confidence=0.99), _look("", 3)])
    assert passage.text == "AB12"
    assert passage.votes == (2, 3)


def test_unsure_looks_are_counted_but_do_not_vote() -> None:
    """N of m is honest about the looks that were set aside."""
    looks = [_look("AB"), _look("AB", 1), *(_look("XY", n, confidence=0.2) for n in range(2, 6))]
    assert _passage(looks).votes == (2, 6)


def test_a_single_look_passes_only_where_it_is_allowed_and_is_marked() -> None:
    """min_votes of 1 gives 1 of 1."""
    assert _passage([_look("AB")], min_votes=1).votes == (1, 1)


def test_confidences_are_averaged_over_the_looks_that_agree() -> None:
    """The others say nothing about these characters."""
    looks = [_look(PlateText("AB", (0.8, 1.0), None)), _look(PlateText("AB", (0.6, 0.8), None), 1), _look("XY", 2)]
    assert _passage(looks).confidences == pytest.approx((0.7, 0.9))


def test_the_crop_is_of_the_best_look_that_agrees() -> None:
    """Large and sharp wins among those that agree; a larger one with another text does not."""
    looks = [
        _look("AB"),
        _look(PlateText("AB", (0.9, 0.9), "Norway"), 1, width=140),
        _look("AB", 2, width=150, flat=True),
        _look("XY", 3, width=300),
    ]
    passage = _passage(looks)
    assert passage.best is looks[1]
    assert passage.region == "Norway"


def test_first_and_last_seen_span_all_looks() -> None:
    """Also those without text."""
    passage = _passage([_look(""), _look("AB", 1), _look("AB", 2), _look("", 3)])
    assert passage.first_seen == STARTED_AT
    assert passage.last_seen == STARTED_AT + timedelta(seconds=0.3)


@pytest.mark.parametrize(
    ("widths", "direction"),
    [
        ([100, 110, 121, 133, 146], Direction.APPROACHING),
        ([146, 133, 121, 110, 100], Direction.RECEDING),
        ([100, 103, 98, 101, 99], Direction.UNKNOWN),
        ([100, 200], Direction.UNKNOWN),
    ],
)
def test_direction_follows_the_size(widths: list[int], direction: Direction) -> None:
    """Growing approaches, shrinking recedes, jitter and two looks say nothing."""
    assert _passage([_look("AB", n, width=width**2 // 100) for n, width in enumerate(widths)]).direction is direction


def test_a_ballot_is_bounded_however_long_it_is_open() -> None:
    """A car that stands for a day: many looks, many misreads, a bounded number of texts, exact counts."""
    ballot = Ballot(reader_confidence=0.3)
    for n in range(3000):
        ballot.add(_look("AB12" if n % 2 else f"X{n}", n))
    verdict = ballot.verdict(min_votes=2)
    assert isinstance(verdict, Passage)
    assert verdict.votes == (1500, 3000)
    assert len(ballot._candidates) <= MAX_TEXTS


def test_a_plate_that_becomes_readable_late_still_wins() -> None:
    """The newest text is never the one that is dropped."""
    ballot = Ballot(reader_confidence=0.3)
    for n in range(3 * MAX_TEXTS):
        ballot.add(_look(f"X{n}", n, confidence=0.5))
    for n in range(100, 150):
        ballot.add(_look("AB12", n, confidence=0.9))
    verdict = ballot.verdict(min_votes=2)
    assert isinstance(verdict, Passage)
    assert verdict.text == "AB12"


def test_one_hopeless_character_weighs_down_the_text() -> None:
    """The product tells it, the mean would hide it."""
    assert text_probability(PlateText("ABCD", (1.0, 1.0, 1.0, 0.1), None)) == pytest.approx(0.1)
    assert text_probability(PlateText("", (), None)) == 0.0


def test_sharpness_of_the_smallest_and_flattest_crop() -> None:
    """Never below 1, so that products still compare."""
    assert sharpness(np.zeros((1, 1, 3), np.uint8)) == 1.0


def test_no_text_in_a_passages_repr() -> None:
    """It may be logged by mistake."""
    assert "AB12" not in repr(_passage([_look("AB12"), _look("AB12", 1)]))
