"""Recordings in which a vehicle is hardly seen twice. Pure: figures in, a sentence out."""

from __future__ import annotations

from typing import Final

SPARSE_S: Final = 1.0
"""From this time between two frames on, a vehicle that drives by is hardly in two of them: at 50 km/h it goes 14 m."""


def sparse_words(frames: int, *, length_s: float, min_votes: int) -> str | None:
    """Say why hardly anything can be read from a recording; None where there are looks enough.

    Args:
        frames: Frames that came.
        length_s: From the first to the last, seconds.
        min_votes: Looks that must agree.
    """
    if frames == 0 or min_votes < 2:
        return None
    apart_s = length_s / (frames - 1) if frames > 1 else 0.0
    if frames < min_votes:
        has = "1 frame" if frames == 1 else f"{frames} frames"
    elif apart_s >= SPARSE_S:
        has = f"a frame every {apart_s:.1f} s"
    else:
        return None
    looks = "two looks" if min_votes == 2 else f"{min_votes} looks"
    return (
        f"has {has}, and min_votes = {min_votes} wants {looks} at a vehicle that agree; "
        "with min_votes = 1 in [vision], single looks pass"
    )
