"""From frames to passages, with canned models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.capture import open_source
from agent.config.models import LaneConfig, MaskConfig, SourceConfig, VisionConfig
from agent.errors import InferenceError
from agent.records import Detection, Frame, Image, Passage, Picture, PlateRead, PlateText
from agent.vision import PlatePipeline, build_vision
from agent.vision.plate import LEFT_S, MAX_LOOKS, REPORT_AFTER_S
from agent.vision.regions import PAINT_BGR, Regions
from agent.vision.repeats import MAX_REMEMBERED, PARKED_GAP_S, SPLIT_GAP_S, RecentPassages
from agent.vision.settings import PipelineSettings
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
        picture=Picture.of(image.copy()),
    )


def _play(
    script: Sequence[Sequence[Detection]], reader: CannedReader, *, fps: float = 10.0, **settings: Any
) -> tuple[list[Passage], PlatePipeline]:
    pipeline = PlatePipeline(CannedDetector(script), reader, PipelineSettings(detector_confidence=0.5, **settings))
    passages = [passage for n in range(len(script)) for passage in pipeline.process(_frame(n, fps=fps))]
    return passages + pipeline.flush(), pipeline


def _drive(frames: int = 6) -> list[list[Detection]]:
    return [[_box(10 + 20 * n)] for n in range(frames)]


def test_one_vehicle_is_one_passage() -> None:
    """Seen six times, read until the text is firm, one passage, all counted."""
    passages, pipeline = _play(_drive(), CannedReader(plate("AB12")))
    assert [passage.text for passage in passages] == ["AB12"]
    assert passages[0].votes == (3, 3)
    stats = pipeline.stats
    assert (stats.frames, stats.moving, stats.searched) == (6, 6, 6)
    assert (stats.detections, stats.looks, stats.passages) == (6, 3, 1)
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
        return plate(f"{chr(65 + number)}{number}{number}X")

    passages, pipeline = _play(_drive(), CannedReader(answer))
    assert passages == []
    assert pipeline.stats.rejected["too_few_votes"] == 1


def test_looks_that_do_not_vote_are_counted_with_their_reason() -> None:
    """Unsure of themselves, empty, or no plate's text."""
    answers = [plate("AB12", 0.1), plate(""), plate("1111"), plate("AB12"), plate("AB12"), plate("AB12")]
    passages, pipeline = _play(_drive(), CannedReader(lambda number, _: answers[number]))
    assert [passage.votes for passage in passages] == [(3, 5)]
    assert pipeline.stats.unvoted == {"unsure": 1, "no_text": 1, "text_filter": 1}


def test_a_parked_car_is_reported_once_and_then_not_read() -> None:
    """Reported while it stands, after one more look, silent for the hour after, one passage in all."""
    script = [[_box(100)]] * 3000
    passages, pipeline = _play(script, CannedReader(plate("AB12")), fps=1.5)
    assert len(passages) == 1
    assert (passages[0].last_seen - passages[0].first_seen).total_seconds() == pytest.approx(REPORT_AFTER_S, abs=1.0)
    assert pipeline.stats.looks == 4
    assert pipeline.stats.detections == 3000


def test_a_parked_car_hidden_for_minutes_is_still_reported_once() -> None:
    """Traffic in front of it does not make it a new vehicle; what it is counted as says so."""
    stands = [[_box(100)]] * 30
    passages, pipeline = _play(stands + [[]] * 600 + stands, CannedReader(plate("AB12")))
    assert len(passages) == 1
    assert pipeline.stats.rejected["repeat"] == 1


def test_a_split_track_is_one_passage() -> None:
    """Lost behind a post for longer than a track lasts, found again far away: the same vehicle."""
    script = _drive() + [[]] * 12 + [[_box(500 - 5 * n, y=200)] for n in range(6)]
    passages, pipeline = _play(script, CannedReader(plate("AB12")))
    assert len(passages) == 1
    assert pipeline.stats.rejected["repeat"] == 1


@pytest.mark.parametrize(("x", "count"), [(200, 1), (500, 2)])
def test_a_split_track_that_is_misread_once_is_one_passage(x: int, count: int) -> None:
    """One character off and close by is the same vehicle; in another place it is the next of a convoy."""
    script = _drive() + [[]] * 12 + [[_box(x + 5 * n)] for n in range(6)]
    passages, _ = _play(script, CannedReader(lambda number, _: plate("AB12" if number < 3 else "A812")))
    assert len(passages) == count


def test_the_same_vehicle_later_is_another_passage() -> None:
    """Coming back after a minute elsewhere in the picture is a second passage."""
    script = _drive() + [[]] * 600 + [[_box(500 - 5 * n, y=200)] for n in range(6)]
    assert len(_play(script, CannedReader(plate("AB12")))[0]) == 2


def test_the_crop_is_of_the_frame_that_was_read_and_keeps_no_frame_alive() -> None:
    """Its pixels are the box's, and it owns them."""
    image = BLANK.copy()
    image[100:120, 98:182] = 7
    pipeline = PlatePipeline(CannedDetector([[_box(100)]]), CannedReader(plate("AB12")), PipelineSettings(min_votes=1))
    pipeline.process(_frame(0, image=image))
    (passage,) = pipeline.flush()
    assert passage.best.crop.shape == (20, 84, 3), "with its margin"
    assert (passage.best.crop == 7).all()
    assert passage.best.crop.base is None


def test_a_passage_is_reported_when_its_plate_has_left() -> None:
    """A third of a second after it was last seen, and not again when it comes back into view."""
    script = _drive() + [[]] * 6 + [[_box(130 + 20 * n)] for n in range(6, 12)]
    pipeline = PlatePipeline(
        CannedDetector(script), CannedReader(plate("AB12")), PipelineSettings(detector_confidence=0.5)
    )
    reported = [n for n in range(len(script)) for _ in pipeline.process(_frame(n))]
    assert reported == [5 + round(LEFT_S * 10)]
    assert pipeline.flush() == []
    assert sum(pipeline.stats.rejected.values()) == 0


def test_a_plate_that_is_no_passage_yet_gets_its_time() -> None:
    """Unread when it vanished behind a post, read when it came out."""
    answers = [*[plate("AB12", 0.1)] * 6, *[plate("AB12")] * 6]
    script = _drive() + [[]] * 5 + [[_box(110 + 20 * n)] for n in range(6, 12)]
    passages, pipeline = _play(script, CannedReader(lambda number, _: answers[number]))
    assert [passage.text for passage in passages] == ["AB12"]
    assert sum(pipeline.stats.rejected.values()) == 0


def test_an_early_read_comes_while_the_vehicle_is_in_view() -> None:
    """As soon as three looks agree and one at another place does; with the same text as later, once."""
    pipeline = PlatePipeline(CannedDetector(_drive(20)), CannedReader(plate("AB12")), PipelineSettings(early_read=True))
    reported = [n for n in range(20) for _ in pipeline.process(_frame(n))]
    assert reported == [6]
    assert pipeline.flush() == []


def test_a_vehicle_that_comes_where_an_early_read_one_left_is_read_too() -> None:
    """Nobody looked for the first one any more: its plate is not the second one's, however near it was last seen."""
    script = [*_drive(8), *[[_box(10 + 20 * n)] for n in range(10, 22)]]
    reader = CannedReader(lambda number, _: plate("AB12" if number < 4 else "CD34"))
    pipeline = PlatePipeline(CannedDetector(script), reader, PipelineSettings(early_read=True))
    moments = [*range(8), *range(20, 32)]
    passages = [passage for n in moments for passage in pipeline.process(_frame(n))] + pipeline.flush()
    assert [passage.text for passage in passages] == ["AB12", "CD34"]


def test_an_early_read_waits_until_the_text_is_firm() -> None:
    """Two of three do not report; the vehicle is read again half a second later."""
    answers = [plate("AB12"), plate("AB12"), plate("A812"), *[plate("AB12")] * 9]
    reader = CannedReader(lambda number, _: answers[number])
    pipeline = PlatePipeline(CannedDetector(_drive(20)), reader, PipelineSettings(early_read=True))
    reported = [(n, passage.text) for n in range(20) for passage in pipeline.process(_frame(n))]
    assert len(reported) == 1
    assert 7 <= reported[0][0] < 19
    assert reported[0][1] == "AB12"


def test_a_plate_that_nobody_can_read_is_given_up() -> None:
    """A sign that stands there for an hour costs a few looks, and is counted when it goes."""
    script = [[_box(100)]] * 1200
    reader = CannedReader(lambda number, _: plate(f"{number:04}X"[::-1]))
    passages, pipeline = _play(script, reader)
    assert passages == []
    assert pipeline.stats.looks == MAX_LOOKS
    assert sum(pipeline.stats.rejected.values()) == 1


def test_plates_in_view_together_are_read_in_one_batch() -> None:
    """Three vehicles that leave at once cost one call of the reader."""
    calls: list[int] = []

    class Counting(CannedReader):
        def read(self, crops: Sequence[Image]) -> list[PlateText]:
            calls.append(len(crops))
            return super().read(crops)

    script = [[_box(10 + 20 * n, y=y) for y in (50, 150, 250)] for n in range(6)]
    passages, _ = _play(script, Counting(lambda number, _: plate("A1B2C3D4E5"[number % 10 :][:3].ljust(3, "X"))))
    del passages
    assert calls[0] == 9


def test_half_a_plate_is_followed_and_not_read() -> None:
    """At each edge of the picture; a plate that is never whole has its reason."""
    script = [
        [Detection(0, 100, 60, 120, 0.9)],
        [Detection(600, 200, 640, 220, 0.9)],
        [Detection(300, 0, 360, 15, 0.9)],
    ]
    passages, pipeline = _play([[box] for (box,) in script], CannedReader(plate("AB12")), min_votes=1)
    assert passages == []
    assert (pipeline.stats.looks, pipeline.stats.rejected["not_read"]) == (0, 3)


def test_the_detector_rests_between_two_runs_and_the_looks_come_from_all_frames() -> None:
    """Every third frame is searched; the sharp ones in between are read, at the plate's place there."""
    script = [[_box(10 + 30 * n)] for n in range(30)]
    frames = []
    for n in range(30):
        image = BLANK.copy()
        x = 10 + 10 * n
        image[100:120, x : x + 80] = 200
        if n % 3 == 2:
            image[104:116, x + 4 : x + 76 : 4] = 0  # sharp
        frames.append(_frame(n, fps=15.0, image=image))

    class Every3rd(CannedDetector):
        def detect(self, image: Image) -> list[Detection]:
            row = image[110, :, 0]
            return [_box(int(np.argmax(row != 90)))]

    seen: list[Image] = []

    def answer(_: int, crop: Image) -> PlateText:
        seen.append(crop)
        return plate("AB12")

    pipeline = PlatePipeline(Every3rd(script), CannedReader(answer), PipelineSettings(detect_every_s=0.2))
    for frame in frames:
        pipeline.process(frame)
    (passage,) = pipeline.flush()
    assert pipeline.stats.searched <= 12
    assert passage.best.sequence % 3 == 2
    assert all(len(np.unique(crop)) > 1 for crop in seen)
    assert (passage.best.detection.x1 - 10) == pytest.approx(10 * passage.best.sequence, abs=2)


def test_nothing_of_a_masked_plate_is_left() -> None:
    """Not for the detector, not in a crop, not in what a watcher or a still picture shows."""
    image = BLANK.copy()
    image[100:120, 100:180] = 250
    mask = MaskConfig(polygon=((0.1, 0.2), (0.35, 0.2), (0.35, 0.4), (0.1, 0.4)))
    shown: list[Image] = []
    read: list[PlateRead] = []

    class Watching:
        def stage(self, name: str, seconds: float) -> None: ...

        def frame(self, frame: Frame, detections: Sequence[Detection]) -> None:
            shown.append(frame.image)

        def read(self, looks: Sequence[PlateRead]) -> None:
            read.extend(looks)
            shown.extend(look.crop for look in looks)

        def rejected(self, reason: str, look: PlateRead | None) -> None: ...

    class Looking(CannedDetector):
        def detect(self, image: Image) -> list[Detection]:
            shown.append(image)
            return super().detect(image)

    script = [[_box(90, width=100)]] * 12
    pipeline = PlatePipeline(
        Looking(script),
        CannedReader(plate("AB12")),
        PipelineSettings(regions=Regions([mask]), detect_every_s=0.2),
        watcher=Watching(),
    )
    for n in range(12):
        pipeline.process(_frame(n, fps=15.0, image=image))
    shown += [passage.best.crop for passage in pipeline.flush()]
    assert len(read) == pipeline.stats.looks, "a watcher is shown what is read at the end, too"
    shown += [look.crop for look in pipeline.read_picture(_frame(12, image=image))]
    shown.append(pipeline.paint(_frame(13, image=image)).image)
    assert len(shown) >= 20
    assert not any((picture == 250).any() for picture in shown)
    assert all((picture == PAINT_BGR).all(axis=2).any() for picture in shown)


def test_a_passage_has_its_lane() -> None:
    """And the lane's direction where the plate's size says nothing."""
    lane = LaneConfig(name="inbound", polygon=((0, 0), (1, 0), (1, 0.5), (0, 0.5)), direction="approaching")
    passages, _ = _play(_drive(), CannedReader(plate("AB12")), regions=Regions(lanes=[lane]))
    assert [(passage.lane, str(passage.direction)) for passage in passages] == [("inbound", "approaching")]


def test_the_gate_keeps_the_detector_from_an_empty_road() -> None:
    """A vehicle is still found on the frame on which it appears; without the gate every frame is searched."""
    rng = np.random.default_rng(5)
    road = [np.clip(BLANK + rng.normal(0, 2.5, (360, 640, 1)), 0, 255).astype(np.uint8) for _ in range(60)]
    for n in range(40, 50):
        road[n][80:180, 20 * (n - 40) : 20 * (n - 40) + 200] = 30
    for has_gate in (True, False):
        detector = CannedDetector()
        pipeline = PlatePipeline(detector, CannedReader(plate("AB12")), PipelineSettings(has_gate=has_gate))
        ran = []
        for n, image in enumerate(road):
            before = detector.calls
            pipeline.process(_frame(n, fps=15.0, image=image))
            if detector.calls > before:
                ran.append(n)
        assert ran == ([0, *range(40, 50)] if has_gate else list(range(60)))
        assert pipeline.stats.moving == len(ran)


def test_frames_that_the_gate_drops_are_never_converted() -> None:
    """An empty road is told by brightness alone; what a detector sees or a look is cut from is converted once."""
    converted: list[int] = []

    def frame(n: int) -> Frame:
        image = BLANK.copy()
        if 40 <= n < 50:
            image[80:180, 20 * (n - 40) : 20 * (n - 40) + 200] = 30

        def convert() -> Image:
            converted.append(n)
            return image

        picture = Picture((640, 360), convert, luma=lambda: image[..., 1])
        return Frame("cam-1", n, STARTED_AT + timedelta(seconds=n / 15), n / 15, picture)

    mask = MaskConfig(polygon=((0.9, 0.9), (1, 0.9), (1, 1), (0.9, 1)))
    settings = PipelineSettings(has_gate=True, detect_every_s=0.2, regions=Regions([mask]))
    detector = CannedDetector()
    pipeline = PlatePipeline(detector, CannedReader(plate("AB12")), settings)
    for n in range(60):
        pipeline.process(frame(n))
    assert len(converted) == detector.calls == pipeline.stats.searched
    assert 3 <= len(converted) <= 6
    assert set(converted) <= {0, *range(40, 50)}


@pytest.mark.parametrize("stays", [False, True])
def test_the_gate_tells_that_a_plate_has_left(stays: bool) -> None:
    """The detector does not look for it where the road is empty again; for one that the gate still sees it does."""
    looker = _Looker()
    pipeline = PlatePipeline(looker, CannedReader(plate("AB12")), PipelineSettings(has_gate=True))
    passages, looked = [], []
    for n in range(75):
        image = BLANK.copy()
        if 30 <= n < (60 if stays else 40):
            x = 200 + 12 * (min(n, 40) - 30)
            image[90:200, x - 40 : x + 120] = 50
            image[150:170, x : x + 80] = 255 if n < 40 else 50
        before = len(looker.shown)
        passages += pipeline.process(_frame(n, image=image))
        looked += [n] * (len(looker.shown) - before)
    assert [passage.text for passage in passages] == ["AB12"]
    assert any(n >= 42 for n in looked) == stays


class _Looker:
    """Finds the one bright rectangle of whatever it is shown, and notes the size of that."""

    digest = b"\x02" * 32

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def detect(self, image: Image) -> list[Detection]:
        height, width = image.shape[:2]
        self.shown.append((width, height))
        rows, columns = np.nonzero(image[..., 1] > 200)
        if not rows.size:
            return []
        x1, y1, x2, y2 = (int(side) for side in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        return [Detection(x1, y1, x2, y2, 0.9)]


@pytest.mark.parametrize("moving_part", [True, False])
def test_the_detector_sees_the_part_that_moves_and_boxes_are_the_frames(moving_part: bool) -> None:
    """The first picture is seen whole, as nothing is known of it; the tracks are the same either way."""
    looker = _Looker()
    pipeline = PlatePipeline(
        looker,
        CannedReader(plate("AB12")),
        PipelineSettings(has_gate=True, detect_moving_part=moving_part, min_votes=1),
    )
    passages: list[Passage] = []
    for n in range(60):
        image = BLANK.copy()
        if 30 <= n < 40:
            x = 200 + 12 * (n - 30)
            image[90:200, x - 40 : x + 120] = 50
            image[150:170, x : x + 80] = 255
        passages += pipeline.process(_frame(n, image=image))
    assert looker.shown[0] == (640, 360)
    assert (set(looker.shown[1:]) == {(480, 270)}) == moving_part
    (passage,) = passages
    assert passage.best.detection.y1 == 150
    assert (passage.best.detection.x1 - 200) % 12 == 0
    assert passage.best.detection.x2 - passage.best.detection.x1 == 80


def test_boxes_too_small_to_read_are_not_read() -> None:
    """Fifteen pixels hold no seven characters."""
    passages, pipeline = _play([[_box(100, width=15)]] * 3, CannedReader(plate("AB12")))
    assert passages == []
    assert (pipeline.stats.detections, pipeline.stats.looks) == (3, 0)


def test_a_still_picture_gives_each_plate_once_without_a_vote() -> None:
    """Single looks, faint boxes and empty texts left out; tracks do not see them."""
    script = [[_box(100), _box(300, confidence=0.7), _box(500, confidence=0.4)]]

    def answer(number: int, _: Image) -> PlateText:
        return plate("AB12", 0.1) if number == 0 else plate("")

    pipeline = PlatePipeline(CannedDetector(script), CannedReader(answer), PipelineSettings(detector_confidence=0.5))
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
    with pytest.raises(InferenceError, match="model: failed"):  # noqa: PT012  the reader runs when the plate has left
        pipeline.process(_frame(0))
        pipeline.flush()


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
