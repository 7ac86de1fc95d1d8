"""Looking into a receiver's store, as tests do."""

from __future__ import annotations

from agent.receiver.ports import StoreView


def kept_receipt(store: StoreView, envelope_id: str) -> bytes | None:
    """Return the receipt that is kept for an envelope, as it was first signed, or None."""
    row = store.get(bytes.fromhex(envelope_id))
    return None if row is None else row.receipt


def bodies(store: StoreView) -> list[bytes]:
    """Return every envelope's bytes in the order of the log."""
    return [row.body for row in store.pages()]
