"""Room and turns for the bodies of requests, so that no unit can take what others need.

Owns: how much memory bodies may have together, how many of a unit are read at a time, and who is worked for next.
Leaves to others: reading a body within its limits, and what it says (`service`).

| what | limit | beyond it |
|---|---|---|
| bodies of one unit that are read | `MAX_OF_A_UNIT` | the oldest gives way: after a broken line it is a dead one |
| bytes of all bodies larger than `SMALL_BYTES` | `MAX_BYTES` | the next waits for room, in the order of asking |
| requests that are worked on | `MAX_AT_WORK`, one of a unit | the next waits; each unit has one place in the queue |

Invariants: a body of at most `SMALL_BYTES` never waits for memory; there are at most as many as connections. Everything
happens in one event loop.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

MAX_BYTES: Final = 64 << 20
"""Eight of the largest requests at a time; units on slow lines send smaller ones."""
SMALL_BYTES: Final = 64 << 10
"""What the buffers of a connection may hold anyway."""
MAX_OF_A_UNIT: Final = 2
"""A unit sends one request after the other; the second is there for the time after a line that broke."""
MAX_AT_WORK: Final = 2
"""One at the store, which takes one writer, and one whose signatures are checked meanwhile."""


class GaveWayError(Exception):
    """The body was not read to its end: two newer ones of the same unit are there."""


class Bodies:
    """What a receiver holds of requests that have not been answered yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._reading: defaultdict[bytes, list[asyncio.Timeout]] = defaultdict(list)
        self._working: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._at_work = asyncio.Semaphore(MAX_AT_WORK)

    @property
    def used_bytes(self) -> int:
        """How much room is taken."""
        return self._used_bytes

    @asynccontextmanager
    async def taken(self, unit: bytes, size_bytes: int, read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
        """Read a body as soon as there is room for it, and hand it out when it is this unit's turn.

        Args:
            unit: Whose body it is.
            size_bytes: The most that it may have.
            read: Reads it.

        Raises:
            GaveWayError: It was not read to its end.
        """
        room_bytes = size_bytes if size_bytes > SMALL_BYTES else 0
        held_bytes = 0
        try:
            async with self._one_of_few(unit):
                await self._take_room(room_bytes)
                held_bytes = room_bytes
                body = await read()
            async with self._working.setdefault(unit, asyncio.Lock()), self._at_work:
                yield body
        finally:
            self._give_back(held_bytes)

    @asynccontextmanager
    async def _one_of_few(self, unit: bytes) -> AsyncIterator[None]:
        theirs = self._reading[unit]
        try:
            async with asyncio.timeout(None) as end:
                theirs.append(end)
                if len(theirs) > MAX_OF_A_UNIT:
                    theirs.pop(0).reschedule(asyncio.get_running_loop().time())
                yield
        except TimeoutError:
            raise GaveWayError from None
        finally:
            if end in theirs:
                theirs.remove(end)
            if not theirs:
                self._reading.pop(unit, None)

    async def _take_room(self, size_bytes: int) -> None:
        if size_bytes == 0 or (not self._waiting and self._used_bytes + size_bytes <= MAX_BYTES):
            self._used_bytes += size_bytes
            return
        place = (size_bytes, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
                self._let_in()
            elif not place[1].cancelled():  # it was let in just now
                self._give_back(size_bytes)
            raise

    def _give_back(self, size_bytes: int) -> None:
        self._used_bytes -= size_bytes
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._used_bytes + self._waiting[0][0] <= MAX_BYTES:
            size_bytes, place = self._waiting.popleft()
            if not place.cancelled():
                self._used_bytes += size_bytes
                place.set_result(None)
