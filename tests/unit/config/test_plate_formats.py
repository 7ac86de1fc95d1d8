"""The formats of number plates: those that come along, and a user's own file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config.plate_formats import MAX_NAME_CHARS, all_formats, built_in_formats, choose_formats
from agent.errors import ConfigError
from agent.wire.plaintext import USUAL_NAME_CHARS

OWN = """
[ES]
format = [
    { name = "ES-2000", period = "ours", pattern = '9{7}' },
    { name = "ES-fleet", period = "ours", pattern = 'F\\d{3}' },
]

[ZZ]
name = "The yard"
letters = "AB"
lists.gate = ["N", "S"]
format = [{ name = "ZZ-yard", period = "ours", pattern = '<gate>\\l\\w\\d' }]
"""


def _own(tmp_path: Path, text: str = OWN) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def _fits(code: str, text: str) -> list[str]:
    return [each.name for each in choose_formats([code], built_in_formats()) if each.allows(text)]


def test_enough_places_are_known_each_with_its_source_and_date() -> None:
    """At least 45 countries and 20 states of the US; no entry without where it is from and when that was looked at."""
    formats = list(built_in_formats().values())
    places = {each.place for each in formats}
    assert len({place[:2] for place in places}) >= 45
    assert sum(place.startswith("US-") for place in places) >= 20
    assert all(each.source and each.looked_at and each.place_name != each.place for each in formats)
    assert all(each.name.startswith(each.place) for each in formats)


def test_a_name_does_not_show_in_the_length_of_a_sealed_read() -> None:
    """The longest name that a format may have is one of those that padding hides."""
    assert MAX_NAME_CHARS <= USUAL_NAME_CHARS


def test_no_pattern_is_bound_to_take_for_ever() -> None:
    """Each judges the longest text that a reader gives without nested repetition."""
    patterns = [each.pattern for each in built_in_formats().values()]
    assert patterns
    assert not [pattern for pattern in patterns if re.search(r"[+*]\)?[+*{]", pattern.replace(".*", ""))]


@pytest.mark.parametrize(
    ("code", "text", "name"),
    [
        ("ES", "1234BCD", "ES-2000"),
        ("ES", "M1234AB", "ES-1971"),
        ("PT", "AB12CD", "PT-2020"),
        ("BR", "ABC1D23", "BR-2018"),
        ("BR", "ABC1234", "BR-1990"),
        ("DE", "HHAB1234", "DE-1956"),
        ("DE", "WESEA115", "DE-1956"),
        ("GB", "AB12CDE", "GB-2001"),
        ("GB", "A123BCD", "GB-1983"),
        ("FR", "AB123CD", "FR-2009"),
        ("FR", "1234AB75", "FR-1950"),
        ("IE", "12D34567", "IE-1987"),
        ("IE", "231D4567", "IE-2013"),
        ("NL", "GB001B", "NL-1991"),
        ("PL", "WA1234A", "PL-2000"),
        ("RO", "B089414", "RO-temporary"),
        ("SE", "ABC12D", "SE-2019"),
        ("US-TX", "BCD1234", "US-TX-2009"),
        ("US-TX", "ELVISV", "US-TX-chosen"),
        ("US-CA", "6AVU788", "US-CA-1980"),
        ("IL", "3100000", "IL-1960"),
        ("IN", "MH12AB1234", "IN-1989"),
        ("CZ", "1AAA000", "CZ-2001"),
        ("NL", "OB12FG", "NL-trailer"),
        ("US-CA", "000AAA0", "US-CA-2026"),
        ("NO", "DP70231", "NO-1971"),
    ],
)
def test_plates_of_a_country_have_one_of_its_formats(code: str, text: str, name: str) -> None:
    """Current, older and special series; the first of those that fit is the one that a read names."""
    assert _fits(code, text)[0] == name


@pytest.mark.parametrize(
    ("code", "text"),
    [("ES", "1234ABC"), ("ES", "O234BCD"), ("BR", "ABC12D3"), ("GB", "AI12CDE"), ("IT", "AO123CD"), ("US-TX", "A" * 8)],
)
def test_letters_that_never_occur_have_no_format(code: str, text: str) -> None:
    """A Spanish vowel, a British I, an Italian O, a letter in a digit's place."""
    assert _fits(code, text) == []


def test_a_country_alone_stands_for_all_its_parts() -> None:
    """US has no formats of its own, and is every state that is known."""
    assert {each.place for each in choose_formats(["US"], built_in_formats())} > {"US-TX", "US-CA"}


@pytest.mark.parametrize(("code", "near"), [("XX", ""), ("es", "; did you mean ES?"), ("US-ZZ", "")])
def test_an_unknown_place_is_one_line_with_what_there_is(code: str, near: str) -> None:
    """Nobody has to guess codes."""
    with pytest.raises(ConfigError, match=f"no formats of '{code}' are known{re.escape(near)}") as caught:
        choose_formats(["ES", code], built_in_formats())
    assert "AD, AL" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_users_file_extends_and_replaces_by_name(tmp_path: Path) -> None:
    """A format of a known name takes its place; the others of that country stay, and new places may come."""
    known = all_formats(_own(tmp_path))
    assert known["ES-2000"].pattern == "9{7}"
    assert known["ES-fleet"].place_name == "Spain"
    assert known["ES-1971"] is built_in_formats()["ES-1971"]
    (yard,) = choose_formats(["ZZ"], known)
    assert [bool(yard.allows(text)) for text in ("NAB1", "SB01", "WAB1", "NCB1")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "not TOML"),
        ("[es]\nformat = []", r"my\.toml:1: es: string should match pattern"),
        ("[ES]", r"my\.toml:1: ES\.format: field required"),
        ("[ES]\nformat = 7", r"my\.toml:2: ES\.format: should be a valid tuple"),
        ("[ES]\nformat = [{ name = 'ES-1', pattern = 'A' }]", r"my\.toml:2: ES\.format\.0\.period: field required"),
        ("[ES]\nfomat = []\nformat = []", r"my\.toml:2: ES\.fomat: extra inputs are not permitted"),
        (
            "[ES]\nformat = [{ name = 'ES-1', pattern = '(', period = 'x' }]",
            r"my\.toml:2: ES\.format\.0: ES-1: pattern is no regular expression: missing \)",
        ),
        (
            "[ES]\nformat = [{ name = 'ES-1', pattern = '<town>', period = 'x' }]",
            r"ES-1: pattern is no regular expression: no list of the name 'town'",
        ),
        (
            "[ES]\nformat = [{ name = 'ES-1', pattern = 'A', period = 'x' }, "
            "{ name = 'ES-1', pattern = 'B', period = 'x' }]",
            r"ES\.format\.1: the name ES-1 is there twice",
        ),
        ("[ES]\nletters = 'ab'\nformat = []", r"my\.toml:2: ES\.letters: string should match pattern"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_line(text: str, message: str, tmp_path: Path) -> None:
    """What, where, and what is allowed."""
    with pytest.raises(ConfigError, match=message) as caught:
        all_formats(_own(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With the reason of the system."""
    with pytest.raises(ConfigError, match=r"my\.toml: No such file"):
        all_formats(tmp_path / "my.toml")
