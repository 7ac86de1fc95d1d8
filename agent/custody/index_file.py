"""One file of the index of a store: which reads some entries of its log are, closed with the keys of the reads.

```
file   = length of the head, 4 bytes, big-endian / head / columns of each part, one behind the other
head   = COSE_Sign1 by the owner's key over a map
map    = v, after, last, id, at, left, tombstones, parts
part   = [ids of the keys that its reads are sealed to, which of them closes it, reads, rows, salt, bytes of names]
column = AES-256-GCM, nonce: number of the column, additional data: the head, key: HKDF-SHA-256 of the private key
```

A row is a text of a read: as it was settled, and once more as it was seen where that is another. The head shows how
many reads and rows there are and which entries could not be opened, and no more. What closes a part opens its reads,
and no part outlives its key. The owner's signature says what no part can say: that there are no others.

Owns: this form. Leaves to others: what is entered (`indexing`), and what is made of it (`indexed`).

Source: RFC 5869 (HKDF), RFC 9052 (COSE), NIST SP 800-38D (GCM; each salt gives a key of its own, so
no nonce comes twice).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.custody.index_scan import WIDTH, encode_texts
from agent.custody.opener import PrivateKey
from agent.errors import FormatError, VerificationError
from agent.wire import cbor, cose
from agent.wire.header import DIGEST_BYTES, MAX_SEQ
from agent.wire.plaintext import MAX_NAME_CHARS
from agent.wire.times import MAX_TIME_MS

INDEX_VERSION: Final = 1
CONTENT_TYPE: Final = "application/plateseal-index+cbor"
MAX_MESSAGES: Final = 65_536
"""Entries of the log that one file may cover."""
MAX_LEFT: Final = 4_096
"""Of them, those that could not be opened."""
MAX_PARTS: Final = 256
_MAX_KIDS: Final = 64
_MAX_HEAD_BYTES: Final = 1 << 20
_MAX_HEADS: Final = MAX_LEFT + MAX_PARTS * (_MAX_KIDS + 8) + 32
_MAX_ROWS: Final = 2 * MAX_MESSAGES
_MAX_NAMES_BYTES: Final = 8 * MAX_MESSAGES * MAX_NAME_CHARS
_SALT_BYTES: Final = 32
_TAG_BYTES: Final = 16
_LENGTH_BYTES: Final = 4
_KEYS: Final = frozenset({"v", "after", "last", "id", "at", "left", "tombstones", "parts"})
_PART_FIELDS: Final = 6
_INFO: Final = b"plateseal-index-1"
_WHAT: Final = "index"
TEXTS, TIMES, CAMERAS, ENTRIES, NAMES = range(5)
"""Numbers of the columns: texts, milliseconds since 1970, numbers of cameras' names, entries behind `after`, names."""
_WIDTHS: Final = (WIDTH, 8, 2, 4)
_NUMBERS: Final = {TIMES: "q", CAMERAS: "H", ENTRIES: "I"}
"""How `struct` calls the numbers of a column; all are little-endian."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One text of a read.

    Attributes:
        text: As it was settled or seen; empty for a read with none.
        at_ms: Time of capture, milliseconds since 1970.
        camera: The camera's id.
        entry: Index in the log, less the file's `after`.
    """

    text: str = field(repr=False)
    at_ms: int
    camera: str
    entry: int


@dataclass(frozen=True, slots=True)
class Part:
    """The reads of a file that are sealed to the same keys.

    Attributes:
        kids: Ids of these keys.
        by: Id of the one that closes the part.
        reads: How many reads.
        rows: How many rows; none where their keys were destroyed before.
        salt: 32 random bytes.
        names_bytes: How many bytes the names of their cameras have, encoded.
        offset: Where in the file its columns begin, behind the head.
    """

    kids: frozenset[bytes]
    by: bytes
    reads: int
    rows: int
    salt: bytes
    names_bytes: int
    offset: int

    @property
    def lengths(self) -> list[int]:
        """Bytes of each column in the file, in order."""
        plain = [*(width * self.rows for width in _WIDTHS), self.names_bytes]
        return [length + _TAG_BYTES for length in plain] if self.rows else []


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of itself.

    Attributes:
        after, last: It covers the entries of the log behind the first index, up to the second.
        last_id: 32 bytes, id of the envelope at `last`.
        last_at_ms: When that was stored, milliseconds since 1970.
        left: Indices of entries that could not be opened.
        tombstones: How many entries are devices' notes of lost reads.
        parts: The reads, by their keys.
    """

    after: int
    last: int
    last_id: bytes
    last_at_ms: int
    left: tuple[int, ...]
    tombstones: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file whose head the owner has signed.

    Attributes:
        path: Where it is.
        head: What it says.
        head_bytes: The same, as signed.
    """

    path: Path
    head: Head
    head_bytes: bytes = field(repr=False)

    def column(self, part: Part, number: int, key: PrivateKey) -> bytes:
        """Read and open a column of a part, as bytes.

        Raises:
            FormatError: It is not there whole, or is not what was closed.
            OSError: The disk refused.
        """
        lengths = part.lengths
        begin = _LENGTH_BYTES + len(self.head_bytes) + part.offset + sum(lengths[:number])
        with self.path.open("rb") as file:
            file.seek(begin)
            closed = file.read(lengths[number])
        try:
            return _cipher(key, part.salt).decrypt(_nonce(number), closed, self.head_bytes)
        except (InvalidTag, ValueError):
            raise FormatError(f"{self.path}: damaged") from None

    def numbers(self, part: Part, number: int, key: PrivateKey) -> tuple[int, ...]:
        """Read and open a column of numbers.

        Raises:
            FormatError, OSError: As `column`.
        """
        return struct.unpack(f"<{part.rows}{_NUMBERS[number]}", self.column(part, number, key))


def encode_index(
    head: Head, rows: Sequence[Sequence[IndexRow]], keys: Sequence[PrivateKey | None], signer: Ed25519PrivateKey
) -> bytes:
    """Return a file.

    Args:
        head: What it says; salts, rows and lengths of its parts are filled in.
        rows: Those of each part.
        keys: What closes each part; None where it has no rows.
        signer: The owner's key.
    """
    columns = [_columns(of_part) for of_part in rows]
    salts = [os.urandom(_SALT_BYTES) for _ in head.parts]
    parts: list[object] = [
        [sorted(part.kids), part.by, part.reads, len(of_part), salt, len(plain[NAMES])]
        for part, of_part, salt, plain in zip(head.parts, rows, salts, columns, strict=True)
    ]
    said: cbor.CborMap = {
        "v": INDEX_VERSION,
        "after": head.after,
        "last": head.last,
        "id": head.last_id,
        "at": head.last_at_ms,
        "left": list(head.left),
        "tombstones": head.tombstones,
        "parts": parts,
    }
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(signer.public_key()))
    signed = cose.sign1(cose.encode_protected(header), cbor.encode(said), signer)
    closed = [len(signed).to_bytes(_LENGTH_BYTES, "big"), signed]
    for key, salt, plain in zip(keys, salts, columns, strict=True):
        if key is not None:
            cipher = _cipher(key, salt)
            closed += [cipher.encrypt(_nonce(number), column, signed) for number, column in enumerate(plain)]
    return b"".join(closed)


def read_index(path: Path, owner: Ed25519PublicKey) -> IndexFile:
    """Read the head of a file.

    Raises:
        FormatError: No such file, or a damaged one.
        VerificationError: Another has signed it.
        OSError: The disk refused.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
        if length > _MAX_HEAD_BYTES:
            raise FormatError(f"{path}: a head of {length} bytes, at most {_MAX_HEAD_BYTES} are allowed")
        data = file.read(length)
    what = str(path)
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=_MAX_HEAD_BYTES, what=what)
    cose.verify_sign1(message, owner, what=what, error=VerificationError)
    return IndexFile(path, _parse_head(message.payload), data)


def _parse_head(payload: bytes) -> Head:
    decoded = cbor.decode(payload, max_bytes=_MAX_HEAD_BYTES, what=_WHAT, max_heads=_MAX_HEADS)
    value = cbor.as_map(decoded, _WHAT)
    if value.get("v") != INDEX_VERSION:
        raise FormatError(f"{_WHAT}: version {value.get('v')!r:.20}, only {INDEX_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, _WHAT)
    parts, offset = list[Part](), 0
    for item in cbor.as_list(value["parts"], None, _WHAT):
        part = _parse_part(item, offset)
        offset += sum(part.lengths)
        parts.append(part)
    return Head(
        after=cbor.as_uint(value["after"], MAX_SEQ, _WHAT),
        last=cbor.as_uint(value["last"], MAX_SEQ, _WHAT),
        last_id=cbor.as_bytes(value["id"], DIGEST_BYTES, _WHAT),
        last_at_ms=cbor.as_uint(value["at"], MAX_TIME_MS, _WHAT),
        left=tuple(cbor.as_uint(log, MAX_SEQ, _WHAT) for log in cbor.as_list(value["left"], None, _WHAT)),
        tombstones=cbor.as_uint(value["tombstones"], MAX_SEQ, _WHAT),
        parts=tuple(parts),
    )


def _parse_part(item: object, offset: int) -> Part:
    kids, by, reads, rows, salt, names_bytes = cbor.as_list(item, _PART_FIELDS, _WHAT)
    return Part(
        kids=frozenset(cbor.as_bytes(kid, cose.KID_BYTES, _WHAT) for kid in cbor.as_list(kids, None, _WHAT)),
        by=cbor.as_bytes(by, cose.KID_BYTES, _WHAT),
        reads=cbor.as_uint(reads, MAX_MESSAGES, _WHAT),
        rows=cbor.as_uint(rows, _MAX_ROWS, _WHAT),
        salt=cbor.as_bytes(salt, _SALT_BYTES, _WHAT),
        names_bytes=cbor.as_uint(names_bytes, _MAX_NAMES_BYTES, _WHAT),
        offset=offset,
    )


def parse_names(column: bytes) -> list[str]:
    """Return the names of cameras of a column.

    Raises:
        FormatError: It is no such column.
    """
    what = "names of cameras"
    value = cbor.decode(column, max_bytes=_MAX_NAMES_BYTES, what=what, max_heads=MAX_MESSAGES + 1)
    return [cbor.as_text(name, MAX_NAME_CHARS, what) for name in cbor.as_list(value, None, what)]


def _columns(rows: Sequence[IndexRow]) -> list[bytes]:
    names = {name: number for number, name in enumerate(dict.fromkeys(row.camera for row in rows))}
    return [
        encode_texts([row.text for row in rows]),
        _packed(TIMES, [row.at_ms for row in rows]),
        _packed(CAMERAS, [names[row.camera] for row in rows]),
        _packed(ENTRIES, [row.entry for row in rows]),
        cbor.encode(list(names)),
    ]


def _packed(column: int, values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}{_NUMBERS[column]}", *values)


def _cipher(key: PrivateKey, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=_INFO + key.kid).derive(key.raw))


def _nonce(column: int) -> bytes:
    return column.to_bytes(12, "big")
