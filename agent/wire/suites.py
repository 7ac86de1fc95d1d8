"""The suite table: which HPKE suite seals to which type of recipient key, and which AEAD seals the read.

Owns: algorithm numbers, key sizes, and the translation between raw key bytes and `cryptography` objects.
Everything that names an algorithm looks here.

Source: draft-ietf-cose-hpke-27 (HPKE-4-KE = 50, HPKE-7-KE = 53), draft-ietf-hpke-pq (KEM 0x647a), RFC 9053 (content
algorithms 3 and 24; key types OKP and EC2), RFC 9964 (key type AKP), RFC 9180.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.errors import FormatError
from agent.wire import cbor, cose

HpkePublicKey = X25519PublicKey | MLKEM768X25519PublicKey | ec.EllipticCurvePublicKey
HpkePrivateKey = X25519PrivateKey | MLKEM768X25519PrivateKey | ec.EllipticCurvePrivateKey

ALG_HYBRID: Final = "HPKE-MLKEM768-X25519-KE"
"""Until a number is registered for ML-KEM-768 with X25519 (HPKE KEM 0x647a)."""
CONTENT_KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
PRIVATE_KEY_BYTES: Final = 32
"""A raw X25519 private key, a P-256 scalar, or the seed of the hybrid's two private keys (draft-ietf-hpke-pq)."""
P256_PUBLIC_BYTES: Final = 65
"""An uncompressed point: 0x04, x, y (SEC 1, 2.3.3)."""

MLKEM768_PUBLIC_BYTES: Final = 1184
MLKEM768_SEED_BYTES: Final = 64

_ANY_X25519: Final = X25519PrivateKey.from_private_bytes(bytes(32))


class KeyType(StrEnum):
    """The type of a recipient key, as written in keyrings and on the command line."""

    X25519 = "x25519"
    P256 = "p256"
    HYBRID = "mlkem768-x25519"


class ContentCipher(StrEnum):
    """The AEAD that seals the read itself, by its COSE name."""

    AES_256_GCM = "A256GCM"
    CHACHA20_POLY1305 = "ChaCha20/Poly1305"


@dataclass(frozen=True, slots=True)
class RecipientSuite:
    """One row of the table.

    Attributes:
        key_type: The row's key.
        alg: COSE algorithm of the recipient (key encryption with HPKE).
        hpke: HPKE suite: KEM, KDF, AEAD.
        enc_bytes: Length of the encapsulated key.
        public_bytes: Length of the raw public key.
        load_public: Raw public key to key object; raises ValueError for bytes that are no key, or one of
            small order.
        generate: Draw 32 raw private bytes.
        load_private: 32 raw private bytes to key object; raises ValueError for bytes that are no key.
        derive_public: 32 raw private bytes to raw public key.
        cose_key: Raw public key to the members of its COSE_Key that identify it.
        private_label: Label of the private bytes in the COSE_Key.
    """

    key_type: KeyType
    alg: int | str
    hpke: Suite
    enc_bytes: int
    public_bytes: int
    load_public: Callable[[bytes], HpkePublicKey]
    generate: Callable[[], bytes]
    load_private: Callable[[bytes], HpkePrivateKey]
    derive_public: Callable[[bytes], bytes]
    cose_key: Callable[[bytes], cbor.CborMap]
    private_label: int

    def kid(self, public: bytes) -> bytes:
        """Return the key id of a raw public key: its COSE Key Thumbprint (RFC 9679)."""
        return cose.thumbprint(self.cose_key(public))


def _x25519_public(raw: bytes) -> X25519PublicKey:
    """Load a key, unless its order is small: every exchange with it gives zero, so nothing could be sealed to it."""
    public = X25519PublicKey.from_public_bytes(raw)
    _ANY_X25519.exchange(public)  # raises ValueError for zero
    return public


def _hybrid_public(raw: bytes) -> MLKEM768X25519PublicKey:
    mlkem, x25519 = raw[:MLKEM768_PUBLIC_BYTES], raw[MLKEM768_PUBLIC_BYTES:]
    return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(mlkem), _x25519_public(x25519))


def _hybrid_halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(MLKEM768_SEED_BYTES + PRIVATE_KEY_BYTES)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:MLKEM768_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(expanded[MLKEM768_SEED_BYTES:]),
    )


def _hybrid_private(seed: bytes) -> MLKEM768X25519PrivateKey:
    return MLKEM768X25519PrivateKey(*_hybrid_halves(seed))


def _hybrid_derive(seed: bytes) -> bytes:
    mlkem, x25519 = _hybrid_halves(seed)
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def _x25519_derive(raw: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()


def _x25519_cose(public: bytes) -> cbor.CborMap:
    return {cose.KEY_KTY: cose.KTY_OKP, -1: cose.CRV_X25519, -2: public}


def _hybrid_cose(public: bytes) -> cbor.CborMap:
    return {cose.KEY_KTY: cose.KTY_AKP, cose.KEY_ALG: ALG_HYBRID, -1: public}


def _p256_cose(public: bytes) -> cbor.CborMap:
    return {cose.KEY_KTY: cose.KTY_EC2, -1: cose.CRV_P256, -2: public[1:33], -3: public[33:]}


def _p256_public(raw: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)


def _p256_private(raw: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())


def _p256_generate() -> bytes:
    scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return scalar.to_bytes(PRIVATE_KEY_BYTES)


def _random_private() -> bytes:
    return secrets.token_bytes(PRIVATE_KEY_BYTES)


def _p256_derive(raw: bytes) -> bytes:
    return _p256_private(raw).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


SUITES: Final[dict[KeyType, RecipientSuite]] = {
    KeyType.X25519: RecipientSuite(
        key_type=KeyType.X25519,
        alg=50,
        hpke=Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
        enc_bytes=32,
        public_bytes=32,
        load_public=_x25519_public,
        generate=_random_private,
        load_private=X25519PrivateKey.from_private_bytes,
        derive_public=_x25519_derive,
        cose_key=_x25519_cose,
        private_label=-4,
    ),
    KeyType.P256: RecipientSuite(
        key_type=KeyType.P256,
        alg=53,
        hpke=Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
        enc_bytes=P256_PUBLIC_BYTES,
        public_bytes=P256_PUBLIC_BYTES,
        load_public=_p256_public,
        generate=_p256_generate,
        load_private=_p256_private,
        derive_public=_p256_derive,
        cose_key=_p256_cose,
        private_label=-4,
    ),
    KeyType.HYBRID: RecipientSuite(
        key_type=KeyType.HYBRID,
        alg=ALG_HYBRID,
        hpke=Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
        enc_bytes=1120,
        public_bytes=MLKEM768_PUBLIC_BYTES + 32,
        load_public=_hybrid_public,
        generate=_random_private,
        load_private=_hybrid_private,
        derive_public=_hybrid_derive,
        cose_key=_hybrid_cose,
        private_label=-2,
    ),
}

CONTENT_ALGS: Final[dict[ContentCipher, int]] = {
    ContentCipher.AES_256_GCM: 3,
    ContentCipher.CHACHA20_POLY1305: 24,
}


def suite_by_alg(alg: object, *, what: str) -> RecipientSuite:
    """Return the row whose COSE algorithm is `alg`.

    Raises:
        FormatError: No such row.
    """
    for suite in SUITES.values():
        if suite.alg == alg and type(suite.alg) is type(alg):
            return suite
    raise FormatError(f"{what}: unknown recipient algorithm {alg!r:.60}")


def content_aead(alg: object, key: bytes) -> AESGCM | ChaCha20Poly1305:
    """Return the AEAD for a COSE content algorithm and a 32-byte key.

    Raises:
        FormatError: Unknown algorithm.
    """
    if type(alg) is int and alg == CONTENT_ALGS[ContentCipher.AES_256_GCM]:
        return AESGCM(key)
    if type(alg) is int and alg == CONTENT_ALGS[ContentCipher.CHACHA20_POLY1305]:
        return ChaCha20Poly1305(key)
    raise FormatError(f"unknown content algorithm {alg!r:.60}")
