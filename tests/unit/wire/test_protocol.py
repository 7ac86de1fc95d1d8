"""The bodies of the upload protocol."""

from __future__ import annotations

import pytest

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire import protocol as reply
from agent.wire.envelope import MAX_ENVELOPE_BYTES
from agent.wire.protocol import Answer, Later, Refused, Stored

ANSWERS: list[Answer] = [Stored(b"r" * 300), Refused("fork"), Later(60), Stored(b"")]


def test_a_request_gives_back_its_envelopes() -> None:
    """In order, byte for byte."""
    envelopes = [b"a", b"bb", b"c" * 1000]
    assert reply.parse_request(reply.encode_request(envelopes)) == envelopes


def test_a_reply_gives_back_its_answers() -> None:
    """Every kind of answer, in order."""
    assert reply.parse_reply(reply.encode_reply(ANSWERS), expected=4) == ANSWERS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        cbor.encode(1),
        cbor.encode("text"),
        cbor.encode([b"a"]),
        b"\x41",
        cbor.encode_sequence([b""] * 65),
        cbor.encode(b"x" * (MAX_ENVELOPE_BYTES + 1)),
        b"x" * (reply.MAX_BATCH_BYTES + 1),
    ],
)
def test_a_bad_request_is_refused(body: bytes) -> None:
    """Empty, other items, cut off, too many, too long."""
    with pytest.raises(FormatError):
        reply.parse_request(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        cbor.encode([0, b""]) * 2,
        cbor.encode([3, b""]),
        cbor.encode([0]),
        cbor.encode([0, "text"]),
        cbor.encode([1, b"bytes"]),
        cbor.encode([1, "x" * 201]),
        cbor.encode([2, -1]),
        cbor.encode([2, 86401]),
        cbor.encode([True, b""]),
        cbor.encode({0: b""}),
        b"<html>",
    ],
)
def test_a_bad_reply_is_refused(body: bytes) -> None:
    """Not exactly one well-formed answer for the one envelope that was sent."""
    with pytest.raises(FormatError):
        reply.parse_reply(body, expected=1)


def test_a_long_reason_is_cut_to_the_limit() -> None:
    """The receiver's words fit the agent's limit."""
    (answer,) = reply.parse_reply(reply.encode_reply([Refused("x" * 500)]), expected=1)
    assert answer == Refused("x" * 200)
