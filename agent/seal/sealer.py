"""Making an envelope: a fresh content key, HPKE to every recipient, the device's signature.

Invariant: a content key and nonce are drawn for one read and never used again or kept.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.ports import RecipientBook
from agent.wire import cose, suites
from agent.wire import envelope as sealed
from agent.wire.content_key import seal_key_to
from agent.wire.envelope import ChainPosition, Envelope, SealedContent
from agent.wire.keyring import RecipientKey
from agent.wire.plaintext import Plaintext, encode_plaintext
from agent.wire.tombstone import Tombstone


class Sealer:
    """Seals reads with the device's key to the recipients of one book."""

    def __init__(self, *, signing_key: Ed25519PrivateKey, book: RecipientBook, cipher: suites.ContentCipher) -> None:
        """Seal as the owner of `signing_key`, to `book`'s recipients, with the content AEAD `cipher`."""
        self._signing_key = signing_key
        self._kid = cose.ed25519_kid(signing_key.public_key())
        self._book = book
        self._cipher = cipher

    @property
    def device_kid(self) -> bytes:
        """Key id of the device's signing key, 32 bytes."""
        return self._kid

    def use_key(self, signing_key: Ed25519PrivateKey) -> None:
        """Sign with another key from now on. The caller begins a new chain with it (`Chain.restart`)."""
        self._signing_key = signing_key
        self._kid = cose.ed25519_kid(signing_key.public_key())

    def seal(self, read: Plaintext, position: ChainPosition) -> Envelope:
        """Seal one read for its place in the chain.

        Raises:
            FormatError: The read is too large for an envelope.
            KeyringEndedError: The book has no epoch for the read and is told to stop then.
        """
        outer = sealed.encode_header(self._kid, position)
        recipients = self._book.recipients_at(read.captured_at)
        content = seal_content(encode_plaintext(read), recipients, cipher=self._cipher, outer_protected=outer)
        return sealed.sign_envelope(outer, content, self._signing_key, position)

    def sign(self, tombstone: Tombstone, position: ChainPosition) -> Envelope:
        """Sign a tombstone for its place in the chain."""
        return sealed.sign_tombstone(tombstone, self._signing_key, position)


def seal_content(
    plaintext: bytes, recipients: tuple[RecipientKey, ...], *, cipher: suites.ContentCipher, outer_protected: bytes
) -> SealedContent:
    """Encrypt `plaintext` under a fresh key and seal that key to every recipient.

    Args:
        plaintext: The encoded read.
        recipients: At least one.
        cipher: The AEAD for the plaintext.
        outer_protected: The envelope's protected header, which the ciphertext is bound to.
    """
    content_key, nonce = os.urandom(suites.CONTENT_KEY_BYTES), os.urandom(suites.NONCE_BYTES)
    alg = suites.CONTENT_ALGS[cipher]
    protected = sealed.encode_content_header(cipher)
    aead = suites.content_aead(alg, content_key)
    return SealedContent(
        alg=alg,
        protected_bytes=protected,
        nonce=nonce,
        ciphertext=aead.encrypt(nonce, plaintext, sealed.content_aad(protected, outer_protected)),
        recipients=tuple(
            seal_key_to(key.public, content_key, suite=key.suite, kid=key.kid, content_alg=alg) for key in recipients
        ),
    )
