"""A content key, sealed to one recipient of each kind."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag

from agent.wire import suites
from agent.wire.content_key import seal_key_to
from agent.wire.envelope import recipient_info

CONTENT_KEY = bytes(range(32))


@pytest.mark.parametrize("key_type", suites.KeyType)
def test_only_the_owner_of_the_key_opens_it_and_only_for_its_algorithm(key_type: suites.KeyType) -> None:
    """What comes out is what went in; another key or another content algorithm opens nothing; no two are the same."""
    suite = suites.SUITES[key_type]
    raw, other = suite.generate(), suite.generate()
    public = suite.derive_public(raw)
    slot = seal_key_to(public, CONTENT_KEY, suite=suite, kid=suite.kid(public), content_alg=3)
    assert (slot.suite, slot.kid, len(slot.ek), len(slot.sealed_key)) == (suite, suite.kid(public), suite.enc_bytes, 48)

    def opened(private: bytes, content_alg: int) -> bytes:
        info = recipient_info(content_alg, slot.protected_bytes)
        return suite.hpke.decrypt(slot.ek + slot.sealed_key, suite.load_private(private), info=info)

    assert opened(raw, 3) == CONTENT_KEY
    for private, content_alg in ((other, 3), (raw, 24)):
        with pytest.raises(InvalidTag):
            opened(private, content_alg)
    again = seal_key_to(public, CONTENT_KEY, suite=suite, kid=suite.kid(public), content_alg=3)
    assert again.sealed_key != slot.sealed_key


@pytest.mark.parametrize("key_type", suites.KeyType)
def test_bytes_that_are_no_key_are_refused(key_type: suites.KeyType) -> None:
    """Nothing is sealed to zeros."""
    suite = suites.SUITES[key_type]
    with pytest.raises(ValueError, match=r"."):
        seal_key_to(bytes(suite.public_bytes), CONTENT_KEY, suite=suite, kid=bytes(32), content_alg=3)
