"""The judgement of a health report: each limit, from both sides, and the words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.health.assess import Level, assess, span
from agent.wire.health import CameraHealth
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
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (86_400, "1 d 0 h"), (3 * 86_400, "3 days")],
)
def test_lengths_of_time_are_short(seconds: int, text: str) -> None:
    """At most two units."""
    assert span(timedelta(seconds=seconds)) == text
