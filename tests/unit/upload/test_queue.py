"""The order of delivery, and how seldom the spool's directory is read for it."""

from __future__ import annotations

from itertools import islice

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.records import SpoolEntry, SpoolState
from agent.upload.queue import FRESH_EVERY_S, SCAN_SHARE, DeliveryQueue, Waiting
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import make_chain
from tests.fakes.spool import MemorySpool

KEY = Ed25519PrivateKey.generate()


class CountingSpool(MemorySpool):
    """Counts listings, each of which takes a while on a clock that the test turns."""

    def __init__(self, clock: FakeClock, *, takes_s: float = 0.0) -> None:
        super().__init__(max_bytes=1 << 26)
        self.listings: list[bool] = []
        self._clock = clock
        self._takes_s = takes_s

    def entries(self, state: SpoolState, *, limit: int | None = None, newest: bool = False) -> list[SpoolEntry]:
        """As the port; notes which end was asked for."""
        self.listings.append(newest)
        self._clock.advance(self._takes_s)
        return super().entries(state, limit=limit, newest=newest)


def fill(spool: MemorySpool, count: int) -> list[str]:
    """Put a chain of envelopes and return their ids, oldest first."""
    envelopes = make_chain(KEY, count)
    for envelope in envelopes:
        spool.put(envelope)
    return [envelope.envelope_id for envelope in envelopes]


def take(queue: DeliveryQueue, size: int) -> list[str]:
    """Take a batch that is delivered at once."""
    ids = list(islice(queue.next_ids(), size))
    queue.done(ids)
    return ids


def batches(queue: DeliveryQueue, count: int, *, size: int, clock: FakeClock, every_s: float) -> list[list[str]]:
    """Take batches, one each `every_s`."""
    taken = []
    for _ in range(count):
        taken.append(take(queue, size))
        clock.advance(every_s)
    return taken


@pytest.mark.parametrize("takes_s", [0.0, 0.4, 3.0])
def test_the_newest_are_looked_for_seldom(takes_s: float) -> None:
    """Every few seconds, and never for more than a twentieth of the time, however slow the directory is."""
    clock = FakeClock()
    spool = CountingSpool(clock, takes_s=takes_s)
    fill(spool, 600)
    queue = DeliveryQueue(spool, clock, backlog=2, fresh_share=0.5)
    batches(queue, 200, size=1, clock=clock, every_s=0.5)
    fresh = spool.listings.count(True)
    assert spool.listings.count(False) == 1
    assert 1 <= fresh <= clock.monotonic_s() / max(FRESH_EVERY_S, takes_s / SCAN_SHARE) + 1


def test_nothing_is_yielded_twice_in_a_batch() -> None:
    """A batch that takes all of the newest and goes on with the oldest: they overlap."""
    clock = FakeClock()
    spool = CountingSpool(clock)
    ids = fill(spool, 30)
    queue = DeliveryQueue(spool, clock, backlog=4, fresh_share=1.0)
    assert list(queue.next_ids()) == list(reversed(ids))


def test_what_is_put_off_is_left_out_until_its_time() -> None:
    """Whether it is taken from the oldest or from the newest."""
    clock = FakeClock()
    spool = CountingSpool(clock)
    ids = fill(spool, 6)
    queue = DeliveryQueue(spool, clock, backlog=2, fresh_share=1.0)
    assert list(islice(queue.next_ids(), 1)) == [ids[5]]
    queue.put_off(ids[5], wait_s=60, why=Waiting.LATER)
    assert take(queue, 9) == ids[4::-1]
    clock.advance(61)
    assert list(queue.next_ids()) == list(reversed(ids))


def test_memory_stays_bounded_through_an_outage() -> None:
    """Batches that fail for days, of the oldest and of the newest, leave no more ids behind than were listed."""
    clock = FakeClock()
    spool = CountingSpool(clock)
    fill(spool, 40)
    queue = DeliveryQueue(spool, clock, backlog=4, fresh_share=0.5)
    for _ in range(2000):
        queue.put_back(list(islice(queue.next_ids(), 4)))
        clock.advance(30)
    assert len(queue._oldest) == 40
    assert len(queue._newest) == 40
    assert spool.listings.count(False) == 1


def test_what_is_under_way_is_not_taken_again() -> None:
    """Also where it is in both listings; the spool still has it, so nothing is listed meanwhile."""
    clock = FakeClock()
    spool = CountingSpool(clock)
    ids = fill(spool, 8)
    queue = DeliveryQueue(spool, clock, backlog=4, fresh_share=0.5)
    assert take(queue, 1) == [ids[0]]
    newest = list(islice(queue.next_ids(), 2))
    assert newest == [ids[7], ids[6]]
    beside = list(islice(queue.next_ids(), 9))
    assert beside == ids[1:6]
    assert list(queue.next_ids()) == []
    assert len(spool.listings) == 2
    queue.done([*newest, *beside])
    assert take(queue, 9) == [*ids[5::-1], *ids[6:]]
    assert len(spool.listings) == 3


def test_a_look_for_the_newest_waits_until_nothing_is_under_way() -> None:
    """A batch beside another comes from what is listed; when a look is due there is none, and then the look."""
    clock = FakeClock()
    spool = CountingSpool(clock)
    ids = fill(spool, 20)
    queue = DeliveryQueue(spool, clock, backlog=2, fresh_share=0.5)
    assert take(queue, 1) == [ids[0]]
    assert list(islice(queue.next_ids(), 1)) == [ids[19]]
    assert list(islice(queue.next_ids(), 1)) == [ids[1]]
    (late,) = fill(spool, 1)
    clock.advance(FRESH_EVERY_S)
    assert list(queue.next_ids()) == []
    queue.put_back([ids[19], ids[1]])
    assert take(queue, 2) == [late, ids[19]]


def test_batches_that_are_given_back_keep_their_order() -> None:
    """The one under way before the one that was read beside it."""
    clock = FakeClock()
    spool = CountingSpool(clock)
    ids = fill(spool, 6)
    queue = DeliveryQueue(spool, clock, backlog=9, fresh_share=0.5)
    first, second = list(islice(queue.next_ids(), 2)), list(islice(queue.next_ids(), 2))
    queue.put_back([*first, *second])
    assert list(queue.next_ids()) == ids
