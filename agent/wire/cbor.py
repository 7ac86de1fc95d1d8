"""Deterministic CBOR (RFC 8949, section 4.2.1), strict in both directions, with a size limit on every read.

Owns: the one way plateseal turns values into bytes and back. Leaves to others: what the values mean.

Invariant: `decode(encode(x)) == x`, and `decode` accepts only bytes that `encode` would have written. So two
different byte strings never mean the same thing, and a digest of the bytes is a digest of the meaning.

Only the types that our formats use are taken: maps, arrays, texts, byte strings, integers, true, false, null, and the
tags of COSE messages. Everything else is refused before cbor2 sees it: a tag such as 36 (MIME) or 35 (pattern) would
wake a parser that nobody asked for, on bytes that a stranger chose.

The map keys of our records are integers between -24 and 23 and texts shorter than 24 bytes. For these the
length-first order that cbor2 calls canonical and the bytewise order of RFC 8949 are the same order.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from enum import StrEnum
from io import BytesIO
from typing import Any, Final, TypeVar

import cbor2

from agent.errors import FormatError

CborMap = dict[object, object]

_BYTES, _TEXT, _TAG, _SIMPLE = 2, 3, 6, 7
_ONE_BYTE, _EIGHT_BYTES = 24, 27
_FALSE_TRUE_NULL = (20, 21, 22)

_Choice = TypeVar("_Choice", bound=StrEnum)

MAX_CHOICE_CHARS: Final = 64
TAGS: Final = frozenset({16, 18, 96})
"""COSE_Encrypt0, COSE_Sign1, COSE_Encrypt (RFC 9052, table 1)."""
MAX_HEADS: Final = 64
"""Heads (RFC 8949, section 3) of one value, nested ones too, unless its record has long lists; the fullest header of an
envelope has 27. Without a limit a megabyte of the tiniest items keeps every thread waiting for more than a second."""
MAX_SEQUENCE_ITEMS: Final = 64
"""Items in one CBOR sequence (RFC 8742): the largest batch of the upload protocol."""
MAX_HEADS_AN_ITEM: Final = 16
"""Heads in a sequence for each item it may have; ours have four. Megabytes of the tiniest items would take seconds."""


class _ThisThread(threading.local):
    """An encoder for each thread: making one for every value takes three times as long as encoding it."""

    def __init__(self) -> None:
        self.encoder = cbor2.CBOREncoder(BytesIO(), canonical=True)


_this_thread = _ThisThread()


def _plain_inside_tags() -> dict[str, Any]:
    """Return the decoder's arguments that make what stands inside a tag lists and dicts, as they are elsewhere.

    cbor2 5 makes them so by itself. cbor2 6 makes tuples and frozen maps of them, so that every tag can be the key of a
    map, unless the tag has a decoder of its own. Those decoders are what tells the two apart: cbor2 5 knows none.
    """
    decoders = {tag: lambda content, _, tag=tag: cbor2.CBORTag(tag, content) for tag in TAGS}
    arguments: dict[str, Any] = {"semantic_decoders": decoders}
    try:
        cbor2.CBORDecoder(BytesIO(), **arguments)
    except TypeError:
        return {}
    return arguments


_DECODER_ARGUMENTS: Final[dict[str, Any]] = {"str_errors": "strict", **_plain_inside_tags()}


def encode(value: object) -> bytes:
    """Encode a value of maps, lists, text, bytes, integers and tags, deterministically."""
    try:
        return _this_thread.encoder.encode_to_bytes(value)
    except BaseException:
        _this_thread.encoder = cbor2.CBOREncoder(BytesIO(), canonical=True)  # this one may be half-way through
        raise


def decode(data: bytes, *, max_bytes: int, what: str, max_heads: int = MAX_HEADS) -> object:
    """Decode exactly one deterministic CBOR value.

    Args:
        data: The whole input.
        max_bytes: Longest input looked at.
        what: The record's name, for the error message.
        max_heads: Most heads of items looked at, nested ones too.

    Raises:
        FormatError: Too long, too many items, not CBOR, trailing bytes, or not the deterministic encoding of its value.
    """
    if len(data) > max_bytes:
        raise FormatError(f"{what}: {len(data)} bytes, at most {max_bytes} are allowed")
    _refuse_other_types(data, what, max_heads=max_heads)
    value = _load(BytesIO(data), what)
    if _encode_again(value, what) != data:
        raise FormatError(f"{what}: not deterministic CBOR (RFC 8949, 4.2.1), or followed by other bytes")
    return value


def decode_padded(data: bytes, *, max_bytes: int, what: str, max_heads: int = MAX_HEADS) -> object:
    """Decode one deterministic CBOR value, which any number of zero bytes may follow.

    Raises:
        FormatError: Too long, too many items, not CBOR, not deterministic, or followed by something else than zero
            bytes.
    """
    if len(data) > max_bytes:
        raise FormatError(f"{what}: {len(data)} bytes, at most {max_bytes} are allowed")
    _refuse_other_types(data.rstrip(b"\0"), what, max_heads=max_heads)
    value = _load(BytesIO(data), what)
    encoded = _encode_again(value, what)
    padding = data[len(encoded) :]
    if not data.startswith(encoded) or padding.strip(b"\0"):
        raise FormatError(f"{what}: not deterministic CBOR (RFC 8949, 4.2.1), or followed by other bytes")
    return value


def leading_bytes(data: bytes, what: str) -> bytes:
    """Return the byte string that `data` begins with, whatever follows it.

    Raises:
        FormatError: It begins with something else, or ends within the string.
    """
    if not data or data[0] >> 5 != _BYTES:
        raise FormatError(f"{what}: expected a byte string")
    return as_bytes(_load(BytesIO(data), what), None, what)


def bytes_head(length: int) -> bytes:
    """Return the head of a byte string of `length` bytes, which stands before it (RFC 8949, section 3)."""
    major = _BYTES << 5
    if length < _ONE_BYTE:
        return bytes((major | length,))
    width = next(width for width in range(4) if length < 1 << (8 << width))
    return bytes((major | (_ONE_BYTE + width),)) + length.to_bytes(1 << width)


def encode_sequence(items: list[bytes]) -> bytes:
    """Encode byte strings as a CBOR sequence (RFC 8742)."""
    return b"".join(encode(item) for item in items)


def decode_sequence(data: bytes, *, max_bytes: int, what: str, max_items: int = MAX_SEQUENCE_ITEMS) -> Iterator[object]:
    """Yield the values of a CBOR sequence (RFC 8742) in order.

    Raises:
        FormatError: Too long, too many values, or a value that `decode` would refuse.
    """
    if len(data) > max_bytes:
        raise FormatError(f"{what}: {len(data)} bytes, at most {max_bytes} are allowed")
    _refuse_other_types(data, what, max_heads=max_items * MAX_HEADS_AN_ITEM)
    stream = BytesIO(data)
    count = 0
    while (start := stream.tell()) < len(data):
        count += 1
        if count > max_items:
            raise FormatError(f"{what}: more than {max_items} items")
        value = _load(stream, what)
        if _encode_again(value, what) != data[start : stream.tell()]:
            raise FormatError(f"{what}: item {count - 1} is not deterministic CBOR (RFC 8949, 4.2.1)")
        yield value


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 digest."""
    return hashlib.sha256(data).digest()


def as_map(value: object, what: str) -> CborMap:
    """Return `value` if it is a map, else raise `FormatError`."""
    if type(value) is not dict:
        raise FormatError(f"{what}: expected a map")
    return value


def as_list(value: object, length: int | None, what: str) -> list[object]:
    """Return `value` if it is an array (of `length` items, unless None), else raise `FormatError`."""
    if type(value) is not list or (length is not None and len(value) != length):
        size = "" if length is None else f" of {length} items"
        raise FormatError(f"{what}: expected an array{size}")
    return value


def as_bytes(value: object, length: int | None, what: str) -> bytes:
    """Return `value` if it is a byte string (of `length` bytes, unless None), else raise `FormatError`."""
    if type(value) is not bytes or (length is not None and len(value) != length):
        size = "" if length is None else f" of {length} bytes"
        raise FormatError(f"{what}: expected a byte string{size}")
    return value


def as_text(value: object, max_chars: int, what: str) -> str:
    """Return `value` if it is text of at most `max_chars` characters, else raise `FormatError`."""
    if type(value) is not str or len(value) > max_chars:
        raise FormatError(f"{what}: expected a text of at most {max_chars} characters")
    return value


def as_uint(value: object, maximum: int, what: str) -> int:
    """Return `value` if it is an integer from 0 to `maximum`, else raise `FormatError`."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise FormatError(f"{what}: expected an integer from 0 to {maximum}")
    return value


def as_bool(value: object, what: str) -> bool:
    """Return `value` if it is true or false, else raise `FormatError`."""
    if type(value) is not bool:
        raise FormatError(f"{what}: expected true or false")
    return value


def as_choice(kind: type[_Choice], value: object, what: str) -> _Choice:
    """Return the member of an enumeration of texts that `value` names, else raise `FormatError`."""
    try:
        return kind(as_text(value, MAX_CHOICE_CHARS, what))
    except ValueError:
        raise FormatError(f"{what} is none of {', '.join(kind)}") from None


def exact_keys(
    value: CborMap, required: frozenset[object], what: str, *, optional: frozenset[object] = frozenset()
) -> None:
    """Refuse a map that lacks a required key or has an unknown one.

    Raises:
        FormatError: Names the first missing or unknown key.
    """
    for key in required:
        if key not in value:
            raise FormatError(f"{what}: {key!r} is missing")
    for key in value:
        if key not in required and key not in optional:
            raise FormatError(f"{what}: unknown field {key!r}"[:200])


def _step_over(head: int) -> int:
    """Return how many bytes an item takes, without what is nested in it, where its first byte tells that; else 0."""
    major, info = head >> 5, head & 0x1F
    if major in (_BYTES, _TEXT):
        return 1 + info if info < _ONE_BYTE else 0
    if major in (_TAG, _SIMPLE):
        return int(info in (TAGS if major == _TAG else _FALSE_TRUE_NULL))
    if info > _EIGHT_BYTES:
        return 0
    return 1 if info < _ONE_BYTE else 1 + (1 << (info - _ONE_BYTE))


_STEPS: Final = tuple(_step_over(head) for head in range(256))
"""By first byte. Walking over the heads is most of what decoding costs."""


def _refuse_other_types(data: bytes, what: str, *, max_heads: int) -> None:
    """Walk over the heads of all items (RFC 8949, section 3); nesting does not matter to what is allowed."""
    at, end, heads = 0, len(data), 0
    while at < end:
        heads += 1
        if heads > max_heads:
            raise FormatError(f"{what}: more than {max_heads} CBOR items, nested ones too")
        step = _STEPS[data[at]]
        if step:
            at += step
            continue
        major, info = data[at] >> 5, data[at] & 0x1F
        at += 1
        argument = info
        if info >= _ONE_BYTE:
            width = 1 << (info - _ONE_BYTE)
            argument = int.from_bytes(data[at : at + width])
            at += width
        if info > _EIGHT_BYTES:
            raise FormatError(f"{what}: not deterministic CBOR: an item of indefinite or reserved length")
        if major in (_BYTES, _TEXT):
            at += argument
        elif major == _TAG and argument not in TAGS:
            raise FormatError(f"{what}: CBOR tag {argument} is not used here")
        elif major == _SIMPLE and info not in _FALSE_TRUE_NULL:
            raise FormatError(f"{what}: a CBOR float or simple value that is not used here")


def _load(stream: BytesIO, what: str) -> object:
    try:
        return cbor2.CBORDecoder(stream, **_DECODER_ARGUMENTS).decode()
    except Exception as error:  # noqa: BLE001  cbor2's tree, and what a hostile tag makes other parsers raise
        raise FormatError(f"{what}: not CBOR ({type(error).__name__})") from None


def _encode_again(value: object, what: str) -> bytes:
    try:
        return encode(value)
    except Exception as error:  # noqa: BLE001  cyclic and unhashable values that only a hostile input builds
        raise FormatError(f"{what}: not a value of this format ({type(error).__name__})") from None
