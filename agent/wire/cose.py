"""COSE_Sign1 and COSE_Key, as far as plateseal uses them (RFC 9052, RFC 9053, RFC 9679).

Owns: the labels, the Sig_structure and the key thumbprint. One signature algorithm: EdDSA with Ed25519.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, VerificationError
from agent.wire import cbor, usual

TAG_SIGN1: Final = 18
TAG_ENCRYPT: Final = 96

HEADER_ALG: Final = 1
HEADER_CONTENT_TYPE: Final = 3
HEADER_KID: Final = 4
HEADER_IV: Final = 5
HEADER_EK: Final = -4
"""Encapsulated key of an HPKE recipient (draft-ietf-cose-hpke)."""

ALG_EDDSA: Final = -8
KID_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_SIGNATURE_1: Final = b"\x84" + cbor.encode("Signature1")
"""How a Sig_structure begins: an array of four, and its context."""
_NO_BYTES: Final = cbor.bytes_head(0)
_FIELD: Final = 2**255 - 19
"""The prime of Curve25519's field (RFC 8032, 5.1)."""
_Y_OF_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_Y_OF_SMALL_ORDER: Final = frozenset({0, 1, _FIELD - 1, _Y_OF_ORDER_8, _FIELD - _Y_OF_ORDER_8})
"""The y of Ed25519's eight points of order 1, 2, 4 and 8."""

KEY_KTY: Final = 1
KEY_KID: Final = 2
KEY_ALG: Final = 3
KTY_OKP: Final = 1
KTY_EC2: Final = 2
KTY_AKP: Final = 7
CRV_P256: Final = 1
CRV_X25519: Final = 4
CRV_ED25519: Final = 6


@dataclass(frozen=True, slots=True)
class Sign1:
    """A parsed COSE_Sign1 whose signature has not been checked.

    Attributes:
        protected: The protected header, decoded.
        protected_bytes: The same, as signed.
        payload: The signed bytes.
        signature: 64 bytes, Ed25519.
    """

    protected: cbor.CborMap
    protected_bytes: bytes
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def kid(self) -> bytes:
        """Key id that the signer claims; `parse_sign1` has checked that it is 32 bytes."""
        return cbor.as_bytes(self.protected[HEADER_KID], KID_BYTES, "key id")

    @property
    def content_type(self) -> object:
        """One of the content types that `parse_sign1` was told to accept."""
        return self.protected[HEADER_CONTENT_TYPE]


def load_new_signer(raw: bytes, what: str) -> Ed25519PublicKey:
    """Load a public key that somebody brings as their own, 32 bytes.

    Raises:
        FormatError: Its order is small: everybody can sign for it, so a proof by it proves nothing.
    """
    if (int.from_bytes(raw, "little") & ((1 << 255) - 1)) % _FIELD in _Y_OF_SMALL_ORDER:
        raise FormatError(f"{what}: a public key of small order")
    return Ed25519PublicKey.from_public_bytes(raw)


def ed25519_kid(public_key: Ed25519PublicKey) -> bytes:
    """Return the 32-byte COSE Key Thumbprint (RFC 9679) of an Ed25519 key, which is its key id."""
    return _ed25519_kid(public_key.public_bytes_raw())


@lru_cache(maxsize=64)
def _ed25519_kid(raw: bytes) -> bytes:
    return thumbprint({KEY_KTY: KTY_OKP, -1: CRV_ED25519, -2: raw})


def thumbprint(identifying: cbor.CborMap) -> bytes:
    """Return the COSE Key Thumbprint (RFC 9679): SHA-256 of the members of a COSE_Key that identify the key."""
    return cbor.sha256(cbor.encode(identifying))


def encode_protected(header: cbor.CborMap) -> bytes:
    """Encode a protected header map to the byte string that is signed or authenticated."""
    return cbor.encode(header)


def sign1(protected_bytes: bytes, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """Sign `payload` and return the tagged COSE_Sign1."""
    signature = key.sign(_sig_structure(protected_bytes, payload))
    return cbor.encode(cbor2.CBORTag(TAG_SIGN1, [protected_bytes, {}, payload, signature]))


def parse_sign1(data: bytes, *, content_types: Sequence[str], max_bytes: int, what: str) -> Sign1:
    """Take a tagged COSE_Sign1 apart without checking its signature.

    Args:
        data: The whole message.
        content_types: The content types (header 3) that are accepted.
        max_bytes: Longest message looked at.
        what: The record's name, for error messages.

    Raises:
        FormatError: Not this structure, another algorithm or content type, or no 32-byte key id.
    """
    protected_raw, unprotected, payload, signature = _parts(data, max_bytes, what)
    if cbor.as_map(unprotected, what):
        raise FormatError(f"{what}: the unprotected header must be empty")
    protected_bytes = cbor.as_bytes(protected_raw, None, what)
    protected = usual.read_header(protected_bytes) or cbor.as_map(
        cbor.decode(protected_bytes, max_bytes=max_bytes, what=what), what
    )
    if protected.get(HEADER_ALG) != ALG_EDDSA:
        raise FormatError(f"{what}: signature algorithm {protected.get(HEADER_ALG)!r:.40}, only EdDSA (-8) is allowed")
    if protected.get(HEADER_CONTENT_TYPE) not in content_types:
        raise FormatError(f"{what}: content type is not {' or '.join(content_types)}")
    cbor.as_bytes(protected.get(HEADER_KID), KID_BYTES, f"{what}: key id")
    return Sign1(
        protected=protected,
        protected_bytes=protected_bytes,
        payload=cbor.as_bytes(payload, None, what),
        signature=cbor.as_bytes(signature, SIGNATURE_BYTES, f"{what}: signature"),
    )


def _parts(data: bytes, max_bytes: int, what: str) -> list[object]:
    """Return protected header, unprotected header, payload and signature, undecoded."""
    parts = usual.sign1_parts(data) if len(data) <= max_bytes else None
    if parts is not None:
        return parts
    value = cbor.decode(data, max_bytes=max_bytes, what=what)
    if not isinstance(value, cbor2.CBORTag) or value.tag != TAG_SIGN1:
        raise FormatError(f"{what}: not a COSE_Sign1 (tag {TAG_SIGN1})")
    return cbor.as_list(value.value, 4, what)


def verify_sign1(
    message: Sign1, key: Ed25519PublicKey, *, what: str, error: type[VerificationError] = VerificationError
) -> None:
    """Check key id and signature.

    Raises:
        VerificationError: (or the subclass `error`) the key id is another key's, or the signature is wrong.
    """
    if message.kid != ed25519_kid(key):
        raise error(f"{what}: signed by key {message.kid.hex()[:16]}, expected {ed25519_kid(key).hex()[:16]}")
    try:
        key.verify(message.signature, _sig_structure(message.protected_bytes, message.payload))
    except InvalidSignature:
        raise error(f"{what}: the signature by key {message.kid.hex()[:16]} is wrong") from None


def signed_header(content_type: str, kid: bytes) -> cbor.CborMap:
    """Return the protected header that all our COSE_Sign1 messages share."""
    return {HEADER_ALG: ALG_EDDSA, HEADER_CONTENT_TYPE: content_type, HEADER_KID: kid}


def _sig_structure(protected_bytes: bytes, payload: bytes) -> bytes:
    """Return what is signed (RFC 9052, 4.4), as `cbor.encode` would, which copies a long payload three times."""
    head, length = cbor.bytes_head(len(protected_bytes)), cbor.bytes_head(len(payload))
    return b"".join((_SIGNATURE_1, head, protected_bytes, _NO_BYTES, length, payload))
