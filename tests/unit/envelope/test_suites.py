"""The suite table against other people's vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.envelope import suites
from agent.errors import FormatError

VECTORS = Path(__file__).parents[4] / "shared" / "data" / "vectors" / "hpke-xwing.json"


@pytest.mark.skipif(not VECTORS.is_file(), reason="../shared/data/vectors/hpke-xwing.json is not there")
def test_the_hybrid_seed_expands_to_the_published_public_key() -> None:
    """draft-ietf-hpke-pq, KEM 0x647a: our key derivation gives their public keys."""
    suite = suites.SUITES[suites.KeyType.HYBRID]
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert len(vectors) == 2
    for vector in vectors:
        assert suite.derive_public(bytes.fromhex(vector["skRm"])).hex() == vector["pkRm"]


@pytest.mark.parametrize("key_type", list(suites.KeyType))
def test_the_table_states_the_true_lengths(key_type: suites.KeyType) -> None:
    """Encapsulated key and public key are as long as their row says."""
    suite = suites.SUITES[key_type]
    public = suite.derive_public(bytes(range(32)))
    assert len(public) == suite.public_bytes
    sealed = suite.hpke.encrypt(b"k" * 32, suite.load_public(public), info=b"info")
    assert len(sealed) == suite.enc_bytes + 32 + suites.TAG_BYTES
    assert suite.hpke.decrypt(sealed, suite.load_private(bytes(range(32))), info=b"info") == b"k" * 32


@pytest.mark.parametrize("alg", [46, True, "50", None, "HPKE-MLKEM768-X25519-ke"])
def test_an_unknown_algorithm_has_no_row(alg: object) -> None:
    """Neither recipient nor content algorithms are guessed."""
    with pytest.raises(FormatError, match="unknown"):
        suites.suite_by_alg(alg, what="test")
    with pytest.raises(FormatError, match="unknown"):
        suites.content_aead(alg, bytes(32))
