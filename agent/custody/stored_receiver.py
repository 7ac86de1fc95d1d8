"""A receiver as the owner's tools see it: its store, its devices, and its receipt key where that is at hand.

Owns: looking into a receiver's folder. Leaves to others: what is sought there (`search`, `destroy`, `export`), and the
store itself (`agent.receiver`). Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import KeyFileError
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import EnvelopeStore
from agent.wire.receipt import Receipt, sign_receipt


class StoredReceiver:
    """`ReceiverView` of a receiver's folder: its store, its devices, and its receipt key where that can be read."""

    def __init__(self, layout: ReceiverLayout, store: EnvelopeStore, watch: Callable[[int, int], None]) -> None:
        """Look at an open store; tell `watch` how many envelopes have been read, of how many."""
        self._devices = DeviceBook(layout.devices)
        self._store = store
        self._watch = watch
        self._keys: dict[bytes, Ed25519PublicKey | None] = {}
        self._receipt_key = _receipt_key(layout)

    def envelopes(self) -> Iterator[bytes]:
        """Yield every stored envelope's bytes in the order of the receiver's log."""
        total = self._store.count()
        for number, data in enumerate(self._store.envelopes()):
            self._watch(number, total)
            yield data

    def count(self) -> int:
        """Return how many envelopes are stored."""
        return self._store.count()

    def device_key(self, key_id: bytes) -> Ed25519PublicKey | None:
        """Return the public signing key of an enrolled device, or None."""
        if key_id not in self._keys:
            device = self._devices.by_key_id(key_id)
            self._keys[key_id] = None if device is None else device.signing_key
        return self._keys[key_id]

    def receipt_of(self, envelope_id: str) -> Receipt | None:
        """Return what was stored under an id, or None."""
        return self._store.receipt_of(envelope_id)

    def sign_receipt(self, receipt: Receipt) -> bytes | None:
        """Return the signed receipt, or None where the receiver's receipt key is not at hand."""
        return None if self._receipt_key is None else sign_receipt(receipt, self._receipt_key)

    @property
    def receipt_public(self) -> Ed25519PublicKey | None:
        """Public half of the receipt key, where the key is at hand."""
        return None if self._receipt_key is None else self._receipt_key.public_key()


def _receipt_key(layout: ReceiverLayout) -> Ed25519PrivateKey | None:
    """Load the receipt key where it is at hand and is the one that devices pin."""
    try:
        key = load_ed25519_private(layout.receipt_key)
        public = load_ed25519_public(layout.receipt_public)
    except KeyFileError:
        return None
    return key if key.public_key().public_bytes_raw() == public.public_bytes_raw() else None
