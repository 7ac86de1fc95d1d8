"""How much goes out at once, and how soon again.

Owns: the size of the next batch and the bandwidth limit. Leaves to others: what is in a batch (`queue`), waiting after
a failure (`worker`). Pure: it counts and divides, others wait.
"""

from __future__ import annotations

from typing import Final

from agent.ports import Clock

ERASE_WITHIN_S: Final = 2.0
"""Longest time from a receipt to the end of its read's file. A disk that needs longer for a batch gets smaller ones."""
FIRST_BATCH: Final = 8
"""Envelopes in the first batch: what line and disk can do is not known yet. Three good batches later it is 64."""
SLICE_S: Final = 10.0
"""A batch is at most this much of a limited line: the next read never waits for longer than this behind it."""


LEAST_BYTES: Final = 8 << 10
"""A batch may always have this many bytes: a usual read or two."""


class BatchSize:
    """The most envelopes and bytes in the next batch: doubled while batches are easy, halved when they are not.

    After a transfer that broke, a batch has at most half of what had gone out before: what breaks is sent again.
    """

    def __init__(self, *, most: int, most_bytes: int, reply_timeout_s: float) -> None:
        """Stay within `most` envelopes and `most_bytes`.

        A batch that takes more than half of `reply_timeout_s` is too large for the line.
        """
        self.limit = min(FIRST_BATCH, most)
        self.limit_bytes = most_bytes
        self._most = most
        self._most_bytes = most_bytes
        self._reply_timeout_s = reply_timeout_s

    @property
    def is_largest(self) -> bool:
        """Whether batches are as large as they may be: line and disk are quick enough for them."""
        return self.limit == self._most and self.limit_bytes == self._most_bytes

    def worked(self, count: int, *, sent_s: float, erased_s: float) -> None:
        """Note a batch of `count` that was answered after `sent_s` and erased in a further `erased_s`.

        It grows only while both are under a quarter of what they may take: twice as many would be under half of it. So
        a slow line settles at a size that gets through, and does not pay with a timeout for every try.
        """
        strain = max(sent_s / self._reply_timeout_s, erased_s / ERASE_WITHIN_S)
        if strain > 0.5:
            self.failed(count)
        elif strain < 0.25:
            self.limit = min(self.limit * 2, self._most)
            self.limit_bytes = min(self.limit_bytes * 2, self._most_bytes)

    def failed(self, count: int, *, sent_bytes: int | None = None) -> None:
        """Note a batch of `count` that was too large, or that broke after `sent_bytes`, where that is known."""
        self.limit = max(count // 2, 1)
        if sent_bytes is not None:
            self.limit_bytes = min(self.limit_bytes, max(sent_bytes // 2, LEAST_BYTES))


class Bandwidth:
    """A limit for metered lines: in any stretch of time no more goes out than its share and one batch.

    Request bodies are counted, failed ones too. TLS, TCP and HTTP headers come on top: about 4 % at 12 kB a read.
    """

    def __init__(self, max_bytes_per_s: int | None, clock: Clock) -> None:
        """Limit to `max_bytes_per_s`; None is no limit."""
        self._max_bytes_per_s = max_bytes_per_s
        self._clock = clock
        self._free_at_s = clock.monotonic_s()

    def wait_s(self) -> float:
        """Return how long the next batch must wait."""
        return max(self._free_at_s - self._clock.monotonic_s(), 0.0)

    def most_bytes(self, batch_bytes: int) -> int:
        """Return the most that a batch of at most `batch_bytes` may have; a single envelope may have more."""
        if self._max_bytes_per_s is None:
            return batch_bytes
        return min(batch_bytes, int(self._max_bytes_per_s * SLICE_S))

    def spend(self, size_bytes: int) -> None:
        """Note that a request of `size_bytes` goes out now."""
        if self._max_bytes_per_s is not None:
            begins_s = max(self._free_at_s, self._clock.monotonic_s())
            self._free_at_s = begins_s + size_bytes / self._max_bytes_per_s


class LogBudget:
    """At most `LINES` lines in `WINDOW_S` seconds, so that a damaged disk does not fill the log as well."""

    LINES: Final = 10
    WINDOW_S: Final = 60.0

    def __init__(self, clock: Clock) -> None:
        """Begin with all lines to spend."""
        self._clock = clock
        self._ends_at_s = clock.monotonic_s()
        self._lines = 0
        self._held_back = 0

    def spend(self) -> int | None:
        """Return how many lines were held back since the last one, or None if this one is held back too."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._ends_at_s:
            self._ends_at_s, self._lines = now_s + self.WINDOW_S, 0
        if self._lines >= self.LINES:
            self._held_back += 1
            return None
        self._lines += 1
        held_back, self._held_back = self._held_back, 0
        return held_back
