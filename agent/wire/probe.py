"""The probe: a unit's signed question whether its reads would be taken, and the receiver's signed answer.

It goes the whole way that an envelope goes, but nothing is stored: TLS with the unit's certificate, a signature by the
unit's enrolled key, the receiver's store, and a signature by its receipt key, which the unit has pinned. So an answer
that holds proves that a read would be taken, and that its receipt could be checked.

Owns: the layout of both messages. Their content types are their own: neither can pass for an envelope or a receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, ReceiptVerificationError
from agent.wire import cbor, cose
from agent.wire.header import DIGEST_BYTES, FORMAT_VERSION, MAX_SEQ
from agent.wire.times import as_time, to_ms

PROBE_PATH: Final = "/v1/probe"
PROBE_MEDIA_TYPE: Final = "application/cbor"
MAX_PROBE_BYTES: Final = 512
"""A probe has about 190 bytes, an answer 220."""
NONCE_BYTES: Final = 16

_PROBE: Final = "application/plateseal-probe+cbor"
_ANSWER: Final = "application/plateseal-probe-answer+cbor"
_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a receiver answers.

    Attributes:
        at: Aware UTC time of the receiver, whole milliseconds.
        log: The end of its log.
    """

    at: datetime
    log: int


def sign_probe(key: Ed25519PrivateKey, *, at: datetime, nonce: bytes) -> bytes:
    """Return a probe of the unit with this signing key; `at` is its aware time, `nonce` 16 random bytes."""
    return _sign(_PROBE, {"v": FORMAT_VERSION, "at": to_ms(at), "nonce": nonce}, key)


def parse_probe(data: bytes) -> cose.Sign1:
    """Parse a probe; its signature is still to be checked.

    Raises:
        FormatError: Not a probe of version 2.
    """
    message, fields = _parse(data, _PROBE, frozenset({"v", "at", "nonce"}), "probe")
    as_time(fields["at"], "probe: at")
    cbor.as_bytes(fields["nonce"], NONCE_BYTES, "probe: nonce")
    return message


def sign_answer(probe: bytes, answer: ProbeAnswer, key: Ed25519PrivateKey) -> bytes:
    """Return the receiver's answer to a probe; `key` is its receipt key."""
    fields: cbor.CborMap = {"v": FORMAT_VERSION, "probe": cbor.sha256(probe), "at": to_ms(answer.at), "log": answer.log}
    return _sign(_ANSWER, fields, key)


def verify_answer(data: bytes, probe: bytes, receiver_keys: Mapping[bytes, Ed25519PublicKey]) -> ProbeAnswer:
    """Check that a pinned receiver has answered this probe.

    Args:
        data: The answer as it came.
        probe: The probe that was sent.
        receiver_keys: The pinned receipt keys by key id.

    Raises:
        FormatError: Not an answer of version 2.
        ReceiptVerificationError: Another receipt key, a wrong signature, or the answer to another probe.
    """
    message, fields = _parse(data, _ANSWER, frozenset({"v", "probe", "at", "log"}), "answer")
    key = receiver_keys.get(message.kid)
    if key is None:
        pinned = ", ".join(kid.hex()[:16] for kid in receiver_keys)
        raise ReceiptVerificationError(f"answer: signed by receipt key {message.kid.hex()[:16]}, pinned is {pinned}")
    cose.verify_sign1(message, key, what="answer", error=ReceiptVerificationError)
    if cbor.as_bytes(fields["probe"], DIGEST_BYTES, "answer: probe") != cbor.sha256(probe):
        raise ReceiptVerificationError("answer: to another probe")
    return ProbeAnswer(as_time(fields["at"], "answer: at"), cbor.as_uint(fields["log"], MAX_SEQ, "answer: log"))


def _sign(content_type: str, fields: cbor.CborMap, key: Ed25519PrivateKey) -> bytes:
    header = cose.signed_header(content_type, cose.ed25519_kid(key.public_key()))
    return cose.sign1(cose.encode_protected(header), cbor.encode(fields), key)


def _parse(data: bytes, content_type: str, keys: frozenset[str], what: str) -> tuple[cose.Sign1, cbor.CborMap]:
    message = cose.parse_sign1(data, content_types=(content_type,), max_bytes=MAX_PROBE_BYTES, what=what)
    cbor.exact_keys(message.protected, _HEADER_KEYS, f"{what} header")
    fields = cbor.as_map(cbor.decode(message.payload, max_bytes=MAX_PROBE_BYTES, what=what), what)
    if type(fields.get("v")) is not int or fields["v"] != FORMAT_VERSION:
        raise FormatError(f"{what}: version {fields.get('v')!r:.20}, only {FORMAT_VERSION} is allowed")
    cbor.exact_keys(fields, keys, what)
    return message, fields
