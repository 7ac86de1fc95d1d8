"""Matching plates against a pattern with ? and *, also where a few characters were misread.

Plates and patterns are compared in one form: capital letters and digits, without the spaces, dots and dashes that some
plates show and some readers leave out.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from agent.errors import UsageError
from agent.wire.plaintext import MAX_TEXT_CHARS

ANY: Final = "*"
ONE: Final = "?"
MAX_PATTERN_CHARS: Final = 3 * MAX_TEXT_CHARS
MIN_TOLD_CHARS: Final = 4
"""Shorter plates stand in ordinary words too often to be looked for in them."""
_SEPARATORS: Final = frozenset(" .-_·•")


def normalise_plate(text: str) -> str:
    """Return a plate's letters and digits, compatibility forms replaced, in capitals."""
    if text.isascii() and text.isalnum():
        return text.upper()
    return "".join(char for char in unicodedata.normalize("NFKC", text).upper() if char.isalnum())


@dataclass(frozen=True, slots=True)
class PlatePattern:
    """A plate with ? for any one character and * for any number of them. Build it with `parse_pattern`.

    Attributes:
        glob: The pattern, normalised.
        near: How many characters of a plate may be others than the pattern says.
    """

    glob: str = field(repr=False)
    near: int = 0

    def matches(self, text: str) -> bool:
        """Whether a plate's text fits the whole pattern. Takes at most pattern times text steps."""
        plate = normalise_plate(text)
        return self._fits(plate) if not self.near else self._misread(plate) <= self.near

    def _misread(self, plate: str) -> float:
        """Return how few characters of a plate must have been misread for it to fit; infinite if none would do.

        For each beginning of the pattern that is for the plate's beginning so far, one more character at a time.
        """
        fewest = [0.0]
        for char in self.glob:
            fewest.append(fewest[-1] if char == ANY else math.inf)
        for char in plate:
            longer = [math.inf]
            for place, wanted in enumerate(self.glob):
                if wanted == ANY:
                    longer.append(min(fewest[place + 1], longer[place]))
                else:
                    longer.append(fewest[place] + (wanted not in (ONE, char)))
            fewest = longer
        return fewest[-1]

    def _fits(self, plate: str) -> bool:
        glob = self.glob
        at = in_glob = 0
        star, resume = -1, 0
        while at < len(plate):
            if in_glob < len(glob) and glob[in_glob] == ANY:
                star, resume = in_glob, at
                in_glob += 1
            elif in_glob < len(glob) and glob[in_glob] in (ONE, plate[at]):
                in_glob += 1
                at += 1
            elif star >= 0:  # let the last * take one more character
                in_glob = star + 1
                resume += 1
                at = resume
            else:
                return False
        return not glob[in_glob:].strip(ANY)

    def is_told_by(self, text: str) -> bool:
        """Whether a free text gives away the plate that this pattern names in full."""
        if len(self.glob) < MIN_TOLD_CHARS or ANY in self.glob or ONE in self.glob:
            return False
        return self.glob in normalise_plate(text)


def parse_pattern(text: str, *, near: int = 0) -> PlatePattern:
    """Return the pattern that a user means.

    Args:
        text: What was typed.
        near: How many characters may have been misread, each for another one; none is added or lost.

    Raises:
        UsageError: Empty, too long, or with other characters than letters, digits, ?, * and separators; or every plate
            of a length would fit, as all characters that are given may be others.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise UsageError(f"--plate: at most {MAX_PATTERN_CHARS} characters are allowed")
    kept = [char for char in unicodedata.normalize("NFKC", text).upper() if char not in _SEPARATORS]
    if not kept or not all(char.isalnum() or char in (ANY, ONE) for char in kept):
        raise UsageError(
            "--plate: letters and digits are allowed, ? for any one of them, * for any number, as in 'AB?123*'"
        )
    given = sum(char.isalnum() for char in kept)
    if near and given <= near:
        raise UsageError(f"--near {near}: --plate must have more than {near} letters and digits, it has {given}")
    return PlatePattern(glob="".join(kept), near=near)
