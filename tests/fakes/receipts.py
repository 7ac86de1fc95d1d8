"""Receipts by an honest receiver, without a receiver."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.wire import cose
from agent.wire.envelope import Envelope
from agent.wire.header import ZERO_DIGEST
from agent.wire.receipt import Receipt, VerifiedReceipt, sign_receipt, verify_receipt
from tests.fakes.envelopes import first_position, make_envelope

RECEIVER = Ed25519PrivateKey.generate()
_ANY = make_envelope(Ed25519PrivateKey.generate(), first_position(run=0))
PINNED = {cose.ed25519_kid(RECEIVER.public_key()): RECEIVER.public_key()}


def honest_receipt(
    envelope: Envelope,
    *,
    key: Ed25519PrivateKey = RECEIVER,
    log_index: int = 0,
    prev: bytes = ZERO_DIGEST,
    at: datetime = datetime(2026, 3, 1, tzinfo=UTC),
) -> bytes:
    """Return the signed receipt for an envelope; one of version 2 says that it follows the receipt `prev`."""
    position = envelope.position
    receipt = Receipt(
        envelope_id=envelope.envelope_id,
        length=len(envelope.data),
        device_kid=envelope.device_kid,
        chain=position.chain,
        seq=position.seq,
        stored_at=at,
        log_index=log_index,
        prev=None if position.run is None else prev,
    )
    return sign_receipt(receipt, key)


def proof(envelope: Envelope) -> VerifiedReceipt:
    """Return a verified receipt for an envelope."""
    return verify_receipt(honest_receipt(envelope), envelope, PINNED)


def verified_at(at: datetime, *, log_index: int = 0, key: Ed25519PrivateKey = RECEIVER) -> VerifiedReceipt:
    """Return a verified receipt of version 2, of some envelope, that was signed at an aware time."""
    receipt = honest_receipt(_ANY, key=key, log_index=log_index, at=at)
    return verify_receipt(receipt, _ANY, {cose.ed25519_kid(key.public_key()): key.public_key()})
