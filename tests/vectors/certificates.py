"""Certificate requests and certificates for the test vectors, the same bytes each time.

Every key is a hash of published words, and ECDSA is deterministic (RFC 6979).
"""

from __future__ import annotations

import base64
import warnings
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.vectors.keys import seed
from tests.vectors.messages import TLS_KEY, flip

UNIT: Final = "north-gate"
OTHER_TLS_KEY: Final = ec.derive_private_key(int.from_bytes(seed("another TLS key")), ec.SECP256R1())
P384_KEY: Final = ec.derive_private_key(int.from_bytes(seed("a TLS key of P-384")), ec.SECP384R1())
ED25519_KEY: Final = Ed25519PrivateKey.from_private_bytes(seed("a TLS key of Ed25519"))
CA_KEY: Final = ec.derive_private_key(int.from_bytes(seed("CA")), ec.SECP256R1())
BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
TlsKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
Names = tuple[tuple[x509.ObjectIdentifier, str], ...]


def subject(*names: str) -> Names:
    """Return a subject of these common names."""
    return tuple((NameOID.COMMON_NAME, name) for name in names)


NORTH_GATE: Final = subject(UNIT)


def request(names: Names = NORTH_GATE, key: TlsKey = TLS_KEY) -> bytes:
    """Return a PKCS#10 request (DER), signed by its own key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(names))
    if isinstance(key, Ed25519PrivateKey):
        return builder.sign(key, None).public_bytes(Encoding.DER)
    return builder.sign(key, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def _subject(names: Names) -> x509.Name:
    with warnings.catch_warnings(action="ignore"):  # of lengths that X.520 does not allow
        return x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in names])


def unsigned(der: bytes) -> bytes:
    """Return a request whose own signature does not hold."""
    return flip(der, -1)


def certificate(*, key: ec.EllipticCurvePrivateKey = TLS_KEY, days: int = 365, unit: str = UNIT) -> bytes:
    """Return a client certificate (DER) that ends after so many days."""
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plateseal bench CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, unit)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(days)
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + timedelta(days=days))
    )
    return builder.sign(CA_KEY, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def pem(der: bytes, label: str) -> str:
    """Return DER as PEM, as plateseal writes it (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = "".join(f"{text[at : at + 64]}\n" for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n"


def request_pem(der: bytes) -> str:
    """Return a request as PEM."""
    return pem(der, "CERTIFICATE REQUEST")


def certificate_pem(der: bytes) -> str:
    """Return a certificate as PEM."""
    return pem(der, "CERTIFICATE")
