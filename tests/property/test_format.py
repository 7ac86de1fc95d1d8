"""Generated records survive the round trip; generated damage does not."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import FormatError, PlatesealError
from agent.wire import cbor, suites
from agent.wire import protocol as reply
from agent.wire.envelope import parse_envelope, sign_tombstone
from agent.wire.header import ChainPosition
from agent.wire.keyring import Keyring, RecipientKey, encode_keyring, parse_keyring
from agent.wire.plaintext import ClockState, Direction, Plaintext, encode_plaintext, parse_plaintext
from agent.wire.protocol import Later, Refused, Stored
from agent.wire.receipt import Receipt, parse_receipt, sign_receipt
from agent.wire.tombstone import Gone, LossReason, Tombstone, merge_gone
from tests.fakes.envelopes import make_envelope
from tests.fakes.receipts import RECEIVER

names = st.text(max_size=64)
px = st.integers(0, 16384)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
times = st.integers(0, 10**12).map(lambda ms: EPOCH + timedelta(milliseconds=ms))


@st.composite
def plaintexts(draw: st.DrawFn) -> Plaintext:
    """Generate any read that the format allows."""
    text = draw(st.text(max_size=20))
    return Plaintext(
        camera=draw(names),
        captured_at=draw(times),
        clock=draw(st.sampled_from(ClockState)),
        text=text,
        confidences=tuple(draw(st.lists(st.integers(0, 1000), min_size=len(text), max_size=len(text)))),
        votes=draw(st.tuples(st.integers(0, 100), st.integers(0, 100))),
        region=draw(st.none() | names),
        detector_confidence=draw(st.integers(0, 1000)),
        box=draw(st.tuples(px, px, px, px)),
        frame_sequence=draw(st.integers(0, 2**53 - 1)),
        frame_wh=draw(st.tuples(px, px)),
        first_seen=draw(times),
        last_seen=draw(times),
        direction=draw(st.sampled_from(Direction)),
        crop=draw(st.binary(max_size=300)),
        detector_digest=draw(st.binary(min_size=32, max_size=32)),
        reader_digest=draw(st.binary(min_size=32, max_size=32)),
        agent_version=draw(names),
        site=draw(st.none() | names),
        position=draw(
            st.none() | st.tuples(st.integers(-90_000_000, 90_000_000), st.integers(-180_000_000, 180_000_000))
        ),
        lane=draw(st.none() | names),
        **draw(_settled(len(text))),
    )


@st.composite
def _settled(draw: st.DrawFn, length: int) -> dict[str, str | None]:
    if draw(st.booleans()):
        return {}
    return {"seen": draw(st.text(min_size=length, max_size=length)), "format": draw(st.none() | names)}


@given(plaintexts())
def test_every_read_parses_back(read: Plaintext) -> None:
    """parse(encode(x)) == x."""
    assert parse_plaintext(encode_plaintext(read)) == read


answers = st.one_of(
    st.binary(max_size=500).map(Stored),
    st.text(max_size=200).map(Refused),
    st.integers(0, 86_400).map(Later),
)


@given(st.lists(answers, max_size=64))
def test_every_reply_parses_back(sent: list[reply.Answer]) -> None:
    """In order and unchanged."""
    assert reply.parse_reply(reply.encode_reply(sent), expected=len(sent)) == sent


@given(st.binary(min_size=16, max_size=16), st.integers(1, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_every_place_in_a_chain_parses_back(chain: bytes, seq: int, prev: bytes) -> None:
    """Any chain, sequence and previous digest."""
    if prev == bytes(32):
        return
    position = ChainPosition(chain=chain, seq=seq, prev=prev)
    assert parse_envelope(make_envelope(RECEIVER, position).data).position == position


receipts = st.builds(
    Receipt,
    envelope_id=st.binary(min_size=32, max_size=32).map(bytes.hex),
    length=st.integers(0, 1 << 20),
    device_kid=st.binary(min_size=32, max_size=32),
    chain=st.binary(min_size=16, max_size=16),
    seq=st.integers(0, 2**53 - 1),
    stored_at=times,
    log_index=st.integers(0, 2**53 - 1),
)


@given(receipts)
def test_every_receipt_parses_back(receipt: Receipt) -> None:
    """parse(sign(x)) == x."""
    assert parse_receipt(sign_receipt(receipt, RECEIVER)) == receipt


@st.composite
def gones(draw: st.DrawFn) -> Gone:
    """Generate a range of places, of few chains so that they meet."""
    first, last = sorted((draw(places), draw(places)))
    return Gone(
        draw(st.sampled_from([b"\x01" * 16, b"\x02" * 16])), first, last, draw(st.binary(min_size=32, max_size=32))
    )


places = st.integers(0, 30) | st.integers(0, 2**53 - 1)
losses = st.sampled_from([LossReason.EXPIRED, LossReason.EVICTED])


@given(st.lists(gones(), max_size=20), losses, st.integers(1, 2**53 - 1), times, times)
def test_every_tombstone_parses_back(
    gone: list[Gone], loss: LossReason, count: int, first_at: datetime, last_at: datetime
) -> None:
    """With and without named places."""
    tombstone = Tombstone(loss if gone else LossReason.OVERFLOW, count, first_at, last_at, merge_gone(gone))
    position = ChainPosition(chain=bytes(16), seq=1, prev=b"\x01" * 32)
    assert parse_envelope(sign_tombstone(tombstone, RECEIVER, position).data).tombstone == tombstone


@given(
    st.lists(gones(), min_size=1, max_size=20), losses, st.integers(0, 40), st.sampled_from([b"\x01", b"\x02", b"\x03"])
)
def test_merged_ranges_cover_what_they_were_made_of(gone: list[Gone], loss: LossReason, seq: int, chain: bytes) -> None:
    """No place more and none less; the digest at a range's end is that of a range which ended there."""
    tombstone = Tombstone(loss, 1, EPOCH, EPOCH, merge_gone(gone))
    position = ChainPosition(chain * 16, seq, bytes(31) + bytes([seq > 0]))
    covered = any(each.chain == position.chain and each.first <= seq <= each.last for each in gone)
    assert tombstone.covers(position.chain, position.seq) == covered
    ends = {(each.chain, each.last, each.digest) for each in gone}
    assert all((each.chain, each.last, each.digest) in ends for each in tombstone.gone)


@st.composite
def keyrings(draw: st.DrawFn) -> Keyring:
    """Generate keyrings of a few recipients and epochs, of every key type."""
    keys = []
    for _ in range(draw(st.integers(1, 4))):
        suite = suites.SUITES[draw(st.sampled_from(suites.KeyType))]
        public = suite.derive_public(draw(st.binary(min_size=32, max_size=32).filter(lambda raw: 0 < raw[0] < 255)))
        begin = draw(times)
        keys.append(
            RecipientKey(
                suite=suite,
                public=public,
                kid=suite.kid(public),
                recipient=draw(st.text(min_size=1, max_size=64)),
                valid_from=begin,
                valid_until=begin + timedelta(milliseconds=draw(st.integers(1, 10**10))),
            )
        )
    ordered = tuple(sorted(keys, key=lambda key: key.valid_from))
    return Keyring(serial=draw(st.integers(0, 2**53 - 1)), keys=ordered)


@given(keyrings())
def test_every_keyring_parses_back(keyring: Keyring) -> None:
    """parse(sign(x)) == x, and for any moment it gives one key per recipient."""
    assert parse_keyring(encode_keyring(keyring, RECEIVER), RECEIVER.public_key()) == keyring
    chosen = keyring.keys_at(datetime(2000, 1, 1, tzinfo=UTC))
    assert {key.recipient for key in chosen} == {key.recipient for key in keyring.keys}
    assert len(chosen) == len({key.recipient for key in chosen})


@given(st.binary(max_size=400))
@settings(max_examples=10 * settings().max_examples)
def test_random_bytes_raise_our_errors_only(data: bytes) -> None:
    """Every parser of outside bytes."""
    for parse in (parse_envelope, parse_plaintext):
        with pytest.raises(PlatesealError):
            parse(data)
    with suppress(PlatesealError):  # an empty item is a request
        reply.parse_request(data)


cbor_values = st.recursive(
    st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20) | st.booleans() | st.none(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.integers(-24, 23), children, max_size=4),
    max_leaves=10,
)


@given(cbor_values)
def test_every_value_has_one_encoding(value: object) -> None:
    """decode(encode(x)) == x, and encoding that again gives the same bytes."""
    data = cbor.encode(value)
    decoded = cbor.decode(data, max_bytes=len(data), what="test", max_heads=len(data))
    assert decoded == value
    assert cbor.encode(decoded) == data


@given(cbor_values, st.binary(min_size=1, max_size=5))
def test_nothing_may_follow_a_value(value: object, rest: bytes) -> None:
    """Trailing bytes are refused whatever they are."""
    data = cbor.encode(value) + rest
    with pytest.raises(FormatError):
        cbor.decode(data, max_bytes=len(data), what="test", max_heads=len(data))
