"""The health report's bytes: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.health import (
    MAX_HEALTH_BYTES,
    MAX_LINE_CHARS,
    CameraClockHealth,
    CameraHealth,
    LastError,
    encode_health,
    one_line,
    parse_health,
)
from tests.fakes.health import NOW, make_report, troubled


@pytest.mark.parametrize("number", range(10))
def test_a_report_comes_back_as_it_was(number: int) -> None:
    """In good health and in every trouble, in a small part of what is allowed."""
    report = troubled(number, make_report())
    data = encode_health(report)
    assert parse_health(data) == report
    assert len(data) < 1000


def test_a_refused_login_is_a_state_of_its_own() -> None:
    """It stands where else "delivers" does, so that a report of any other camera is as it was."""
    report = replace(make_report(), cameras=(CameraHealth("a", is_up=False, lag_ms=0, refuses_login=True),))
    assert parse_health(encode_health(report)) == report
    assert parse_health(changed(cameras=[["a", "refused", 0]])) == report


def test_a_camera_without_a_clock_is_reported_as_before() -> None:
    """A receiver that knows no clocks takes the report; of one that shows its clock there is a fourth value."""
    assert parse_health(changed(cameras=[["north", True, 40]])) == make_report()
    clock = CameraClockHealth(offset_ms=-92, drift_ms_per_day=None, watched_s=60, dates=True)
    report = replace(make_report(), cameras=(CameraHealth("a", is_up=True, lag_ms=40, clock=clock),))
    assert parse_health(encode_health(report)) == report
    assert parse_health(changed(cameras=[["a", True, 40, [-92, None, 60, True]]])) == report


def test_sixteen_cameras_and_the_longest_lines_fit() -> None:
    """The largest unit there can be is within the limit."""
    clock = CameraClockHealth(1 - 2**53, 1 - 2**53, 2**53 - 1, dates=False)
    cameras = tuple(CameraHealth("c" * 64, is_up=None, lag_ms=2**53 - 1, clock=clock) for _ in range(16))
    error = LastError(NOW, "\N{EURO SIGN}" * MAX_LINE_CHARS)
    report = replace(make_report(), cameras=cameras, error=error)
    assert parse_health(encode_health(report)) == report


def changed(**values: object) -> bytes:
    """Return a report of which some fields are others."""
    document: Any = cbor.decode(encode_health(make_report()), max_bytes=MAX_HEALTH_BYTES, what="test")
    for key, value in values.items():
        if value is ...:
            del document[key]
        else:
            document[key] = value
    return cbor.encode(document)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"v": 2}, "version 2, only 1 is allowed"),
        ({"plate": "B-AX 1234"}, "unknown field"),
        ({"clock": ...}, "'clock' is missing"),
        ({"clock": "about"}, "none of"),
        ({"at": -1}, "at"),
        ({"up": [True]}, "2 items"),
        ({"up": [1, 0]}, "true or false"),
        ({"backlog": [1, 2, 3, 4]}, "5 items"),
        ({"backlog": [-1, 0, 0, None, 0]}, "0 to"),
        ({"temp": 2**60}, "temp"),
        ({"temp": b"hot"}, "temp"),
        ({"cameras": [["c", True, 0]] * 17}, "17 cameras"),
        ({"cameras": [["c" * 65, True, 0]]}, "64 characters"),
        ({"cameras": [["c", "lost", 0]]}, "true or false"),
        ({"cameras": [["c", True, 0, None]]}, "4 items"),
        ({"cameras": [["c", True, 0, [0, 0, 0]]]}, "4 items"),
        ({"cameras": [["c", True, 0, [0, 0, 0, True], 0]]}, "3 items"),
        ({"cameras": [["c", True, 0, [2**53, 0, 0, True]]]}, "offset"),
        ({"cameras": [["c", True, 0, [0, 0, 0, 1]]]}, "true or false"),
        ({"configs": [["capture", 1, "two\nlines"]]}, "one printable line"),
        ({"error": [0, "x" * 301]}, "300 characters"),
        ({"error": [0, "\x1b[2J"]}, "one printable line"),
        ({"versions": "0.1.0"}, "array"),
    ],
)
def test_what_is_no_report_is_refused_by_name(values: dict[str, object], named: str) -> None:
    """Unknown and missing keys, other types, numbers and texts out of their limits."""
    with pytest.raises(FormatError, match=named):
        parse_health(changed(**values))


def test_too_many_bytes_are_not_looked_at() -> None:
    """The limit comes before the parser."""
    with pytest.raises(FormatError, match="at most 16384"):
        parse_health(bytes(MAX_HEALTH_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_a_format_error(data: bytes) -> None:
    """Nothing else comes out of the parser."""
    with suppress(FormatError):
        assert encode_health(parse_health(data)) == data


@given(st.text())
def test_any_text_becomes_one_line_that_a_report_may_carry(text: str) -> None:
    """Whatever a library puts into its message."""
    error = LastError(datetime(2026, 1, 1, tzinfo=UTC), one_line(text))
    assert parse_health(encode_health(replace(make_report(), error=error))).error == error
