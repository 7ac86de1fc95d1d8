"""When the log gets a line: once when something begins and once when it ends, or now and then for what strangers do."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

MAX_SUBJECTS: Final = 1024
"""Beyond this many at a time the book begins anew: a line too often, but never memory without end."""
MINUTE_S: Final = 60.0
MAX_LINES: Final = 60
"""Lines a minute about all subjects of a `Pace` together: 5 MB a day at most."""


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


class Pace:
    """Keeps strangers from filling the log: a line a minute for each subject, and so many for all. Safe for threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing told; `now` gives seconds."""
        self._lock = threading.Lock()
        self._now = now
        self._subjects: dict[str, tuple[float, int]] = {}
        self._minute_s = now()
        self._lines = 0

    def turn(self, subject: str) -> int | None:
        """Return how many were left out since the last line about a subject; None where this one is to be left out."""
        with self._lock:
            now_s = self._now()
            if now_s - self._minute_s >= MINUTE_S:
                self._minute_s, self._lines = now_s, 0
            told_s, left_out = self._subjects.get(subject, (-math.inf, 0))
            if now_s - told_s < MINUTE_S or self._lines >= MAX_LINES:
                self._remember(subject, (told_s, left_out + 1))
                return None
            self._lines += 1
            self._remember(subject, (now_s, 0))
            return left_out

    def _remember(self, subject: str, state: tuple[float, int]) -> None:
        if len(self._subjects) >= MAX_SUBJECTS and subject not in self._subjects:
            self._subjects.clear()
        self._subjects[subject] = state
