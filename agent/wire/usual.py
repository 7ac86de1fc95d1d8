"""The layouts that nearly all messages have, told by position instead of by a decoder.

An envelope is taken apart several times on its way: at the unit, at the receiver, by its owner. The decoder for any
value (`cbor.decode`) walks over all items, decodes them, and encodes them again to see that they are deterministic. Of
a message that is laid out exactly as ours are, where its few items begin and end says the same.

Owns: these layouts. Leaves to others: every message that is laid out in another way, good or bad (`cbor.decode`, which
also says why it refuses one), and what values may be (`cose`, `header`, `envelope`).

Invariant: each function returns the very value that `cbor.decode` returns for the same bytes, or None. None says
nothing of the bytes: the caller decodes them.
"""

from __future__ import annotations

import re
from typing import Final

CborMap = dict[object, object]

_SIGN1: Final = b"\xd2\x84"
"""Tag 18 and an array of four: how every COSE_Sign1 begins."""
_NO_MEMBERS: Final = b"\xa0"
_ENCRYPT: Final = b"\xd8\x60\x84"
"""Tag 96 and an array of four: how every COSE_Encrypt begins."""
_NONCE: Final = b"\xa1\x05"
"""A map of one: the IV (5)."""
_RECIPIENTS: Final = {0x80 + count: count for count in range(1, 9)}
"""How many recipients follow, by the head of an array."""
_RECIPIENT: Final = b"\x83"
_EK: Final = b"\xa1\x23"
"""A map of one: the encapsulated key (-4)."""

_UINT: Final = rb"([\x00-\x17]|\x18[\x18-\xff]|\x19(?!\0).{2}|\x1a(?!\0\0).{4}|\x1b(?!\0{4}).{8})"
"""An unsigned integer in its shortest form (RFC 8949, 4.2.1)."""
_DIGEST: Final = rb"\x58\x20(.{32})"
_READ_HEADER: Final = re.compile(
    rb"\xa4\x01\x27\x03\x78\x1aapplication/plateseal\+cbor\x04" + _DIGEST + rb"\x62ps"
    rb"(?:\xa6|(\xa7))\x61v\x02\x63com" + _DIGEST + rb"\x63run" + _UINT + rb"\x63seq" + _UINT + rb"\x64prev" + _DIGEST
    + rb"(?(2)\x64rcpt\x83\x48(.{8})" + _UINT + _DIGEST + rb")\x65chain\x50(.{16})",
    re.DOTALL,
)  # fmt: skip
"""The protected header of a sealed read of version 2, with "rcpt" where "ps" has seven members."""


class _OtherLayoutError(Exception):
    """Something stands where another item was looked for."""


def sign1_parts(data: bytes) -> list[object] | None:
    """Return what the array of a COSE_Sign1 with an empty unprotected header holds."""
    try:
        protected, at = _byte_string(data, _behind(data, 0, _SIGN1))
        payload, at = _byte_string(data, _behind(data, at, _NO_MEMBERS))
        signature, at = _byte_string(data, at)
    except (_OtherLayoutError, IndexError):
        return None
    return [protected, {}, payload, signature] if at == len(data) else None


def read_header(protected: bytes) -> CborMap | None:
    """Return the protected header of a sealed read of version 2."""
    found = _READ_HEADER.fullmatch(protected)
    if found is None:
        return None
    kid, _, commitment, run, seq, prev, receiver, log, digest, chain = found.groups()
    fields: CborMap = {"v": 2, "com": commitment, "run": _uint(run), "seq": _uint(seq), "prev": prev}
    if receiver is not None:
        fields["rcpt"] = [receiver, _uint(log), digest]
    fields["chain"] = chain
    return {1: -8, 3: "application/plateseal+cbor", 4: kid, "ps": fields}


def encrypt_parts(data: bytes) -> list[object] | None:
    """Return what the array of a COSE_Encrypt holds that is sealed to one to eight recipients with HPKE."""
    recipients: list[object] = []
    try:
        protected, at = _byte_string(data, _behind(data, 0, _ENCRYPT))
        nonce, at = _byte_string(data, _behind(data, at, _NONCE))
        ciphertext, at = _byte_string(data, at)
        count, at = _RECIPIENTS.get(data[at], 0), at + 1
        for _ in range(count):
            recipient, at = _recipient(data, at)
            recipients.append(recipient)
    except (_OtherLayoutError, IndexError):
        return None
    return [protected, {5: nonce}, ciphertext, recipients] if recipients and at == len(data) else None


def _recipient(data: bytes, at: int) -> tuple[list[object], int]:
    """Return the COSE_recipient that begins at a place, and where the next item begins."""
    protected, at = _byte_string(data, _behind(data, at, _RECIPIENT))
    ek, at = _byte_string(data, _behind(data, at, _EK))
    key, at = _byte_string(data, at)
    return [protected, {-4: ek}, key], at


def _behind(data: bytes, at: int, expected: bytes) -> int:
    if not data.startswith(expected, at):
        raise _OtherLayoutError
    return at + len(expected)


def _byte_string(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the byte string with the shortest head that begins at a place, and where the next item begins."""
    head = data[at]
    if 0x40 <= head < 0x58:
        begin, length, shortest = at + 1, head - 0x40, 0
    elif head == 0x58:
        begin, length, shortest = at + 2, data[at + 1], 24
    elif head == 0x59:
        begin, length, shortest = at + 3, data[at + 1] << 8 | data[at + 2], 1 << 8
    elif head == 0x5A:
        begin, length, shortest = at + 5, int.from_bytes(data[at + 1 : at + 5]), 1 << 16
    else:
        raise _OtherLayoutError
    end = begin + length
    if length < shortest or end > len(data):
        raise _OtherLayoutError
    return data[begin:end], end


def _uint(encoded: bytes) -> int:
    return int.from_bytes(encoded[1:] or encoded)
