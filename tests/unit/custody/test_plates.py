"""Plate patterns."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.custody.plates import normalise_plate, parse_pattern
from agent.errors import UsageError


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("AB123CD", "AB123CD", True),
        ("AB123CD", "AB123C", False),
        ("AB123CD", "AB123CDE", False),
        ("ab 123-cd", "AB123CD", True),
        ("AB123CD", "ab-123.cd", True),
        ("AB?123*", "ABX123", True),
        ("AB?123*", "ABX123YZ", True),
        ("AB?123*", "AB123", False),
        ("AB?123*", "ABXY123", False),
        ("*", "", True),
        ("*", "ANY1", True),
        ("?", "", False),
        ("?", "A", True),
        ("?", "AB", False),
        ("*1", "AB1", True),
        ("*1", "AB12", False),
        ("*1*", "AB12", True),
        ("A*B*C", "AXXBXXBXC", True),
        ("A*B*C", "AXXCXXB", False),
        ("**A**", "XAX", True),
        ("?*?", "A", False),
        ("?*?", "AB", True),
        ("Ö123", "ö 123", True),
        ("A1", "\uff211", True),  # full-width A
        ("京A*", "京A12345", True),
    ],
)
def test_a_pattern_fits_as_a_glob_on_the_normalised_plate(pattern: str, text: str, fits: bool) -> None:
    """? is exactly one character, * any number; case and separators do not count."""
    assert parse_pattern(pattern).matches(text) is fits


@given(st.text("AB?*", min_size=1, max_size=12), st.text("AB", max_size=12))
def test_it_agrees_with_the_standard_library(pattern: str, text: str) -> None:
    """Over generated patterns and plates."""
    assert parse_pattern(pattern).matches(text) == fnmatchcase(text, pattern)


@pytest.mark.parametrize("pattern", ["", " -. ", "A[BC]", "A%", "A\n", "A/B", "x" * 61, "A\\"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    """Empty, too long, or with characters that no plate has; the message does not repeat it."""
    with pytest.raises(UsageError, match="--plate") as raised:
        parse_pattern(pattern)
    assert "[BC]" not in str(raised.value)


def test_a_hostile_pattern_takes_no_longer_than_pattern_times_text() -> None:
    """Many stars that nearly fit do not multiply; counted in steps of the test, by ending at all."""
    assert not parse_pattern("*A" * 30).matches("A" * 20 + "B")


def test_only_a_full_plate_is_told_by_a_text() -> None:
    """A pattern with ? or * names no one plate."""
    assert parse_pattern("AB 123").is_told_by("looking for ab-123, blue")
    assert not parse_pattern("AB?123").is_told_by("looking for AB?123")
    assert not parse_pattern("AB123").is_told_by("hit and run")


def test_no_repr_shows_the_plate() -> None:
    """A pattern may be logged with a traceback."""
    assert "AB123" not in repr(parse_pattern("AB123"))


def test_normalising_twice_is_once() -> None:
    """The normal form of a normal form is itself."""
    for text in ("ab-123", "ß 1", "\ufb01 2", "京A·12345"):
        assert normalise_plate(normalise_plate(text)) == normalise_plate(text)


@pytest.mark.parametrize(
    ("pattern", "near", "text", "fits"),
    [
        ("AB123CD", 1, "A8123CD", True),
        ("AB123CD", 1, "A8l23CD", False),
        ("AB123CD", 2, "A8I23CD", True),
        ("AB123CD", 2, "AB123C", False),
        ("AB123CD", 1, "AB1123CD", False),
        ("A?C12*", 1, "AXC12", True),
        ("A?C12*", 1, "AXG12ZZ", True),
        ("A?C12*", 1, "AXGI2ZZ", False),
        ("*12", 1, "AB1Z", True),
        ("*12*", 1, "AAA1Z", True),
        ("*", 0, "ANY", True),
    ],
)
def test_a_few_characters_may_have_been_misread(pattern: str, near: int, text: str, fits: bool) -> None:
    """Each for another one; none is added or lost."""
    assert parse_pattern(pattern, near=near).matches(text) is fits


@given(st.text("AB?*", min_size=1, max_size=6), st.text("AB", max_size=6))
def test_one_misread_character_is_any_change_of_one(pattern: str, text: str) -> None:
    """Over generated patterns and plates: as if each character in turn had been the other one, or none."""
    readings = [text, *(text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :] for at in range(len(text)))]
    expected = any(fnmatchcase(reading, pattern) for reading in readings)
    if sum(char.isalnum() for char in pattern) > 1:
        assert parse_pattern(pattern, near=1).matches(text) is expected
    else:
        with pytest.raises(UsageError, match="--near 1"):
            parse_pattern(pattern, near=1)


@pytest.mark.parametrize(("pattern", "near"), [("A*", 1), ("?", 1), ("A?B", 2)])
def test_a_pattern_that_fits_everything_when_misread_is_refused(pattern: str, near: int) -> None:
    """More letters and digits must be known than may be wrong."""
    with pytest.raises(UsageError, match=f"--near {near}: --plate must have more than {near} letters and digits"):
        parse_pattern(pattern, near=near)
