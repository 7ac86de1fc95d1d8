"""The plaintext of a read."""

from __future__ import annotations

from datetime import UTC, datetime

import cbor2
import pytest

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.plaintext import encode_plaintext, parse_plaintext
from agent.wire.times import from_ms, to_ms
from tests.fakes.reads import NOON, SAMPLE, make_plaintext


@pytest.mark.parametrize(
    "read",
    [
        SAMPLE,
        make_plaintext("", crop=b""),
        make_plaintext("A1", region="Portugal", site="bridge", position=(-90_000_000, 180_000_000)),
        make_plaintext("A1", lane="inbound"),
        make_plaintext("A1", seen="AI"),
        make_plaintext("A1", seen="AI", format="LI-1923"),
    ],
)
def test_a_read_parses_back(read: object) -> None:
    """parse(encode(x)) == x, with and without the optional fields."""
    assert parse_plaintext(encode_plaintext(read)) == read  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 3),
        ("v", True),
        ("camera", None),
        ("camera", "x" * 65),
        ("captured_at", -1),
        ("captured_at", 1 << 62),
        ("clock", "guessed"),
        ("text", "X" * 21),
        ("confidences", [1]),
        ("confidences", [1001] * 7),
        ("votes", [1, 2, 3]),
        ("box", [0, 0, 1]),
        ("box", [0, 0, 1, -1]),
        ("frame_wh", [1]),
        ("direction", "up"),
        ("crop", "text"),
        ("models", {}),
        ("models", {"detector": b"", "reader": b""}),
        ("position", [1]),
        ("position", [91_000_000, 0]),
        ("position", ["1", 0]),
        ("lane", 7),
        ("lane", "x" * 65),
        ("surprise", 1),
        ("seen", "AB123C"),
        ("seen", 7),
        ("format", "PT-2020"),
    ],
)
def test_an_impossible_field_is_refused(key: str, value: object) -> None:
    """Unknown version, missing, unknown or out-of-range field."""
    fields = cbor2.loads(encode_plaintext(SAMPLE))
    if value is None:
        del fields[key]
    else:
        fields[key] = value
    with pytest.raises(FormatError, match="^plaintext"):
        parse_plaintext(cbor.encode(fields))


def test_times_are_whole_milliseconds() -> None:
    """Microseconds are cut, never rounded up into the future."""
    moment = datetime(2027, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    assert from_ms(to_ms(moment)) == moment.replace(microsecond=999_000)
    assert from_ms(to_ms(NOON)) == NOON


def test_version_1_has_no_place_for_what_was_seen() -> None:
    """Such a read is never sealed, and never taken for one."""
    settled = make_plaintext("A1", seen="AI", format="LI-1923")
    with pytest.raises(FormatError, match="seen: version 1 has no such field"):
        encode_plaintext(settled, version=1)
    fields = cbor2.loads(encode_plaintext(make_plaintext("A1"), version=1))
    with pytest.raises(FormatError, match="unknown field 'seen'"):
        parse_plaintext(cbor.encode(fields | {"seen": "AI"}), version=1)


def test_the_length_does_not_show_what_was_settled() -> None:
    """Reads of one camera have one length, whether a format has their text or none."""
    reads = [
        make_plaintext("AB1", seen="AB1"),
        make_plaintext("AB1", seen="A81", format="LI-1923"),
        make_plaintext("AB12345678", seen="AB12345678", format="F" * 24, region="R" * 24, lane="L" * 24),
    ]
    assert len({len(encode_plaintext(read)) for read in reads}) == 1
