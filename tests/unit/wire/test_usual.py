"""The usual layouts: what is told by position is what the decoder tells, and everything else is left to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import FormatError
from agent.wire import cbor, usual
from agent.wire.cose import parse_sign1
from agent.wire.header import CONTENT_TYPE, MAX_SEQ, ChainPosition, SeenReceipt
from tests.fakes.envelopes import make_envelope

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MUTANTS = 4000
BODY_BYTES = (0, 200, 300, 70_000)
NUMBERS = (0, 1, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, MAX_SEQ)
ENVELOPES = [
    make_envelope(
        KEY,
        ChainPosition(chain=bytes(16), seq=number, prev=b"p" * 32, run=NUMBERS[-at]),
        bytes(BODY_BYTES[at % 4]),
        seen=SeenReceipt(b"receiver", number, b"d" * 32) if at % 2 else None,
        kids=[bytes((kid,)) * 32 for kid in range(1 + at % 8)],
    ).data
    for at, number in enumerate(NUMBERS)
]
MESSAGES = [parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=1 << 20, what="test") for data in ENVELOPES]
HEADERS = [message.protected_bytes for message in MESSAGES]
CONTENTS = [message.payload for message in MESSAGES]


@dataclass(frozen=True)
class Layout:
    """A function that is tried, inputs that it knows, and what it should make of the decoder's value."""

    find: Callable[[bytes], object]
    known: list[bytes]
    take: Callable[[object], object]


def of_tag(tag: int) -> Callable[[object], object]:
    """Return what gives the content of a value that has this tag."""
    return lambda value: value.value if type(value) is cbor2.CBORTag and value.tag == tag else "another value"


LAYOUTS = {
    "sign1_parts": Layout(usual.sign1_parts, ENVELOPES, of_tag(18)),
    "read_header": Layout(usual.read_header, HEADERS, lambda value: value),
    "encrypt_parts": Layout(usual.encrypt_parts, CONTENTS, of_tag(96)),
}


def decoded(layout: Layout, data: bytes) -> object:
    """Return what the decoder makes of bytes, with its types and the order of maps."""
    try:
        return repr(layout.take(cbor.decode(data, max_bytes=1 << 20, what="test", max_heads=128)))
    except FormatError:
        return "refused"


def mutants(layout: Layout, seed: int) -> Iterator[bytes]:
    """Yield damaged inputs: bytes changed, left out, put in, or taken from another input; mostly near the heads."""
    rng = random.Random(seed)
    for _ in range(MUTANTS):
        data = bytearray(rng.choice(layout.known))
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(min(len(data), rng.choice((8, 64, 400, len(data)))))
            at = at if rng.random() < 0.7 else len(data) - 1 - at
            match rng.randrange(5):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    data[at] = rng.choice((0, 0x18, 0x19, 0x40, 0x57, 0x58, 0x59, 0x5A, 0x5B, 0x5F, 0x80, 0xA0, 0xFF))
                case 2:
                    del data[at : at + rng.randint(1, 3)]
                case 3:
                    data[at:at] = rng.choice((b"\0", b"\x18", b"\x58\x05", b"\xa0", b"\x40", b"\xd8"))
                case _:
                    data[at:] = rng.choice(layout.known)[at:]
        yield bytes(data)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_a_unit_writes_is_told_as_the_decoder_tells_it(name: str) -> None:
    """With every width of a number, every length of a byte string, each number of recipients, with and without rcpt."""
    layout = LAYOUTS[name]
    assert [repr(layout.find(data)) for data in layout.known] == [decoded(layout, data) for data in layout.known]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_mutant_is_told_as_the_decoder_tells_it_or_left_to_the_decoder(name: str) -> None:
    """Nothing is taken that the decoder refuses or reads otherwise."""
    layout = LAYOUTS[name]
    found = [(repr(value), decoded(layout, data)) for data in mutants(layout, 5) if (value := layout.find(data))]
    assert len(found) > MUTANTS // 20
    assert [one for one in found if one[0] != one[1]] == []


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_beginning_of_a_message_is_taken_for_it(name: str) -> None:
    """Cut off at each byte, or followed by another one."""
    layout = LAYOUTS[name]
    short = [layout.known[1][:end] for end in range(len(layout.known[1]))]
    assert [layout.find(data) for data in [*short, layout.known[1] + b"\0"]] == [None] * (len(short) + 1)


@pytest.mark.parametrize(
    ("head", "length"), [("5817", 0x17), ("5900ff", 0xFF), ("5a0000ffff", 0xFFFF), ("5b0000000000010000", 0x10000)]
)
def test_a_byte_string_with_a_longer_head_than_it_needs_is_left_to_the_decoder(head: str, length: int) -> None:
    """And so is one of eight bytes of length, which no message of ours has."""
    data = b"\xd2\x84\x40\xa0" + bytes.fromhex(head) + bytes(length) + b"\x40"
    assert usual.sign1_parts(data) is None
