"""One plate in view, without a pipeline: what it wants, and when its outcome is out."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from agent.records import Detection, Frame, Passage, Picture
from agent.vision.consensus import Rejection
from agent.vision.plate import BATCH, KEPT, LEFT_S, REPORT_AFTER_S, PlateInView
from agent.vision.settings import PipelineSettings
from agent.vision.tracker import MIN_MISSES
from tests.fakes.source import STARTED_AT
from tests.fakes.vision import plate as text_of

FPS = 10.0
WH = (640, 360)


def _box(x: int) -> Detection:
    return Detection(x, 100, x + 80, 120, 0.9)


def _frame(n: int, *, contrast: int = 0) -> Frame:
    image = np.full((WH[1], WH[0], 3), 90, np.uint8)
    image[:, ::4] += np.uint8(contrast)
    return Frame("cam-1", n, STARTED_AT + timedelta(seconds=n / FPS), n / FPS, Picture.of(image))


def _seen(times: int, *, settings: PipelineSettings | None = None, x: int = 20) -> PlateInView:
    """Return a plate that was seen so many times, on frames 0, 1, .."""
    plate = PlateInView(_frame(0), _box(x), settings or PipelineSettings())
    for n in range(times):
        plate.see(_frame(n), _box(x + 10 * n))
    return plate


def _read(plate: PlateInView, at_s: float, text: str = "AB12") -> int:
    """Read one batch of its looks; return how many there were."""
    looks = plate.take_batch(at_s)
    for look in looks:
        plate.add(look.with_text(text_of(text)))
    return len(looks)


def test_what_the_schedule_is_told() -> None:
    """Sightings and misses are counted, three looks that agree are firm, and what moves will leave."""
    plate = _seen(4)
    status = plate.status(WH)
    assert (status.sightings, status.misses, status.is_reported, status.is_firm) == (4, 0, False, False)
    assert status.left_s == pytest.approx((640 - 90) / 100)
    plate.miss(0.4)
    _read(plate, 0.4)
    status = plate.status(WH)
    assert (status.misses, status.is_firm) == (1, True)
    plate.note_reported("AB12")
    assert plate.status(WH).is_reported


def test_the_best_looks_are_kept_and_the_best_of_them_read_first() -> None:
    """By sharpness here; a batch is handed out in order of time, and as many batches as are kept."""
    plate = PlateInView(_frame(0), _box(20), PipelineSettings())
    for n in range(3 * KEPT):
        plate.see(_frame(n, contrast=5 * (n % KEPT)), _box(20))
    taken = [look.moment.sequence for look in plate.take_batch(4.0)]
    assert taken == [KEPT - 1, 2 * KEPT - 1, 3 * KEPT - 1]
    left = [plate.take_batch(4.0) for _ in range(KEPT // BATCH)]
    assert [len(looks) for looks in left] == [BATCH] * (KEPT // BATCH - 1) + [0]


def test_a_plate_is_read_when_it_leaves_and_not_while_better_looks_may_come() -> None:
    """Two misses and a third of a second; then batch after batch, until the text is firm."""
    plate = _seen(5)
    assert not plate.wants_read(0.5)
    for n in range(MIN_MISSES):
        plate.miss(0.5 + n / FPS)
    assert not plate.wants_read(0.39 + LEFT_S)
    assert plate.verdict(0.39 + LEFT_S) is None
    assert plate.wants_read(0.41 + LEFT_S)
    assert plate.verdict(0.41 + LEFT_S) is Rejection.NOT_READ
    _read(plate, 0.41 + LEFT_S)
    assert not plate.wants_read(0.41 + LEFT_S), "three looks that agree are enough"
    passage = plate.verdict(0.41 + LEFT_S)
    assert isinstance(passage, Passage)
    assert (passage.text, passage.votes) == ("AB12", (BATCH, BATCH))


@pytest.mark.parametrize("is_early", [True, False])
def test_an_early_read_needs_a_firm_text_of_two_places(*, is_early: bool) -> None:
    """What stands before a part of the plate would cut it elsewhere. Without the setting it waits for its end."""
    plate = _seen(3, settings=PipelineSettings(early_read=is_early))
    assert plate.wants_read(0.2) is is_early
    assert plate.verdict(0.2) is None
    _read(plate, 0.2)
    assert plate.verdict(0.2) is None, "it has moved by a quarter of its width"
    plate.see(_frame(8), _box(20 + 2 * 10))
    assert not plate.wants_read(0.8), "nor has it now"
    plate.see(_frame(12), _box(20 + 12 * 10))
    assert plate.wants_read(1.2) is is_early
    assert _read(plate, 1.2) == 1
    assert isinstance(plate.verdict(1.2), Passage) is is_early


@pytest.mark.parametrize(("last", "looks"), [("AB12", 4), ("AB1", 4), ("AB12CD", 7)])
def test_a_firm_text_is_confirmed_by_one_more_look(last: str, looks: int) -> None:
    """At another moment, when the plate leaves: it may have come out from behind something. If so, more are read."""
    plate = _seen(9, x=0)
    _read(plate, 0.9)
    for n in range(12, 18):
        plate.see(_frame(n), _box(4 * (n - 8)))
    assert not plate.wants_read(1.8)
    plate.is_gone = True
    count = 3
    while plate.wants_read(1.9):
        count += _read(plate, 1.9, last)
    passage = plate.verdict(1.9)
    assert isinstance(passage, Passage)
    assert (passage.text, count) == (max("AB12", last, key=len), looks)


def test_a_text_that_was_read_at_two_places_needs_no_confirmation() -> None:
    """Its looks are a plate's width apart and more."""
    plate = PlateInView(_frame(0), _box(20), PipelineSettings())
    for n in range(5):
        plate.see(_frame(n), _box(20 + 30 * n))
    _read(plate, 0.5)
    plate.see(_frame(9), _box(290))
    plate.is_gone = True
    assert not plate.wants_read(1.0)


def test_a_plate_that_stays_has_its_outcome_and_is_then_only_followed() -> None:
    """It is seen and counted on, and neither read nor judged again."""
    plate = _seen(KEPT)
    _read(plate, 1.2)
    assert isinstance(plate.verdict(REPORT_AFTER_S), Passage)
    plate.note_reported("AB12")
    plate.see(_frame(200), _box(20))
    plate.keep_piece(_frame(201))
    assert not plate.wants_read(21.0)
    assert plate.verdict(21.0) is None
    assert plate.status(WH).sightings == KEPT + 1


def test_a_plate_that_is_gone_stays_gone() -> None:
    """Unseen for too long, it ends at a miss; what comes later in its place is another."""
    plate = _seen(2)
    plate.miss(0.2)
    plate.miss(1.2)
    assert plate.is_gone
    plate.end_if_gone(0.1)
    assert plate.is_gone
