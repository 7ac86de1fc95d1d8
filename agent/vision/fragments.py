"""Which looks saw a part of the plate only: a box that is too tight, a post or another vehicle cut it off.

A part has fewer characters, so the reader is surer of its text than of the whole one's, and a vehicle that waits half
hidden gives more looks at half its plate than at all of it. So parts are told from whole looks, and do not vote against
them.

Owns: what a part's text looks like, and when a longer text is believed to be the whole. Leaves to others: the vote
(`agent.vision.consensus`). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from agent.records import Detection, PlateText
from agent.vision.alignment import align, changes
from agent.vision.repeats import step_widths

WHOLE_LOOKS: Final = 2
"""So many looks must see the same characters where a part has none, and the whole text with at most one character read
otherwise: one may have seen a border or a bolt beside the plate."""
WHOLE_SUPPORT: Final = 0.5
"""Least sum of the probabilities of those texts: as likely as not, one of them is right."""
WHOLE_CONFIDENCE: Final = 0.8
"""Least mean confidence of the characters that a part lacks: they are there, whatever else is unsure."""
EDGE_CHANGES: Final = 1
"""Edits within a part: where it is cut, half a character is read as another one, or the wider picture of fewer
characters makes two of one."""
LEAST_SHARED: Final = 3
"""So many characters must be those of the whole where a part has an edit."""
PLACES_WIDTHS: Final = 1.0
"""Two looks are of two places if the plate has moved by so many of its widths: what stands before a part of it in one
does not in the other."""
PLACES_S: Final = 3.0
"""Of a vehicle that stands, two looks so far apart in time count as well: the queue has moved on, who walked by is
gone."""


def parts_among(plates: Sequence[PlateText]) -> dict[str, frozenset[int]]:
    """Return the texts that are of a part of the plate, as the other looks at it tell.

    Args:
        plates: What the reader made of each look at one plate.

    Returns:
        For each the places at which it has what the longest whole text has: what it surely saw.
    """
    texts = sorted({plate.text for plate in plates}, key=lambda text: (-len(text), text))
    parts = {}
    for one in texts:
        whole = next((each for each in texts if _is_outdone(one, each, plates)), None)
        if whole is not None:
            pairs = zip(whole, align(whole, one)[1::2], strict=True)
            parts[one] = frozenset(at for char, places in pairs for at in places if one[at] == char)
    return parts


def agrees(text: str, settled: str) -> bool:
    """Tell whether one more look leaves a settled text as it is: it has the same, or a part of it."""
    return text == settled or find_part(text, settled) is not None


def is_elsewhere(one: tuple[Detection, float], other: tuple[Detection, float]) -> bool:
    """Tell whether two sights of a plate, box and seconds, are of two places, or of two times."""
    moved = step_widths(one[0], other[0]) >= PLACES_WIDTHS
    return moved or abs(one[1] - other[1]) >= PLACES_S


def find_part(part: str, whole: str) -> tuple[int, int] | None:
    """Return where a text that was cut off lies in the whole one, as its first place and the one behind its last.

    Returns:
        None if it is no part: it is as long, it differs from what it would be a part of, or from the whole text by one
        edit alone, so that either may be right.
    """
    if len(part) >= len(whole):
        return None
    edits, begin, end = _best_place(part, whole)
    if edits == 0:
        return begin, end
    is_cut = edits <= EDGE_CHANGES and len(part) - edits >= LEAST_SHARED and changes(part, whole) > EDGE_CHANGES
    return (begin, end) if is_cut else None


def _is_outdone(text: str, whole: str, plates: Sequence[PlateText]) -> bool:
    """Tell whether a text is a part of another, and enough looks surely see the same where the part has nothing."""
    place = find_part(text, whole)
    if place is None:
        return False
    lacking = [*range(place[0]), *range(place[1], len(whole))]
    looks = [
        one
        for one in plates
        if len(one.text) == len(whole)
        and _differ(one.text, whole) <= EDGE_CHANGES
        and all(one.text[at] == whole[at] for at in lacking)
    ]
    sure = math.fsum(one.confidences[at] for one in looks for at in lacking)
    return (
        len(looks) >= WHOLE_LOOKS
        and math.fsum(math.prod(one.confidences) for one in looks) >= WHOLE_SUPPORT
        and sure >= WHOLE_CONFIDENCE * len(looks) * len(lacking)
    )


def _differ(one: str, other: str) -> int:
    """Return in how many places two texts of one length differ."""
    return sum(char != against for char, against in zip(one, other, strict=True))


def _best_place(part: str, whole: str) -> tuple[int, int, int]:
    """Return the fewest edits from a text to any piece of another (Sellers), and that piece's first place and end."""
    row = [(0, place, place) for place in range(len(whole) + 1)]  # edits, first place, end; a piece may begin anywhere
    for count, char in enumerate(part, start=1):
        above, row = row, [(count, 0, 0)]
        for place, against in enumerate(whole, start=1):
            edits, begin, _ = min(
                (above[place - 1][0] + (char != against), above[place - 1][1], 0),
                (above[place][0] + 1, above[place][1], 1),
                (row[-1][0] + 1, row[-1][1], 2),
            )
            row.append((edits, begin, place))
    return min(row)
