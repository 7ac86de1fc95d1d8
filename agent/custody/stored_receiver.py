"""A receiver as the owner's tools see it: its store, its devices, and its public receipt key where that is at hand.

Owns: looking into a receiver's folder. Leaves to others: what is sought there (`search`, `destroy`, `export`), and the
store itself (`agent.receiver`). Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.search import Logged
from agent.custody.testimony import StoredEntry
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.layout import ReceiverLayout
from agent.receiver.ports import KeptStore, StoredRow
from agent.wire.envelope import Envelope


class StoredReceiver:
    """`ReceiverView` of a receiver's folder: its store, its devices, and its public receipt key where it is there."""

    def __init__(self, layout: ReceiverLayout, store: KeptStore, watch: Callable[[int, int], None]) -> None:
        """Look at an open store; tell `watch` how many envelopes have been read, of how many."""
        self._devices = DeviceBook(layout.devices)
        self._store = store
        self._watch = watch
        self._keys: dict[bytes, Ed25519PublicKey | None] = {}
        self._ends: dict[bytes, int | None] = {}
        self._receipt_keys = self._devices.receipt_keys()

    def envelopes(self, kids: Collection[bytes] | None = None) -> Iterator[bytes]:
        """Yield the stored envelopes' bytes in the order of the receiver's log: all, or those sealed to these keys.

        What was dropped is not there.
        """
        total = self.count(kids)
        there = (row.body for row in self._store.pages(kids=kids) if row.body is not None)
        for number, body in enumerate(there):
            self._watch(number, total)
            yield body

    def logged(self, after: int, kids: Collection[bytes] | None = None) -> Iterator[Logged]:
        """Yield the entries behind an index of the log, in its order: all, or those that these keys may open."""
        end = self._store.totals().log_end
        for row in self._store.pages(after, kids=kids):
            self._watch(row.log - after, max(end - after, 0))
            yield _logged(row)

    def logged_at(self, log: int) -> Logged | None:
        """Return the entry with an index of the log, or None."""
        row = self._store.get(log)
        return None if row is None else _logged(row)

    def envelope(self, digest: bytes) -> bytes | None:
        """Return a stored envelope's bytes by the 32 bytes of its id; None where it is not stored, or was dropped."""
        row = self._store.get(digest)
        return None if row is None else row.body

    def count(self, kids: Collection[bytes] | None = None) -> int:
        """Return how many envelopes are stored: all, or at most how many may be sealed to these keys.

        Of files with reads of several epochs all are counted, and so are envelopes that are in no file yet.
        """
        stored = self._store.totals().envelopes
        if kids is None:
            return stored
        there = [epoch for epoch in self._store.epochs() if epoch.dropped_at is None]
        return stored - sum(epoch.reads for epoch in there if epoch.kids and not set(epoch.kids).intersection(kids))

    def dropped_kids(self) -> dict[bytes, int]:
        """Return how many reads were dropped at the receiver, by the id of each key that they were sealed to."""
        dropped = [epoch for epoch in self._store.epochs() if epoch.dropped_at is not None]
        return {kid: epoch.reads for epoch in dropped for kid in epoch.kids}

    def device_key(self, key_id: bytes) -> Ed25519PublicKey | None:
        """Return the public signing key of an enrolled device, or None."""
        if key_id not in self._keys:
            device = self._devices.by_key_id(key_id)
            self._keys[key_id] = None if device is None else device.signing_key
        return self._keys[key_id]

    def revoked_after(self, key_id: bytes) -> int | None:
        """Return the last entry of the log that is still the device's, for a key that was revoked; else None."""
        if key_id not in self._ends:
            device = self._devices.by_key_id(key_id)
            self._ends[key_id] = None if device is None or device.revoked is None else device.revoked.after
        return self._ends[key_id]

    def entry_of(self, envelope: Envelope) -> StoredEntry | None:
        """Return what the store says of an envelope, or None if it is not stored."""
        row = self._store.get(envelope.digest)
        if row is None:
            return None
        before = self._store.neighbours(row)
        return StoredEntry(
            log=row.log,
            stored_at_ms=row.stored_at_ms,
            earlier_ms=before.stored_at_ms,
            receipt=row.receipt,
            receipt_before=before.receipt,
        )

    def receipt_at(self, log: int) -> bytes | None:
        """Return the receipt that is kept for an index of the log, or None."""
        return self._store.receipt_at(log)

    @property
    def receipt_keys(self) -> Mapping[bytes, Ed25519PublicKey]:
        """Public halves of the receipt keys by key id, where they are beside the store."""
        return self._receipt_keys


def _logged(row: StoredRow) -> Logged:
    return Logged(row.log, row.id, row.stored_at_ms, row.body)
