"""What the receiver's receipt says of a read that was opened, and what speaks against it.

Owns: the doubts about one read. Leaves to others: the whole store and the order of chains (`receiver verify`). Custody
alone can compare a receipt's time with the time of capture, which is sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.opener import OpenedRead
from agent.errors import ReceiptVerificationError
from agent.records import ClockState
from agent.wire import cbor, cose
from agent.wire.envelope import Envelope
from agent.wire.evidence import check_kept, check_row
from agent.wire.header import RECEIVER_PREFIX_BYTES, ZERO_DIGEST
from agent.wire.receipt import Receipt

CLOCK_DOUBT: Final = timedelta(hours=1)
"""How far a clock that says it is synchronised may be off, as units themselves see it (`clock_trust`)."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What a receiver's store says of one envelope.

    Attributes:
        log: Index in the log.
        stored_at_ms: When it was stored, milliseconds since 1970 UTC.
        earlier_ms: When the entry of the log before it was stored; None for the first.
        receipt: The receipt as it was first signed; None where none is kept.
        receipt_before: The kept receipt of version 2 before it for the same device key; None if there is none.
    """

    log: int
    stored_at_ms: int
    earlier_ms: int | None = None
    receipt: bytes | None = field(default=None, repr=False)
    receipt_before: bytes | None = field(default=None, repr=False)


class Witness(Protocol):
    """What a receiver's store says of when it had which envelope."""

    def entry_of(self, envelope: Envelope) -> StoredEntry | None:
        """Return what the store says of an envelope, or None if it is not stored."""
        ...

    def receipt_at(self, log: int) -> bytes | None:
        """Return the receipt that is kept for an index of the log, or None."""
        ...

    @property
    def receipt_public(self) -> Ed25519PublicKey | None:
        """The public receipt key, where it is at hand."""
        ...


def log_of(receiver: Witness, envelope: Envelope) -> int | None:
    """Return an envelope's index in the log, None if it is not stored. If row and receipt differ, the higher one."""
    entry = receiver.entry_of(envelope)
    if entry is None:
        return None
    try:
        receipt = check_kept(entry.receipt, envelope, _keys(receiver))
    except ReceiptVerificationError:
        return entry.log
    return entry.log if receipt is None else max(entry.log, receipt.log_index)


def doubts(receiver: Witness, opened: OpenedRead) -> list[str]:
    """Return what speaks against the receipt of an opened read, one line each; empty if nothing does."""
    entry = receiver.entry_of(opened.envelope)
    if entry is None:
        return ["the store does not know it"]
    try:
        receipt = check_kept(entry.receipt, opened.envelope, _keys(receiver))
        check_row(receipt, log=entry.log, stored_at_ms=entry.stored_at_ms)
    except ReceiptVerificationError as error:
        return [str(error)]
    return [*_neighbours(entry, receipt), *_capture(opened, receipt), *_word_of_unit(receiver, opened.envelope)]


def _neighbours(entry: StoredEntry, receipt: Receipt | None) -> Iterator[str]:
    if receipt is None or receipt.prev is None:
        return
    if entry.earlier_ms is not None and entry.stored_at_ms < entry.earlier_ms:
        yield "stored before the entry of the log before it"
    before = ZERO_DIGEST if entry.receipt_before is None else cbor.sha256(entry.receipt_before)
    if receipt.prev != before:
        yield "its receipt names another one before it than the one that is kept"


def _capture(opened: OpenedRead, receipt: Receipt | None) -> Iterator[str]:
    read = opened.read
    is_synchronized = read.clock is ClockState.SYNCHRONIZED
    if receipt is not None and is_synchronized and receipt.stored_at < read.captured_at - CLOCK_DOUBT:
        yield f"the receiver signed for it at {receipt.stored_at:%Y-%m-%dT%H:%M:%SZ}, before it was captured"


def _word_of_unit(receiver: Witness, envelope: Envelope) -> Iterator[str]:
    seen = envelope.header.seen
    if seen is None or seen.receiver not in {kid[:RECEIVER_PREFIX_BYTES] for kid in _keys(receiver)}:
        return
    kept = receiver.receipt_at(seen.log)
    if kept is not None and cbor.sha256(kept) != seen.digest:
        yield f"its unit has seen another receipt for log {seen.log} than the one that is kept"


def _keys(receiver: Witness) -> dict[bytes, Ed25519PublicKey]:
    key = receiver.receipt_public
    return {} if key is None else {cose.ed25519_kid(key): key}
