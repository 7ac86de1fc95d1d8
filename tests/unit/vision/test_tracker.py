"""Following plates by where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from agent.records import Detection
from agent.vision.tracker import MAX_GAP_S, Motion, assign, distinct, iou


def _box(x: int, y: int = 100, width: int = 60, confidence: float = 0.9) -> Detection:
    return Detection(x, y, x + width, y + width // 4, confidence)


class Tracks:
    """Motions with numbers, in the order in which they begin; `agent.vision.pipeline` keeps plates in their place."""

    def __init__(self, *, begin_confidence: float = 0.0) -> None:
        """Start with nothing in view."""
        self.motions: list[Motion] = []
        self._begin_confidence = begin_confidence

    def update(self, boxes: Sequence[Detection], *, at_s: float) -> list[int | None]:
        """Take what the detector found; return each box's number, None where it has none."""
        followed = [number for number, motion in enumerate(self.motions) if not motion.is_gone(at_s)]
        places = assign(
            [self.motions[number] for number in followed], boxes, at_s=at_s, begin_confidence=self._begin_confidence
        )
        numbers = [None if place is None else followed[place] for place in places]
        for number in set(followed).difference(numbers):
            self.motions[number].misses += 1
        for place, box in enumerate(boxes):
            if numbers[place] is None and box.confidence >= self._begin_confidence:
                numbers[place] = len(self.motions)
                self.motions.append(Motion(box, at_s))
            owner = numbers[place]
            if owner is not None:
                self.motions[owner].follow(box, at_s)
        return numbers


def _ids(tracks: Tracks, frames: list[list[Detection]], *, fps: float = 15.0) -> list[list[int]]:
    """Play frames and return the numbers of the detections that have one, in the frame's order."""
    played = [tracks.update(boxes, at_s=number / fps) for number, boxes in enumerate(frames)]
    return [[number for number in numbers if number is not None] for numbers in played]


def test_an_empty_frame_does_nothing() -> None:
    """No boxes, no plates."""
    assert assign([], [], at_s=0.0) == []
    assert assign([Motion(_box(0), 0.0)], [], at_s=0.0) == []
    assert assign([], [_box(0)], at_s=0.0) == [None]


@pytest.mark.parametrize("step_px", [0, 5, 30, 40, 60, 100])
def test_a_small_fast_plate_is_one_track(step_px: int) -> None:
    """60 pixels wide and moving up to 100 a frame: overlap is nil, the track holds."""
    frames = [[_box(20 + step_px * n)] for n in range(8)]
    assert _ids(Tracks(), frames) == [[0]] * 8


def test_a_few_missed_detections_are_survived() -> None:
    """Seen, unseen for three frames while moving on, seen again: the same track."""
    frames = [[_box(25 * n)] if n not in {4, 5, 6} else [] for n in range(12)]
    assert {key for ids in _ids(Tracks(), frames) for key in ids} == {0}


def test_misses_are_counted_until_the_plate_is_seen_again() -> None:
    """The schedule looks again at once after the first."""
    tracks, misses = Tracks(), []
    for n, boxes in enumerate([[_box(0)], [], [], [_box(0)], []]):
        tracks.update(boxes, at_s=n / 10)
        misses.append(tracks.motions[0].misses)
    assert misses == [0, 1, 2, 0, 1]
    assert tracks.motions[0].sightings == 2


def test_a_plate_unseen_for_long_ends() -> None:
    """After the longest gap the track is over, and a new plate in its place is another."""
    tracks = Tracks()
    tracks.update([_box(0)], at_s=0.0)
    tracks.update([], at_s=0.1)
    tracks.update([], at_s=MAX_GAP_S)
    assert not tracks.motions[0].is_gone(MAX_GAP_S)
    assert tracks.motions[0].is_gone(MAX_GAP_S + 0.01)
    assert tracks.update([_box(0)], at_s=MAX_GAP_S + 0.01) == [1]


def test_a_plate_that_nobody_looked_at_is_still_there() -> None:
    """While nothing moves the detector rests for minutes; a parked car is then the same one, at its first miss too."""
    tracks = Tracks()
    tracks.update([_box(100)], at_s=0.0)
    tracks.update([_box(103)], at_s=0.1)
    tracks.update([], at_s=300.0)
    assert not tracks.motions[0].is_gone(300.0)
    assert tracks.update([_box(101)], at_s=300.1) == [0]


def test_what_comes_near_the_place_of_a_plate_that_nobody_looked_for_is_another() -> None:
    """A parked car is in its place; a vehicle that was last seen near it has gone on."""
    tracks = Tracks()
    tracks.update([_box(0)], at_s=0.0)
    assert tracks.update([_box(20)], at_s=0.2) == [0]
    assert tracks.update([_box(80)], at_s=0.2 + MAX_GAP_S + 0.1) == [1]


def test_two_plates_side_by_side_keep_their_tracks() -> None:
    """Neighbouring lanes: whatever the order of the boxes, each keeps its own."""
    frames = [[_box(100 + 10 * n), _box(300 + 10 * n)][:: 1 if n % 2 else -1] for n in range(8)]
    found = _ids(Tracks(), frames)
    left = [ids[0] if n % 2 else ids[1] for n, ids in enumerate(found)]
    assert len(set(left)) == 1
    assert {key for ids in found for key in ids} == {0, 1}


@pytest.mark.parametrize("apart_px", [0, 10, 30])
@pytest.mark.parametrize(("fps", "step_px"), [(15.0, 20), (15.0, 40), (5.0, 50), (5.0, 90)])
def test_two_plates_that_cross_are_not_exchanged(fps: float, step_px: int, apart_px: int) -> None:
    """Opposite directions in two lanes, one behind the other where they meet, at every pace: velocity decides."""
    count = 600 // step_px
    frames = [[_box(20 + step_px * n, y=100), _box(640 - step_px * n, y=100 + apart_px)] for n in range(count)]
    assert _ids(Tracks(), frames, fps=fps) == [[0, 1]] * count


def test_plates_that_hide_each_other_where_they_cross_are_not_exchanged() -> None:
    """The one behind is unseen for two looks."""
    frames = [[_box(20 + 30 * n, y=100), _box(620 - 30 * n, y=104)] for n in range(20)]
    for n in (9, 10):
        del frames[n][1]
    found = _ids(Tracks(), frames, fps=10.0)
    assert [ids for n, ids in enumerate(found) if n not in {9, 10}] == [[0, 1]] * 18
    assert found[9] == found[10] == [0]


def test_any_number_of_plates() -> None:
    """A jam of sixty, all creeping."""
    frames = [[_box(100 * (n % 10) + step, y=60 * (n // 10)) for n in range(60)] for step in range(5)]
    assert _ids(Tracks(), frames) == [list(range(60))] * 5


def test_a_plate_that_brakes_is_the_same() -> None:
    """It stops at once, though it was expected far ahead."""
    frames = [[_box(30 * n)] for n in range(6)] + [[_box(150)]] * 6
    assert {key for ids in _ids(Tracks(), frames, fps=5.0) for key in ids} == {0}


def test_another_size_is_another_plate() -> None:
    """A plate does not double from one frame to the next."""
    assert _ids(Tracks(), [[_box(100)], [_box(100, width=140)]]) == [[0], [1]]


def test_a_faint_box_goes_on_but_never_begins() -> None:
    """Motion blur costs confidence, not the track; a faint box out of nowhere is nothing."""
    tracks = Tracks(begin_confidence=0.5)
    frames = [[_box(0, confidence=0.3)], [_box(0)], [_box(5, confidence=0.3)], [_box(300, confidence=0.3)]]
    assert _ids(tracks, frames) == [[], [0], [0], []]


def test_a_faint_box_is_believed_only_where_the_plate_was_expected() -> None:
    """It must not pull a track away from its plate."""
    tracks = Tracks(begin_confidence=0.5)
    assert _ids(tracks, [[_box(0)], [_box(70, confidence=0.3)], [_box(5)]]) == [[0], [], [0]]


def test_a_sure_box_goes_before_a_faint_one() -> None:
    """When both fit, the track takes the sure one."""
    tracks = Tracks(begin_confidence=0.5)
    assert _ids(tracks, [[_box(0)], [_box(0, confidence=0.3), _box(12)]]) == [[0], [0]]


def _moving(first_x: int, step_px: int) -> Motion:
    """Return the motion of a plate that was seen four times, a tenth of a second apart."""
    motion = Motion(_box(first_x), 0.0)
    for n in range(4):
        motion.follow(_box(first_x + step_px * n), n / 10)
    return motion


def test_between_detections_the_track_predicts() -> None:
    """At constant speed; not on and on once the plate is unseen for long."""
    motion = _moving(100, 20)
    assert motion.predict(0.5).xyxy == (200, 100, 260, 115)
    assert motion.predict(60.0) == motion.predict(0.3 + MAX_GAP_S)


@pytest.mark.parametrize(
    ("first_x", "step_px", "left_s"),
    [(60, 20, (640 - 150) / 200), (120, -20, 90 / 200), (60, 0, math.inf)],
)
def test_how_long_a_plate_stays(first_x: int, step_px: int, left_s: float) -> None:
    """Until its middle is at the edge that it moves to; for ever if it stands."""
    assert _moving(first_x, step_px).time_left_s((640, 360)) == pytest.approx(left_s)


@pytest.mark.parametrize(
    ("other", "share"),
    [(_box(0), 1.0), (_box(30), 1 / 3), (_box(60), 0.0), (_box(0, y=115), 0.0), (_box(500), 0.0)],
)
def test_iou(other: Detection, share: float) -> None:
    """Intersection over union; touching is no overlap."""
    assert iou(_box(0), other) == pytest.approx(share)


def test_two_boxes_on_one_plate_are_one() -> None:
    """The surer stays; a box of its own beside it too."""
    boxes = [_box(0), _box(10, confidence=0.8), Detection(20, 102, 40, 112, 0.7), _box(45, confidence=0.6)]
    assert distinct(boxes) == [boxes[0], boxes[3]]
    assert distinct([]) == []
