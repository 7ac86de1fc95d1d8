"""A range of time leads to the epochs that its reads can be sealed to; no read that was sealed by the rule is lost."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.custody.reach import keys_beyond
from agent.wire.keyring import Keyring, RecipientKey
from tests.fakes.reads import NOON, make_recipient

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_KEY, _ = make_recipient()


def epoch(begin: int, end: int, recipient: str = "agency") -> RecipientKey:
    """Return the key of an epoch, in hours after noon."""
    kid = f"{recipient} {begin} {end}".encode().ljust(32)
    return replace(_KEY, kid=kid, recipient=recipient, valid_from=NOON + begin * HOUR, valid_until=NOON + end * HOUR)


def keyring(*keys: RecipientKey) -> Keyring:
    """Return a keyring of version 2."""
    return Keyring(serial=1, keys=tuple(sorted(keys, key=lambda key: key.valid_from)), issued=NOON)


def beyond(made: list[list[RecipientKey]], begin: int | None, end: int | None) -> list[RecipientKey]:
    """Return which keys no read of a range of hours is sealed to."""
    every = [key for keys in made for key in keys]
    start, until = (None if hour is None else NOON + hour * HOUR for hour in (begin, end))
    kids = keys_beyond(keyring(*every), [[key.kid for key in keys] for keys in made], start, until)
    return [key for key in every if key.kid in kids]


def test_a_day_leads_to_its_epoch_alone() -> None:
    """The neighbours begin where it ends."""
    days = [epoch(24 * number, 24 * number + 24) for number in range(30)]
    assert beyond([days], 24 * 9, 24 * 10) == [*days[:9], *days[10:]]
    assert beyond([days], 24 * 9 + 23, 24 * 10 + 1) == [*days[:9], *days[11:]]
    assert beyond([days], 24 * 9, None) == days[:9]
    assert beyond([days], None, 24 * 9) == days[9:]
    assert beyond([days], None, None) == []


def test_where_there_is_no_epoch_the_nearest_one_may_have_been_taken() -> None:
    """Before the first one, behind the last, and in a hole between two."""
    first, second, third = epoch(0, 24), epoch(48, 72), epoch(72, 96)
    assert beyond([[first, second, third]], -24, 0) == [second, third]
    assert beyond([[first, second, third]], 24, 48) == [second, third]
    assert beyond([[first, second, third]], 200, 224) == [first, second]


def test_a_unit_with_an_older_keyring_goes_on_with_its_last_key() -> None:
    """So the last key of each keyring that was signed is looked at from its beginning on."""
    old, new = [epoch(0, 24), epoch(24, 48)], [epoch(48, 72), epoch(72, 96)]
    assert beyond([old, new], 72, 96) == [old[0], new[0]]
    assert beyond([old, new], 24, 48) == [old[0], *new]


def test_a_key_that_no_entry_names_is_never_left_out() -> None:
    """Nobody knows which keyrings it stood in."""
    one, other = epoch(0, 24), epoch(24, 48)
    assert keys_beyond(keyring(one, other), [[other.kid]], NOON - DAY, NOON + HOUR) == frozenset()


@st.composite
def _histories(draw: st.DrawFn) -> list[list[RecipientKey]]:
    """Draw keys of two recipients, of odd lengths and with holes, made in any order in several goes."""
    keys = []
    for recipient in ("agency", "auditor"):
        ends = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
        spans = [(begin, end) for begin, end in itertools.pairwise(ends) if draw(st.booleans())]
        keys += [epoch(begin, end, recipient) for begin, end in spans]
    goes = [draw(st.integers(0, 2)) for _ in keys]
    return [[key for key, go in zip(keys, goes, strict=True) if go == number] for number in range(3)]


@given(_histories(), st.integers(-5, 65), st.integers(1, 30), st.data())
def test_what_any_keyring_chose_in_the_range_is_looked_at(
    made: list[list[RecipientKey]], begin: int, length: int, data: st.DataObject
) -> None:
    """By the rule that units seal by, at every moment, with every keyring that was signed."""
    left_out = set(beyond(made, begin, begin + length))
    moment: datetime = NOON + begin * HOUR + data.draw(st.integers(0, 60 * length - 1)) * timedelta(minutes=1)
    rings = [keyring(*(key for keys in made[: number + 1] for key in keys)) for number in range(len(made))]
    chosen = {key for ring in rings for key in ring.keys_at(moment)}
    assert left_out.isdisjoint(chosen)


@pytest.mark.parametrize("version", [1, 2])
def test_epochs_that_overlap_are_both_looked_at(version: int) -> None:
    """As a keyring of version 1 may have them."""
    made = [[epoch(0, 24), epoch(20, 48)]]
    ring = replace(keyring(*made[0]), issued=None if version == 1 else NOON)
    kids = [[key.kid for key in made[0]]]
    assert keys_beyond(ring, kids, NOON + 21 * HOUR, NOON + 22 * HOUR) == frozenset()
