"""The receipt: the receiver's signed statement that it has stored an envelope.

An envelope of version 2 gets a receipt of version 2, which names the receipt before it for the same device key. So the
receipts of a key are a chain: a unit that signs the digest of one of them has thereby signed all those before it. An
envelope of version 1 gets a receipt of version 1, because the unit that made it knows no other.

Owns: its layout, and `verify_receipt`, the only maker of a `VerifiedReceipt`. Erasing takes nothing else, so a
read cannot be erased on anything but a proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, ReceiptVerificationError
from agent.wire import cbor, cose
from agent.wire.envelope import MAX_ENVELOPE_BYTES, Envelope
from agent.wire.header import CHAIN_ID_BYTES, DIGEST_BYTES, FORMAT_VERSION, MAX_SEQ, VERSION_1, ChainPosition
from agent.wire.times import as_time, to_ms

CONTENT_TYPE: Final = "application/plateseal-receipt+cbor"
MAX_RECEIPT_BYTES: Final = 1024
"""A receipt of version 2 has at most 360 bytes."""

_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_KEYS_1: Final = frozenset({"v", "id", "len", "dev", "chain", "seq", "at", "log"})
_KEYS_2: Final = _KEYS_1 | {"prev"}
_VERIFIED: Final = object()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver says it has stored.

    Attributes:
        envelope_id: SHA-256 of the envelope in lower-case hex.
        length: The envelope's length in bytes.
        device_kid: 32 bytes, key id of the device that signed the envelope.
        chain, seq: The envelope's place in the device's chain.
        stored_at: Aware UTC time of the receiver, whole milliseconds.
        log_index: Position in the receiver's log.
        prev: 32 bytes, SHA-256 of the receipt of version 2 before it for the same device key; zeros in the first one.
            None in version 1.
    """

    envelope_id: str
    length: int
    device_kid: bytes
    chain: bytes
    seq: int
    stored_at: datetime
    log_index: int
    prev: bytes | None = None

    @property
    def version(self) -> int:
        """The version of the format: 1 or 2."""
        return VERSION_1 if self.prev is None else FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt that has been checked against the envelope it names. Made by `verify_receipt` alone.

    Attributes:
        receipt: What was signed.
        receiver_kid: 32 bytes, key id of the receiver that signed it.
        position: Where the proven envelope stands.
        digest: 32 bytes, SHA-256 of the whole receipt.
    """

    receipt: Receipt
    receiver_kid: bytes
    position: ChainPosition
    digest: bytes
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        """Refuse to exist without the check.

        Raises:
            ReceiptVerificationError: Built by anything but `verify_receipt`.
        """
        if proof is not _VERIFIED:
            raise ReceiptVerificationError("a VerifiedReceipt comes from verify_receipt() only")

    @property
    def envelope_id(self) -> str:
        """The proven envelope's id."""
        return self.receipt.envelope_id


def sign_receipt(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """Sign a receipt. It must not leave the receiver before the envelope and the receipt are stored and synced."""
    fields: cbor.CborMap = {
        "v": receipt.version,
        "id": bytes.fromhex(receipt.envelope_id),
        "len": receipt.length,
        "dev": receipt.device_kid,
        "chain": receipt.chain,
        "seq": receipt.seq,
        "at": to_ms(receipt.stored_at),
        "log": receipt.log_index,
    }
    if receipt.prev is not None:
        fields["prev"] = receipt.prev
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(key.public_key()))
    return cose.sign1(cose.encode_protected(header), cbor.encode(fields), key)


def parse_receipt(data: bytes) -> Receipt:
    """Parse a receipt without checking its signature.

    Raises:
        FormatError: Anything but the one layout of the format.
    """
    return _parse_payload(_parse_outer(data).payload)


def verify_receipt(data: bytes, envelope: Envelope, receiver_keys: Mapping[bytes, Ed25519PublicKey]) -> VerifiedReceipt:
    """Check that a pinned receiver has stored exactly this envelope.

    Args:
        data: The receipt as it came.
        envelope: The envelope that was sent.
        receiver_keys: The pinned receipt keys by key id.

    Raises:
        FormatError: Not a receipt.
        ReceiptVerificationError: An unknown receiver key, a wrong signature, or another envelope, length, device,
            place in the chain or version.
    """
    what = f"receipt for {envelope.envelope_id[:16]}"
    message = _signed(data, receiver_keys, what)
    receipt = _parse_payload(message.payload)
    for name, got, expected in (
        ("envelope", receipt.envelope_id, envelope.envelope_id),
        ("length", receipt.length, len(envelope.data)),
        ("device", receipt.device_kid, envelope.device_kid),
        ("chain", receipt.chain, envelope.position.chain),
        ("seq", receipt.seq, envelope.position.seq),
        ("version", receipt.version, envelope.position.version),
    ):
        if got != expected:
            raise ReceiptVerificationError(f"{what}: names another {name}")
    return VerifiedReceipt(receipt, message.kid, envelope.position, cbor.sha256(data), _VERIFIED)


def verify_alone(data: bytes, receiver_keys: Mapping[bytes, Ed25519PublicKey]) -> Receipt:
    """Check that a known receiver signed a receipt, and return what it says. It proves nothing of an envelope.

    Raises:
        FormatError: Not a receipt.
        ReceiptVerificationError: An unknown receiver key, or a wrong signature.
    """
    return _parse_payload(_signed(data, receiver_keys, "receipt").payload)


def _signed(data: bytes, receiver_keys: Mapping[bytes, Ed25519PublicKey], what: str) -> cose.Sign1:
    message = _parse_outer(data)
    key = receiver_keys.get(message.kid)
    if key is None:
        raise ReceiptVerificationError(f"{what}: signed by unknown receiver key {message.kid.hex()[:16]}")
    cose.verify_sign1(message, key, what=what, error=ReceiptVerificationError)
    return message


def _parse_outer(data: bytes) -> cose.Sign1:
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_RECEIPT_BYTES, what="receipt")
    cbor.exact_keys(message.protected, _HEADER_KEYS, "receipt header")
    return message


def _parse_payload(payload: bytes) -> Receipt:
    value = cbor.as_map(cbor.decode(payload, max_bytes=MAX_RECEIPT_BYTES, what="receipt"), "receipt")
    version = value.get("v")
    if type(version) is not int or version not in (VERSION_1, FORMAT_VERSION):
        raise FormatError(f"receipt: version {version!r:.20}, only {VERSION_1} and {FORMAT_VERSION} are allowed")
    cbor.exact_keys(value, _KEYS_1 if version == VERSION_1 else _KEYS_2, "receipt")
    return Receipt(
        envelope_id=cbor.as_bytes(value["id"], DIGEST_BYTES, "receipt: id").hex(),
        length=cbor.as_uint(value["len"], MAX_ENVELOPE_BYTES, "receipt: len"),
        device_kid=cbor.as_bytes(value["dev"], cose.KID_BYTES, "receipt: dev"),
        chain=cbor.as_bytes(value["chain"], CHAIN_ID_BYTES, "receipt: chain"),
        seq=cbor.as_uint(value["seq"], MAX_SEQ, "receipt: seq"),
        stored_at=as_time(value["at"], "receipt: at"),
        log_index=cbor.as_uint(value["log"], MAX_SEQ, "receipt: log"),
        prev=cbor.as_bytes(value["prev"], DIGEST_BYTES, "receipt: prev") if version == FORMAT_VERSION else None,
    )
