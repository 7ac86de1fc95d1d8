"""Settling, whatever was seen and whatever the formats are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.config.plate_formats import PlateFormat, built_in_formats, choose_formats
from agent.records import PlateText
from agent.vision.consensus import settle
from agent.vision.settling import MOST_NATS, Settler, look_alikes

CHARS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLACES = sorted({each.place for each in built_in_formats().values()})
shares = st.floats(0.0, 1.0)


@st.composite
def looks(draw: st.DrawFn) -> PlateText:
    """Generate what a reader may say; characters with look-alikes are the most common."""
    text = draw(st.text(st.sampled_from(CHARS + "0ODQ1I2Z5S6G8B" * 3), max_size=9))
    told = [{each: draw(shares) for each in look_alikes(char)} for char in text]
    confidences = [draw(shares) for _ in text]
    return PlateText(text, tuple(confidences), None, tuple(told))


settlers = st.tuples(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4), st.floats(0.0, 2 * MOST_NATS)).map(
    lambda drawn: (choose_formats(drawn[0], built_in_formats()), drawn[1])
)


@given(looks(), settlers)
def test_a_character_never_leaves_its_group(look: PlateText, chosen: tuple[tuple[PlateFormat, ...], float]) -> None:
    """The text has the same length, and at each place the same character or one that looks like it."""
    plate = settle(Settler(chosen[0], most_nats=chosen[1]), look, [look])
    assert plate.seen == look.text
    assert len(plate.text) == len(look.text)
    pairs = zip(plate.text, look.text, strict=True)
    assert [now for now, seen in pairs if now not in (seen, *look_alikes(seen))] == []


@given(looks(), settlers)
def test_settling_again_changes_nothing(look: PlateText, chosen: tuple[tuple[PlateFormat, ...], float]) -> None:
    """A settled text is one that stays, whatever a second look is unsure of."""
    settler = Settler(chosen[0], most_nats=chosen[1])
    once = settle(settler, look, [look])
    again = settle(settler, once, [look])
    assert (again.text, again.format) == (once.text, once.format)


@given(looks(), settlers)
def test_a_change_makes_a_text_fit_that_did_not(look: PlateText, chosen: tuple[tuple[PlateFormat, ...], float]) -> None:
    """Nothing is changed of a text that a format has, and what is changed has a format that settles."""
    plate = settle(Settler(chosen[0], most_nats=chosen[1]), look, [look])
    strict = [each for each in chosen[0] if not each.is_vanity]
    if any(each.allows(look.text) for each in strict):
        assert plate.text == look.text
    elif plate.text != look.text:
        assert any(each.allows(plate.text) for each in strict)
    assert (plate.format is None) == (not any(each.allows(plate.text) for each in chosen[0]))
