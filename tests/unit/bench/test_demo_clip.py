"""The clip that comes along: small, readable, and as its truth says."""

from __future__ import annotations

import json
from itertools import pairwise

import cv2

from agent.bench.demo import DEMO_CLIP
from agent.bench.truth import EDGE_FRAMES, load_truth

MOST_BYTES = 2_000_000
TRUTH = DEMO_CLIP.with_suffix(".truth.json")


def test_the_clip_is_small_and_whole() -> None:
    """At most 2 MB; OpenCV decodes every frame that the truth counts, and no other."""
    truth = load_truth(TRUTH)
    video, frames = cv2.VideoCapture(str(DEMO_CLIP)), 0
    while video.grab():
        frames += 1
    assert frames == truth.frames
    assert video.get(cv2.CAP_PROP_FPS) == json.loads(TRUTH.read_text())["fps"]
    assert DEMO_CLIP.stat().st_size <= MOST_BYTES


def test_twelve_vehicles_pass_one_after_the_other() -> None:
    """Different plates, apart in time, so that a passage belongs to one of them."""
    passes = load_truth(TRUTH).passes
    assert len({one.text for one in passes}) == 12
    for before, after in pairwise(passes):
        assert before.last is not None
        assert after.first is not None
        assert after.first - before.last > EDGE_FRAMES


def test_every_box_lies_in_the_picture() -> None:
    """Pixels of the clip, ordered, one for each frame between first and last."""
    video = cv2.VideoCapture(str(DEMO_CLIP))
    width, height = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
    passes = json.loads(TRUTH.read_text())["passes"]
    assert len(passes) == 12
    for one in passes:
        assert sorted(map(int, one["boxes"])) == list(range(one["first"], one["last"] + 1))
        for x1, y1, x2, y2 in one["boxes"].values():
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
