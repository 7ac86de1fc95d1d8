"""What is remembered of a camera that is being aimed."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from agent.records import Detection, Frame, Picture
from agent.vision.aim_watch import AimWatch
from agent.vision.aiming import Aim
from agent.vision.consensus import Rejection
from agent.vision.pipeline import PlatePipeline
from tests.fakes.source import ReplaySource
from tests.fakes.vision import CannedDetector, CannedReader, plate

NEAR, FAR = Detection(100, 50, 220, 80, 0.9), Detection(100, 50, 140, 60, 0.9)


def _frame(at_s: float) -> Frame:
    image = np.full((120, 300, 3), 100, np.uint8)
    image[:, ::4] = 200
    return Frame("cam", round(at_s * 10), datetime.now(UTC), at_s, Picture.of(image))


def test_before_the_first_frame_there_is_nothing() -> None:
    """And no measure of it."""
    view = AimWatch().view()
    assert (view.frame, view.plates, view.aim) == (None, (), Aim())


def test_boxes_are_shown_for_a_second() -> None:
    """The detector does not run on every frame."""
    watch = AimWatch()
    watch.frame(_frame(0.0), [NEAR])
    watch.frame(_frame(0.9), [])
    assert [each.box for each in watch.view().plates] == [NEAR]
    watch.frame(_frame(1.1), [])
    assert watch.view().plates == ()


def test_a_plate_is_measured_where_it_is_best() -> None:
    """A vehicle that comes nearer is judged by its nearest picture, and forgotten when it is gone."""
    watch = AimWatch()
    for at_s, box in ((0.0, FAR), (0.5, NEAR), (1.0, FAR)):
        watch.frame(_frame(at_s), [box])
    measured = watch.view().aim.plate
    assert measured is not None
    assert measured.width_px == 120
    watch.frame(_frame(9.0), [])
    assert watch.view().aim.plate is None


def test_the_last_minute_is_counted() -> None:
    """Repeats are no plates of their own; what is older than a minute is forgotten."""
    watch = AimWatch()
    watch.frame(_frame(0.0), [])
    for reason in (Rejection.UNSURE, Rejection.UNSURE, Rejection.NO_TEXT, Rejection.REPEAT):
        watch.rejected(reason, None)
    assert watch.view().aim.unread == {"unsure": 2, "no_text": 1}
    watch.frame(_frame(61.0), [])
    assert (watch.view().aim.read, watch.view().aim.unread) == (0, {})


def test_a_pipeline_fills_it() -> None:
    """A vehicle that passes is read, and its looks are measured when it is gone."""
    images = [np.random.default_rng(2).integers(0, 255, (120, 300, 3), np.uint8) for _ in range(60)]
    watch = AimWatch()
    pipeline = PlatePipeline(CannedDetector([[NEAR]] * 15), CannedReader(plate("KRW482")), watcher=watch)
    for frame in ReplaySource(images).frames():
        watch.passed(pipeline.process(frame))
    aim = watch.view().aim
    assert (aim.read, aim.unread) == (1, {})
    assert aim.plate is not None
    assert aim.plate.width_px == 120
    assert "KRW482" not in repr(aim)
