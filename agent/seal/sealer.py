"""Making an envelope: a fresh content key, HPKE to every recipient, the device's signature.

Invariant: a content key and nonce are drawn for one read and never used again or kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.ports import RecipientBook
from agent.wire import cose, suites
from agent.wire import envelope as sealed
from agent.wire.content_key import commit, seal_key_to
from agent.wire.envelope import Envelope, SealedContent
from agent.wire.header import VERSION_1, ChainPosition, Header, SeenReceipt, encode_header
from agent.wire.keyring import RecipientKey
from agent.wire.plaintext import ClockState, Plaintext, encode_plaintext
from agent.wire.tombstone import Tombstone


class Sealer:
    """Seals reads with the device's key to the recipients of one book."""

    def __init__(
        self,
        *,
        signing_key: Ed25519PrivateKey,
        book: RecipientBook,
        cipher: suites.ContentCipher,
        seen: Callable[[], SeenReceipt | None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            signing_key: The unit's.
            book: Whom to seal to.
            cipher: The content AEAD.
            seen: Returns the newest receipt that the unit has verified, if any.
        """
        self._signing_key = signing_key
        self._kid = cose.ed25519_kid(signing_key.public_key())
        self._book = book
        self._cipher = cipher
        self._seen = seen

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
        keys = self._book.recipients_at(read.captured_at, read.clock)
        recipients = tuple({key.kid: key for key in keys}.values())  # two names may share a key; nobody reads it twice
        if position.version == VERSION_1 and read.clock is ClockState.BEHIND:  # which version 1 has no word for
            read = replace(read, clock=ClockState.UNSYNCHRONIZED)
        plaintext = encode_plaintext(read, version=position.version)
        content_key = os.urandom(suites.CONTENT_KEY_BYTES)
        if position.version == VERSION_1:
            header = Header(position)
        else:
            header = Header(position, commitment=commit(content_key), seen=self._seen())
        outer = encode_header(self._kid, header)
        content = seal_content(
            plaintext, recipients, cipher=self._cipher, content_key=content_key, outer_protected=outer
        )
        return sealed.sign_envelope(header, content, self._signing_key, encoded=(self._kid, outer))

    def sign(self, tombstone: Tombstone, position: ChainPosition) -> Envelope:
        """Sign a tombstone for its place in the chain."""
        seen = None if position.version == VERSION_1 else self._seen()
        return sealed.sign_tombstone(tombstone, self._signing_key, position, seen=seen)


def seal_content(
    plaintext: bytes,
    recipients: tuple[RecipientKey, ...],
    *,
    cipher: suites.ContentCipher,
    content_key: bytes,
    outer_protected: bytes,
) -> SealedContent:
    """Encrypt `plaintext` under a key that is used for nothing else, and seal that key to every recipient.

    Args:
        plaintext: The encoded read.
        recipients: At least one.
        cipher: The AEAD for the plaintext.
        content_key: 32 random bytes, drawn for this read.
        outer_protected: The envelope's protected header, which the ciphertext is bound to.
    """
    nonce = os.urandom(suites.NONCE_BYTES)
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
