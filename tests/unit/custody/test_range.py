"""Searching a range of time: what is looked at, what is lost to nobody, in which order it comes, and how it stops."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.custody import in_order
from agent.custody.access import hold_reads, open_reads
from agent.custody.destroy import destroy, plan_destruction
from agent.custody.next_keyring import key_history
from agent.custody.owner import Owner, unlock_owner
from agent.custody.search import Query, Tally, Unopened
from agent.wire.plaintext import ClockState
from tests.fakes.owner import DAY, MANDATE, MIDNIGHT, PASSPHRASE, Camera, MemoryReceiver, make_owner, make_owner_keys
from tests.fakes.reads import NOON


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    """Return an owner with keys for four days."""
    return make_owner(tmp_path / "owner", epochs=4)


def day(number: int, hours: int = 0) -> datetime:
    """Return noon of a day of the owner's, 0 for the first, or some hours after it."""
    return NOON + number * DAY + timedelta(hours=hours)


def of_day(number: int, **changes: bool) -> Query:
    """Return what asks for a day."""
    return Query(start=MIDNIGHT + number * DAY, end=MIDNIGHT + (number + 1) * DAY, **changes)  # type: ignore[arg-type]


def found(
    owner: Owner, receiver: MemoryReceiver, query: Query, *, may_go_on: Callable[[], bool] = lambda: True
) -> tuple[list[str], Tally]:
    """Return the texts of the reads that fit, in the order in which they come, and the tally."""
    tally = Tally()
    batches = open_reads(owner, receiver, query, MANDATE, tally=tally, may_go_on=may_go_on)
    return [opened.read.text for batch in batches for opened in batch], tally


def test_a_day_opens_no_other_day(owner: Owner) -> None:
    """Their envelopes are not even looked at; the reads' own times decide among those of the day."""
    camera = Camera(owner)
    stored = [camera.seal(f"DAY{number}{hours}", day(number, hours)).data for number in range(4) for hours in (0, 1)]
    receiver = MemoryReceiver(camera, stored=stored)
    texts, tally = found(owner, receiver, of_day(2))
    assert (texts, receiver.reads) == (["DAY20", "DAY21"], 2)
    assert (tally.scanned, tally.opened, tally.passed_over) == (2, 2, 6)
    assert found(owner, receiver, Query(start=day(2, 1), end=day(3)))[0] == ["DAY21"]


def test_a_read_of_a_clock_that_was_behind_is_told_and_found(owner: Owner) -> None:
    """It says a day, and was sealed to a later one, which its keyring's issue made certain."""
    make_owner_keys(owner.layout.directory, start=MIDNIGHT + 4 * DAY, epochs=1, now=day(2))
    camera = Camera(owner)
    receiver = MemoryReceiver(camera, stored=[camera.seal("SLOW", day(0), clock=ClockState.BEHIND).data])
    texts, tally = found(owner, receiver, of_day(0))
    assert (texts, tally.passed_over) == ([], 1)
    assert found(owner, receiver, of_day(0, every_epoch=True))[0] == ["SLOW"]


def test_a_read_of_a_clock_that_was_ahead_is_found_where_it_says(owner: Owner) -> None:
    """Its clock chose the epoch too."""
    camera = Camera(owner)
    receiver = MemoryReceiver(camera, stored=[camera.seal("FAST", day(3)).data])
    assert found(owner, receiver, of_day(3))[0] == ["FAST"]


def test_a_unit_without_the_newest_keyring_loses_nothing(owner: Owner) -> None:
    """It sealed to the last key that it had, days after its end."""
    behind = Camera(owner)
    make_owner_keys(owner.layout.directory, start=MIDNIGHT + 4 * DAY, epochs=4)
    current = Camera(owner)
    stored = [behind.seal("OLD6", day(6)).data, current.seal("NEW6", day(6)).data, current.seal("NEW5", day(5)).data]
    receiver = MemoryReceiver(behind, current, stored=stored)
    texts, tally = found(owner, receiver, of_day(6))
    assert (texts, tally.opened) == (["OLD6", "NEW6"], 2)


def test_recipients_with_epochs_of_other_lengths_open_no_other_day(tmp_path: Path) -> None:
    """A read is sealed to both at one moment, so the shorter epoch tells enough."""
    owner = make_owner(tmp_path / "two", epochs=4)
    make_owner_keys(tmp_path / "two", recipients=["auditor"], epochs=1, epoch=4 * DAY)
    owner = unlock_owner(tmp_path / "two", PASSPHRASE)
    camera = Camera(owner)
    receiver = MemoryReceiver(camera, stored=[camera.seal(f"DAY{number}", day(number)).data for number in range(4)])
    texts, tally = found(owner, receiver, of_day(1))
    assert (texts, tally.opened, tally.unopened) == (["DAY1"], 1, {Unopened.OTHER_EPOCH: 3})


def test_reads_held_for_the_case_are_found_by_time_when_their_key_is_gone(owner: Owner) -> None:
    """They open with the case's key, which no range leads to."""
    camera = Camera(owner)
    receiver = MemoryReceiver(camera, stored=[camera.seal(f"DAY{number}", day(number)).data for number in range(4)])
    hold_reads(owner, receiver, of_day(0), MANDATE)
    history = key_history(owner.layout, owner.public_key)
    destroy(owner, plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + 2 * DAY, history), MANDATE, now=day(2))
    assert found(owner, receiver, of_day(0))[0] == ["DAY0"]
    assert found(owner, receiver, of_day(1))[0] == []
    assert found(owner, receiver, of_day(2))[0] == ["DAY2"]


@pytest.mark.parametrize("room", [in_order.KEPT_BYTES, 0])
def test_reads_come_by_time_of_capture(owner: Owner, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """However they came to the log; those that do not stay in memory are opened again."""
    monkeypatch.setattr(in_order, "KEPT_BYTES", room)
    camera = Camera(owner)
    stored = [camera.seal(text, day(number)).data for text, number in (("C", 2), ("A", 0), ("D", 2), ("B", 1))]
    assert found(owner, MemoryReceiver(camera, stored=stored), Query())[0] == ["A", "B", "C", "D"]


def test_what_is_dropped_before_it_is_opened_again_is_told(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not counted among those that fit."""
    monkeypatch.setattr(in_order, "KEPT_BYTES", 0)
    camera = Camera(owner)
    receiver = MemoryReceiver(camera, stored=[camera.seal("A").data])
    monkeypatch.setattr(receiver, "envelope", lambda _: None)
    texts, tally = found(owner, receiver, Query())
    assert (texts, tally.matched, tally.unopened) == ([], 0, {Unopened.GONE: 1})


def test_a_search_that_is_stopped_tells_what_it_found_and_where_it_was(owner: Owner) -> None:
    """What was not searched is named by the log."""
    camera = Camera(owner)
    stored = [camera.seal(f"DAY{number}", day(number)).data for number in range(4)]
    steps = iter([True, True])
    texts, tally = found(owner, MemoryReceiver(camera, stored=stored), Query(), may_go_on=lambda: next(steps, False))
    assert (texts, tally.matched) == (["DAY0", "DAY1"], 2)
    assert tally.stopped.startswith(
        "about 2 messages, those behind entry 2 of the log, which was stored at 2026-03-31T"
    )
    assert found(owner, MemoryReceiver(camera, stored=stored), Query(), may_go_on=lambda: False)[1].stopped == (
        "about 4 messages"
    )
