"""Envelopes for tests that need real ones with no vision and no sealer in front.

The outside is exact: signature, chain, digest. The inside is a random key's ciphertext, so nobody can open it.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.wire import cose, suites
from agent.wire.envelope import (
    CHAIN_ID_BYTES,
    ZERO_DIGEST,
    ChainPosition,
    Envelope,
    RecipientSlot,
    SealedContent,
    content_aad,
    encode_content_header,
    encode_header,
    encode_recipient_header,
    sign_envelope,
)

_CIPHER = suites.ContentCipher.AES_256_GCM
_SUITE = suites.SUITES[suites.KeyType.X25519]


def first_position(*, chain: bytes | None = None) -> ChainPosition:
    """Return seq 0 of `chain`, or of a new random one."""
    return ChainPosition(chain=chain or os.urandom(CHAIN_ID_BYTES), seq=0, prev=ZERO_DIGEST)


def next_position(envelope: Envelope) -> ChainPosition:
    """Return the position after an envelope's."""
    position = envelope.position
    return ChainPosition(chain=position.chain, seq=position.seq + 1, prev=envelope.digest)


def make_envelope(
    signing_key: Ed25519PrivateKey, position: ChainPosition | None = None, body: bytes = b"sealed read"
) -> Envelope:
    """Seal `body` to nobody and sign it at `position` (seq 0 of a new chain if left out)."""
    position = position or first_position()
    header = encode_header(cose.ed25519_kid(signing_key.public_key()), position)
    content_header = encode_content_header(_CIPHER)
    nonce = os.urandom(suites.NONCE_BYTES)
    key = os.urandom(suites.CONTENT_KEY_BYTES)
    kid = os.urandom(cose.KID_BYTES)
    slot = RecipientSlot(
        suite=_SUITE,
        kid=kid,
        protected_bytes=encode_recipient_header(_SUITE, kid),
        ek=os.urandom(_SUITE.enc_bytes),
        sealed_key=os.urandom(suites.CONTENT_KEY_BYTES + suites.TAG_BYTES),
    )
    content = SealedContent(
        alg=suites.CONTENT_ALGS[_CIPHER],
        protected_bytes=content_header,
        nonce=nonce,
        ciphertext=AESGCM(key).encrypt(nonce, body, content_aad(content_header, header)),
        recipients=(slot,),
    )
    return sign_envelope(header, content, signing_key, position)


def make_chain(
    signing_key: Ed25519PrivateKey, n: int, *, chain: bytes | None = None, body: bytes = b"sealed read"
) -> list[Envelope]:
    """Return `n` envelopes of one chain (a new random one if left out), linked and in order."""
    envelopes: list[Envelope] = []
    for _ in range(n):
        position = next_position(envelopes[-1]) if envelopes else first_position(chain=chain)
        envelopes.append(make_envelope(signing_key, position, body))
    return envelopes
