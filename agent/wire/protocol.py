"""The upload protocol's bodies: a request of envelopes, a reply of one answer per envelope.

Owns: `application/cbor-seq` (RFC 8742) in both directions, and the limits of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.envelope import MAX_ENVELOPE_BYTES
from agent.wire.receipt import MAX_RECEIPT_BYTES

MEDIA_TYPE: Final = "application/cbor-seq"
ENVELOPES_PATH: Final = "/v1/envelopes"
MAX_BATCH_ENVELOPES: Final = cbor.MAX_SEQUENCE_ITEMS
MAX_BATCH_BYTES: Final = 8 << 20
MAX_REASON_CHARS: Final = 200
MAX_WAIT_S: Final = 86_400
"""A receiver may put an envelope off for at most a day; the agent would ask again anyway."""
MAX_REPLY_BYTES: Final = MAX_BATCH_ENVELOPES * (MAX_RECEIPT_BYTES + 8)

_STORED: Final = 0
_REFUSED: Final = 1
_LATER: Final = 2


@dataclass(frozen=True, slots=True)
class Stored:
    """The receiver holds the envelope, now or since before; the receipt is still to be verified."""

    receipt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will never take this envelope."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """The receiver asks to be sent this envelope again after `wait_s` seconds."""

    wait_s: int


Answer = Stored | Refused | Later


def encode_request(envelopes: Sequence[bytes]) -> bytes:
    """Encode a batch: a CBOR sequence of byte strings."""
    return cbor.encode_sequence(list(envelopes))


def parse_request(body: bytes) -> list[bytes]:
    """Take a batch apart; the envelopes are not looked into.

    Raises:
        FormatError: Empty, too many or too long, or an item that is not a byte string.
    """
    values = cbor.decode_sequence(body, max_bytes=MAX_BATCH_BYTES, what="request", max_items=MAX_BATCH_ENVELOPES)
    envelopes = [cbor.as_bytes(value, None, "request") for value in values]
    if not envelopes:
        raise FormatError("request: no envelope")
    for envelope in envelopes:
        if len(envelope) > MAX_ENVELOPE_BYTES:
            raise FormatError(f"request: an envelope of {len(envelope)} bytes, at most {MAX_ENVELOPE_BYTES}")
    return envelopes


def encode_reply(answers: Sequence[Answer]) -> bytes:
    """Encode one answer per envelope, in the order of the request."""
    return b"".join(cbor.encode(_answer_value(answer)) for answer in answers)


def parse_reply(body: bytes, *, expected: int) -> list[Answer]:
    """Take a reply apart.

    Args:
        body: The reply's body.
        expected: How many envelopes were sent.

    Raises:
        FormatError: Not one well-formed answer per envelope.
    """
    values = cbor.decode_sequence(body, max_bytes=MAX_REPLY_BYTES, what="reply", max_items=MAX_BATCH_ENVELOPES)
    answers = [_parse_answer(value) for value in values]
    if len(answers) != expected:
        raise FormatError(f"reply: {len(answers)} answers for {expected} envelopes")
    return answers


def _answer_value(answer: Answer) -> list[object]:
    match answer:
        case Stored(receipt):
            return [_STORED, receipt]
        case Refused(reason):
            return [_REFUSED, reason[:MAX_REASON_CHARS]]
        case Later(wait_s):
            return [_LATER, wait_s]


def _parse_answer(value: object) -> Answer:
    kind, body = cbor.as_list(value, 2, "reply")
    match cbor.as_uint(kind, _LATER, "reply: kind"):
        case 0:
            return Stored(cbor.as_bytes(body, None, "reply: receipt"))
        case 1:
            return Refused(cbor.as_text(body, MAX_REASON_CHARS, "reply: reason"))
        case _:
            return Later(cbor.as_uint(body, MAX_WAIT_S, "reply: wait"))
