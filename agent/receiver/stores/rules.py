"""The rules that a chain must keep, for every engine: what may be stored, and what a receipt says.

Owns: the decisions. Leaves to others: finding out what a store knows (an engine's `ChainFacts`), the transaction, what
shows two machines with one key (`forks`), and whether an envelope's signature holds (`intake`).

Invariant: nothing here reads or writes; whoever asks holds the locks that keep the facts as they are until its commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from agent.receiver.ports import ChainConflict
from agent.wire.envelope import Envelope
from agent.wire.header import VERSION_1
from agent.wire.receipt import Receipt
from agent.wire.times import from_ms

_Number = TypeVar("_Number")


class Place(NamedTuple):
    """Where an entry stands.

    Attributes:
        device: 32 bytes, id of the key that signed it.
        chain: 16 bytes.
        seq: Its number in the chain.
    """

    device: bytes
    chain: bytes
    seq: int


class Beside(NamedTuple):
    """An entry at or next to a place.

    Attributes:
        seq: Its number in the chain.
        id: 32 bytes, its envelope's id.
        prev: 32 bytes, what it names as the one before it.
    """

    seq: int
    id: bytes
    prev: bytes


class NumberedChain(NamedTuple):
    """A chain of version 2.

    Attributes:
        device: 32 bytes, id of its key.
        chain: 16 bytes.
        run: Its number.
    """

    device: bytes
    chain: bytes
    run: int


class ChainFacts(Protocol):
    """What a store knows within a transaction, what the transaction itself has stored included."""

    def beside(self, place: Place) -> Iterable[Beside]:
        """Return the entries of a chain at a place, before it and after it, by sequence number."""
        ...

    def place_of(self, envelope_id: bytes) -> Place | None:
        """Return where an envelope stands, None where it is not stored."""
        ...

    def first_chain(self, devices: Sequence[bytes]) -> NumberedChain | None:
        """Return the chain with the lowest number of some keys."""
        ...

    def twin(self, chain: NumberedChain) -> bytes | None:
        """Return the id of another chain of the same key and number."""
        ...

    def named_near(self, envelope: Envelope) -> Iterable[bytes]:
        """Return, of the envelopes after which a stored one may have made a row of two, those that a chain names.

        They are: the envelope itself; the one that its position names as before its chain; the one that its chain
        began after; and the one two places before it.
        """
        ...

    def beginnings(self, before: bytes) -> Iterable[tuple[bytes, bytes]]:
        """Return device key and id of some chains that say that they began after an envelope."""
        ...

    def grows_behind(self, place: Place) -> bool:
        """Whether the chain has an entry behind a place."""
        ...


def place_of(envelope: Envelope) -> Place:
    """Return where an envelope says that it stands."""
    return Place(envelope.device_kid, envelope.position.chain, envelope.position.seq)


def conflict(facts: ChainFacts, envelope: Envelope, followers: Sequence[bytes]) -> ChainConflict | None:
    """Return why an envelope that is not stored cannot be stored; None where it can.

    Args:
        facts: The store's.
        envelope: It.
        followers: Ids of the keys that followed its key after a rotation.
    """
    return _misfit(facts, envelope) or _after_the_end(facts, envelope, followers)


def receipt_for(envelope: Envelope, *, log: int, at_ms: int, newest: bytes) -> Receipt:
    """Return what the receipt of an envelope says.

    Args:
        envelope: It.
        log: Its index in the log.
        at_ms: When it was stored, milliseconds since 1970 UTC.
        newest: Digest of the newest chained receipt of its device key; zeros if there is none.
    """
    receipt = Receipt(
        envelope_id=envelope.envelope_id,
        length=len(envelope.data),
        device_kid=envelope.device_kid,
        chain=envelope.position.chain,
        seq=envelope.position.seq,
        stored_at=from_ms(at_ms),
        log_index=log,
    )
    return receipt if envelope.position.version == VERSION_1 else replace(receipt, prev=newest)


def doomed_and_waiting(
    here: Mapping[_Number, tuple[bytes, ...]], gone: Collection[bytes]
) -> tuple[list[_Number], list[_Number]]:
    """Return which files of epochs go, and which wait for another key, in their order.

    Args:
        here: Of each file that is there: the ids of the keys that its envelopes are sealed to, at least one.
        gone: Ids of all keys that were dropped.
    """
    doomed = [number for number, kids in here.items() if set(gone).issuperset(kids)]
    waiting = [number for number, kids in here.items() if number not in doomed and not set(gone).isdisjoint(kids)]
    return doomed, waiting


def _misfit(facts: ChainFacts, envelope: Envelope) -> ChainConflict | None:
    """Compare an envelope that is not stored with its place and its neighbours."""
    position = envelope.position
    place = f"chain {position.chain.hex()[:8]} seq {position.seq}"
    for seq, stored_id, stored_prev in facts.beside(place_of(envelope)):
        if seq == position.seq:
            reason = f"fork: {place} is taken by another envelope, {stored_id.hex()[:16]}"
            return ChainConflict(reason, is_fork=True)
        if seq == position.seq - 1 and stored_id != position.prev:
            return ChainConflict(f"broken chain: prev of {place} is not the stored envelope before it")
        if seq == position.seq + 1 and stored_prev != envelope.digest:
            return ChainConflict(f"broken chain: the stored envelope after {place} names another as its prev")
    return None


def _after_the_end(facts: ChainFacts, envelope: Envelope, followers: Sequence[bytes]) -> ChainConflict | None:
    """Tell whether an envelope by a key that was rotated out was made after the rotation.

    What the key signed before it may come at any time. The unit's chains are numbered, so the first chain of the keys
    that followed says where the old key ended: at the envelope that it names.
    """
    first = facts.first_chain(followers) if followers else None
    if first is None:
        return None
    position, device = envelope.position, envelope.device_kid
    ended = f"after the rotation: key {device.hex()[:16]} was followed by {first.device.hex()[:16]} in run {first.run}"
    if position.run is not None:
        own = NumberedChain(device, position.chain, position.run)
        if position.run >= first.run or facts.twin(own) is not None:
            return ChainConflict(f"{ended}, and this is another chain of run {position.run}")
    handed_over = next((each.prev for each in facts.beside(Place(*first[:2], 0)) if each.seq == 0), None)
    if handed_over is None:
        return None
    end = facts.place_of(handed_over)
    goes_on = end is not None and end.chain == position.chain and position.seq > end.seq
    if goes_on or position.before == handed_over:
        return ChainConflict(f"{ended}, and this goes on behind the end of its last chain")
    return None


__all__ = [
    "Beside",
    "ChainFacts",
    "NumberedChain",
    "Place",
    "conflict",
    "doomed_and_waiting",
    "place_of",
    "receipt_for",
]
