"""Tombstones: signed, in the chain, and never taken for a read."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.opener import open_envelope
from agent.errors import FormatError, PlatesealError
from agent.seal.chain import Chain
from agent.wire import cbor, cose
from agent.wire.envelope import parse_envelope, sign_tombstone, verify_envelope
from agent.wire.tombstone import MAX_GONE, Gone, LossReason, Tombstone, merge_gone
from tests.fakes.reads import NOON

KEY = Ed25519PrivateKey.generate()
A, B = b"\x01" * 16, b"\x02" * 16
GONE = (Gone(A, 0, 0, b"\x00" * 32), Gone(A, 2, 5, b"\x05" * 32), Gone(B, 3, 3, b"\x03" * 32))
EXPIRED = Tombstone(LossReason.EXPIRED, 6, NOON, NOON, GONE)
EVICTED = Tombstone(LossReason.EVICTED, 900, NOON, NOON, GONE[:1])
OVERFLOW = Tombstone(LossReason.OVERFLOW, 9, NOON, NOON)


@pytest.mark.parametrize("tombstone", [EXPIRED, EVICTED, OVERFLOW], ids=["expired", "evicted", "overflow"])
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
        (LossReason.EXPIRED, 1 << 53, NOON, NOON, GONE),
        (LossReason.OVERFLOW, 3, NOON, NOON, GONE),
        (LossReason.EXPIRED, 3, NOON, NOON, ()),
        (LossReason.EVICTED, 3, NOON, NOON, ()),
        (LossReason.EVICTED, 3, NOON, NOON, GONE[::-1]),
        (LossReason.EVICTED, 3, NOON, NOON, GONE[:1] * 2),
        (LossReason.EVICTED, 3, NOON, NOON, (GONE[0], Gone(A, 1, 1, b"\x01" * 32))),
        (LossReason.EVICTED, 3, NOON, NOON, (GONE[1], Gone(A, 5, 9, b"\x01" * 32))),
        (LossReason.EXPIRED, 9, NOON, NOON, tuple(Gone(A, 2 * n, 2 * n, bytes(32)) for n in range(MAX_GONE + 1))),
    ],
    ids=[
        "none",
        "too many",
        "named overflow",
        "unnamed",
        "unnamed too",
        "order",
        "twice",
        "touch",
        "overlap",
        "ranges",
    ],
)
def test_counts_and_names_must_fit(arguments: tuple[object, ...]) -> None:
    """An accepted read is named, an overflowed one cannot be; there is one way to write a set of places."""
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
        ("gone", []),
        ("gone", [[A, 0, bytes(32)]]),
        ("gone", [[A[1:], 0, 0, bytes(32)]]),
        ("gone", [[A, 0, 0, bytes(31)]]),
        ("gone", [[A, 1, 0, bytes(32)]]),
        ("gone", [[A, 0, 1 << 53, bytes(32)]]),
        ("gone", [[A, -1, 0, bytes(32)]]),
        ("gone", [[B, 0, 0, bytes(32)], [A, 0, 0, bytes(32)]]),
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


@pytest.mark.parametrize(
    ("chain", "seq", "named"),
    [
        (A, 0, True),
        (A, 1, False),
        (A, 2, True),
        (A, 5, True),
        (A, 6, False),
        (B, 0, False),
        (B, 3, True),
        (B, 4, False),
    ],
)
def test_a_tombstone_covers_what_it_names(chain: bytes, seq: int, named: bool) -> None:
    """Both ends of a range included, and no place of another chain."""
    assert EXPIRED.covers(chain, seq) is named
    assert not OVERFLOW.covers(chain, seq)


def test_ranges_that_overlap_or_touch_are_joined() -> None:
    """The digest is the one of the end that lies behind."""
    one, two, three = Gone(A, 0, 4, b"\x04" * 32), Gone(A, 2, 3, b"\x03" * 32), Gone(A, 5, 5, b"\x05" * 32)
    assert merge_gone([three, GONE[2], one, two]) == (Gone(A, 0, 5, b"\x05" * 32), GONE[2])
    assert merge_gone([]) == ()


def test_every_flipped_bit_is_refused() -> None:
    """Exhaustive over a tombstone."""
    data = sign_tombstone(EXPIRED, KEY, Chain().next).data
    assert len(data) > cose.SIGNATURE_BYTES
    for index in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[index // 8] ^= 1 << (index % 8)
        with pytest.raises(PlatesealError):
            verify_envelope(parse_envelope(bytes(flipped)), KEY.public_key())
