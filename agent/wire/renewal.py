"""The renewal statement: a unit's enrolled signing key asks for a new certificate for the TLS key that it has.

```
renewal = COSE_Sign1 (tag 18), EdDSA/Ed25519, by the unit's signing key
  protected: {1: -8, 3: "application/plateseal-renewal+cbor", 4: key id}
  payload:   {"v": 1, "device": name, "certificate": the TLS certificate that is to be followed (DER)}
```

Owns: the layout and its signature. That the TLS key is the unit's own is proven by the connection that the statement
comes over, which that certificate opened. It names one certificate, so it is of no use once that was followed. Leaves
to others: files, and which keys and certificates are enrolled (`agent.receiver`).

The signature cannot be taken for another one of the same key: what a COSE_Sign1 signs is an array that begins with
"Signature1" and has the content type in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError
from agent.wire import cbor, cose
from agent.wire.plaintext import MAX_NAME_CHARS

CONTENT_TYPE: Final = "application/plateseal-renewal+cbor"
RENEWAL_PATH: Final = "/v1/renewal"
RENEWAL_MEDIA_TYPE: Final = "application/cose"
CERTIFICATE_MEDIA_TYPE: Final = "application/pem-certificate-chain"
RENEWAL_VERSION: Final = 1
MAX_CERTIFICATE_BYTES: Final = 4096
"""One of the bench CA has about 600 bytes, one with an RSA key and signature of 4096 bits 2 kB."""
MAX_RENEWAL_BYTES: Final = 8192
"""`MAX_CERTIFICATE_BYTES` and the rest, which has about 250."""
MAX_CHAIN_BYTES: Final = 64 << 10
"""The new certificate and CAs above it, PEM; as long as any key file that is read."""

_WHAT: Final = "renewal"
_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_KEYS: Final = frozenset({"v", "device", "certificate"})


@dataclass(frozen=True, slots=True)
class Renewal:
    """A parsed statement; the signature holds only after `verify_renewal`.

    Attributes:
        data: The whole statement.
        device: The device's name.
        key_id: 32 bytes, id of the signing key that it claims to be signed by.
        certificate_der: The certificate that is to be followed (DER), not looked into.
    """

    data: bytes = field(repr=False)
    device: str
    key_id: bytes
    certificate_der: bytes = field(repr=False)


def encode_renewal(*, device: str, certificate_der: bytes, key: Ed25519PrivateKey) -> bytes:
    """Sign a statement."""
    payload: cbor.CborMap = {"v": RENEWAL_VERSION, "device": device, "certificate": certificate_der}
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(key.public_key()))
    return cose.sign1(cose.encode_protected(header), cbor.encode(payload), key)


def parse_renewal(data: bytes) -> Renewal:
    """Parse a statement; its signature is not checked.

    Raises:
        FormatError: Anything but the one layout of the format.
    """
    message = _parse_message(data)
    value = cbor.as_map(cbor.decode(message.payload, max_bytes=MAX_RENEWAL_BYTES, what=_WHAT), _WHAT)
    if type(value.get("v")) is not int or value["v"] != RENEWAL_VERSION:
        raise FormatError(f"{_WHAT}: version {value.get('v')!r:.20}, only {RENEWAL_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, _WHAT)
    device = cbor.as_text(value["device"], MAX_NAME_CHARS, f"{_WHAT}: device")
    certificate = cbor.as_bytes(value["certificate"], None, f"{_WHAT}: certificate")
    if not 0 < len(certificate) <= MAX_CERTIFICATE_BYTES:
        raise FormatError(
            f"{_WHAT}: certificate has {len(certificate)} bytes, 1 to {MAX_CERTIFICATE_BYTES} are allowed"
        )
    return Renewal(data=data, device=device, key_id=message.kid, certificate_der=certificate)


def verify_renewal(renewal: Renewal, key: Ed25519PublicKey) -> None:
    """Check that the owner of `key` signed the statement.

    Raises:
        VerificationError: Another key's id, or a wrong signature.
    """
    cose.verify_sign1(_parse_message(renewal.data), key, what=_WHAT)


def _parse_message(data: bytes) -> cose.Sign1:
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_RENEWAL_BYTES, what=_WHAT)
    cbor.exact_keys(message.protected, _HEADER_KEYS, f"{_WHAT} header")
    return message
