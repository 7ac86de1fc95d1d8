"""Sealing a read's content key to one recipient: HPKE, as a COSE_recipient carries it.

Owns: the only call that seals a content key, for devices that seal a read and for the owner who holds one for a case.
Leaves to others: drawing the key (`agent.seal`), and opening what is sealed with a private key (`agent.custody`).
"""

from __future__ import annotations

from functools import lru_cache

from agent.wire import suites
from agent.wire.envelope import MAX_RECIPIENTS, RecipientSlot, encode_recipient_header, recipient_info


def seal_key_to(
    public: bytes, content_key: bytes, *, suite: suites.RecipientSuite, kid: bytes, content_alg: int
) -> RecipientSlot:
    """Seal a content key to the owner of a public key.

    Args:
        public: Raw public key of the recipient, `suite.public_bytes` long.
        content_key: 32 bytes.
        suite: The row of the suite table for the type of the public key.
        kid: 32 bytes, id of the public key.
        content_alg: COSE algorithm that the content key is used with, 3 or 24; it is bound to the sealed key.

    Raises:
        ValueError: `public` is no key of this suite.
    """
    protected = encode_recipient_header(suite, kid)
    info = recipient_info(content_alg, protected)
    output = suite.hpke.encrypt(content_key, _load_public(suite.key_type, public), info=info)
    return RecipientSlot(
        suite=suite,
        kid=kid,
        protected_bytes=protected,
        ek=output[: suite.enc_bytes],
        sealed_key=output[suite.enc_bytes :],
    )


@lru_cache(maxsize=2 * MAX_RECIPIENTS)
def _load_public(key_type: suites.KeyType, public: bytes) -> suites.HpkePublicKey:
    """Load a public key once for all reads of its epoch: for the hybrid that takes as long as sealing does."""
    return suites.SUITES[key_type].load_public(public)
