"""One test vector, the file it is written to, and the faults that every message can have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from agent.wire.cbor import encode
from tests.vectors.keys import Signer
from tests.vectors.messages import Encoded, Map, add_order, canonical, changed, encode_map, flip_part, set_part, sign1

LAYOUT_VERSION: Final = 1
LINE_BYTES: Final = 64
RUN_BYTES: Final = 256
"""From here on a run of one byte is told by its length."""
_RUN: Final = re.compile(rb"(.)\1{%d,}" % (RUN_BYTES - 1), re.DOTALL)
OPENING: Final = frozenset({"recipient", "sealed-key", "commitment", "ciphertext"})
CHECKS: Final = frozenset({"signer", "signature", "proof", "mismatch", "rollback", "same-key", "ended"})
"""Causes that only a well-formed message can have."""
VERIFICATION: Final = {
    "envelope": "EnvelopeVerificationError",
    "tombstone": "EnvelopeVerificationError",
    "receipt": "ReceiptVerificationError",
    "keyring": "KeyringVerificationError",
    "rotation": "VerificationError",
    "held": "VerificationError",
    "renewal": "VerificationError",
    "probe": "VerificationError",
    "probe-answer": "ReceiptVerificationError",
    "enrolment": "VerificationError",
    "bundle": "BundleVerificationError",
}
ONE_ERROR: Final = {
    "key-file": "KeyFileError",
    "audit-log": "AuditVerificationError",
    "audit-head": "AuditVerificationError",
    "renewal-answer": "KeyFileError",
    "device-record": "ReceiverError",
    "export": "VerificationError",
}
"""Messages whose every fault is one error."""
OTHERWISE: Final = {("renewal-answer", "size"): "TransportError", ("enrolment", "key-id"): "VerificationError"}


@dataclass(frozen=True, slots=True)
class Vector:
    """A message, what it is judged with, what the judgement must be, and what its writer has on the way to it."""

    message: str
    name: str
    why: str
    data: bytes | dict[str, bytes]
    context: Map
    expect: Map
    steps: Map | None = None

    @property
    def file(self) -> str:
        """Its file, relative to the folder of vectors."""
        return f"{self.message}/{self.name}.json"

    def with_steps(self, steps: Map) -> Vector:
        """Return the same vector with the steps of its writer."""
        return replace(self, steps=steps)

    def renamed(self, name: str) -> Vector:
        """Return the same vector under another name."""
        return replace(self, name=name)

    def text(self) -> str:
        """Return the file's content."""
        value: Map = {
            "vector": LAYOUT_VERSION,
            "format": 2 if self.name.startswith("2-") else 1,
            "message": self.message,
            "why": self.why,
            "expect": self.expect,
            "context": self.context,
        }
        if isinstance(self.data, bytes):
            value["data"] = list(_pieces(self.data))
        else:
            value["files"] = {name: list(_pieces(data)) for name, data in self.data.items()}
        if self.steps is not None:
            value["steps"] = plain(self.steps)
        return json.dumps(value, indent=1) + "\n"


def accepted(message: str, name: str, why: str, data: bytes | dict[str, bytes], values: Any, **context: Any) -> Vector:
    """Return a vector that is right, with the values that its reader must find."""
    return Vector(message, name, why, data, context, {"outcome": "accepted", "values": plain(values)})


def refused(message: str, name: str, why: str, data: bytes | dict[str, bytes], cause: str, **context: Any) -> Vector:
    """Return a vector with a fault."""
    return Vector(
        message, name, why, data, context, {"outcome": "refused", "error": error_of(message, cause), "cause": cause}
    )


def error_of(message: str, cause: str) -> str:
    """Return the class in `agent.errors` for a cause."""
    if (message, cause) in OTHERWISE:
        return OTHERWISE[message, cause]
    if message in ONE_ERROR:
        return ONE_ERROR[message]
    if cause in OPENING:
        return "OpenError"
    return VERIFICATION[message] if cause in CHECKS else "FormatError"


def plain(value: Any) -> Any:
    """Return a value as JSON has it: byte strings in hex, keys as text."""
    match value:
        case bytes():
            return value.hex()
        case list() | tuple():
            return [plain(part) for part in value]
        case dict():
            return {str(key): plain(part) for key, part in value.items()}
        case _:
            return value


def sign1_steps(head: Map, payload: Map) -> Map:
    """Return what a writer has on its way to a COSE_Sign1."""
    protected, encoded = encode(head), encode(payload)
    signed = encode(["Signature1", protected, b"", encoded])
    return {"protected": protected, "payload": encoded, "sig_structure": signed}


def sign1_faults(
    message: str, head: Map, payload: bytes, signer: Signer, other: Signer, *, replaced: bytes | None, **context: Any
) -> Iterator[Vector]:
    """Yield what can be wrong with any COSE_Sign1.

    Args:
        message: Its kind.
        head: The protected header of a right one.
        payload: Its payload.
        signer: Who signs it.
        other: A signer of the same kind who is not the one that is expected.
        replaced: Another well-formed payload, where its signature is the first thing that shows it is not signed.
        context: What it is judged with.
    """
    right = sign1(head, payload, signer)

    def fault(name: str, why: str, data: bytes, cause: str) -> Vector:
        return refused(message, name, why, data, cause, **context)

    def altered(name: str, why: str, alter: Callable[[list[Any]], Any], cause: str) -> Vector:
        return fault(name, why, sign1(head, payload, signer, alter=alter), cause)

    def headed(name: str, why: str, new: Map | bytes, cause: str) -> Vector:
        return fault(name, why, sign1(new, payload, signer), cause)

    yield fault("truncated", "The last byte is missing.", right[:-1], "encoding")
    yield fault("trailing-byte", "A zero byte follows the message.", right + b"\x00", "encoding")
    yield fault("untagged", "The array of four stands there without its tag 18.", right[1:], "value")
    yield fault("wrong-tag", "Tag 96 stands where 18 must.", sign1(head, payload, signer, tag=96), "value")
    yield fault("foreign-tag", "Tag 55799 stands before the message.", b"\xd9\xd9\xf7" + right, "encoding")
    yield fault("long-array-length", "The array's length 4 takes two bytes.", b"\xd2\x98\x04" + right[2:], "encoding")
    yield fault(
        "indefinite-array", "The array has no length but an end.", b"\xd2\x9f" + right[2:] + b"\xff", "encoding"
    )
    yield altered("three-parts", "The signature is left out.", lambda parts: parts.pop(), "value")
    yield altered("header-as-map", "The protected header is a map, not a byte string.", set_part(0, head), "value")
    yield altered("detached-payload", "null stands where the payload must.", set_part(2, None), "value")
    yield altered("unprotected-header", "The unprotected header is not empty.", set_part(1, {4: signer.kid}), "field")
    yield altered(
        "short-signature", "The signature has 63 bytes.", lambda parts: parts.append(parts.pop()[:-1]), "value"
    )
    yield altered("altered-signature", "One bit of the signature is flipped.", flip_part(3), "signature")
    yield altered(
        "signature-plus-order", "S of the signature is S + L, the same number modulo the order.", add_order, "signature"
    )
    if replaced is not None:
        yield altered(
            "replaced-payload", "Another payload stands under the signature.", set_part(2, replaced), "signature"
        )
    yield headed("wrong-algorithm", "The header names ES256 (-7).", head | {1: -7}, "algorithm")
    yield headed(
        "unknown-content-type",
        "The content type is none of this format.",
        head | {3: "application/cbor"},
        "content-type",
    )
    yield headed("unknown-header", "The protected header has a field too many.", head | {"x": 0}, "field")
    yield headed("short-key-id", "The key id has 31 bytes.", head | {4: signer.kid[:31]}, "value")
    yield headed(
        "header-order",
        "The protected header's keys are in reverse order.",
        encode_map(canonical(head)[::-1]),
        "encoding",
    )
    yield fault(
        "wrong-signer",
        "Another key signed it, and the header names that key.",
        sign1(head | {4: other.kid}, payload, other),
        "signer",
    )
    yield fault(
        "signed-by-another", "Another key signed it under this key's id.", sign1(head, payload, other), "signature"
    )


def map_faults(
    message: str, right: Map, wrap: Callable[[bytes], bytes], *, prefix: str = "", **context: Any
) -> Iterator[Vector]:
    """Yield what can be wrong with any versioned map; `wrap` seals and signs around its encoding."""
    pairs = canonical(right)
    data = encode(right)
    last = pairs[-1][0]

    def fault(name: str, why: str, encoded: bytes, cause: str) -> Vector:
        return refused(message, prefix + name, why, wrap(encoded), cause, **context)

    def version(part: bytes) -> bytes:
        return encode_map([(key, Encoded(part) if key == "v" else value) for key, value in pairs])

    yield fault("long-integer", "The version, 1, takes two bytes.", version(b"\x18\x01"), "encoding")
    yield fault("map-order", "The map's keys are in reverse order.", encode_map(pairs[::-1]), "encoding")
    yield fault("duplicate-key", "The map's first key stands there twice.", encode_map([pairs[0], *pairs]), "encoding")
    yield fault("indefinite-map", "The map has no length but an end.", b"\xbf" + data[1:] + b"\xff", "encoding")
    yield fault("float", "The version is the float 1.0.", version(b"\xf9\x3c\x00"), "encoding")
    yield fault("unused-tag", "The version is a tagged time (tag 1).", version(b"\xc1\x01"), "encoding")
    yield fault("unknown-field", "The map has a field too many.", encode(right | {"x": 0}), "field")
    yield fault("missing-field", f"The field {last!r} is missing.", encode(changed(right, last)), "field")
    yield fault("version-3", "The version is 3.", encode(right | {"v": 3}), "version")
    yield fault(
        "version-true",
        "The version is `true`, which some languages take for 1.",
        encode(right | {"v": True}),
        "version",
    )


def _pieces(data: bytes) -> Iterator[Any]:
    """Yield lines of hex, and runs of one byte as what is repeated and how many times."""
    rest = 0
    for run in _RUN.finditer(data):
        yield from _lines(data[rest : run.start()])
        yield {"repeat": run[1].hex(), "times": len(run[0])}
        rest = run.end()
    yield from _lines(data[rest:])


def _lines(data: bytes) -> Iterator[str]:
    return (data[at : at + LINE_BYTES].hex() for at in range(0, len(data), LINE_BYTES))
