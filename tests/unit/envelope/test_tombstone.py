"""Tombstones: signed, in the chain, and never taken for a read."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.opener import open_envelope
from agent.envelope import cbor, cose
from agent.envelope.sealed import parse_envelope, sign_tombstone, verify_envelope
from agent.envelope.tombstone import MAX_GONE, Gone, LossReason, Tombstone
from agent.errors import FormatError, PlatesealError
from agent.seal.chain import Chain
from tests.fakes.reads import NOON

KEY = Ed25519PrivateKey.generate()
GONE = tuple(Gone(b"\x01" * 16, seq, bytes([seq]) * 32) for seq in range(3))
EXPIRED = Tombstone(LossReason.EXPIRED, 3, NOON, NOON, GONE)
OVERFLOW = Tombstone(LossReason.OVERFLOW, 9, NOON, NOON)


@pytest.mark.parametrize("tombstone", [EXPIRED, OVERFLOW], ids=str)
def test_a_tombstone_parses_back_in_its_place(tombstone: Tombstone) -> None:
    """Same words, same chain position, a signature that holds."""
    chain = Chain()
    envelope = sign_tombstone(tombstone, KEY, chain.next)
    parsed = parse_envelope(envelope.data)
    assert parsed == envelope
    assert parsed.tombstone == tombstone
    verify_envelope(parsed, KEY.public_key())
    chain.advance(parsed)
    assert chain.next.prev == envelope.digest


def test_a_tombstone_does_not_open() -> None:
    """There is nothing in it."""
    with pytest.raises(FormatError):
        open_envelope(sign_tombstone(OVERFLOW, KEY, Chain().next), {})


@pytest.mark.parametrize(
    "arguments",
    [
        (LossReason.OVERFLOW, 0, NOON, NOON, ()),
        (LossReason.OVERFLOW, 3, NOON, NOON, GONE),
        (LossReason.EXPIRED, 3, NOON, NOON, ()),
        (LossReason.EXPIRED, 2, NOON, NOON, GONE),
        (LossReason.EXPIRED, MAX_GONE + 1, NOON, NOON, GONE * 400),
    ],
)
def test_counts_and_names_must_fit(arguments: tuple[object, ...]) -> None:
    """An expired read is named, an overflowed one cannot be."""
    with pytest.raises(FormatError, match="^tombstone"):
        Tombstone(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 2),
        ("reason", "theft"),
        ("count", -1),
        ("count", True),
        ("from", 1 << 60),
        ("gone", [[b"\x01" * 16, 0]]),
        ("gone", [[b"\x01" * 15, 0, b"\x00" * 32]] * 3),
        ("gone", [[b"\x01" * 16, 0, b"\x00" * 31]] * 3),
        ("gone", [0] * (MAX_GONE + 1)),
        ("surprise", 1),
        ("until", None),
    ],
)
def test_a_signed_tombstone_of_another_layout_is_refused(key: str, value: object) -> None:
    """Version, reason, ranges, unknown and missing fields."""
    envelope = sign_tombstone(EXPIRED, KEY, Chain().next)
    protected, _, payload, _ = cbor2.loads(envelope.data).value
    fields = cbor2.loads(payload)
    if value is None:
        del fields[key]
    else:
        fields[key] = value
    with pytest.raises(FormatError, match="^tombstone"):
        parse_envelope(cose.sign1(protected, cbor.encode(fields), KEY))


def test_every_flipped_bit_is_refused() -> None:
    """Exhaustive over a tombstone."""
    data = sign_tombstone(EXPIRED, KEY, Chain().next).data
    for index in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[index // 8] ^= 1 << (index % 8)
        with pytest.raises(PlatesealError):
            verify_envelope(parse_envelope(bytes(flipped)), KEY.public_key())
