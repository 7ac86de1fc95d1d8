"""Which texts can be a plate's, by region."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

DEFAULT: Final = "default"
"""The pattern's name for regions that have none of their own, and for readers that name no region."""
ANY_PLATE: Final = r"(?!(.)\1*$).{3,}"
"""Built in: three characters or more, not all the same. What a reader makes of a lamp, a grille or an edge is mostly
one character, or one repeated. Plates of one or two characters exist in some places; who has them says so."""


class TextFilter:
    """Knows the pattern of each region."""

    def __init__(self, patterns: Mapping[str, str] | None = None) -> None:
        """Take regular expressions by region; region names count without case."""
        compiled = {name.casefold(): re.compile(pattern) for name, pattern in (patterns or {}).items()}
        self._default = compiled.pop(DEFAULT, re.compile(ANY_PLATE))
        self._patterns = compiled

    def allows(self, text: str, region: str | None) -> bool:
        """Tell whether a plate of that region, None if it is not known, can have this text."""
        pattern = self._default if region is None else self._patterns.get(region.casefold(), self._default)
        return pattern.fullmatch(text) is not None
