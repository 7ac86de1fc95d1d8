"""Room and turns for the bodies of requests, so that no unit can take what others need.

Owns: how much memory bodies may have together, how many of a unit are read at a time, and who is worked for next.
Leaves to others: reading a body within its limits, and what it says (`service`).

| what | limit | beyond it |
|---|---|---|
| bodies of one unit | `MAX_OF_A_UNIT` | the oldest that is still read gives way: after a broken line it is dead |
| bytes of all bodies larger than `SMALL_BYTES` | `MAX_BYTES` | the next waits for room, in the order of asking |
| requests that are worked on | `MAX_AT_WORK`, one of a unit | the next waits; each unit has one place in the queue |

Invariants: a body of at most `SMALL_BYTES` never waits for memory; there are at most as many as connections. Everything
happens in one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
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


class _Unit:
    """One unit's requests.

    Attributes:
        ends: Ends those that are not read yet, the oldest first.
        places: Those whose bodies are in memory.
        turn: Held by the one that is worked on.
    """

    def __init__(self) -> None:
        self.ends: list[asyncio.Timeout] = []
        self.places = asyncio.Semaphore(MAX_OF_A_UNIT)
        self.turn = asyncio.Lock()


class Bodies:
    """What a receiver holds of requests that have not been answered yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._units: WeakValueDictionary[bytes, _Unit] = WeakValueDictionary()
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
        requests = self._units.setdefault(unit, _Unit())
        async with AsyncExitStack() as held:
            async with _may_give_way(requests.ends):
                await held.enter_async_context(requests.places)
                await self._take_room(room_bytes)
                held.callback(self._give_back, room_bytes)
                body = await read()
            async with requests.turn, self._at_work:
                yield body

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


@asynccontextmanager
async def _may_give_way(ends: list[asyncio.Timeout]) -> AsyncIterator[None]:
    """Have what is done within ended once two newer ones have begun."""
    end = asyncio.timeout(None)
    try:
        async with end:
            ends.append(end)
            if len(ends) > MAX_OF_A_UNIT:
                ends.pop(0).reschedule(asyncio.get_running_loop().time())
            yield
    except TimeoutError:
        raise GaveWayError from None
    finally:
        if end in ends:
            ends.remove(end)
