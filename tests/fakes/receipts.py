"""Receipts by an honest receiver, without a receiver."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.wire import cose
from agent.wire.envelope import Envelope
from agent.wire.header import ZERO_DIGEST
from agent.wire.receipt import Receipt, VerifiedReceipt, sign_receipt, verify_receipt

RECEIVER = Ed25519PrivateKey.generate()
PINNED = {cose.ed25519_kid(RECEIVER.public_key()): RECEIVER.public_key()}


def honest_receipt(envelope: Envelope, *, key: Ed25519PrivateKey = RECEIVER, log_index: int = 0) -> bytes:
    """Return the signed receipt for an envelope."""
    position = envelope.position
    receipt = Receipt(
        envelope_id=envelope.envelope_id,
        length=len(envelope.data),
        device_kid=envelope.device_kid,
        chain=position.chain,
        seq=position.seq,
        stored_at=datetime(2026, 3, 1, tzinfo=UTC),
        log_index=log_index,
        prev=None if position.run is None else ZERO_DIGEST,
    )
    return sign_receipt(receipt, key)


def proof(envelope: Envelope) -> VerifiedReceipt:
    """Return a verified receipt for an envelope."""
    return verify_receipt(honest_receipt(envelope), envelope, PINNED)
