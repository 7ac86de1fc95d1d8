"""Whose turn it is: a unit that has had more than its share waits while others ask, and never when nobody does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agent.receiver.intake import shares
from agent.receiver.intake.shares import BURST_S, MAX_UNITS, MOST_S, QUIET_S, RATE, Shares
from tests.fakes.waiting import WITHIN_S, turns

GOOD, BAD = b"good", b"bad"


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.had_s = 0.0


def in_loop(check: Callable[[Shares, _Clock], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a check in an event loop that looks again at every turn of it."""
    monkeypatch.setattr(shares, "LOOK_EVERY_S", 0.0)
    clock = _Clock()
    asyncio.run(check(Shares(lambda: clock.now_s, lambda: clock.had_s), clock))


class Asking:
    """A unit that asks, until it is told to go."""

    def __init__(self, shares: Shares, unit: bytes) -> None:
        self._go = threading.Event()
        self._began = threading.Event()
        self._task = asyncio.create_task(shares.do(unit, self._work))

    def _work(self) -> None:
        self._began.set()
        assert self._go.wait(WITHIN_S)

    async def __aenter__(self) -> None:
        await asyncio.to_thread(self._began.wait, WITHIN_S)

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await self._task


def test_a_unit_over_its_share_waits_while_another_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between the other's requests; it goes on when nobody has asked for a while."""

    async def check(shares: Shares, clock: _Clock) -> None:
        shares.charge(BAD, 10)
        async with Asking(shares, GOOD):
            bad = asyncio.create_task(shares.turn(BAD))
            await turns()
            assert not bad.done()
        await turns()
        assert not bad.done()
        clock.now_s += QUIET_S
        await bad

    in_loop(check, monkeypatch)


def test_its_share_grows_back_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it has had, it waits for a bounded time."""

    async def check(shares: Shares, clock: _Clock) -> None:
        shares.charge(BAD, 1e6)
        async with Asking(shares, GOOD):
            bad = asyncio.create_task(shares.turn(BAD))
            await turns()
            assert not bad.done()
            clock.now_s += (MOST_S - BURST_S) / RATE
            await bad

    in_loop(check, monkeypatch)


def test_a_unit_within_its_share_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask; whoever asks next has them to wait for, if it is over its share, for a while."""

    async def check(shares: Shares, clock: _Clock) -> None:
        async with Asking(shares, GOOD), Asking(shares, b"another"):
            pass
        assert not shares.is_quiet(GOOD)
        clock.now_s += QUIET_S
        assert shares.is_quiet(GOOD)

    in_loop(check, monkeypatch)


def test_a_lone_unit_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it has had, and although its own requests were within its share just now, and are again."""

    async def check(shares: Shares, clock: _Clock) -> None:
        def work() -> str:
            clock.had_s += BURST_S / 2
            return "done"

        for _ in range(20):
            assert await shares.do(BAD, work) == "done"
            assert shares.is_quiet(BAD)
        assert shares.is_over(BAD)
        clock.now_s += (MOST_S - BURST_S) / RATE
        assert not shares.is_over(BAD)
        for _ in range(20):
            assert await shares.do(BAD, work) == "done"
        assert not shares.is_quiet(GOOD)

    in_loop(check, monkeypatch)


def test_time_is_counted_as_the_processor_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of work that fails; not that of waiting, in which the clock goes on."""

    async def check(shares: Shares, clock: _Clock) -> None:
        def fail() -> None:
            clock.had_s += 2 * BURST_S
            raise ZeroDivisionError

        def wait() -> None:
            clock.now_s += 1000

        await shares.do(GOOD, wait)
        with pytest.raises(ZeroDivisionError):
            await shares.do(BAD, fail)
        assert shares.is_over(BAD)
        assert not shares.is_over(GOOD)
        assert not shares.is_quiet(GOOD)  # the other was within its share when it asked

    in_loop(check, monkeypatch)


def test_units_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose share has grown back are forgotten."""

    async def check(shares: Shares, clock: _Clock) -> None:
        for number in range(3 * MAX_UNITS):
            shares.charge(b"%d" % number, RATE / 2)
            clock.now_s += 1
        assert len(shares._had) <= MAX_UNITS

    in_loop(check, monkeypatch)
