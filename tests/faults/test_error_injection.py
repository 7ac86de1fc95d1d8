"""Errors at every step of the simulated disk, with a power cut at every moment after them: never a false accept.

The same at the system calls of a real file system is in `test_system_calls.py`.
"""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from agent.errors import SpoolMissingError
from tests.faults.crash_model import REASON_SUFFIX, Census, Scenario, Unit, faults_of, settled
from tests.faults.crash_scenarios import ACTS, calls_of, failing, start, steps_of


@pytest.mark.parametrize("name", ACTS)
def test_the_disk_refuses_any_step_and_nothing_is_lost_or_accepted_falsely(name: str) -> None:
    """Before the step or after its effect, for once or for good; then the same act again, and power cuts throughout."""
    given, act = ACTS[name]
    census = Census()
    refused = [
        (at, error, late, lasting)
        for late, count in ((False, calls_of(given, act)), (True, steps_of(given, act)))
        for at in range(count)
        for error, lasting in ((errno.EIO, False), (errno.EROFS, True))
    ]
    for at, error, late, lasting in refused:
        fault = failing(act, at=at, error=error, late=late, lasting=lasting)
        census.run(Scenario(f"{name}, errno {error} {'after' if late else 'at'} step {at}", given, (fault, start)))
    assert list(census.violations.values()) == []
    assert census.states > 1


@pytest.mark.parametrize("name", ["put", "quarantine", "release"])
def test_what_was_refused_can_be_tried_again_at_once(name: str) -> None:
    """No restart is needed, and what a refused act left does not stand in the way."""
    given, act = ACTS[name]

    def again(unit: Unit) -> None:
        with suppress(SpoolMissingError):  # the refused act had come far enough
            act(unit)

    calls, steps = calls_of(given, act), steps_of(given, act)
    assert calls >= steps > 0
    for late, count in ((False, calls), (True, steps)):
        for at in range(count):
            unit = settled(Scenario(name, given, ()))
            failing(act, at=at, error=errno.EIO, late=late)(unit)
            again(unit)
            unit.start()
            assert list(faults_of(unit.disk.shown(), unit.ledger)) == []


def test_a_full_disk_leaves_no_torn_reason() -> None:
    """What is set aside without room for its reason goes without, and brought back it leaves nothing in quarantine."""
    given, act = ACTS["quarantine"]
    seen: set[bytes] = set()
    for at in range(calls_of(given, act)):
        unit = settled(Scenario("full", given, ()))
        failing(act, at=at, error=errno.ENOSPC, late=False)(unit)
        seen |= {content for path, _, content in unit.disk.shown().files if path.endswith(REASON_SUFFIX)}
    assert seen == {b"refused"}


def test_a_release_leaves_nothing_in_quarantine() -> None:
    """Neither the second name nor the reason, without waiting for a recovery."""
    given, act = ACTS["release"]
    unit = settled(Scenario("release", given, ()))
    act(unit)
    assert [path for path, _, _ in unit.disk.shown().files if "/quarantine/" in path] == []
