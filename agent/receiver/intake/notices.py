"""One log line when something begins and one when it ends, however often it is met in between."""

from __future__ import annotations

import threading
from typing import Final

MAX_SUBJECTS: Final = 1024
"""Beyond this many at a time the book begins anew: a line too often, but never memory without end."""


class Notices:
    """Remembers what has been told. Safe for threads."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def begins(self, subject: str) -> bool:
        """Return whether this is news; from now on it is not."""
        with self._lock:
            if subject in self._told:
                return False
            if len(self._told) >= MAX_SUBJECTS:
                self._told.clear()
            self._told.add(subject)
            return True

    def ends(self, subject: str) -> bool:
        """Return whether it had begun; from now on it has not."""
        with self._lock:
            if subject not in self._told:
                return False
            self._told.remove(subject)
            return True
