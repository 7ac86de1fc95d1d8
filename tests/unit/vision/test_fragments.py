"""Which looks saw a part of a plate only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.records import Detection, PlateText
from agent.vision.fragments import PLACES_S, agrees, find_part, is_elsewhere, parts_among
from tests.fakes.vision import plate

BOX = Detection(100, 100, 180, 120, 0.9)


@pytest.mark.parametrize(
    ("part", "whole", "place"),
    [
        ("AB12", "AB12CD", (0, 4)),
        ("2CD", "AB12CD", (3, 6)),
        ("12C", "AB12CD", (2, 5)),
        ("AB128", "AB12CD", (0, 4)),
        ("AAB1", "AB12CD", (0, 3)),
        ("8CD", "AB12CD", None),
        ("AB12C", "AB12CD", (0, 5)),
        ("AB2CD", "AB12CD", None),
        ("AB13CD", "AB12CD", None),
        ("AB12CD", "AB12CD", None),
        ("AB12CDE", "AB12CD", None),
        ("XYZ1", "AB12CD", None),
    ],
    ids=[
        "its beginning", "its end", "its middle", "half a character read as another", "one read twice",
        "too short for that", "one is missing", "one is missing within", "one is another", "the same", "longer",
        "something else",
    ],
)  # fmt: skip
def test_what_is_a_part(part: str, whole: str, place: tuple[int, int] | None) -> None:
    """It lacks characters at an end, and has no edit elsewhere; where either text may be right, it is none."""
    assert find_part(part, whole) == place


@pytest.mark.parametrize(
    ("whole", "count", "is_whole"),
    [
        (plate("AB12CD"), 2, True),
        (plate("AB12CD"), 1, False),
        (plate("AB12CD", 0.7), 2, False),
        (PlateText("AB12CD", (0.9, 0.9, 0.9, 0.9, 0.8, 0.6), None), 3, False),
        (PlateText("AB12CD", (0.6, 0.9, 0.9, 0.9, 0.9, 0.9), None), 3, True),
    ],
    ids=["two", "one", "unsure", "unsure of what is missing", "sure of what is missing"],
)
def test_when_a_longer_text_is_the_whole_one(whole: PlateText, count: int, *, is_whole: bool) -> None:
    """Two looks see the same where the part has nothing, and are sure of it; then no number of parts counts."""
    parts = [plate("AB12", 0.99)] * 9
    kept = [whole] * count
    assert parts_among([*parts, *kept]) == ({"AB12": frozenset(range(4))} if is_whole else {})


def test_what_a_part_has_at_its_edge_it_did_not_surely_see() -> None:
    """Half a character is read as another one, or one as two; the rest it saw."""
    looks = [plate("AB12CD"), plate("AB12CD"), plate("AB128"), plate("AAB1")]
    parts = parts_among(looks)
    assert parts["AB128"] == frozenset(range(4))
    assert {2, 3} <= parts["AAB1"] < {0, 1, 2, 3}


def test_two_looks_that_see_something_else_behind_a_text_add_nothing() -> None:
    """A bolt is read as anything."""
    looks = [*[plate("AB12")] * 3, plate("AB123"), plate("AB127")]
    assert parts_among(looks) == {}


@given(st.lists(st.text("AB1", min_size=1, max_size=6).map(lambda text: plate(text, 0.95)), min_size=1, max_size=9))
def test_the_longest_text_is_a_part_of_none(looks: list[PlateText]) -> None:
    """Some look is always left, whatever they say; and the order in which they came does not matter."""
    parts = parts_among(looks)
    longest = max(len(look.text) for look in looks)
    assert max((len(part) for part in parts), default=0) < longest
    assert parts == parts_among(looks[::-1])


def test_one_more_look_agrees_with_the_text_or_a_part_of_it() -> None:
    """A longer one says that something was missing."""
    assert agrees("AB12CD", "AB12CD")
    assert agrees("AB12", "AB12CD")
    assert not agrees("AB12CD", "AB12")
    assert not agrees("AB13CD", "AB12CD")


def test_two_sights_are_of_two_places_or_of_two_times() -> None:
    """A plate's width on, whichever way, or seconds later."""
    down = Detection(100, 180, 180, 200, 0.9)
    near = Detection(150, 100, 230, 120, 0.9)
    assert is_elsewhere((BOX, 0.0), (down, 0.1))
    assert not is_elsewhere((BOX, 0.0), (near, 0.1))
    assert not is_elsewhere((BOX, 0.0), (BOX, PLACES_S - 0.1))
    assert is_elsewhere((BOX, PLACES_S), (BOX, 0.0))
