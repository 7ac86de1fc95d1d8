"""The suite table; `test_hpke_vectors` holds it against other people's vectors."""

from __future__ import annotations

import pytest

from agent.errors import FormatError
from agent.wire import suites


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
