"""Matching plates against a pattern with ? and *.

Plates and patterns are compared in one form: capital letters and digits, without the spaces, dots and dashes that some
plates show and some readers leave out.
"""

from __future__ import annotations

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
    return "".join(char for char in unicodedata.normalize("NFKC", text).upper() if char.isalnum())


@dataclass(frozen=True, slots=True)
class PlatePattern:
    """A plate with ? for any one character and * for any number of them. Build it with `parse_pattern`.

    Attributes:
        glob: The pattern, normalised.
    """

    glob: str = field(repr=False)

    def matches(self, text: str) -> bool:
        """Whether a plate's text fits the whole pattern. Takes at most pattern times text steps."""
        plate, glob = normalise_plate(text), self.glob
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


def parse_pattern(text: str) -> PlatePattern:
    """Return the pattern that a user means.

    Raises:
        UsageError: Empty, too long, or with other characters than letters, digits, ?, * and separators.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise UsageError(f"--plate: at most {MAX_PATTERN_CHARS} characters are allowed")
    kept = [char for char in unicodedata.normalize("NFKC", text).upper() if char not in _SEPARATORS]
    if not kept or not all(char.isalnum() or char in (ANY, ONE) for char in kept):
        raise UsageError(
            "--plate: letters and digits are allowed, ? for any one of them, * for any number, as in 'AB?123*'"
        )
    return PlatePattern(glob="".join(kept))
