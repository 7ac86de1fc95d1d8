"""A read's content key: what the header commits to, and how it is sealed to one recipient.

An AEAD does not commit to its key: a ciphertext can be made that opens under two keys, to two texts. So the signed
header names the one key, and every recipient checks that it was given that one.

Owns: the commitment, and the only call that seals a content key, for devices that seal a read and for the owner who
holds one for a case: HPKE, as a COSE_recipient carries it.
Leaves to others: drawing the key (`agent.seal`), and opening what is sealed with a private key (`agent.custody`).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from agent.wire import cbor, suites
from agent.wire.envelope import MAX_RECIPIENTS, RecipientSlot, encode_recipient_header, recipient_info

_BEFORE_KEY: Final = hashlib.sha256(
    cbor.encode(["plateseal content key 2", bytes(suites.CONTENT_KEY_BYTES)])[: -suites.CONTENT_KEY_BYTES]
)
"""Over how the encoded array of context and key begins; it ends with the key, which is copied nowhere in between."""


def commit(content_key: bytes) -> bytes:
    """Return the commitment to a content key of 32 random bytes: 32 bytes that tell nothing of it."""
    digest = _BEFORE_KEY.copy()
    digest.update(content_key)
    return digest.digest()


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
