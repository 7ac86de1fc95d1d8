"""Keys that are no secret: from test vectors of standards, from this project's documents, and such as nobody draws.

Owns: the list. A unit that signs with one of them can be imitated by anybody.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519_SEEDS: Final = (
    # RFC 8032, section 7.1, tests 1 to 3.
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
)
_DOCUMENT_WORDS: Final = ("plateseal worked example: device key, for no other use",)
"""Seeds of docs/FORMAT.md are the SHA-256 of these."""
_P256_SCALARS: Final = (
    *range(1, 257),
    # RFC 6979, appendix A.2.5.
    0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721,
)


def is_sample(public_key: bytes) -> bool:
    """Whether the private half of a public key (DER SubjectPublicKeyInfo) is known to everybody."""
    return hashlib.sha256(public_key).digest() in _known()


@cache
def _known() -> frozenset[bytes]:
    seeds = [bytes([byte]) * 32 for byte in range(256)]
    seeds += [bytes(range(32)), bytes(range(1, 33))]
    seeds += [bytes.fromhex(seed) for seed in _ED25519_SEEDS]
    seeds += [hashlib.sha256(words.encode()).digest() for words in _DOCUMENT_WORDS]
    public = [Ed25519PrivateKey.from_private_bytes(seed).public_key() for seed in seeds]
    curve = [ec.derive_private_key(scalar, ec.SECP256R1()).public_key() for scalar in _P256_SCALARS]
    keys: list[Ed25519PublicKey | ec.EllipticCurvePublicKey] = [*public, *curve]
    encoded = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys]
    return frozenset(hashlib.sha256(key).digest() for key in encoded)
