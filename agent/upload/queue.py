"""Which pending envelope goes next: the oldest first, and some of the newest in between while there is a backlog.

Owns: the listings of the spool, which are few because each reads the whole directory (about a second of one core for
100,000 entries), the envelopes that are under way, and those that are put off. Memory is bounded whatever waits in the
spool.

Invariant: nothing is listed while anything is under way. So what is on its way to the receiver, or being erased, is
never taken for an envelope that still waits, and no erasure waits for a listing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from agent.ports import Clock, Spool
from agent.records import SpoolState

LISTING: Final = 4096
"""Envelopes listed at once, and the most that are put off at a time; each takes about 200 bytes of memory."""
FRESH_LISTING: Final = 1024
FRESH_EVERY_S: Final = 5.0
"""The newest reads are looked for this often, and so seldom that it takes at most `SCAN_SHARE` of the time."""
SCAN_SHARE: Final = 0.05


class Waiting(StrEnum):
    """Why an envelope is put off, in the words of a drain that cannot end well."""

    LATER = "put off by the receiver, whose log says why"
    OLD_RECEIVER = "held back for a receiver that takes version 1 only"
    SLOW = "not carried by the line so far"
    STUCK = "not to be moved in the spool"
    UNREADABLE = "not readable on the disk"


class DeliveryQueue:
    """The order in which the envelopes of one spool are delivered. Not safe for threads."""

    def __init__(self, spool: Spool, clock: Clock, *, backlog: int, fresh_share: float) -> None:
        """Begin empty; the spool is listed when the first batch is asked for.

        Args:
            spool: Holds the envelopes that are to be delivered.
            clock: Tells when what was put off is due again, and how long a listing takes.
            backlog: While more envelopes than this wait, some batches begin with the newest.
            fresh_share: The share of such batches among all batches, 0 to 1.
        """
        self._spool = spool
        self._clock = clock
        self._backlog = backlog
        self._fresh_share = fresh_share
        self._credit = 0.0
        self._oldest: deque[str] = deque()
        self._newest: deque[str] = deque()
        self._under_way: dict[str, deque[str]] = {}
        self._look_at_s = clock.monotonic_s()
        self._put_off: dict[str, tuple[float, Waiting]] = {}

    def next_ids(self) -> Iterator[str]:
        """Yield the ids for one batch, as many as the caller takes; each is under way until the caller is done with it.

        Some may have left the spool since they were listed. Nothing comes when the spool must be listed first and
        something is under way.

        Raises:
            SpoolError: The disk refused.
        """
        if self._under_way and self._must_list():
            return
        if not self._oldest:
            self._list_oldest()
        if self._take_turn_of_the_newest():
            yield from self._take(self._newest)
        yield from self._take(self._oldest)

    def done(self, envelope_ids: Iterable[str]) -> None:
        """Forget ids that are delivered, set aside or gone; those that are not under way are fine."""
        for envelope_id in envelope_ids:
            self._under_way.pop(envelope_id, None)

    def put_back(self, envelope_ids: Iterable[str]) -> None:
        """Let ids that are under way go next in this order, each from the end of the queue that it came from."""
        for envelope_id in reversed(list(envelope_ids)):
            self._under_way.pop(envelope_id).appendleft(envelope_id)

    def put_off(self, envelope_id: str, *, wait_s: float, why: Waiting) -> None:
        """Hold an envelope back for `wait_s` seconds, whether it is under way or not; others go on."""
        self._under_way.pop(envelope_id, None)
        self._put_off[envelope_id] = self._clock.monotonic_s() + wait_s, why

    def has_others(self, envelope_id: str) -> bool:
        """Whether anything else that is listed may go now."""
        return any(key != envelope_id and self._is_due(key) for key in self._oldest)

    def recall(self, why: Waiting) -> bool:
        """Let what is put off for one reason go now, each in its place; return whether there was any."""
        kept = {key: wait for key, wait in self._put_off.items() if wait[1] is not why}
        found, self._put_off = len(kept) < len(self._put_off), kept
        return found

    def waiting(self) -> Counter[Waiting]:
        """Count what is put off now, by reason."""
        now_s = self._clock.monotonic_s()
        return Counter(why for until_s, why in self._put_off.values() if until_s > now_s)

    def _list_oldest(self) -> None:
        now_s = self._clock.monotonic_s()
        self._put_off = {key: wait for key, wait in self._put_off.items() if wait[0] > now_s}
        if len(self._put_off) >= LISTING:
            return  # the receiver puts off whatever it is sent: more of the same would only grow this book
        listed = self._spool.entries(SpoolState.PENDING, limit=LISTING + len(self._put_off))
        self._oldest.extend(entry.envelope_id for entry in listed)

    def _must_list(self) -> bool:
        if not self._oldest:
            return True
        is_their_turn = len(self._oldest) > self._backlog and self._credit + self._fresh_share >= 1.0
        return is_their_turn and self._clock.monotonic_s() >= self._look_at_s

    def _take_turn_of_the_newest(self) -> bool:
        if len(self._oldest) <= self._backlog:
            self._credit = 0.0
            self._newest.clear()
            return False
        self._credit += self._fresh_share
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        began_s = self._clock.monotonic_s()
        if began_s >= self._look_at_s:
            listed = self._spool.entries(SpoolState.PENDING, limit=FRESH_LISTING, newest=True)
            took_s = self._clock.monotonic_s() - began_s
            self._look_at_s = began_s + max(FRESH_EVERY_S, took_s / SCAN_SHARE)
            self._newest.clear()
            self._newest.extend(entry.envelope_id for entry in listed)
        return True

    def _is_due(self, envelope_id: str) -> bool:
        return envelope_id not in self._put_off or self._put_off[envelope_id][0] <= self._clock.monotonic_s()

    def _take(self, ids: deque[str]) -> Iterator[str]:
        while ids:
            envelope_id = ids.popleft()
            if envelope_id in self._under_way:  # it may be among the oldest and the newest
                continue
            if self._is_due(envelope_id):
                self._under_way[envelope_id] = ids
                yield envelope_id


__all__ = ["DeliveryQueue", "Waiting"]
