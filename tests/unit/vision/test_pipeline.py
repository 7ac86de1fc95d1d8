"""From frames to passages, with canned models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from agent.capture import open_source
from agent.config.models import SourceConfig, VisionConfig
from agent.errors import InferenceError
from agent.records import Detection, Frame, Image, Passage, PlateText
from agent.vision import PlatePipeline, build_vision
from agent.vision.pipeline import REPORT_AFTER_S
from agent.vision.repeats import MAX_REMEMBERED, PARKED_GAP_S, SPLIT_GAP_S, RecentPassages
from tests.fakes.clock import FakeClock
from tests.fakes.source import STARTED_AT
from tests.fakes.vision import CannedDetector, CannedReader, plate
from tests.toy_models import random_texts, render_clip, render_frame, write_toy_models

BLANK = np.full((360, 640, 3), 90, np.uint8)


def _box(x: int, y: int = 100, width: int = 80, confidence: float = 0.9) -> Detection:
    return Detection(x, y, x + width, y + width // 4, confidence)


def _frame(n: int, *, fps: float = 10.0, image: Image = BLANK) -> Frame:
    return Frame(
        camera_id="cam-1",
        sequence=n,
        captured_at=STARTED_AT + timedelta(seconds=n / fps),
        monotonic_s=n / fps,
        image=image.copy(),
    )


def _play(
    script: Sequence[Sequence[Detection]], reader: CannedReader, *, fps: float = 10.0, min_votes: int = 2
) -> tuple[list[Passage], PlatePipeline]:
    pipeline = PlatePipeline(CannedDetector(script), reader, detector_confidence=0.5, min_votes=min_votes)
    passages = [passage for n in range(len(script)) for passage in pipeline.process(_frame(n, fps=fps))]
    return passages + pipeline.flush(), pipeline


def _drive(frames: int = 6) -> list[list[Detection]]:
    return [[_box(20 * n)] for n in range(frames)]


def test_one_vehicle_is_one_passage() -> None:
    """Six looks, one passage, all counted."""
    passages, pipeline = _play(_drive(), CannedReader(plate("AB12")))
    assert [passage.text for passage in passages] == ["AB12"]
    assert passages[0].votes == (6, 6)
    stats = pipeline.stats
    assert (stats.frames, stats.detections, stats.looks, stats.passages) == (6, 6, 6, 1)
    assert sum(stats.rejected.values()) == 0


def test_nothing_in_nothing_out() -> None:
    """No frame at all, and frames without plates."""
    assert _play([], CannedReader(plate("AB12")))[0] == []
    passages, pipeline = _play([[]] * 5, CannedReader(plate("AB12")))
    assert passages == []
    assert pipeline.stats.frames == 5


def test_two_vehicles_at_once_are_two_passages() -> None:
    """Each crop's text goes to its own track."""
    script = [[_box(20 * n, y=100), _box(20 * n, y=250, confidence=0.8)] for n in range(6)]

    def answer(number: int, _: Image) -> PlateText:
        return plate("ONE1" if number % 2 == 0 else "TWO2")

    passages, _ = _play(script, CannedReader(answer))
    assert sorted(passage.text for passage in passages) == ["ONE1", "TWO2"]


def test_a_rejected_plate_is_counted_with_its_reason() -> None:
    """A sign that reads differently every time is no vehicle, and is not silent."""

    def answer(number: int, _: Image) -> PlateText:
        return plate(f"X{number}")

    passages, pipeline = _play(_drive(), CannedReader(answer))
    assert passages == []
    assert pipeline.stats.rejected["too_few_votes"] == 1


def test_a_parked_car_is_reported_once_and_then_not_read() -> None:
    """Reported while it stands, silent for the hour after, one passage in all."""
    script = [[_box(100)]] * 3000
    passages, pipeline = _play(script, CannedReader(plate("AB12")), fps=1.5)
    assert len(passages) == 1
    assert (passages[0].last_seen - passages[0].first_seen).total_seconds() == pytest.approx(REPORT_AFTER_S, abs=1.0)
    assert pipeline.stats.looks < 25
    assert pipeline.stats.detections == 3000


def test_a_parked_car_hidden_for_minutes_is_still_reported_once() -> None:
    """Traffic in front of it does not make it a new vehicle; what it is counted as says so."""
    stands = [[_box(100)]] * 30
    passages, pipeline = _play(stands + [[]] * 600 + stands, CannedReader(plate("AB12")), fps=10.0)
    assert len(passages) == 1
    assert pipeline.stats.rejected["repeat"] == 1


def test_a_split_track_is_one_passage() -> None:
    """Lost behind a post for longer than a track lasts, found again far away: the same vehicle."""
    script = _drive() + [[]] * 12 + [[_box(500 - 5 * n, y=200)] for n in range(6)]
    passages, pipeline = _play(script, CannedReader(plate("AB12")))
    assert len(passages) == 1
    assert pipeline.stats.rejected["repeat"] == 1


def test_the_same_vehicle_later_is_another_passage() -> None:
    """Coming back after a minute elsewhere in the picture is a second passage."""
    script = _drive() + [[]] * 600 + [[_box(500 - 5 * n, y=200)] for n in range(6)]
    assert len(_play(script, CannedReader(plate("AB12")))[0]) == 2


def test_the_crop_is_of_the_frame_that_was_read_and_keeps_no_frame_alive() -> None:
    """Its pixels are the box's, and it owns them."""
    image = BLANK.copy()
    image[100:120, 100:180] = 7
    pipeline = PlatePipeline(CannedDetector([[_box(100)]]), CannedReader(plate("AB12")), min_votes=1)
    pipeline.process(_frame(0, image=image))
    (passage,) = pipeline.flush()
    assert passage.best.crop.shape == (20, 80, 3)
    assert (passage.best.crop == 7).all()
    assert passage.best.crop.base is None


def test_boxes_too_small_to_read_are_counted_not_read() -> None:
    """Fifteen pixels hold no seven characters."""
    passages, pipeline = _play([[_box(100, width=15)]] * 3, CannedReader(plate("AB12")))
    assert passages == []
    assert (pipeline.stats.unread, pipeline.stats.looks) == (3, 0)


def test_a_still_picture_gives_each_plate_once_without_a_vote() -> None:
    """Single looks, faint boxes and empty texts left out; tracks do not see them."""
    script = [[_box(100), _box(300, confidence=0.7), _box(500, confidence=0.4)]]

    def answer(number: int, _: Image) -> PlateText:
        return plate("AB12", 0.1) if number == 0 else plate("")

    pipeline = PlatePipeline(CannedDetector(script), CannedReader(answer), detector_confidence=0.5)
    assert [look.plate.text for look in pipeline.read_picture(_frame(0))] == ["AB12"]
    assert pipeline.flush() == []


@pytest.mark.parametrize("broken", ["detector", "reader"])
def test_a_model_failure_surfaces(broken: str) -> None:
    """A dead model is an error, not an empty road."""
    fault = InferenceError("model: failed")
    pipeline = PlatePipeline(
        CannedDetector([fault if broken == "detector" else [_box(100)]]),
        CannedReader(fault if broken == "reader" else plate("AB12")),
    )
    with pytest.raises(InferenceError, match="model: failed"):
        pipeline.process(_frame(0))


def test_counts_and_names_carry_no_plate_text() -> None:
    """They go to logs and metrics."""
    _, pipeline = _play(_drive(), CannedReader(plate("AB12")))
    assert "AB12" not in repr(pipeline.stats)
    assert "AB12" not in repr(pipeline)


def test_memory_of_passages_is_bounded() -> None:
    """A day of traffic is forgotten by age and by number."""
    recent = RecentPassages()
    for n in range(3 * MAX_REMEMBERED):
        recent.remember(f"T{n}", last_s=n / 100, box=_box(0))
    assert len(recent._seen) == MAX_REMEMBERED
    recent.remember("late", last_s=PARKED_GAP_S * 2, box=_box(0))
    assert list(recent._seen) == ["late"]


@pytest.mark.parametrize(
    ("gap_s", "x", "repeat"),
    [
        (SPLIT_GAP_S, 500, True),
        (SPLIT_GAP_S + 0.1, 500, False),
        (PARKED_GAP_S, 0, True),
        (PARKED_GAP_S + 0.1, 0, False),
    ],
)
def test_what_counts_as_a_repeat(gap_s: float, x: int, *, repeat: bool) -> None:
    """Seconds anywhere, minutes in the same place; another text never."""
    recent = RecentPassages()
    recent.remember("AB12", last_s=100.0, box=_box(0))
    assert recent.is_repeat("AB12", first_s=100.0 + gap_s, first_box=_box(x)) is repeat
    assert not recent.is_repeat("AB13", first_s=100.0 + gap_s, first_box=_box(x))


def test_rendered_vehicles_are_read_by_the_real_adapters(tmp_path: Path) -> None:
    """Video, detector, tracker, reader and vote together: nine in ten passages are exact, none is invented."""
    texts = random_texts(10, seed=21)
    clip = render_clip(tmp_path / "clip.mp4", texts)
    pipeline = build_vision(VisionConfig(models=write_toy_models(tmp_path / "models")))
    source = open_source(SourceConfig(uri=str(clip.clip)), camera_id="cam-1", clock=FakeClock())
    passages = [passage for frame in source.frames() for passage in pipeline.process(frame)] + pipeline.flush()
    assert len(passages) == len(texts)
    assert sum(passage.text == text for passage, text in zip(passages, texts, strict=True)) >= 9


def test_a_still_toy_picture_is_read_by_the_real_adapters(tmp_path: Path) -> None:
    """The still path uses the same models."""
    pipeline = build_vision(VisionConfig(models=write_toy_models(tmp_path)))
    frame = _frame(0, image=render_frame([("KRW482", (200, 120, 340, 166))]))
    assert [look.plate.text for look in pipeline.read_picture(frame)] == ["KRW482"]
