"""When the detector runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence

import pytest

from agent.vision.schedule import IDLE_S, PlateStatus, Schedule

FPS = 15
KNOWN = PlateStatus(sightings=9, misses=0, is_reported=False, left_s=math.inf)
REPORTED = PlateStatus(sightings=9, misses=0, is_reported=True, left_s=0.01)


def _runs(
    moves: Callable[[int], bool],
    plates: Callable[[int], Sequence[PlateStatus]],
    *,
    frames: int,
    every_s: float = 0.2,
    found: bool = True,
    elsewhere: Container[int] = (),
) -> list[int]:
    """Return the numbers of the frames on which the detector ran."""
    schedule = Schedule(every_s=every_s)
    ran = []
    for n in range(frames):
        if schedule.is_due(moves=moves(n), plates=plates(n), at_s=n / FPS, has_new_area=n in elsewhere):
            schedule.ran(at_s=n / FPS, found=found)
            ran.append(n)
    return ran


def _nothing(_: int) -> Sequence[PlateStatus]:
    return ()


def test_every_frame_where_that_is_wanted() -> None:
    """No gate, and no time between two runs."""
    assert _runs(lambda _: True, _nothing, frames=20, every_s=0.0) == list(range(20))


def test_the_first_frame_is_looked_at_and_then_hardly_any_while_nothing_moves() -> None:
    """Every ten seconds, in case the gate is wrong."""
    step = round(IDLE_S * FPS)
    assert _runs(lambda _: False, _nothing, frames=3 * step) == [0, step, 2 * step]


def test_motion_is_looked_at_at_once() -> None:
    """Not when the next run would have been due."""
    ran = _runs(lambda n: n >= 47, _nothing, frames=60)
    assert ran[:3] == [0, 47, 50]


def test_motion_that_shows_no_plate_is_looked_at_ever_more_rarely() -> None:
    """After two runs in vain a third as often, after four a fifth; the next motion starts anew."""
    ran = _runs(lambda n: n % 200 >= 50, _nothing, frames=400, found=False)
    first = [50, 53, 62, 71, 86, 101, 116, 131, 146]
    assert ran[1 : 1 + len(first)] == first
    assert [n - 200 for n in ran if n >= 250][: len(first)] == first


def test_a_faint_box_neither_slows_the_detector_nor_hurries_it() -> None:
    """It may be a plate that is about to show, or a lamp."""
    schedule, ran = Schedule(every_s=0.2), []
    for n in range(60):
        if schedule.is_due(moves=True, plates=(), at_s=n / FPS):
            schedule.ran(at_s=n / FPS, found=False, is_unsure=n < 12 or n > 20)
            ran.append(n)
    assert ran == [0, 3, 6, 9, 12, 15, 24, 33, 42, 51]


@pytest.mark.parametrize(
    "plates",
    [
        (),
        (REPORTED,),
        (KNOWN,),
        (PlateStatus(sightings=3, misses=0, is_reported=False, left_s=math.inf, is_firm=True),),
    ],
    ids=["no plate", "reported", "seen often", "firm"],
)
def test_what_comes_from_elsewhere_does_not_wait(plates: Sequence[PlateStatus]) -> None:
    """Whatever slows the detector: it looks as soon as its usual pace allows."""
    ran = _runs(lambda _: True, lambda _: plates, frames=200, found=False, elsewhere={150})
    before = max(n for n in ran if n < 150)
    assert min(n for n in ran if n >= 150) == max(150, before + 3)


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (PlateStatus(sightings=3, misses=0, is_reported=False, left_s=math.inf), 3),
        (KNOWN, 6),
        (PlateStatus(sightings=1, misses=0, is_reported=False, left_s=math.inf), 1),
        (PlateStatus(sightings=9, misses=1, is_reported=False, left_s=math.inf), 1),
        (PlateStatus(sightings=9, misses=2, is_reported=False, left_s=math.inf), 3),
        (PlateStatus(sightings=2, misses=0, is_reported=False, left_s=0.5), 2),
        (PlateStatus(sightings=2, misses=0, is_reported=False, left_s=0.2), 1),
        (PlateStatus(sightings=9, misses=0, is_reported=False, left_s=0.2), 6),
        (REPORTED, 3),
        (PlateStatus(sightings=3, misses=0, is_reported=False, left_s=0.1, is_firm=True), 6),
        (PlateStatus(sightings=3, misses=1, is_reported=False, left_s=0.1, is_firm=True), 1),
    ],
    ids=[
        "known",
        "seen often",
        "new",
        "just missed",
        "long missed",
        "leaves soon",
        "leaves now",
        "often",
        "reported",
        "firm",
        "gone",
    ],
)
def test_the_pace_suits_the_plate(status: PlateStatus, step: int) -> None:
    """Frames from one run to the next while something moves."""
    ran = _runs(lambda _: True, lambda _: (status,), frames=30)
    assert ran[1] - ran[0] == step
    assert ran[2] - ran[1] == step


def test_the_hastiest_plate_sets_the_pace() -> None:
    """One that leaves soon is not lost because another stands."""
    hasty = PlateStatus(sightings=2, misses=0, is_reported=False, left_s=0.2)
    assert _runs(lambda _: True, lambda _: (KNOWN, REPORTED, hasty), frames=5) == [0, 1, 2, 3, 4]


def test_a_plate_that_stands_is_followed_until_its_outcome_is_out() -> None:
    """At half the pace though nothing moves; and then only in case the gate is wrong."""
    assert _runs(lambda _: False, lambda _: (KNOWN,), frames=13) == [0, 6, 12]
    assert _runs(lambda _: False, lambda _: (REPORTED,), frames=60) == [0]


def test_when_the_motion_ends_an_open_plate_is_looked_at() -> None:
    """Its vehicle has just left, and its passage should not wait."""
    ran = _runs(lambda n: n < 31, lambda _: (KNOWN,), frames=33)
    assert 31 in ran
