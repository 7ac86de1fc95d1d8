"""Following plates by where they are."""

from __future__ import annotations

import pytest

from agent.records import Detection
from agent.vision.tracker import MAX_GAP_S, Tracker, iou


def _box(x: int, y: int = 100, width: int = 60, confidence: float = 0.9) -> Detection:
    return Detection(x, y, x + width, y + width // 4, confidence)


def _ids(tracker: Tracker, frames: list[list[Detection]], *, fps: float = 15.0) -> list[list[int]]:
    """Play frames and return the track of each detection, in the frame's order."""
    ids = []
    for number, boxes in enumerate(frames):
        seen = {tracked.detection: tracked.track_id for tracked in tracker.update(boxes, at_s=number / fps).seen}
        ids.append([seen[box] for box in boxes if box in seen])
    return ids


def test_an_empty_frame_does_nothing() -> None:
    """No boxes, no tracks."""
    step = Tracker().update([], at_s=0.0)
    assert (step.seen, step.ended) == ((), ())


@pytest.mark.parametrize("step_px", [0, 5, 30, 40, 60, 100])
def test_a_small_fast_plate_is_one_track(step_px: int) -> None:
    """60 pixels wide and moving up to 100 a frame: overlap is nil, the track holds."""
    frames = [[_box(20 + step_px * n)] for n in range(8)]
    assert _ids(Tracker(), frames) == [[0]] * 8


def test_a_few_missed_detections_are_survived() -> None:
    """Seen, unseen for three frames while moving on, seen again: the same track."""
    frames = [[_box(25 * n)] if n not in {4, 5, 6} else [] for n in range(12)]
    assert {key for ids in _ids(Tracker(), frames) for key in ids} == {0}


def test_a_plate_unseen_for_long_ends() -> None:
    """After the longest gap the track is over, and a new plate in its place is another."""
    tracker = Tracker()
    tracker.update([_box(0)], at_s=0.0)
    assert tracker.update([], at_s=MAX_GAP_S).ended == ()
    step = tracker.update([_box(0)], at_s=MAX_GAP_S + 0.01)
    assert step.ended == (0,)
    assert [tracked.track_id for tracked in step.seen] == [1]


def test_two_plates_side_by_side_keep_their_tracks() -> None:
    """Neighbouring lanes: whatever the order of the boxes, each keeps its own."""
    frames = [[_box(100 + 10 * n), _box(300 + 10 * n)][:: 1 if n % 2 else -1] for n in range(8)]
    assert _ids(Tracker(), frames)[0] in ([0, 1], [1, 0])
    first = {tuple(sorted(ids)) for ids in _ids(Tracker(), frames)}
    assert first == {(0, 1)}


def test_two_plates_that_meet_and_part_are_not_exchanged() -> None:
    """Opposite directions in two lanes: velocity decides."""
    tracker = Tracker()
    frames = [[_box(100 + 20 * n, y=100), _box(400 - 20 * n, y=130)] for n in range(15)]
    assert _ids(tracker, frames) == [[0, 1]] * 15


def test_another_size_is_another_plate() -> None:
    """A plate does not double from one frame to the next."""
    assert _ids(Tracker(), [[_box(100)], [_box(100, width=140)]]) == [[0], [1]]


def test_a_faint_box_goes_on_but_never_begins() -> None:
    """Motion blur costs confidence, not the track; a faint box out of nowhere is nothing."""
    tracker = Tracker(begin_confidence=0.5)
    frames = [[_box(0, confidence=0.3)], [_box(0)], [_box(5, confidence=0.3)], [_box(300, confidence=0.3)]]
    assert _ids(tracker, frames) == [[], [0], [0], []]


def test_a_faint_box_is_believed_only_where_the_plate_was_expected() -> None:
    """It must not pull a track away from its plate."""
    tracker = Tracker(begin_confidence=0.5)
    assert _ids(tracker, [[_box(0)], [_box(70, confidence=0.3)], [_box(5)]]) == [[0], [], [0]]


def test_a_sure_box_goes_before_a_faint_one() -> None:
    """When both fit, the track takes the sure one."""
    tracker = Tracker(begin_confidence=0.5)
    assert _ids(tracker, [[_box(0)], [_box(0, confidence=0.3), _box(12)]]) == [[0], [0]]


def test_flush_ends_everything_once() -> None:
    """The end of a recording ends every track, and only once."""
    tracker = Tracker()
    tracker.update([_box(0), _box(300)], at_s=0.0)
    assert tracker.flush() == (0, 1)
    assert tracker.flush() == ()


@pytest.mark.parametrize(
    ("other", "share"),
    [(_box(0), 1.0), (_box(30), 1 / 3), (_box(60), 0.0), (_box(0, y=115), 0.0), (_box(500), 0.0)],
)
def test_iou(other: Detection, share: float) -> None:
    """Intersection over union; touching is no overlap."""
    assert iou(_box(0), other) == pytest.approx(share)
