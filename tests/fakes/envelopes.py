"""Envelopes for tests that need real ones with no vision and no sealer in front.

The outside is exact: signature, chain, digest. The inside is a random key's ciphertext, so nobody can open it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.wire import cose, suites
from agent.wire.content_key import commit
from agent.wire.envelope import (
    Envelope,
    RecipientSlot,
    SealedContent,
    content_aad,
    encode_content_header,
    encode_recipient_header,
    sign_envelope,
)
from agent.wire.header import CHAIN_ID_BYTES, ZERO_DIGEST, ChainPosition, Header, SeenReceipt, encode_header

_CIPHER = suites.ContentCipher.AES_256_GCM
_SUITE = suites.SUITES[suites.KeyType.X25519]
EPOCH: Final = os.urandom(cose.KID_BYTES)
"""Id of a key that nobody has: to it all of these are sealed that are not said to be sealed to another."""


def first_position(
    *, chain: bytes | None = None, run: int | None = None, before: Envelope | None = None
) -> ChainPosition:
    """Return seq 0 of `chain`, or of a new random one.

    Args:
        chain: Its id.
        run: Its number, for version 2; None for version 1.
        before: The last envelope of the chain before it, in version 2.
    """
    prev = ZERO_DIGEST if before is None else before.digest
    return ChainPosition(chain=chain or os.urandom(CHAIN_ID_BYTES), seq=0, prev=prev, run=run)


def next_position(envelope: Envelope) -> ChainPosition:
    """Return the position after an envelope's."""
    position = envelope.position
    return ChainPosition(chain=position.chain, seq=position.seq + 1, prev=envelope.digest, run=position.run)


def make_envelope(
    signing_key: Ed25519PrivateKey,
    position: ChainPosition | None = None,
    body: bytes = b"sealed read",
    *,
    seen: SeenReceipt | None = None,
    kids: Sequence[bytes] = (EPOCH,),
) -> Envelope:
    """Seal `body` to nobody and sign it at `position` (seq 0 of a new chain of version 1 if left out).

    It says that it is sealed to the keys with the ids `kids`.
    """
    position = position or first_position()
    key = os.urandom(suites.CONTENT_KEY_BYTES)
    header = Header(position)
    if position.run is not None:
        header = Header(position, commitment=commit(key), seen=seen)
    outer = encode_header(cose.ed25519_kid(signing_key.public_key()), header)
    content_header = encode_content_header(_CIPHER)
    nonce = os.urandom(suites.NONCE_BYTES)
    slots = tuple(
        RecipientSlot(
            suite=_SUITE,
            kid=kid,
            protected_bytes=encode_recipient_header(_SUITE, kid),
            ek=os.urandom(_SUITE.enc_bytes),
            sealed_key=os.urandom(suites.CONTENT_KEY_BYTES + suites.TAG_BYTES),
        )
        for kid in kids
    )
    content = SealedContent(
        alg=suites.CONTENT_ALGS[_CIPHER],
        protected_bytes=content_header,
        nonce=nonce,
        ciphertext=AESGCM(key).encrypt(nonce, body, content_aad(content_header, outer)),
        recipients=slots,
    )
    return sign_envelope(header, content, signing_key)


def make_chain(
    signing_key: Ed25519PrivateKey,
    n: int,
    *,
    chain: bytes | None = None,
    body: bytes = b"sealed read",
    run: int | None = None,
    before: Envelope | None = None,
    kids: Sequence[bytes] = (EPOCH,),
) -> list[Envelope]:
    """Return `n` envelopes of one chain (a new random one if left out), linked and in order.

    With `run` they are of version 2, and the first one names `before`; without, of version 1.
    """
    envelopes: list[Envelope] = []
    for _ in range(n):
        position = next_position(envelopes[-1]) if envelopes else first_position(chain=chain, run=run, before=before)
        envelopes.append(make_envelope(signing_key, position, body, kids=kids))
    return envelopes
