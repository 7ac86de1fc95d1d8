"""Settling look-alikes by formats of plates: what is exchanged, and above all what is not."""

from __future__ import annotations

import math

import pytest

from agent.config.plate_formats import PlateFormat, built_in_formats, choose_formats
from agent.records import PlateText
from agent.vision.consensus import believe, settle
from agent.vision.settling import MOST_NATS, Settler, look_alikes

NEAR, FAR = math.exp(-MOST_NATS / 2), math.exp(-MOST_NATS * 2)


def _look(text: str, likes: dict[int, dict[str, float]] | None = None, confidence: float = 0.9) -> PlateText:
    """Return a look; `likes` says how likely others are than the character at a place, as a share of its confidence."""
    told = [dict.fromkeys(look_alikes(char), 0.0) | {char: confidence} for char in text]
    for place, shares in (likes or {}).items():
        told[place] |= {each: confidence * share for each, share in shares.items()}
    return PlateText(text, (confidence,) * len(text), None, tuple(told))


def _settled(codes: str, *looks: PlateText) -> PlateText:
    formats = choose_formats(codes.split(","), built_in_formats())
    return settle(Settler(formats), looks[0], looks)


def test_a_forbidden_character_becomes_its_look_alike() -> None:
    """A Spanish plate begins with four digits; what was seen is kept beside it."""
    plate = _settled("ES", _look("O234BCD", {0: {"0": NEAR}}))
    assert (plate.text, plate.seen, plate.format) == ("0234BCD", "O234BCD", "ES-2000")
    assert plate.confidences == (0.9,) * 7


@pytest.mark.parametrize(
    ("code", "seen", "place", "other", "text"),
    [
        ("BR", "ABCID23", 3, "1", "ABC1D23"),
        ("BR", "A8C1D23", 1, "B", "ABC1D23"),
        ("BR", "ABC1D2Z", 6, "2", "ABC1D22"),
        ("BR", "ABC1DS3", 5, "5", "ABC1D53"),
        ("BR", "ABCGD23", 3, "6", "ABC6D23"),
        ("BR", "0BC1D23", 0, "Q", "QBC1D23"),
        ("PL", "WA1234O", 6, "0", "WA12340"),
        ("IL", "310000D", 6, "0", "3100000"),
    ],
)
def test_each_group_is_settled(code: str, seen: str, place: int, other: str, text: str) -> None:
    """O 0 D Q, I 1, B 8, Z 2, S 5, G 6."""
    assert _settled(code, _look(seen, {place: {other: NEAR}})).text == text


def test_a_text_that_fits_stays_whatever_else_would_fit() -> None:
    """AB12CD is a plate of Portugal, and so is 4812CD; nothing decides between them but what was seen."""
    plate = _settled("PT", _look("OB12CD", {0: {"0": 0.99}, 1: {"8": 0.99}}))
    assert (plate.text, plate.seen, plate.format) == ("OB12CD", "OB12CD", "PT-2020")


def test_what_was_seen_clearly_stays_and_is_marked() -> None:
    """Beyond the bound an old plate, a wrong country or a chosen text is likelier than a slip of the reader."""
    plate = _settled("ES", _look("O234BCD", {0: {"0": FAR}}))
    assert (plate.text, plate.seen, plate.format) == ("O234BCD", "O234BCD", None)


def test_the_bound_holds_for_all_changes_together() -> None:
    """Two characters that are each near are together as far as the sum."""
    share = math.exp(-MOST_NATS * 0.6)
    assert _settled("IL", _look("O234S67", {0: {"0": share}, 4: {"5": 1.0}})).text == "0234567"
    assert _settled("IL", _look("O234S67", {0: {"0": share}, 4: {"5": share}})).text == "O234S67"


def test_of_two_texts_that_are_as_likely_neither_is_taken() -> None:
    """O and Q both make 0BC1D23 a plate of Brazil; with one of them twice as likely, it is taken."""
    assert _settled("BR", _look("0BC1D23", {0: {"O": 0.2, "Q": 0.15}})).text == "0BC1D23"
    assert _settled("BR", _look("0BC1D23", {0: {"O": 0.2, "Q": 0.05}})).text == "OBC1D23"


def test_of_several_formats_the_likeliest_text_wins_and_of_equal_ones_none() -> None:
    """One format wants a digit first, the other a digit last; each would settle the text its own way."""
    first = _format("first", lambda text: text[0].isdigit())
    last = _format("last", lambda text: text[-1].isdigit())
    nearer = _look("OBCO", {0: {"0": 0.5}, 3: {"0": 0.1}})
    equal = _look("OBCO", {0: {"0": 0.5}, 3: {"0": 0.45}})
    for formats in ([first, last], [last, first]):
        won = settle(Settler(formats), nearer, [nearer])
        assert (won.text, won.format) == ("0BCO", "first")
        none = settle(Settler(formats), equal, [equal])
        assert (none.text, none.format) == ("OBCO", None)


def test_only_what_a_format_forbids_is_changed() -> None:
    """A look-alike in another place that would fit as well stays, however near it is."""
    plate = _settled("US-AZ", _look("A8C1D2", {1: {"B": 0.99}}))
    assert plate.text == "A8C1D2"
    assert _settled("US-AZ", _look("A8CID2", {1: {"B": 0.99}, 3: {"1": 0.5}})).text == "A8C1D2"


def test_a_chosen_text_fits_and_settles_nothing() -> None:
    """A Texan may drive ELVISV; a text like a serial number is settled into one all the same, within the bound."""
    chosen = _settled("US-TX", _look("ELVISV", {3: {"1": 0.3}, 4: {"5": 0.3}}))
    assert (chosen.text, chosen.format) == ("ELVISV", "US-TX-chosen")
    assert _settled("US-TX", _look("BCD12E4")).format == "US-TX-chosen"
    assert _settled("US-TX", _look("BCDI234", {3: {"1": NEAR}})).format == "US-TX-2009"
    assert _settled("US-TX", _look("BCDI234", {3: {"1": FAR}})).format == "US-TX-chosen"


def test_without_formats_a_text_is_as_it_was_seen() -> None:
    """Nothing is said of formats or of what was seen."""
    look = _look("O234BCD", {0: {"0": 0.99}})
    assert settle(Settler(), look, [look]) is look


def test_a_text_of_which_nothing_is_certain_is_not_settled() -> None:
    """Where more texts are within reach than are tried, even the likeliest is one of hundreds."""
    likes = {place: dict.fromkeys("0DQ", 0.99) for place in range(9)}
    formats = [each for each in built_in_formats().values() if each.name == "ES-2000"]
    look = _look("O" * 9, likes)
    assert settle(Settler(formats), look, [look]).text == "O" * 9


def test_looks_that_disagree_are_weighed_against_each_other() -> None:
    """One look in three saw the digit: that is near enough, though no look by itself was in doubt."""
    looks = [_look("OB12345"), _look("OB12345"), _look("0B12345")]
    formats = [_format("9B-like", lambda text: text[0].isdigit())]
    assert settle(Settler(formats), looks[0], looks).text == "0B12345"
    assert settle(Settler(formats), looks[0], looks[:2]).text == "OB12345"


def test_a_reader_that_tells_one_character_alone_is_taken_at_its_word() -> None:
    """Without probabilities of look-alikes only other looks say anything of them."""
    plain = PlateText("OB1", (0.5, 0.5, 0.5), None)
    assert believe("OB1", [plain]) == [{"O": 0.5 * 0.125}, {"B": 0.5 * 0.125}, {"1": 0.5 * 0.125}]


def _format(name: str, allows: object) -> PlateFormat:
    return PlateFormat(name, "ZZ", "Test", "", allows, False, "now", None, None, None)  # type: ignore[arg-type]
