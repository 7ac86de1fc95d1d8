"""Receipts: only a proof about this very envelope makes a VerifiedReceipt."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import FormatError, PlatesealError, ReceiptVerificationError
from agent.wire import cbor, cose
from agent.wire.envelope import Envelope
from agent.wire.receipt import CONTENT_TYPE, Receipt, VerifiedReceipt, parse_receipt, sign_receipt, verify_receipt
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.reads import NOON

DEVICE = Ed25519PrivateKey.generate()
RECEIVER = Ed25519PrivateKey.generate()
PINNED = {cose.ed25519_kid(RECEIVER.public_key()): RECEIVER.public_key()}
ENVELOPE = make_envelope(DEVICE)


def receipt_for(envelope: Envelope = ENVELOPE) -> Receipt:
    """Return the receipt that an honest receiver signs."""
    return Receipt(
        envelope_id=envelope.envelope_id,
        length=len(envelope.data),
        device_kid=envelope.device_kid,
        chain=envelope.position.chain,
        seq=envelope.position.seq,
        stored_at=NOON,
        log_index=1,
    )


def test_an_honest_receipt_is_verified() -> None:
    """Signature, key, digest, length, device and place all match."""
    verified = verify_receipt(sign_receipt(receipt_for(), RECEIVER), ENVELOPE, PINNED)
    assert verified.envelope_id == ENVELOPE.envelope_id
    assert verified.receipt == receipt_for()


def test_a_receipt_parses_back() -> None:
    """parse(sign(x)) == x."""
    assert parse_receipt(sign_receipt(receipt_for(), RECEIVER)) == receipt_for()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("envelope_id", "09" * 32),
        ("length", len(ENVELOPE.data) - 1),
        ("device_kid", b"\x09" * 32),
        ("chain", b"\x09" * 16),
        ("seq", 9),
    ],
)
def test_a_well_signed_receipt_about_something_else_proves_nothing(field: str, value: object) -> None:
    """Each field that names the envelope is compared."""
    wrong = replace(receipt_for(), **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ReceiptVerificationError, match="names another"):
        verify_receipt(sign_receipt(wrong, RECEIVER), ENVELOPE, PINNED)


def test_a_receipt_by_another_key_proves_nothing() -> None:
    """Neither under its own key id nor under the pinned one."""
    other = Ed25519PrivateKey.generate()
    with pytest.raises(ReceiptVerificationError, match="unknown receiver key"):
        verify_receipt(sign_receipt(receipt_for(), other), ENVELOPE, PINNED)
    payload = cose.parse_sign1(
        sign_receipt(receipt_for(), other), content_types=(CONTENT_TYPE,), max_bytes=1024, what="receipt"
    ).payload
    claimed = cose.encode_protected(cose.signed_header(CONTENT_TYPE, next(iter(PINNED))))
    with pytest.raises(ReceiptVerificationError, match="signature .* is wrong"):
        verify_receipt(cose.sign1(claimed, payload, other), ENVELOPE, PINNED)


def test_every_flipped_bit_is_refused() -> None:
    """Exhaustive over a receipt."""
    data = sign_receipt(receipt_for(), RECEIVER)
    assert len(data) > cose.SIGNATURE_BYTES
    for index in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[index // 8] ^= 1 << (index % 8)
        with pytest.raises(PlatesealError):
            verify_receipt(bytes(flipped), ENVELOPE, PINNED)


def test_an_envelope_is_no_receipt() -> None:
    """The content types keep the two apart even under one key."""
    with pytest.raises(FormatError, match="content type"):
        verify_receipt(make_chain(RECEIVER, 1)[0].data, ENVELOPE, PINNED)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 2),
        ("v", True),
        ("id", b"\x00" * 31),
        ("len", -1),
        ("at", 1 << 60),
        ("log", "1"),
        ("extra", 1),
        ("seq", None),
    ],
)
def test_a_signed_receipt_of_another_layout_is_refused(key: str, value: object) -> None:
    """Unknown version, field or type; a missing field."""
    message = cose.parse_sign1(
        sign_receipt(receipt_for(), RECEIVER), content_types=(CONTENT_TYPE,), max_bytes=1024, what="receipt"
    )
    fields = cbor2.loads(message.payload)
    if value is None:
        del fields[key]
    else:
        fields[key] = value
    with pytest.raises(FormatError):
        verify_receipt(cose.sign1(message.protected_bytes, cbor.encode(fields), RECEIVER), ENVELOPE, PINNED)


def test_nobody_builds_a_verified_receipt_by_hand() -> None:
    """The proof that the constructor wants exists in one function only."""
    with pytest.raises(ReceiptVerificationError, match="verify_receipt"):
        VerifiedReceipt(receipt_for(), b"\x00" * 32, ENVELOPE.position, b"\x00" * 32, object())
