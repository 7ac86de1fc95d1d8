"""What is wrong with an audit log: its bytes, taken apart entry by entry and held against the owner's key.

Owns: where an entry begins and ends in the file, its signature, and its place in the chain. Leaves to others: the
payload (`audit_entry`), and everything that writes (`audit`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.audit_entry import MAX_ENTRY_BYTES, Action, AuditEntry, parse_payload
from agent.errors import FormatError, VerificationError
from agent.wire import cbor, cose
from agent.wire.header import ZERO_DIGEST

CONTENT_TYPE: Final = "application/plateseal-audit+cbor"
WINDOW_BYTES: Final = 8 << 10
"""Read at first for an entry; one without ids has about 500 bytes."""
MAX_FINDINGS: Final = 100
"""Faults named one by one; a log that was overwritten would name thousands."""
MAX_GAP: Final = 10_000
"""Missing entries looked for in one gap."""
CUT_OFF: Final = "the last write was cut off"
"""How the fault begins that is told of half an entry at the end."""
_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the file: one entry, or bytes that are none.

    Attributes:
        offset: Where it begins.
        data: Its bytes; empty where they are no entry.
        length: How long it is.
        torn: It is the end of the file and looks like the beginning of an entry.
    """

    offset: int
    data: bytes
    length: int
    torn: bool = False


class Checker:
    """Takes the pieces of a log in order, and names what is wrong.

    Attributes:
        protected: The protected header that every entry has.
        marker: The bytes that every entry begins with.
        expected: Number of the entry that should come next.
        head: SHA-256 of the last piece, if there is one.
        entries: Those whose signature holds.
        digests: Their numbers by the SHA-256 of each.
    """

    def __init__(self, owner_key: Ed25519PublicKey) -> None:
        self._key = owner_key
        self.protected = cose.encode_protected(cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(owner_key)))
        self.marker = bytes([0xC0 | cose.TAG_SIGN1, 0x84]) + cbor.encode(self.protected)
        self.expected = 0
        self.head: bytes | None = None
        self.entries: list[AuditEntry] = []
        self.digests: dict[bytes, int] = {}
        self._seen: set[int] = set()
        self._gaps: list[range] = []
        self._faults: list[str] = []
        self._previous_holds = True

    def check(self, piece: Piece) -> None:
        """Take the next piece."""
        try:
            entry = self._parse(piece)
        except (FormatError, VerificationError) as error:
            self._find(str(error))
            self.expected += 1
            self._previous_holds = False
            self.head = None
            return
        self._place(entry)
        digest = cbor.sha256(piece.data)
        self.head, self._previous_holds = digest, True
        self._seen.add(entry.seq)
        self.digests[digest] = entry.seq
        self.entries.append(entry)

    def faults(self) -> list[str]:
        """Return everything so far that must not be added to, one line each."""
        missing = [seq for gap in self._gaps for seq in gap if seq not in self._seen]
        if not missing:
            return self._faults
        return [
            *self._faults,
            f"entries {_ranges(missing)} are missing" if missing[1:] else f"entry {missing[0]} is missing",
        ]

    def findings(self) -> list[str]:
        """Return everything that is wrong so far, one line each."""
        first = self.entries[0] if self.entries else None
        if first is None or first.seq or first.action is Action.KEYS:
            return self.faults()
        return [*self.faults(), f"entry 0 is '{first.action}': the log that began with the owner's keys is gone"]

    def _parse(self, piece: Piece) -> AuditEntry:
        place = f"entry {self.expected}"
        if piece.torn:
            raise FormatError(f"{CUT_OFF}: {piece.length} bytes at byte {piece.offset} are the beginning of {place}")
        if not piece.data:
            raise FormatError(f"{place} is altered: {piece.length} bytes at byte {piece.offset} are no entry")
        try:
            message = cose.parse_sign1(
                piece.data, content_types=(CONTENT_TYPE,), max_bytes=MAX_ENTRY_BYTES, what="its bytes"
            )
            cbor.exact_keys(message.protected, _HEADER_KEYS, "its header")
            cose.verify_sign1(message, self._key, what="its signature")
            return parse_payload(message.payload)
        except (FormatError, VerificationError) as error:
            raise FormatError(f"{place} is altered, at byte {piece.offset}: {error}") from None

    def _place(self, entry: AuditEntry) -> None:
        """Compare an entry, whose signature holds, with the place where it stands."""
        if entry.seq in self._seen:
            self._find(f"entry {entry.seq} stands in the log twice")
            return
        if entry.seq < self.expected:
            self._find(f"entry {entry.seq} is out of order: it stands after entry {self.expected - 1}")
            return
        if entry.seq > self.expected:
            self._gaps.append(range(self.expected, min(entry.seq, self.expected + MAX_GAP)))
            self._find(f"entry {entry.seq} stands where entry {self.expected} should be")
        elif self._previous_holds and entry.prev != (self.head or ZERO_DIGEST):
            self._find(f"entry {entry.seq} does not follow the entry before it, which was replaced")
        self.expected = entry.seq + 1

    def _find(self, fault: str) -> None:
        if len(self._faults) < MAX_FINDINGS:
            self._faults.append(fault)


def pieces(descriptor: int, offset: int, marker: bytes) -> Iterator[Piece]:
    """Take a log apart from `offset` on, an entry at a time."""
    size = os.fstat(descriptor).st_size
    while offset < size:
        piece = _piece(descriptor, offset, size, marker)
        yield piece
        offset += piece.length


def _piece(descriptor: int, offset: int, size: int, marker: bytes) -> Piece:
    """Return the entry at `offset`, or the bytes up to where the next one begins."""
    for window_bytes in (WINDOW_BYTES, MAX_ENTRY_BYTES):
        window = os.pread(descriptor, window_bytes, offset)
        length = _entry_length(window, marker)
        if length:
            return Piece(offset=offset, data=window[:length], length=length)
    following = window.find(marker, 1)
    length = len(window) if following < 0 else following
    begins_like_one = window[: len(marker)] == marker[: len(window)]
    return Piece(offset=offset, data=b"", length=length, torn=begins_like_one and offset + length == size)


def _entry_length(window: bytes, marker: bytes) -> int:
    """Return how long the entry is that a window begins with; 0 if it begins with none, or not with all of it."""
    if not window.startswith(marker):
        return 0
    stream = BytesIO(window)
    try:
        cbor2.CBORDecoder(stream).decode()
    except Exception:  # noqa: BLE001  cbor2's tree, and what hostile tags make other parsers raise
        return 0
    # One whose length was altered may run into the next.
    return 0 if marker in window[1 : stream.tell()] else stream.tell()


def _ranges(numbers: list[int]) -> str:
    """Write ascending numbers as "1, 3 to 5"."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)
