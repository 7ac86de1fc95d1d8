"""When a recording is told to have too few looks at a vehicle."""

from __future__ import annotations

import pytest

from agent.vision.sparse import sparse_words


@pytest.mark.parametrize(
    ("frames", "length_s", "min_votes", "says"),
    [
        (0, 0.0, 2, None),
        (1, 0.0, 1, None),
        (1, 0.0, 2, "has 1 frame, and min_votes = 2 wants two looks"),
        (2, 0.1, 3, "has 2 frames, and min_votes = 3 wants 3 looks"),
        (2, 0.1, 2, None),
        (61, 60.0, 2, "has a frame every 1.0 s"),
        (61, 59.0, 2, None),
        (61, 60.0, 1, None),
    ],
)
def test_a_sparse_recording_is_told(frames: int, length_s: float, min_votes: int, says: str | None) -> None:
    """One frame, or one a second; not where single looks pass."""
    words = sparse_words(frames, length_s=length_s, min_votes=min_votes)
    assert (words is None) if says is None else (words or "").startswith(says)
