"""Looking through a receiver's store: verify each envelope, open it, compare it. One by one; no index is kept.

Owns: what a search asks, what counts as a match, and why a read could not be opened. Leaves to others: the audit log
(`access`), and the receiver's files (whoever builds the `ReceiverView`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.opener import OpenedRead, PrivateKey, open_content
from agent.custody.plates import PlatePattern
from agent.custody.testimony import Witness, doubts, log_of
from agent.errors import EnvelopeVerificationError, FormatError, OpenError, ReceiverError
from agent.wire import cbor
from agent.wire.envelope import Envelope, RecipientSlot, parse_envelope, sealed_content, verify_envelope

BATCH_READS: Final = 256
"""Reads entered in the audit log together, and kept in memory until they are."""
BATCH_BYTES: Final = 32 << 20
"""The same, by the size of their envelopes: a few large crops fill a batch too."""


MAX_DOUBTS: Final = 1000


class ReceiverView(Witness, Protocol):
    """What the owner's tools need to see of a receiver. They change nothing there."""

    def envelopes(self) -> Iterator[bytes]:
        """Yield every stored envelope's bytes in the order of the receiver's log."""
        ...

    def count(self) -> int:
        """Return how many envelopes are stored."""
        ...

    def device_key(self, key_id: bytes) -> Ed25519PublicKey | None:
        """Return the public signing key of an enrolled device, or None."""
        ...

    def revoked_after(self, key_id: bytes) -> int | None:
        """Return the last entry of the log that is still the device's, for a key that was revoked; else None."""
        ...


class Unopened(StrEnum):
    """Why a stored envelope could not be looked at."""

    DAMAGED = "damaged"
    UNKNOWN_DEVICE = "of a device that is not enrolled"
    BAD_RECORD = "of a device whose record at the receiver does not hold"
    FORGED = "with a wrong signature"
    REVOKED = "logged after the end of their key"
    KEY_DESTROYED = "with a destroyed key"
    KEY_MISSING = "whose key is not in this folder, though its destruction was never entered"
    SEALED_TO_OTHERS = "sealed to somebody else"
    UNREADABLE = "that do not open to a read"


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; every filter that is given must fit.

    Attributes:
        plate: The plate, as it was settled or as it was seen.
        start, end: Capture time, aware, half open.
        camera: The camera's id.
        ids: Envelope ids, lower-case hex.
    """

    plate: PlatePattern | None = None
    start: datetime | None = None
    end: datetime | None = None
    camera: str | None = None
    ids: frozenset[str] = frozenset()

    @property
    def filters(self) -> list[str]:
        """Names of the filters that are given."""
        given = {"plate": self.plate, "from": self.start, "until": self.end, "camera": self.camera, "id": self.ids}
        return [name for name, value in given.items() if value]

    def may_match(self, data: bytes) -> bool:
        """Whether a stored envelope can fit: what can be told without opening it."""
        return not self.ids or cbor.sha256(data).hex() in self.ids

    def matches(self, opened: OpenedRead) -> bool:
        """Whether an opened read fits."""
        read = opened.read
        return (
            (self.start is None or read.captured_at >= self.start)
            and (self.end is None or read.captured_at < self.end)
            and (self.camera is None or read.camera == self.camera)
            and (self.plate is None or any(self.plate.matches(text) for text in (read.text, read.seen) if text))
        )


@dataclass(slots=True)
class Tally:
    """What a search met on its way.

    Attributes:
        scanned: Stored messages looked at.
        opened: Reads decrypted.
        matched: Reads that fit.
        tombstones: Devices' notes of reads that were forced out; they hold no plate.
        unopened: Envelopes that could not be looked at, by reason.
        doubts: What speaks against the receipts of reads that fit, by envelope id; of the first 1,000 such reads.
    """

    scanned: int = 0
    opened: int = 0
    matched: int = 0
    tombstones: int = 0
    unopened: Counter[Unopened] = field(default_factory=Counter)
    doubts: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens envelopes.

    Attributes:
        private: Private keys of epochs, and of the case if any, by key id.
        known: Ids of all keys in the owner's keyring, and of those that were destroyed.
        destroyed: Ids of those whose destruction was entered.
        held: Returns further recipients of an envelope's content key.
    """

    private: Mapping[bytes, PrivateKey] = field(repr=False)
    known: frozenset[bytes]
    destroyed: frozenset[bytes]
    held: Callable[[Envelope], Sequence[RecipientSlot]]


def search(receiver: ReceiverView, keys: Keys, query: Query, tally: Tally) -> Iterator[list[OpenedRead]]:
    """Open a store's envelopes one by one and yield those that fit, in batches.

    Args:
        receiver: The receiver whose store is looked through.
        keys: What opens them.
        query: What is looked for.
        tally: Counts on the way.

    Raises:
        ReceiverError: The store cannot be read.
    """
    batch: list[OpenedRead] = []
    batch_bytes = 0
    for data in receiver.envelopes():
        tally.scanned += 1
        opened = _look_at(data, receiver, keys, query, tally)
        if opened is None:
            continue
        batch.append(opened)
        batch_bytes += len(data)
        if len(batch) >= BATCH_READS or batch_bytes >= BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def open_stored(data: bytes, receiver: ReceiverView, keys: Keys) -> OpenedRead | Unopened | None:
    """Verify and open one stored envelope; None for a tombstone, which holds no read.

    Raises:
        ReceiverError: The store cannot be read.
    """
    try:
        envelope = parse_envelope(data)
    except FormatError:
        return Unopened.DAMAGED
    try:
        device_key = receiver.device_key(envelope.device_kid)
    except ReceiverError:
        return Unopened.BAD_RECORD
    if device_key is None:
        return Unopened.UNKNOWN_DEVICE
    try:
        verify_envelope(envelope, device_key)
        return _open(envelope, receiver, keys)
    except FormatError:
        return Unopened.DAMAGED
    except EnvelopeVerificationError:
        return Unopened.FORGED


def _look_at(data: bytes, receiver: ReceiverView, keys: Keys, query: Query, tally: Tally) -> OpenedRead | None:
    if not query.may_match(data):
        return None
    opened = open_stored(data, receiver, keys)
    if opened is None:
        tally.tombstones += 1
        return None
    if isinstance(opened, Unopened):
        tally.unopened[opened] += 1
        return None
    tally.opened += 1
    if not query.matches(opened):
        return None
    tally.matched += 1
    against = doubts(receiver, opened)
    if against and len(tally.doubts) < MAX_DOUBTS:
        tally.doubts[opened.envelope.envelope_id] = against
    return opened


def _open(envelope: Envelope, receiver: ReceiverView, keys: Keys) -> OpenedRead | Unopened | None:
    end = receiver.revoked_after(envelope.device_kid)
    if end is not None and (log_of(receiver, envelope) or 0) > end:
        return Unopened.REVOKED
    if envelope.tombstone is not None:
        return None
    content, outer_protected = sealed_content(envelope)
    recipients = {slot.kid for slot in content.recipients}
    held = () if recipients & keys.private.keys() else keys.held(envelope)
    if not held and not recipients & keys.private.keys():
        return _why_no_key(recipients, keys)
    try:
        return open_content(envelope, content, outer_protected, (*content.recipients, *held), keys.private)
    except (OpenError, FormatError):
        return Unopened.UNREADABLE


def _why_no_key(recipients: AbstractSet[bytes], keys: Keys) -> Unopened:
    if recipients & keys.destroyed:
        return Unopened.KEY_DESTROYED
    return Unopened.KEY_MISSING if recipients & keys.known else Unopened.SEALED_TO_OTHERS
