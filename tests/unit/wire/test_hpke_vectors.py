"""Published HPKE vectors through our own suite table: RFC 9180's full set, and draft-ietf-hpke-pq for the hybrid.

The vectors have associated data, which COSE-HPKE leaves empty. The library opens those only through a private function,
which is used here and nowhere in the product.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

import cryptography_vectors
import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl

from agent.wire.suites import SUITES, KeyType
from tests.needs import SHARED

KEM_IDS: Final = {KeyType.P256: 0x0010, KeyType.X25519: 0x0020, KeyType.HYBRID: 0x647A}
"""HPKE registry, kem_id."""
AEAD_IDS: Final = {KeyType.P256: 2, KeyType.X25519: 3, KeyType.HYBRID: 3}
"""HPKE registry, aead_id: 2 AES-256-GCM, 3 ChaCha20Poly1305."""
HKDF_SHA256: Final = 1
BASE_MODE: Final = 0
SHARED_VECTORS: Final = SHARED / "data" / "vectors" / "hpke-xwing.json"


@functools.cache
def published(name: str) -> list[dict[str, Any]]:
    """Return the vectors of one file of the package."""
    with cryptography_vectors.open_vector_file(f"HPKE/{name}", "r") as stream:
        vectors: list[dict[str, Any]] = json.load(stream)
    return vectors


def vectors_for(key_type: KeyType, vectors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of a row of the suite table."""
    wanted = (BASE_MODE, KEM_IDS[key_type], HKDF_SHA256, AEAD_IDS[key_type])
    return [v for v in vectors if (v["mode"], v["kem_id"], v["kdf_id"], v["aead_id"]) == wanted]


def check(key_type: KeyType, vector: dict[str, Any]) -> None:
    """Derive the public key and open the first ciphertext: the others need the context's counter."""
    suite = SUITES[key_type]
    raw, enc = bytes.fromhex(vector["skRm"]), bytes.fromhex(vector["enc"])
    assert suite.derive_public(raw) == bytes.fromhex(vector["pkRm"])
    assert (len(enc), len(bytes.fromhex(vector["pkRm"]))) == (suite.enc_bytes, suite.public_bytes)
    first = vector["encryptions"][0]
    arguments = {"info": bytes.fromhex(vector["info"]), "aad": bytes.fromhex(first["aad"])}
    sealed = enc + bytes.fromhex(first["ct"])
    private = suite.load_private(raw)
    opened = rust_openssl.hpke._decrypt_with_aad(suite.hpke, sealed, private, **arguments)
    assert opened == bytes.fromhex(first["pt"])


@pytest.mark.parametrize("key_type", [KeyType.X25519, KeyType.P256])
def test_rfc_9180_vectors_open(key_type: KeyType) -> None:
    """Base mode, KEM, KDF and AEAD of our row: the published private key opens the published ciphertext."""
    found = vectors_for(key_type, published("test-vectors.json"))
    assert len(found) == 1
    check(key_type, found[0])


def test_hybrid_vectors_open() -> None:
    """ML-KEM-768 with X25519 (X-Wing), HKDF-SHA256 and ChaCha20Poly1305 of draft-ietf-hpke-pq."""
    found = vectors_for(KeyType.HYBRID, published("hpke-pq-test-vectors.json"))
    assert len(found) == 1
    check(KeyType.HYBRID, found[0])


@pytest.mark.needs("shared-data")
def test_both_xwing_vectors_open() -> None:
    """Those with our KDF and AEAD open through the table; the other one's KEM derives the published public key."""
    vectors = json.loads(SHARED_VECTORS.read_text())["vectors"]
    assert len(vectors) == 2
    suite = SUITES[KeyType.HYBRID]
    for vector in vectors:
        assert vector["kem_id"] == KEM_IDS[KeyType.HYBRID]
        assert suite.derive_public(bytes.fromhex(vector["skRm"])) == bytes.fromhex(vector["pkRm"])
    ours = vectors_for(KeyType.HYBRID, vectors)
    assert len(ours) >= 1
    for vector in ours:
        check(KeyType.HYBRID, vector)
