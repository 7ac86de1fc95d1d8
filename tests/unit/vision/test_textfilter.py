"""Which texts can be a plate's."""

from __future__ import annotations

import pytest

from agent.vision.textfilter import TextFilter


@pytest.mark.parametrize("text", ["AB12CD", "B1X", "12345", "ABC", "1112"])
def test_the_built_in_pattern_takes_plates(text: str) -> None:
    """Three characters or more, of whatever kind."""
    assert TextFilter().allows(text, None)


@pytest.mark.parametrize("text", ["", "A", "11", "000", "IIIIII"])
def test_the_built_in_pattern_refuses_what_lamps_and_grilles_read_as(text: str) -> None:
    """Too short, or one character repeated."""
    assert not TextFilter().allows(text, None)


def test_a_region_has_its_own_pattern_and_all_others_the_default() -> None:
    """Names count without case; a reader that names no region has the default."""
    texts = TextFilter({"default": "[A-Z]+", "Norway": "[A-Z]{2}[0-9]{5}"})
    assert texts.allows("AB12345", "norway")
    assert not texts.allows("AB1234", "Norway")
    assert texts.allows("ABC", "Sweden")
    assert not texts.allows("AB12345", None)


def test_a_pattern_is_for_the_whole_text() -> None:
    """No anchors are needed."""
    assert not TextFilter({"default": "[A-Z]{2}"}).allows("ABC", None)
