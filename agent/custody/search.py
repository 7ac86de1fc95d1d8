"""Looking through a receiver's store: verify each envelope, open it, compare it. All, or what an index names.

Reads of a range of time are looked for among those that are sealed to its epochs (`reach`): no other epoch is opened.

Owns: what a search asks, what counts as a match, and why a read could not be opened. Leaves to others: the audit log
(`access`), and the receiver's files (whoever builds the `ReceiverView`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
from agent.wire.times import from_ms

BATCH_READS: Final = 256
"""Reads entered in the audit log together, and kept in memory until they are."""
BATCH_BYTES: Final = 32 << 20
"""The same, by the size of their envelopes: a few large crops fill a batch too."""


MAX_DOUBTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry of a receiver's log.

    Attributes:
        log: Its index.
        digest: 32 bytes, the envelope's id.
        stored_at_ms: When it was stored, milliseconds since 1970 UTC.
        data: The envelope; None if it was dropped.
    """

    log: int
    digest: bytes
    stored_at_ms: int
    data: bytes | None = field(repr=False)


class ReceiverView(Witness, Protocol):
    """What the owner's tools need to see of a receiver. They change nothing there."""

    def envelopes(self, kids: Collection[bytes] | None = None) -> Iterator[bytes]:
        """Yield the stored envelopes' bytes in the order of the receiver's log: all, or those sealed to these keys."""
        ...

    def logged(self, after: int, kids: Collection[bytes] | None = None) -> Iterator[Logged]:
        """Yield the entries behind an index of the log, in its order: all, or those that these keys may open."""
        ...

    def logged_at(self, log: int) -> Logged | None:
        """Return the entry with an index of the log, or None."""
        ...

    def envelope(self, digest: bytes) -> bytes | None:
        """Return a stored envelope's bytes by the 32 bytes of its id; None where it is not stored, or was dropped."""
        ...

    def count(self, kids: Collection[bytes] | None = None) -> int:
        """Return how many envelopes are stored: all, or about how many `envelopes` looks at for these keys."""
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
    OTHER_EPOCH = "sealed to an epoch outside of the range as well"
    GONE = "that were dropped at the receiver meanwhile"


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; every filter that is given must fit.

    Attributes:
        plate: The plate, as it was settled or as it was seen.
        start, end: Capture time, aware, half open.
        camera: The camera's id.
        ids: Envelope ids, lower-case hex.
        every_epoch: Whether reads of epochs outside of the range are opened too, for clocks that were behind.
    """

    plate: PlatePattern | None = None
    start: datetime | None = None
    end: datetime | None = None
    camera: str | None = None
    ids: frozenset[str] = frozenset()
    every_epoch: bool = False

    @property
    def is_of_a_range(self) -> bool:
        """Whether the time of capture tells which epochs to look at."""
        return not self.every_epoch and (self.start is not None or self.end is not None)

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
        passed_over: Stored messages that were not looked at, as no read of the range is sealed to their keys.
        ruled_out: Reads of those looked at that an index of the store showed not to fit; they were not opened.
        stopped: Where somebody broke the search off, for a person; empty where all was looked at.
    """

    scanned: int = 0
    opened: int = 0
    matched: int = 0
    tombstones: int = 0
    unopened: Counter[Unopened] = field(default_factory=Counter)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    passed_over: int = 0
    ruled_out: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens envelopes.

    Attributes:
        private: Private keys of epochs, and of the case if any, by key id.
        known: Ids of all keys in the owner's keyring, and of those that were destroyed.
        destroyed: Ids of those whose destruction was entered.
        held: Returns further recipients of an envelope's content key.
        asked: Ids of the keys whose reads are looked at; None for all of them.
        beyond: Ids of keys that no read that is looked for is sealed to.
        held_ids: Ids of the envelopes that are held for the case, 32 bytes each.
    """

    private: Mapping[bytes, PrivateKey] = field(repr=False)
    known: frozenset[bytes]
    destroyed: frozenset[bytes]
    held: Callable[[Envelope], Sequence[RecipientSlot]]
    asked: frozenset[bytes] | None = None
    beyond: frozenset[bytes] = frozenset()
    held_ids: frozenset[bytes] = frozenset()


def search(
    receiver: ReceiverView,
    keys: Keys,
    query: Query,
    tally: Tally,
    *,
    candidates: Iterable[bytes | None] | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Iterator[OpenedRead]:
    """Open a store's envelopes one by one and yield those that fit.

    Args:
        receiver: The receiver whose store is looked through.
        keys: What opens them, and which of them may fit.
        query: What is looked for.
        tally: Counts on the way.
        candidates: The envelopes that may fit, and None where no envelope is at hand; if left out, all that are stored.
        may_go_on: Asked before each envelope. Where it says no, the rest of the store is left out, and `tally` says so.

    Raises:
        ReceiverError: The store cannot be read.
    """
    last = b""
    for data in _may_fit(receiver, keys) if candidates is None else candidates:
        if not may_go_on():
            tally.stopped = _where(receiver, keys, last, tally.scanned)
            return
        if data is None:
            continue
        last = data
        tally.scanned += 1
        opened = _look_at(data, receiver, keys, query, tally)
        if opened is not None:
            yield opened
    if keys.asked is not None:
        tally.passed_over = max(receiver.count() - tally.scanned, 0)


def batches(reads: Iterable[OpenedRead]) -> Iterator[list[OpenedRead]]:
    """Yield reads in batches that are entered together, as they come."""
    batch: list[OpenedRead] = []
    batch_bytes = 0
    for opened in reads:
        batch.append(opened)
        batch_bytes += len(opened.envelope.data)
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
        if not keys.beyond.isdisjoint(envelope.kids) and envelope.digest not in keys.held_ids:
            return Unopened.OTHER_EPOCH
        device_key = _device_key(envelope, receiver)
        if isinstance(device_key, Unopened):
            return device_key
        verify_envelope(envelope, device_key)
        return _open(envelope, receiver, keys)
    except FormatError:
        return Unopened.DAMAGED
    except EnvelopeVerificationError:
        return Unopened.FORGED


def _device_key(envelope: Envelope, receiver: ReceiverView) -> Ed25519PublicKey | Unopened:
    try:
        return receiver.device_key(envelope.device_kid) or Unopened.UNKNOWN_DEVICE
    except ReceiverError:
        return Unopened.BAD_RECORD


def _may_fit(receiver: ReceiverView, keys: Keys) -> Iterator[bytes]:
    """Yield the stored envelopes that may fit, as far as their keys tell; what is held for the case may fit anyway."""
    yield from receiver.envelopes(keys.asked)
    if keys.asked is not None:
        held = (receiver.envelope(digest) for digest in sorted(keys.held_ids))
        yield from (data for data in held if data is not None and not _is_sealed_to(data, keys.asked))


def _is_sealed_to(data: bytes, kids: frozenset[bytes]) -> bool:
    try:
        return not kids.isdisjoint(parse_envelope(data).kids)
    except FormatError:
        return True


def _where(receiver: ReceiverView, keys: Keys, last: bytes, scanned: int) -> str:
    """Return what was not looked at, when a search was broken off behind an envelope."""
    left = f"about {max(receiver.count(keys.asked) - scanned, 0):,} messages"
    try:
        entry = receiver.entry_of(parse_envelope(last))
    except FormatError:  # damaged, or none was looked at
        return left
    if entry is None:
        return left
    at = from_ms(entry.stored_at_ms)
    return f"{left}, those behind entry {entry.log} of the log, which was stored at {at:%Y-%m-%dT%H:%M:%SZ}"


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
