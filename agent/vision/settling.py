"""Settling look-alikes by the formats of number plates: O or 0, I or 1, B or 8. Pure.

A reader that is unsure between two characters that look alike takes the likelier picture, and knows nothing of where
letters stand. A format knows only that. So of a text that no format has, characters may be exchanged for their
look-alikes, nothing else, until a format has it; and only if the reader held the new text for nearly as likely as the
one that it saw. A wrong list of countries, an old plate or one whose owner chose the text then costs little: what was
seen clearly stays.

Owns: which characters look alike, how far a text may be from what was seen, and the choice between formats. Leaves to
others: the formats (`agent.config.plate_formats`), and what was seen (`agent.vision.consensus`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.config.plate_formats import PlateFormat
from agent.records import PlateText

LOOK_ALIKES: Final = ("0DOQ", "1I", "2Z", "5S", "6G", "8B")
"""Groups of characters that are exchanged for each other."""
MOST_NATS: Final = 2.5
"""How much less likely than the text that was seen a settled one may be, all its changes together: by a factor of
e^2.5, about 12. docs/PLATES.md has what more or less would gain and cost."""
TIE_NATS: Final = math.log(2)
"""Two texts are told apart only if one is at least twice as likely as the other; if not, neither is taken."""
MAX_TEXTS: Final = 256
"""Texts that are tried, the likeliest first. Where more are within reach, nothing about the text is certain."""

_GROUP_OF: Final[Mapping[str, str]] = {char: group for group in LOOK_ALIKES for char in group}

Beliefs = Sequence[Mapping[str, float]]
"""For each character of a text the weight that it and each of its look-alikes has, 0 or more; others count as 0."""


def look_alikes(char: str) -> str:
    """Return the characters that look like this one, itself among them; empty if none does."""
    return _GROUP_OF.get(char, "")


@dataclass(frozen=True, slots=True)
class _Variant:
    """A text that differs from the one that was seen in some places; the order is that in which they are tried."""

    nats: float
    text: str
    places: frozenset[int]


class Settler:
    """Knows the formats of the countries whose plates a camera sees."""

    def __init__(self, formats: Sequence[PlateFormat] = (), *, most_nats: float = MOST_NATS) -> None:
        """Take the formats in the order in which they are preferred."""
        self._vanity = [each for each in formats if each.is_vanity]
        self._formats = [each for each in formats if not each.is_vanity]
        self.has_formats = bool(formats)
        """Whether there is anything to settle by."""
        self._most_nats = most_nats

    def settle(self, plate: PlateText, beliefs: Beliefs) -> PlateText:
        """Return a text as the formats settle it, with what was seen and the name of the format that it fits.

        Args:
            plate: What was seen.
            beliefs: One per character of it.

        Returns:
            Confidences stay those of the characters that were seen.
        """
        text = self._settled(plate.text, beliefs)
        return replace(plate, text=text, seen=plate.text, format=self._name_of(text))

    def _settled(self, seen: str, beliefs: Beliefs) -> str:
        """Return the likeliest text that a format has; what was seen if that is none, or not the only one."""
        found: list[_Variant] = []
        for variant in _variants(seen, beliefs, most_nats=self._most_nats):
            if found and variant.nats > found[0].nats + TIE_NATS:
                break
            is_needless = any(one.places < variant.places for one in found)
            if not is_needless and any(each.allows(variant.text) for each in self._formats):
                if not variant.places:
                    return seen
                found.append(variant)
        return found[0].text if len(found) == 1 else seen

    def _name_of(self, text: str) -> str | None:
        return next((each.name for each in (*self._formats, *self._vanity) if each.allows(text)), None)


def _variants(seen: str, beliefs: Beliefs, *, most_nats: float) -> Iterator[_Variant]:
    """Yield a text with look-alikes exchanged, the likeliest first, what was seen before all; at most `MAX_TEXTS`.

    Nothing is yielded where more are within `most_nats`.
    """
    steps = [
        (place, char, nats)
        for place, char_seen in enumerate(seen)
        for char, nats in _costs(char_seen, beliefs[place])
        if nats <= most_nats
    ]
    waiting = [(0.0, 0, seen, 0, frozenset[int]())]  # nats, changes, text, next step, places
    texts: list[_Variant] = []
    while waiting:
        nats, count, text, begin, places = heapq.heappop(waiting)
        texts.append(_Variant(nats, text, places))
        if len(texts) > MAX_TEXTS:
            return
        for index in range(begin, len(steps)):
            place, char, more = steps[index]
            if place not in places and nats + more <= most_nats:
                changed = text[:place] + char + text[place + 1 :]
                heapq.heappush(waiting, (nats + more, count + 1, changed, index + 1, places | {place}))
    yield from texts


def _costs(seen: str, belief: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield each look-alike that has any weight, with how many nats it is less likely than what was seen, or 0."""
    own = belief.get(seen, 0.0)
    for char in look_alikes(seen):
        weight = belief.get(char, 0.0)
        if char != seen and weight > 0.0:
            yield char, max(math.log(own / weight), 0.0) if own > 0.0 else 0.0
