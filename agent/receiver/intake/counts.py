"""What a receiver counts while it runs, for its metrics.

Owns: the counting. Leaves to others: what each count means (`agent.unit.status.samples`), and the file they go to.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

Counted = tuple[str, tuple[str, ...], float]
"""A name, the values of its labels, and how many."""


class Counts:
    """Counters that only grow, and gauges that are asked when somebody reads. Safe for threads."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._lock = threading.Lock()
        self._counters: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._gauges: dict[str, Callable[[], float]] = {}

    def add(self, name: str, *labels: str, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counters[name, labels] += count

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Ask `read` for a value each time that somebody reads; it may be called on any thread."""
        with self._lock:
            self._gauges[name] = read

    def of(self, name: str, *labels: str) -> int:
        """Return how many there were."""
        with self._lock:
            return self._counters[name, labels]

    def __iter__(self) -> Iterator[Counted]:
        """Yield everything as it is now."""
        with self._lock:
            counters, gauges = sorted(self._counters.items()), sorted(self._gauges.items())
        for (name, labels), count in counters:
            yield name, labels, count
        for name, read in gauges:
            yield name, (), read()
