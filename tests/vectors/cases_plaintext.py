"""Vectors of what a read says, and of the read that is held for a case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.wire.cbor import encode
from tests.vectors.keys import ABSENT, CASE, DEVICE, seed
from tests.vectors.messages import (
    MAX_SEQ,
    READ,
    ZEROS,
    Map,
    envelope,
    flip,
    recipient,
)
from tests.vectors.vector import Vector, accepted, map_faults, refused


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _right_plaintexts()
    yield from _plaintext_faults()
    yield from _held()


_EMOJI = "\U0001f697"


def _right_plaintexts() -> Iterator[Vector]:
    longest = READ | {
        "camera": "c" * 64,
        "text": "W" * 20,
        "confidences": [1000] * 20,
        "lane": "l" * 64,
        "votes": [1, 1_000_000],
    }
    edges = READ | {"captured_at": 253_402_300_799_999, "frame": MAX_SEQ, "position": [-90_000_000, 180_000_000]}
    nothing = READ | {"text": "", "confidences": [], "camera": "", "agent": "", "votes": [0, 0], "captured_at": 0}
    astral = READ | {"camera": _EMOJI * 64}
    crop = READ | {"crop": b"\xff\xd8\xff\xe0" + bytes(300)}
    for name, why, read in (
        ("right-least", "Every required field and no other.", READ),
        ("right-longest", "Texts and numbers as long as they may be.", longest),
        ("right-edges", "The last time, the highest frame, the south pole and the 180th meridian.", edges),
        ("right-empty", "No character, and nobody said where.", nothing),
        ("right-64-characters-of-four-bytes", "Characters are Unicode code points: 64 of them, 256 bytes.", astral),
        ("right-crop", "A read with a picture.", crop),
    ):
        yield accepted("plaintext", name, why, encode(read), read)


def _plaintext_faults() -> Iterator[Vector]:
    yield from map_faults("plaintext", READ, lambda data: data)
    yield refused("plaintext", "truncated", "The last byte is missing.", encode(READ)[:-1], "encoding")
    yield refused("plaintext", "trailing-byte", "A zero byte follows.", encode(READ) + b"\x00", "encoding")
    yield refused("plaintext", "array", "An array stands where the map must.", encode([1]), "value")
    faults: dict[str, tuple[str, Map]] = {
        "fewer-confidences": ("Six confidences for seven characters.", {"confidences": [900] * 6}),
        "confidence-too-high": ("A confidence of 1001 thousandths.", {"confidences": [1001] * 7}),
        "long-text": ("A plate of 21 characters.", {"text": "W" * 21, "confidences": [1] * 21}),
        "long-camera": ("A camera's name of 65 characters.", {"camera": "c" * 65}),
        "text-as-bytes": ("The plate is a byte string.", {"text": b"AB123CD"}),
        "unknown-clock": ("A state of the clock that there is not.", {"clock": "guessed"}),
        "unknown-direction": ("A direction that there is not.", {"direction": "left"}),
        "three-votes": ("Three numbers of votes.", {"votes": [1, 2, 3]}),
        "too-many-votes": ("More looks than there may be.", {"votes": [1, 1_000_001]}),
        "box-of-three": ("A box of three numbers.", {"box": [10, 20, 110]}),
        "box-too-large": ("A box beyond 16384 pixels.", {"box": [10, 20, 16_385, 50]}),
        "negative-box": ("A box that begins at -1.", {"box": [-1, 20, 110, 50]}),
        "negative-time": ("A time before 1970.", {"captured_at": -1}),
        "time-too-late": ("A time after the year 9999.", {"last_seen": 253_402_300_800_000}),
        "beyond-the-pole": ("A latitude of more than 90 degrees.", {"position": [90_000_001, 0]}),
        "beyond-the-meridian": ("A longitude of less than -180 degrees.", {"position": [0, -180_000_001]}),
        "null-region": ("A region that is null; where it is unknown it is left out.", {"region": None}),
        "crop-as-text": ("The picture is a text.", {"crop": "JFIF"}),
        "short-digest": ("A model's digest of 31 bytes.", {"models": {"detector": bytes(31), "reader": ZEROS}}),
        "boolean-detector": ("The detector's confidence is `true`.", {"detector": True}),
        "frame-too-high": ("The frame's number is 2^53.", {"frame": MAX_SEQ + 1}),
    }
    for name, (why, change) in faults.items():
        yield refused("plaintext", name, why, encode(READ | change), "value")
    one_model = READ | {"models": {"detector": ZEROS}}
    yield refused("plaintext", "one-model", "The reader's digest is missing.", encode(one_model), "field")


def _held() -> Iterator[Vector]:
    context = {"device": DEVICE.public.hex(), "envelope": envelope().hex(), "keys": [CASE.context]}

    def fault(name: str, why: str, slot: list[Any] | bytes, cause: str) -> Vector:
        return refused("held", name, why, slot if isinstance(slot, bytes) else encode(slot), cause, **context)

    right = recipient(CASE)
    yield accepted(
        "held", "right", "The case's key opens the read, and no epoch's key does.", encode(right), READ, **context
    )
    other = recipient(CASE, content_key=seed("another content key"))
    yield fault("of-another-read", "The content key of another read is held.", other, "ciphertext")
    yield fault(
        "altered", "One bit of the sealed content key is flipped.", [*right[:2], flip(right[2], 0)], "sealed-key"
    )
    yield fault("for-another-case", "It is held for somebody whose key is not here.", recipient(ABSENT), "recipient")
    yield fault("four-parts", "There are four parts.", [*right, []], "value")
    yield fault("trailing-byte", "A zero byte follows.", encode(right) + b"\x00", "encoding")
    yield fault("truncated", "The last byte is missing.", encode(right)[:-1], "encoding")
    alg = [encode({1: 35, 4: CASE.kid}), *right[1:]]
    yield fault("unknown-algorithm", "The algorithm is 35 (HPKE-0).", alg, "algorithm")
