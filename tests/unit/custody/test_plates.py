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
