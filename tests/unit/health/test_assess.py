"""The judgement of a health report: each limit, from both sides, and the words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.health.assess import Level, assess, camera_clock_words, span
from agent.wire.health import CameraClockHealth, CameraHealth
from agent.wire.plaintext import ClockState
from tests.fakes.health import make_report


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, Level.FINE, None),
        ({"capture_up": False}, Level.TROUBLE, "capture does not run"),
        ({"cameras": (CameraHealth("a", is_up=False, lag_ms=0),)}, Level.TROUBLE, "camera a gives no picture"),
        (
            {"cameras": (CameraHealth("a", is_up=False, lag_ms=0, refuses_login=True),)},
            Level.TROUBLE,
            "camera a refuses the login",
        ),
        ({"upload_up": False}, Level.TROUBLE, "upload does not run"),
        ({"clock": ClockState.UNSYNCHRONIZED}, Level.LOOK, "clock is not synchronised"),
        ({"clock": ClockState.BEHIND}, Level.TROUBLE, "clock shows a time that is over"),
        ({"keyring_s": 14 * 86_400 - 1}, Level.LOOK, "keyring ends in 13 days"),
        ({"keyring_s": 0}, Level.TROUBLE, "keyring ended"),
        ({"keyring_s": None}, Level.TROUBLE, "keyring cannot be read"),
        ({"certificate_s": 29 * 86_400}, Level.LOOK, "certificate ends in 29 days"),
        ({"certificate_s": 6 * 86_400}, Level.TROUBLE, "certificate ends in 6 days"),
        ({"disk_free_bytes": 1}, Level.TROUBLE, "disk has 0.0 GB free (0%)"),
        ({"disk_size_bytes": 0}, Level.FINE, None),
        ({"temperature_mc": 79_999}, Level.FINE, None),
        ({"temperature_mc": 80_000}, Level.LOOK, "temperature is 80.0 °C"),
    ],
)
def test_each_limit_is_where_it_says(change: dict[str, Any], level: Level, words: str | None) -> None:
    """One condition at a time, on both sides of its limit."""
    found = assess(replace(make_report(), **change))
    assert [finding.level for finding in found] == ([level] if words else [])
    assert all(words in finding.text for finding in found if words)


@pytest.mark.parametrize(
    ("offset_ms", "words"),
    [
        (-90, None),
        (1_999, None),
        (2_000, "camera a has a clock 2 s ahead of the unit's"),
        (-1_999, None),
        (-2_000, "camera a has a clock 2 s behind the unit's"),
        (7_200_000, "camera a has a clock 2 h 0 min ahead of the unit's"),
    ],
)
def test_a_camera_whose_clock_is_off_is_looked_at(offset_ms: int, words: str | None) -> None:
    """From two seconds on; not where the unit's own clock is what may be wrong, which is told instead."""
    camera = CameraHealth("a", is_up=True, lag_ms=40, clock=CameraClockHealth(offset_ms, None, 60, dates=False))
    report = replace(make_report(), cameras=(camera,))
    assert [(each.level, each.text) for each in assess(report)] == ([(Level.LOOK, words)] if words else [])
    assert all("NTP" in each.mend and each.why for each in assess(report))
    alone = replace(report, clock=ClockState.UNSYNCHRONIZED)
    assert [each.about for each in assess(alone)] == ["clock"]


def test_a_clock_is_told_in_one_line() -> None:
    """Its offset with a sign, its drift where that is known, and whether it dates frames."""
    assert camera_clock_words(CameraClockHealth(-92, None, 60, dates=False)) == "-0.09 s from the unit's"
    told = camera_clock_words(CameraClockHealth(-92, 1_730, 7200, dates=True))
    assert told == "-0.09 s from the unit's, +1.7 s a day, dates its frames"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (86_400, "1 d 0 h"), (3 * 86_400, "3 days")],
)
def test_lengths_of_time_are_short(seconds: int, text: str) -> None:
    """At most two units."""
    assert span(timedelta(seconds=seconds)) == text
