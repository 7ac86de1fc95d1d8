"""Deterministic CBOR: one encoding per value, and a limit on everything."""

from __future__ import annotations

import cbor2
import pytest

from agent.errors import FormatError
from agent.wire import cbor

MALFORMED = {
    "empty": b"",
    "trailing byte": b"\x01\x00",
    "integer not in shortest form": b"\x18\x01",
    "indefinite array": b"\x9f\x01\xff",
    "indefinite byte string": b"\x5f\x41\x00\xff",
    "map keys out of order": b"\xa2\x02\x00\x01\x00",
    "duplicate map key": b"\xa2\x01\x00\x01\x00",
    "float not in shortest form": b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00",
    "text that is not UTF-8": b"\x62\xff\xff",
    "truncated array": b"\x82\x01",
    "length beyond the input": b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "array length beyond memory": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "nested a hundred thousand deep": b"\x81" * 100_000 + b"\x00",
    "array that holds itself": b"\xd8\x1c\x81\xd8\x1d\x00",
    "pattern that does not compile": b"\xd8\x23\x61(",
    "reserved additional information": b"\x1c",
    "break without a start": b"\xff",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_input_is_refused_by_our_error_only(name: str) -> None:
    """Nothing but FormatError leaves the decoder, whatever the bytes."""
    with pytest.raises(FormatError):
        cbor.decode(MALFORMED[name], max_bytes=1 << 20, what="test")


def test_map_keys_are_ordered_bytewise_as_rfc_8949_asks() -> None:
    """Integers and short texts sort as RFC 8949 4.2.1 says: 1, 4, -4, "ps"."""
    assert cbor.encode({"ps": 0, -4: 0, 4: 0, 1: 0}).hex() == "a40100040023006270 7300".replace(" ", "")


def test_what_stands_inside_a_tag_is_plain_lists_and_maps() -> None:
    """At any depth, in tags in tags too, whichever major version of cbor2 decodes."""
    value = cbor2.CBORTag(18, [b"", {1: [{2: []}]}, cbor2.CBORTag(96, [{3: [4]}, [cbor2.CBORTag(16, [{}])]])])
    decoded = cbor.decode(cbor.encode(value), max_bytes=100, what="test")
    assert shape(decoded) == "tag 18 [bytes, {int: [{int: []}]}, tag 96 [{int: [int]}, [tag 16 [{}]]]]"


@pytest.mark.parametrize("head_at", [4096, 2 * 4096])
def test_an_item_may_begin_anywhere(head_at: int) -> None:
    """Where the decoder's read of 4096 bytes ends too: some versions of cbor2 6 lost their place there."""
    for before in range(1, 21):
        length = head_at - before
        value = [bytes(length), 2**40, "text", {"map": [bytes(length)]}]
        assert cbor.decode(cbor.encode(value), max_bytes=1 << 20, what="test") == value


def test_an_encoder_is_whole_again_after_a_value_that_it_cannot_encode() -> None:
    """The next value is encoded as if nothing had been, for the encoder of a thread lives on."""
    with pytest.raises(cbor2.CBOREncodeError):
        cbor.encode([1, {2: object()}])
    assert cbor.encode({1: [2]}) == bytes.fromhex("a1018102")


def shape(value: object) -> str:
    """Return the exact types that a value is made of, as text."""
    if type(value) is cbor2.CBORTag:
        return f"tag {value.tag} {shape(value.value)}"
    if type(value) is list:
        return f"[{', '.join(map(shape, value))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{shape(key)}: {shape(item)}' for key, item in value.items())}}}"
    return type(value).__name__


def test_an_input_over_the_limit_is_not_looked_at() -> None:
    """The size is checked before anything is parsed."""
    with pytest.raises(FormatError, match="at most 3 are allowed"):
        cbor.decode(b"\xff" * 4, max_bytes=3, what="test")


def test_a_sequence_gives_its_items_in_order() -> None:
    """RFC 8742: items follow each other with nothing between."""
    data = cbor.encode_sequence([b"a", b"", b"ccc"])
    assert list(cbor.decode_sequence(data, max_bytes=100, what="test")) == [b"a", b"", b"ccc"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01" * 65, "more than 64 items"),
        (b"\x01\x18\x01", "item 1 is not deterministic"),
        (b"\x01\x41", "not CBOR"),
        (b"\x01" * 101, "at most 100"),
    ],
)
def test_a_bad_sequence_is_refused(data: bytes, message: str) -> None:
    """Too many, too long, or an item that is not deterministic."""
    with pytest.raises(FormatError, match=message):
        list(cbor.decode_sequence(data, max_bytes=100, what="test"))


def test_megabytes_of_tiny_items_are_refused_at_once() -> None:
    """Eight million one-byte items: nobody walks over more of them than the sequence may have."""
    with pytest.raises(FormatError, match="more than 1024 CBOR items"):
        list(cbor.decode_sequence(bytes(8 << 20), max_bytes=8 << 20, what="test"))


@pytest.mark.parametrize(
    "call",
    [
        lambda: cbor.as_map([], "x"),
        lambda: cbor.as_list({}, None, "x"),
        lambda: cbor.as_list([1], 2, "x"),
        lambda: cbor.as_bytes("a", None, "x"),
        lambda: cbor.as_bytes(b"a", 2, "x"),
        lambda: cbor.as_text(b"a", 5, "x"),
        lambda: cbor.as_text("aa", 1, "x"),
        lambda: cbor.as_uint(True, 5, "x"),
        lambda: cbor.as_uint(-1, 5, "x"),
        lambda: cbor.as_uint(6, 5, "x"),
        lambda: cbor.exact_keys({}, frozenset({1}), "x"),
        lambda: cbor.exact_keys({2: 0}, frozenset(), "x"),
    ],
)
def test_a_value_of_another_type_or_size_is_refused(call: object) -> None:
    """Every narrowing helper raises FormatError, also for a bool where a number is wanted."""
    with pytest.raises(FormatError, match="^x"):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("length", [0, 1, 23, 24, 255, 256, 65_535, 65_536, 1 << 20])
def test_the_head_of_a_byte_string_is_what_the_encoder_writes(length: int) -> None:
    """So that a long string need not go through it."""
    assert cbor.bytes_head(length) + bytes(length) == cbor.encode(bytes(length))


def test_the_head_of_a_string_too_long_for_memory() -> None:
    """Eight bytes of length, as in RFC 8949."""
    assert cbor.bytes_head(1 << 32) == bytes.fromhex("5b0000000100000000")
