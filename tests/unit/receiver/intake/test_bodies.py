"""Room and turns for bodies: no unit takes what others need, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from agent.receiver.intake import bodies
from agent.receiver.intake.bodies import MAX_AT_WORK, MAX_BYTES, MAX_OF_A_UNIT, SMALL_BYTES, Bodies, GaveWayError
from tests.fakes.waiting import turns

GOOD, BAD = b"good", b"bad"


async def _at_once() -> bytes:
    return b"body"


async def _never() -> bytes:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def take(room: Bodies, unit: bytes, size_bytes: int, read: Callable[[], Awaitable[bytes]] = _at_once) -> bytes:
    """Have a body read, and go at once."""
    async with room.taken(unit, size_bytes, read) as body:
        return body


def in_loop(check: Callable[[Bodies], Coroutine[Any, Any, None]]) -> None:
    """Run a check in an event loop."""
    asyncio.run(check(Bodies()))


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("size_bytes", [1, SMALL_BYTES, SMALL_BYTES + 1, 8 << 20])
def test_a_unit_that_dribbles_keeps_no_other_waiting(size_bytes: int) -> None:
    """Sixteen bodies of one unit that never end: another's is read and worked on at once, whatever its size."""

    async def check(room: Bodies) -> None:
        dribbling = [asyncio.create_task(take(room, BAD, 8 << 20, _never)) for _ in range(16)]
        await turns()
        assert await take(room, GOOD, size_bytes) == b"body"
        await end(*dribbling)
        assert room.used_bytes == 0

    in_loop(check)


def test_the_oldest_body_of_a_unit_gives_way() -> None:
    """Two are read; a third ends the first one, which is told so, and takes its room."""

    async def check(room: Bodies) -> None:
        tasks = []
        for _ in range(MAX_OF_A_UNIT + 1):
            tasks.append(asyncio.create_task(take(room, BAD, 8 << 20, _never)))
            await turns()
        with pytest.raises(GaveWayError):
            await tasks[0]
        assert [task.done() for task in tasks[1:]] == [False] * MAX_OF_A_UNIT
        assert room.used_bytes == MAX_OF_A_UNIT * (8 << 20)
        await end(*tasks)

    in_loop(check)


def test_the_largest_bodies_of_many_units_wait_for_room_and_small_ones_do_not() -> None:
    """The room is full: the next large one waits until one ends, a small one is read meanwhile."""

    async def check(room: Bodies) -> None:
        count = MAX_BYTES // (8 << 20)
        full = [asyncio.create_task(take(room, b"%d" % each, 8 << 20, _never)) for each in range(count)]
        await turns()
        waiting = asyncio.create_task(take(room, GOOD, 8 << 20))
        await turns()
        assert not waiting.done()
        assert room.used_bytes == MAX_BYTES
        assert await take(room, b"small", SMALL_BYTES) == b"body"
        await end(full[0])
        assert await waiting == b"body"
        await end(*full)
        assert room.used_bytes == 0

    in_loop(check)


@pytest.mark.parametrize("let_in_first", [False, True], ids=["while it waits", "as it is let in"])
def test_a_request_that_ends_while_it_waits_takes_no_room(*, let_in_first: bool) -> None:
    """Whether it was still waiting or was let in the same moment; those behind it come in."""

    async def check(room: Bodies) -> None:
        full = [asyncio.create_task(take(room, b"%d" % each, MAX_BYTES // 2, _never)) for each in range(2)]
        await turns()
        first, second = (asyncio.create_task(take(room, unit, MAX_BYTES // 2)) for unit in (BAD, GOOD))
        await turns()
        if let_in_first:
            full[0].cancel()
            await turns(1)
        first.cancel()
        await end(full[0])
        assert await second == b"body"
        await end(first, *full)
        assert room.used_bytes == 0

    in_loop(check)


def test_a_unit_is_worked_for_once_at_a_time() -> None:
    """Of a unit with many requests only one is worked on and one of another beside it, which waits for none of them."""

    async def check(room: Bodies) -> None:
        at_work: list[bytes] = []
        go_on = asyncio.Event()

        async def work(unit: bytes) -> None:
            async with room.taken(unit, 1, _at_once):
                at_work.append(unit)
                await go_on.wait()

        several = [asyncio.create_task(work(BAD)) for _ in range(MAX_OF_A_UNIT)]
        await turns()
        other = asyncio.create_task(work(GOOD))
        await turns()
        assert at_work == [BAD, GOOD]
        assert len(at_work) == MAX_AT_WORK
        go_on.set()
        await asyncio.gather(other, *several)
        assert at_work.count(BAD) == MAX_OF_A_UNIT

    in_loop(check)


def test_a_unit_whose_bodies_are_whole_holds_no_more_than_its_places() -> None:
    """Bodies that wait for their turn count too: of eight of the largest, two are in memory."""

    async def check(room: Bodies) -> None:
        go_on = asyncio.Event()
        begun = []

        async def work() -> None:
            async with room.taken(BAD, 8 << 20, _at_once):
                begun.append(1)
                await go_on.wait()

        tasks = []
        for _ in range(8):
            tasks.append(asyncio.create_task(work()))
            await turns()
        assert room.used_bytes == MAX_OF_A_UNIT * (8 << 20)
        go_on.set()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in ends] == [type(None)] * 2 + [GaveWayError] * 4 + [type(None)] * 2
        assert room.used_bytes == 0

    in_loop(check)


def test_a_body_that_cannot_be_read_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error comes through as it is, its room and its place are free again."""
    monkeypatch.setattr(bodies, "MAX_OF_A_UNIT", 1)

    async def fail() -> bytes:
        raise ZeroDivisionError

    async def check(room: Bodies) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await take(room, GOOD, MAX_BYTES, fail)
        assert await take(room, GOOD, MAX_BYTES) == b"body"
        assert room.used_bytes == 0

    in_loop(check)
