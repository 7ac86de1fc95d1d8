"""The vote over the looks."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.config.plate_formats import built_in_formats, choose_formats
from agent.records import Detection, Direction, Passage, PlateRead, PlateText
from agent.vision.alignment import changes
from agent.vision.consensus import FIRM_VOTES, Ballot, Rejection, text_probability, vote
from agent.vision.looks import sharpness
from agent.vision.regions import Lane
from agent.vision.settling import Settler, look_alikes
from agent.vision.textfilter import TextFilter
from tests.fakes.source import STARTED_AT
from tests.fakes.vision import plate

BOX = Detection(0, 0, 100, 20, 0.9)


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


def _ballot(looks: list[PlateRead], *, reader_confidence: float = 0.3, text: dict[str, str] | None = None) -> Ballot:
    ballot = Ballot(reader_confidence=reader_confidence, text_filter=TextFilter({"default": ".+", **(text or {})}))
    for look in looks:
        ballot.see(look.detection, captured_at=look.captured_at, at_s=look.monotonic_s)
        ballot.add(look)
    return ballot


def _verdict(looks: list[PlateRead], *, min_votes: int = 2, text: dict[str, str] | None = None) -> Passage | Rejection:
    return _ballot(looks, text=text).verdict(min_votes=min_votes)


def _passage(looks: list[PlateRead], *, min_votes: int = 2) -> Passage:
    verdict = _verdict(looks, min_votes=min_votes)
    assert isinstance(verdict, Passage)
    return verdict


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([], Rejection.NOT_READ),
        ([_look("")], Rejection.NO_TEXT),
        ([_look("AB", confidence=0.2), _look("AB", 1, confidence=0.2)], Rejection.UNSURE),
        ([_look(PlateText("ABC", (0.9, 0.9, 0.1), None), n) for n in range(3)], Rejection.UNSURE),
        ([_look("ABCDEF", n, confidence=0.5) for n in range(5)], Rejection.UNSURE),
        ([_look("AB")], Rejection.TOO_FEW_VOTES),
        ([_look("AB"), _look("AC", 1)], Rejection.TOO_FEW_VOTES),
        ([_look(f"A{n // 2}", n) for n in range(8)], Rejection.DISAGREEMENT),
        ([_look("A!"), _look("A!", 1)], Rejection.TEXT_FILTER),
    ],
)
def test_what_is_no_passage_has_a_reason(looks: list[PlateRead], reason: Rejection) -> None:
    """Nothing is dropped silently."""
    assert _verdict(looks, text={"default": "[A-Z0-9]+"}) is reason


def test_a_few_sure_looks_are_no_agreement() -> None:
    """Two of six weigh most; looks that do not vote are not counted."""
    others = [_look(text, n, confidence=0.55) for n, text in enumerate(("BCDE", "FGHJ", "KLMN"), start=2)]
    sure = [_look("AB12"), _look("AB12", 1)]
    assert _verdict([*sure, *others, _look("TUVW", 5, confidence=0.55)]) == Rejection.DISAGREEMENT
    assert _passage([*sure, *others, _look("", 5), _look("TUVW", 6, confidence=0.1)]).text == "AB12"


def test_agreement_wins_over_a_single_sure_look() -> None:
    """Two that agree outvote one that is surer; votes count the looks with any text."""
    passage = _passage([_look("AB12"), _look("AB12", 1), _look("XX12", 2, confidence=0.99), _look("", 3)])
    assert passage.text == "AB12"
    assert passage.votes == (2, 3)


def test_characters_vote_one_by_one() -> None:
    """Three looks, each with another mistake: every character has two votes, and the text that none read wins."""
    passage = _passage([_look("XB123"), _look("AX123", 1), _look("AB1X3", 2)])
    assert passage.text == "AB123"
    assert passage.votes == (2, 3)


@pytest.mark.parametrize(
    "texts",
    [
        ["AB123", "AB123", "B123"],
        ["AB123", "AB123", "AB12"],
        ["AB123", "AB123", "AB1233"],
        ["AB123", "AB123", "1AB123"],
        ["AB123", "AB23", "AB123X", "AB123"],
    ],
)
def test_looks_of_different_length_vote_for_the_characters_they_share(texts: list[str]) -> None:
    """One lost a character at either end or within, or saw one too many."""
    assert _passage([_look(text, n) for n, text in enumerate(texts)]).text == "AB123"


def test_a_character_that_most_looks_see_is_put_in() -> None:
    """The text that weighs most may have lost one that the others have."""
    looks = [
        *(_look(PlateText("AB12", (0.95,) * 4, None), n) for n in range(2)),
        *(_look(text, 2 + n, confidence=0.93) for n, text in enumerate(["ABX12", "ABX13", "ABX1Z"])),
    ]
    assert _passage(looks).text == "ABX12"


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["ABC12", "ABC12", "ABC12", "ABC123", "ABC123"], "ABC123"),
        (["BC123", "BC123", "ABC123", "BC123", "ABC123"], "ABC123"),
        (["AB12C", "AB12C", "AB12C", "AB12CC", "AB12CC"], "AB12CC"),
        (["BA12C", "BA12C", "BA12C", "BBA12C", "BBA12C"], "BBA12C"),
        (["ABC12", "ABC12", "ABC12", "ABC123", "ABC127"], "ABC12"),
        (["AB123", "AB123", "AB123", "ABC123", "ABC123"], "AB123"),
    ],
    ids=["behind the last", "before the first", "its like", "its like before", "not the same one", "within"],
)
def test_looks_that_see_nothing_at_an_end_abstain_where_two_see_the_same(texts: list[str], text: str) -> None:
    """Their box was too tight. Elsewhere a character that most do not see is none."""
    assert _passage([_look(one, n) for n, one in enumerate(texts)]).text == text


@pytest.mark.parametrize("confidences", [(0.99,) * 5 + (0.7,), (0.5,) * 5 + (0.99,)], ids=["itself", "its text"])
def test_an_unsure_character_at_an_end_needs_a_majority(confidences: tuple[float, ...]) -> None:
    """It may be the plate's border, or its last letter seen twice."""
    unsure = PlateText("ABC122", confidences, None)
    assert _passage([*(_look("ABC12", n) for n in range(3)), _look(unsure, 3), _look(unsure, 4)]).text == "ABC12"


def test_an_unsure_character_makes_no_vote_but_its_look_votes_for_the_others() -> None:
    """One hopeless character does not cost the look that has it."""
    looks = [_look("AB12"), _look(PlateText("AB1Z", (0.9, 0.9, 0.9, 0.1), None), 1), _look("AB12", 2)]
    passage = _passage(looks)
    assert (passage.text, passage.votes) == ("AB12", (2, 3))


def test_a_single_look_passes_only_where_it_is_allowed() -> None:
    """min_votes of 1 gives 1 of 1."""
    assert _passage([_look("AB")], min_votes=1).votes == (1, 1)


def test_confidences_are_averaged_over_the_looks_that_agree() -> None:
    """Looks that see something else take their share of the weight from all of them, and not more."""
    agreeing = [_look(PlateText("AB", (0.8, 1.0), None)), _look(PlateText("AB", (0.6, 0.8), None), 1)]
    assert _passage(agreeing).confidences == pytest.approx((0.7, 0.9))
    first, second = 0.8 * 0.8 + 0.48 * 0.6, 0.8 * 1.0 + 0.48 * 0.8
    other = 0.5 * 0.5 * 0.5
    share = min(first / (first + other), second / (second + other))
    passage = _passage([*agreeing, _look("XY", 2, confidence=0.5)])
    assert passage.confidences == pytest.approx((0.7 * share, 0.9 * share))


@pytest.mark.parametrize(
    "texts",
    [
        ["B95G9"] * 9 + ["B95GSV"] * 4,
        ["BB21"] * 4 + ["B21GSB"] * 3,
        ["INNA75", "INA775", "INA7506", "INNA75", "INA7506"],
        ["123"] * 6 + ["ABC1"] * 5 + ["ABC123"] * 2,
    ],
    ids=["half a character as another", "one twice", "both", "either end"],
)
def test_whole_looks_win_over_parts_of_the_plate(texts: list[str]) -> None:
    """However many parts there are, and whatever is read at the edge of what hides the rest."""
    assert _passage([_look(text, n, confidence=0.95) for n, text in enumerate(texts)]).text == max(texts, key=len)


def test_parts_of_a_plate_are_no_disagreement() -> None:
    """Two whole looks of nine are a passage; the parts say nothing against it."""
    parts = [_look(text, n) for n, text in enumerate(["12CD", "AB12", "B12CD", "AB1", "2CD", "AB12C", "12CD"], start=2)]
    passage = _passage([_look("AB12CD"), _look("AB12CD", 1), *parts])
    assert (passage.text, passage.votes) == ("AB12CD", (2, 9))


def test_a_passage_of_looks_that_disagree_is_not_sure() -> None:
    """However sure each of them is: here, of a plate that comes out from behind a post and never does wholly."""
    looks = [_look(text, n, confidence=0.97) for n, text in enumerate(["AB1", "AB12", "AB12", "AB12C", "AB1", "AB12"])]
    assert _passage(looks).confidence < 0.8


def test_the_crop_is_of_the_best_look_that_agrees() -> None:
    """Large and sharp wins among those that agree; a larger one with another text does not."""
    looks = [
        _look("AB"),
        _look(PlateText("AB", (0.9, 0.9), "Norway"), 1, width=140),
        _look(PlateText("AB", (0.9, 0.9), "Norway"), 2, width=150, flat=True),
        _look("XY", 3, width=300, confidence=0.5),
    ]
    passage = _passage(looks)
    assert passage.best is looks[1]
    assert passage.region == "Norway"


def test_the_region_has_a_pattern_of_its_own() -> None:
    """The same text passes in one region and not in another."""
    looks = [_look(PlateText("AB1", (0.9,) * 3, "Norway"), n) for n in range(2)]
    assert isinstance(_verdict(looks, text={"norway": "[A-Z]{2}[0-9]"}), Passage)
    assert _verdict(looks, text={"Norway": "[0-9]+"}) is Rejection.TEXT_FILTER


def test_first_and_last_seen_span_all_sights() -> None:
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


@pytest.mark.parametrize(
    ("widths", "direction"), [([100, 100], Direction.RECEDING), ([100, 125, 150], Direction.APPROACHING)]
)
def test_the_lane_gives_its_name_and_the_direction_that_was_not_seen(widths: list[int], direction: Direction) -> None:
    """What was seen goes before what the lane says: somebody may drive the wrong way."""
    ballot = Ballot(reader_confidence=0.3, text_filter=TextFilter({"default": ".+"}))
    for n, width in enumerate(widths):
        look = _look("AB", n, width=width)
        lane = Lane("outbound", Direction.RECEDING) if n else Lane("verge", Direction.UNKNOWN)
        ballot.see(look.detection, captured_at=look.captured_at, at_s=look.monotonic_s, lane=lane)
        ballot.see(look.detection, captured_at=look.captured_at, at_s=look.monotonic_s, lane=lane if n else None)
        ballot.add(look)
    passage = ballot.verdict(min_votes=2)
    assert isinstance(passage, Passage)
    assert (passage.lane, passage.direction) == ("outbound", direction)


def test_looks_that_do_not_vote_are_counted_by_reason() -> None:
    """Each look has at most one."""
    looks = [_look(""), _look("AB", 1, confidence=0.1), _look("A?", 2), _look("AB", 3)]
    ballot = _ballot(looks, text={"default": "[A-Z]+"})
    assert ballot.rejected == {Rejection.NO_TEXT: 1, Rejection.UNSURE: 1, Rejection.TEXT_FILTER: 1}
    assert ballot.looks == 4


@pytest.mark.parametrize(
    ("looks", "firm"),
    [
        ([_look("AB", n) for n in range(FIRM_VOTES)], True),
        ([_look("AB", n) for n in range(FIRM_VOTES - 1)], False),
        ([_look("AB", n, confidence=0.75) for n in range(6)], False),
        ([*(_look("AB", n) for n in range(3)), _look("AC", 3)], False),
        ([*(_look("AB", n) for n in range(9)), _look("AC", 9)], True),
    ],
    ids=["three", "two", "unsure", "contested", "nine to one"],
)
def test_when_the_outcome_is_firm(looks: list[PlateRead], *, firm: bool) -> None:
    """Enough looks, sure of themselves, and nearly at one."""
    assert _ballot(looks).is_firm is firm


TEXTS = st.text("AB01", min_size=1, max_size=8)
PLATES = st.lists(
    TEXTS.flatmap(
        lambda text: st.lists(st.floats(0.05, 1.0), min_size=len(text), max_size=len(text)).map(
            lambda shares: PlateText(text, tuple(shares), None)
        )
    ),
    min_size=1,
    max_size=8,
)


@given(PLATES)
def test_whatever_the_looks_say_the_outcome_is_whole(plates: list[PlateText]) -> None:
    """One confidence a character, votes and shares within bounds, no character that no look has seen."""
    found = vote(plates)
    assert len(found.plate.confidences) == len(found.plate.text)
    assert all(0.0 <= share <= 1.0 for share in found.plate.confidences)
    assert 1 <= found.votes <= len(plates)
    assert 0.0 < found.share <= 1.0 + 1e-9
    assert set(found.plate.text) <= {char for one in plates for char in one.text}


@given(TEXTS, st.integers(1, 8), st.floats(0.1, 1.0))
def test_looks_that_are_alike_give_their_text(text: str, count: int, confidence: float) -> None:
    """Unanimity is kept, with every vote and the whole share."""
    found = vote([plate(text, confidence)] * count)
    assert (found.plate.text, found.votes) == (text, count)
    assert found.share == pytest.approx(1.0)


@given(TEXTS, TEXTS, st.integers(2, 5))
def test_a_majority_wins_whatever_the_other_look_says(text: str, other: str, count: int) -> None:
    """A look of equal weight against two or more changes nothing."""
    assume(text != other)
    found = vote([*[PlateText(text, (1.0,) * len(text), None)] * count, PlateText(other, (1.0,) * len(other), None)])
    assert found.plate.text == text


@given(PLATES, st.randoms(use_true_random=False))
def test_the_order_of_the_looks_does_not_matter(plates: list[PlateText], random: object) -> None:
    """They are sorted by nothing but their weight."""
    mixed = list(plates)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = vote(plates), vote(mixed)
    assert one.plate.text == other.plate.text
    assert (one.votes, one.parts) == (other.votes, other.parts)
    assert one.confidences == pytest.approx(other.confidences)


WHOLES = st.text("ABCD0123", min_size=5, max_size=8)


def _cut(whole: str, lengths: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    """Return a strategy for parts of a text, cut off at either end, or at both."""
    starts = st.integers(0, len(whole))
    return st.tuples(starts, lengths).map(lambda one: whole[one[0] : one[0] + one[1]]).filter(lambda part: part != "")


@given(WHOLES, st.data(), st.integers(2, 5), st.integers(0, 12))
def test_parts_never_change_a_settled_whole_text(whole: str, data: st.DataObject, count: int, parts: int) -> None:
    """Whichever they are, however many, and however sure the reader is of them."""
    looks = [plate(whole, data.draw(st.floats(0.9, 1.0))) for _ in range(count)]
    cut = st.builds(plate, _cut(whole, st.integers(1, len(whole) - 1)), st.floats(0.3, 1.0))
    some = data.draw(st.lists(cut, min_size=parts, max_size=parts))
    found = vote([*some, *looks])
    assert found.plate.text == whole
    assert found.votes >= count


@given(WHOLES, st.data(), st.integers(1, 2))
def test_a_plate_of_which_every_look_sees_another_part_is_never_sure(
    whole: str, data: st.DataObject, times: int
) -> None:
    """Something moves along it, or it along something: no part is seen for long, and each was cut elsewhere."""
    cuts = data.draw(st.lists(st.integers(2, len(whole) - 1), min_size=2, unique=True))
    texts = data.draw(st.sampled_from([[whole[:cut] for cut in cuts], [whole[-cut:] for cut in cuts]])) * times
    assert max(vote([plate(text, 1.0) for text in texts]).confidences) < 0.8


@given(TEXTS, TEXTS)
def test_changes_are_a_distance(one: str, other: str) -> None:
    """None between equals, the same in both directions, never more than the longer text."""
    assert changes(one, one) == 0
    assert changes(one, other) == changes(other, one) <= max(len(one), len(other))
    assert (changes(one, other) == 0) == (one == other)


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


def _formats(*codes: str) -> Settler:
    return Settler(choose_formats(codes, built_in_formats()))


def _doubtful(text: str, place: int, other: str, share: float = 0.3) -> PlateText:
    """Return a look that holds one look-alike for likely too."""
    told = [dict.fromkeys(look_alikes(char), 0.0) | {char: 0.9} for char in text]
    told[place][other] = 0.9 * share
    return PlateText(text, (0.9,) * len(text), None, tuple(told))


def test_a_passage_has_what_was_seen_and_what_it_was_settled_to() -> None:
    """With the format's name; its picture is of a look that saw the text, and the votes are those of the looks."""
    ballot = Ballot(reader_confidence=0.3, settler=_formats("BR"))
    for n in range(3):
        look = _look(_doubtful("ABCID23", 3, "1"), n)
        ballot.see(look.detection, captured_at=look.captured_at, at_s=look.monotonic_s)
        ballot.add(look)
    passage = ballot.verdict(min_votes=2)
    assert isinstance(passage, Passage)
    assert (passage.text, passage.seen, passage.format) == ("ABC1D23", "ABCID23", "BR-2018")
    assert (passage.votes, passage.best.plate.text) == ((3, 3), "ABCID23")


def test_without_formats_a_passage_says_nothing_of_them() -> None:
    """Nothing was settled, and no format is missing."""
    passage = _passage([_look("ABCID23", n) for n in range(2)])
    assert (passage.text, passage.seen, passage.format) == ("ABCID23", None, None)


def test_the_pattern_is_asked_of_texts_as_they_are_settled() -> None:
    """A look that would be dropped for its I votes, because it is settled to what the pattern wants."""
    texts = TextFilter({"default": "[A-Z]{3}[0-9][A-Z][0-9]{2}"})
    with_formats = Ballot(reader_confidence=0.3, text_filter=texts, settler=_formats("BR"))
    without = Ballot(reader_confidence=0.3, text_filter=texts)
    assert with_formats.add(_look(_doubtful("ABCID23", 3, "1"))) is None
    assert with_formats.add(_look(_doubtful("ABCID23", 3, "1", share=0.001))) is Rejection.TEXT_FILTER
    assert without.add(_look(_doubtful("ABCID23", 3, "1"))) is Rejection.TEXT_FILTER
