"""What a receiver keeps envelopes in: one Protocol per user of a store, and the records that cross it.

Owns: these words. Leaves to others: the engines (`stores`), which pass one contract suite
(`tests/contract/test_envelope_store.py`), and which of them is opened (`stores.opening`).

Invariants of every engine: `store_batch` returns when what it says would survive a power cut, and no receipt leaves it
before. The same envelope gets the same entry and the same receipt for ever. Two envelopes never stand at one place of a
chain, and neighbours in a store are linked. The log is read in the order of its commits: who pages through it misses
nothing that was committed before the page was read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.wire.envelope import Envelope


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One entry of a store with its envelope, as it stands there, for whoever checks it.

    Attributes:
        log: Index in the receiver's log.
        id: 32 bytes, what the entry calls the envelope.
        device, chain, seq: Where the entry puts it.
        prev: 32 bytes, what the entry says that the envelope's `prev` is.
        run: Number of the chain, as the store noted it; None for a chain of version 1.
        length: How many bytes the envelope has, or had.
        stored_at_ms: When the entry says that it was stored, milliseconds since 1970 UTC.
        receipt: The receipt as it was first signed; None where none is kept.
        body: The envelope's bytes; None where they were dropped with their epoch.
    """

    log: int
    id: bytes
    device: bytes
    chain: bytes
    seq: int
    prev: bytes
    run: int | None
    length: int
    stored_at_ms: int
    receipt: bytes | None = field(repr=False)
    body: bytes | None = field(repr=False)


class Outline(NamedTuple):
    """One entry of a store without the envelope, with all that is not to change any more.

    Attributes:
        log: Index in the receiver's log.
        id, device, chain, seq, prev, length, stored_at_ms: As in a `StoredRow`.
        receipt: The receipt that is kept at this index for this envelope; None where there is none.
        is_dropped: Whether the envelope's bytes were dropped with their epoch: this alone may change.
    """

    log: int
    id: bytes
    device: bytes
    chain: bytes
    seq: int
    prev: bytes
    length: int
    stored_at_ms: int
    receipt: bytes | None
    is_dropped: bool


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log without the envelope, or a receipt whose entry is gone.

    Attributes:
        log: Index in the log.
        stored_at_ms: When the entry says that it was stored, milliseconds since 1970 UTC; None where no entry is there.
        receipt: The receipt as it was first signed; None where none is kept.
    """

    log: int
    stored_at_ms: int | None
    receipt: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What stands before an entry of the log.

    Attributes:
        stored_at_ms: When the entry before it was stored, milliseconds since 1970 UTC; None for the first.
        receipt: The newest receipt of version 2 before it for the same device key; None if there is none.
    """

    stored_at_ms: int | None
    receipt: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Totals:
    """How much a store holds.

    Attributes:
        envelopes: How many there are.
        dropped: Of how many more the bytes were dropped with their epoch, and the entries are there.
        log_end: Index of the newest entry of the log; 0 for an empty one.
        log_used: The highest index that the log ever had, also if its entry is gone; 0 if it never had one.
    """

    envelopes: int
    dropped: int
    log_end: int
    log_used: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """The reads that are sealed to the same keys.

    Attributes:
        kids: Ids of these keys; empty for what goes with no key.
        reads: How many there are, or were.
        length: How many bytes they have, or had.
        dropped_at: Aware UTC time at which their bytes were dropped; None where they are there.
    """

    kids: tuple[bytes, ...]
    reads: int
    length: int
    dropped_at: datetime | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped.

    Attributes:
        epochs: The epochs that are gone now.
        waiting: Epochs that stay because they are sealed to another key as well, which was not dropped.
        held: How many of their reads were set aside for cases, and stay.
    """

    epochs: tuple[Epoch, ...]
    waiting: tuple[Epoch, ...]
    held: int


@dataclass(frozen=True, slots=True)
class ChainConflict:
    """An envelope that cannot be stored beside those that are.

    Attributes:
        reason: For a person; ids and numbers only.
        is_fork: Whether another envelope by the same key stands at its place.
    """

    reason: str
    is_fork: bool = False


@dataclass(frozen=True, slots=True)
class Forked:
    """An envelope that is stored, and that shows that two machines use its key.

    Attributes:
        receipt: Its receipt.
        reason: What it shows, for a person; ids and numbers only.
    """

    receipt: bytes = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True)
class ReceiptLost:
    """An envelope that is stored and whose receipt is gone from the store. No second receipt is signed.

    Attributes:
        reason: For a person; ids and numbers only.
    """

    reason: str


Outcome = bytes | Forked | ChainConflict | ReceiptLost
"""The receipt as it was first signed, or why there is none."""


class EnvelopeStore(Protocol):
    """What takes envelopes. Safe for threads; several may be open on one store."""

    def store_batch(
        self,
        envelopes: Sequence[Envelope],
        at: datetime,
        key: Ed25519PrivateKey,
        *,
        sender: bytes | None = None,
        followers: Mapping[bytes, Sequence[bytes]] = MappingProxyType({}),
    ) -> list[Outcome]:
        """Store envelopes and their receipts at once; on return, every receipt is true for good.

        Args:
            envelopes: In the order they came; their signatures hold. One may be there already, or twice.
            at: Aware time of storing, for those that are new.
            key: The receiver's receipt key.
            sender: Id of the key whose certificate brought them, to be remembered (`has_sent`).
            followers: By the id of a key that was rotated out: the ids of the keys that followed it.

        Returns:
            One outcome per envelope, in order: its receipt, the same bytes each time, or why there is none.

        Raises:
            ReceiverError: The store refused; none of the new ones is stored.
        """
        ...

    def try_to_write(self) -> int:
        """Take the right to write and give it back; return the index of the newest entry of the log.

        Raises:
            ReceiverError: The store refused.
        """
        ...

    def has_sent(self, key_id: bytes) -> bool:
        """Whether the certificate of a key has ever delivered an envelope.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def get(self, which: bytes | int) -> StoredRow | None:
        """Return an entry by the 32 bytes of its envelope's id, or by its index in the log; None if there is none.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def close(self) -> None:
        """Close the store. Idempotent."""
        ...


class StoreView(Protocol):
    """What a store holds, for whoever reads it while others write."""

    def pages(self, after: int = 0, *, kids: Collection[bytes] | None = None) -> Iterator[StoredRow]:
        """Yield the entries behind an index of the log, in its order; those stored meanwhile come at the end.

        Args:
            after: Index in the log; what follows it comes.
            kids: Ids of keys, 32 bytes each: only entries whose bytes are sealed to at least one of them come, also
                where the bytes were dropped, and those that are so damaged that nobody can tell. Bytes of other
                epochs are not read. None: all entries, tombstones too.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def chain_rows(self) -> Iterator[StoredRow]:
        """Yield every entry by device, chain and sequence number.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def rows_of(self, device: bytes, chain: bytes, after: int = -1) -> Iterator[StoredRow]:
        """Yield the entries of one chain behind a sequence number, by sequence number and index in the log.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def get(self, which: bytes | int) -> StoredRow | None:
        """Return an entry by the 32 bytes of its envelope's id, or by its index in the log; None if there is none.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def totals(self) -> Totals:
        """Count.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...


class StoreLog(Protocol):
    """The receiver's log without the envelopes: what was said when."""

    def log(self, after: int = -1) -> Iterator[LogEntry]:
        """Yield the entries of the log behind an index, and receipts whose entry is gone, in the order of the indices.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def outlines(self, end: int) -> Iterator[Outline]:
        """Yield the entries of the log up to an index, this one too, in its order, without their envelopes.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def receipts_up_to(self, end: int) -> int:
        """Return how many receipts are kept for indices of the log up to this one, with and without an entry.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def receipt_at(self, log: int) -> bytes | None:
        """Return the receipt that is kept for an index of the log, or None.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def neighbours(self, row: StoredRow) -> Neighbours:
        """Return what stands before an entry of the log.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def last_before(self, moment: datetime) -> int:
        """Return the index of the newest entry that was stored before an aware time; 0 if none was.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...


class Retention(Protocol):
    """What a store lets go of by policy."""

    def epochs(self) -> list[Epoch]:
        """Return the epochs of the store, in the order in which they came, also those that were dropped.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def drop_epochs(self, kids: Collection[bytes], at: datetime, *, held: Collection[bytes] = ()) -> Dropped:
        """Drop the bytes of all reads that nobody can open without one of these keys; on return they are gone for good.

        Their entries and receipts stay. From now on nothing that is sealed to these keys alone is kept: what comes
        gets an entry and a receipt, so that its unit may erase it.

        Args:
            kids: Ids of the keys, of this drop; keys of earlier drops count too.
            at: Aware time of the drop.
            held: Ids of envelopes, 32 bytes each, that stay all the same.

        Raises:
            ReceiverError: The store refused, or a held read is damaged. Nothing was dropped, or all of it and the disk
                refused to let go of the room: the next drop, or the next start, does that.
        """
        ...


class WholeStore(StoreView, StoreLog, Protocol):
    """What a verification looks at."""


class KeptStore(WholeStore, Retention, Protocol):
    """What an owner looks at: also what is not there any more."""
