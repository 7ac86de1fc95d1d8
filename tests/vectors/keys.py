"""The keys of the test vectors, and HPKE with nothing left to chance.

Owns: private keys that are hashes of published words, so that nobody can mistake them for real ones, and sealing to
recipients from a fixed ephemeral key (RFC 9180, base mode). The product draws the ephemeral key itself, as it must; a
generator whose files are the same each time cannot. What is sealed here opens with the product, and with any HPKE.

ML-KEM's encapsulation is no part of `cryptography` with fixed randomness, so the two ciphertexts that the hybrid needs
are recorded in `mlkem_ciphertexts.txt`, a line for each key. Each is the ciphertext of ML-KEM.Encaps_internal(ek, m) of
FIPS 203, where m is `seed("NAME, ML-KEM randomness")`. Their shared secrets are not recorded: decapsulation gives them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from agent.wire import cose
from agent.wire.suites import SUITES, KeyType, RecipientSuite

CIPHERTEXTS: Final = Path(__file__).parent / "mlkem_ciphertexts.txt"
MLKEM_PUBLIC_BYTES: Final = 1184
XWING_LABEL: Final = b"\\.//^\\"
"""draft-connolly-cfrg-xwing-kem, section 5.3."""
KEM_IDS: Final = {KeyType.X25519: 0x0020, KeyType.P256: 0x0010, KeyType.HYBRID: 0x647A}
AEAD_IDS: Final = {KeyType.X25519: 3, KeyType.P256: 2, KeyType.HYBRID: 3}


def seed(words: str) -> bytes:
    """Return 32 bytes that stand for `words`: for test vectors, and for nothing else."""
    return hashlib.sha256(b"plateseal test vectors: " + words.encode() + b", for no other use").digest()


class Signer:
    """A signing key, by its published name."""

    def __init__(self, name: str) -> None:
        """Make the key of `name`."""
        self.key = Ed25519PrivateKey.from_private_bytes(seed(name))
        self.public = self.key.public_key().public_bytes_raw()
        self.kid = cose.ed25519_kid(self.key.public_key())


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient's key, by its published name."""

    name: str
    key_type: KeyType = KeyType.X25519

    @property
    def suite(self) -> RecipientSuite:
        """Its row of the suite table."""
        return SUITES[self.key_type]

    @property
    def private(self) -> bytes:
        """32 bytes: a private key, or the hybrid's seed."""
        return seed(self.name)

    @property
    def public(self) -> bytes:
        """Its raw public key."""
        return self.suite.derive_public(self.private)

    @property
    def kid(self) -> bytes:
        """Its thumbprint."""
        return self.suite.kid(self.public)

    @property
    def context(self) -> dict[str, object]:
        """The private key as a vector's context names it."""
        return {"alg": self.suite.alg, "private": self.private.hex()}

    def seal(self, content_key: bytes, info: bytes) -> tuple[bytes, bytes]:
        """Return the encapsulated key and the sealed content key."""
        ek, shared = _ENCAPSULATE[self.key_type](self)
        suite_id = b"HPKE" + b"".join(n.to_bytes(2) for n in (KEM_IDS[self.key_type], 1, AEAD_IDS[self.key_type]))
        context = b"\x00" + _extract(suite_id, b"", b"psk_id_hash", b"") + _extract(suite_id, b"", b"info_hash", info)
        secret = _extract(suite_id, shared, b"secret", b"")
        key = _expand(suite_id, secret, b"key", context, 32)
        nonce = _expand(suite_id, secret, b"base_nonce", context, 12)
        aead = AESGCM(key) if self.key_type is KeyType.P256 else ChaCha20Poly1305(key)
        return ek, aead.encrypt(nonce, content_key, b"")

    @property
    def ephemeral(self) -> bytes:
        """32 bytes: the ephemeral private key that everything is sealed from."""
        return seed(f"{self.name}, ephemeral key")


def _encapsulate_x25519(recipient: Recipient) -> tuple[bytes, bytes]:
    ephemeral = X25519PrivateKey.from_private_bytes(recipient.ephemeral)
    ek, public = ephemeral.public_key().public_bytes_raw(), recipient.public
    return ek, _dhkem(recipient, ephemeral.exchange(X25519PublicKey.from_public_bytes(public)), ek + public)


def _encapsulate_p256(recipient: Recipient) -> tuple[bytes, bytes]:
    ek, public = recipient.suite.derive_public(recipient.ephemeral), recipient.public
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    ephemeral = ec.derive_private_key(int.from_bytes(recipient.ephemeral), ec.SECP256R1())
    return ek, _dhkem(recipient, ephemeral.exchange(ec.ECDH(), point), ek + public)


def _encapsulate_hybrid(recipient: Recipient) -> tuple[bytes, bytes]:
    ciphertext = recorded_ciphertexts()[recipient.name]
    mlkem_seed = hashlib.shake_256(recipient.private).digest(64)
    mlkem_secret = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).decapsulate(ciphertext)
    ephemeral = X25519PrivateKey.from_private_bytes(recipient.ephemeral)
    ek, public = ephemeral.public_key().public_bytes_raw(), recipient.public[MLKEM_PUBLIC_BYTES:]
    x25519_secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    return ciphertext + ek, hashlib.sha3_256(mlkem_secret + x25519_secret + ek + public + XWING_LABEL).digest()


_ENCAPSULATE: Final[dict[KeyType, Callable[[Recipient], tuple[bytes, bytes]]]] = {
    KeyType.X25519: _encapsulate_x25519,
    KeyType.P256: _encapsulate_p256,
    KeyType.HYBRID: _encapsulate_hybrid,
}


def recorded_ciphertexts() -> dict[str, bytes]:
    """Return the recorded ML-KEM ciphertexts by the name of the key they were made for."""
    lines = (line.rsplit(" ", 1) for line in CIPHERTEXTS.read_text().splitlines())
    return {name: bytes.fromhex(digits) for name, digits in lines}


def _dhkem(recipient: Recipient, secret: bytes, kem_context: bytes) -> bytes:
    suite_id = b"KEM" + KEM_IDS[recipient.key_type].to_bytes(2)
    prk = _extract(suite_id, b"", b"eae_prk", secret)
    return _expand(suite_id, prk, b"shared_secret", kem_context, 32)


def _extract(suite_id: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + secret, "sha256")


def _expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of at most one block of SHA-256."""
    labelled = length.to_bytes(2) + b"HPKE-v1" + suite_id + label + info
    return hmac.digest(prk, labelled + b"\x01", "sha256")[:length]


DEVICE: Final = Signer("device")
OTHER_DEVICE: Final = Signer("another device")
RECEIVER: Final = Signer("receiver")
OTHER_RECEIVER: Final = Signer("a receiver that is not pinned")
OWNER: Final = Signer("owner")
OTHER_OWNER: Final = Signer("another owner")
AGENCY: Final = Recipient("agency, x25519")
AUDITOR: Final = Recipient("auditor, p256", KeyType.P256)
HYBRID: Final = Recipient("agency, mlkem768-x25519", KeyType.HYBRID)
CASE: Final = Recipient("case, mlkem768-x25519", KeyType.HYBRID)
ABSENT: Final = Recipient("nobody here, x25519")
