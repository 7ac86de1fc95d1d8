"""Opening envelopes with the owner's private keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag

from agent.errors import OpenError
from agent.wire import envelope as sealed
from agent.wire import suites
from agent.wire.content_key import commit, seal_key_to
from agent.wire.envelope import Envelope, RecipientSlot, SealedContent
from agent.wire.plaintext import Plaintext, parse_plaintext


@dataclass(frozen=True)
class PrivateKey:
    """The private key of one epoch or one case.

    Attributes:
        suite: The row of the suite table for its type.
        kid: 32 bytes, the thumbprint of its public key.
        raw: 32 bytes, the private key or the seed of the hybrid's two.
    """

    suite: suites.RecipientSuite
    kid: bytes
    raw: bytes = field(repr=False)

    @cached_property
    def loaded(self) -> suites.HpkePrivateKey:
        """The key as HPKE takes it. Making it takes as long as opening a read, so it is made once."""
        return self.suite.load_private(self.raw)


@dataclass(frozen=True, slots=True)
class OpenedRead:
    """One opened envelope.

    Attributes:
        envelope: What was opened.
        read: What it says.
        content_alg: COSE algorithm that sealed it, 3 or 24.
        content_key: 32 bytes, this read's key and no other's.
    """

    envelope: Envelope
    read: Plaintext = field(repr=False)
    content_alg: int
    content_key: bytes = field(repr=False)


def open_envelope(envelope: Envelope, keys: Mapping[bytes, PrivateKey]) -> Plaintext:
    """Decrypt one envelope. Its signature is the caller's to check first (`verify_envelope`).

    Args:
        envelope: A parsed envelope.
        keys: The owner's private keys by key id.

    Raises:
        OpenError: No recipient's key is there, or the ciphertext is not what was sealed.
        FormatError: It opens, but not to a read.
    """
    return open_read(envelope, keys).read


def open_read(
    envelope: Envelope, keys: Mapping[bytes, PrivateKey], *, held: Sequence[RecipientSlot] = ()
) -> OpenedRead:
    """Decrypt one envelope and keep its content key. Its signature is the caller's to check first.

    Args:
        envelope: A parsed envelope.
        keys: Private keys of epochs and cases by key id.
        held: Further recipients of its content key, from holds; tried after the envelope's own.

    Raises:
        OpenError: No recipient's key is there, or the ciphertext is not what was sealed.
        FormatError: It opens, but not to a read.
    """
    content, outer_protected = sealed.sealed_content(envelope)
    return open_content(envelope, content, outer_protected, (*content.recipients, *held), keys)


def open_content(
    envelope: Envelope,
    content: SealedContent,
    outer_protected: bytes,
    slots: Sequence[RecipientSlot],
    keys: Mapping[bytes, PrivateKey],
) -> OpenedRead:
    """Decrypt an envelope that has been taken apart (`sealed_content`), as `open_read` does.

    Args:
        envelope: The envelope.
        content: What is sealed in it.
        outer_protected: Its protected header, which the content is bound to.
        slots: Recipients to try: its own, and held ones.
        keys: Private keys by key id.

    Raises:
        OpenError: No recipient's key is there, or the ciphertext is not what was sealed.
        FormatError: It opens, but not to a read.
    """
    what = f"envelope {envelope.envelope_id[:16]}"
    for slot, key in _openable(slots, keys):
        content_key = _open_key(slot, key, content.alg, what)
        if envelope.header.commitment not in (None, commit(content_key)):
            raise OpenError(
                f"{what}: the key sealed to {slot.kid.hex()[:16]} is not the one that the header commits to"
            )
        aad = sealed.content_aad(content.protected_bytes, outer_protected)
        try:
            plaintext = suites.content_aead(content.alg, content_key).decrypt(content.nonce, content.ciphertext, aad)
        except InvalidTag:
            raise OpenError(f"{what}: the content is not what was sealed") from None
        return OpenedRead(
            envelope=envelope,
            read=parse_plaintext(plaintext, version=envelope.position.version),
            content_alg=content.alg,
            content_key=content_key,
        )
    wanted = ", ".join(slot.kid.hex()[:16] for slot in content.recipients)
    raise OpenError(f"{what}: sealed to {wanted}; none of these private keys is here")


def seal_content_key(opened: OpenedRead, recipient: PrivateKey) -> RecipientSlot:
    """Seal an opened read's content key to one more recipient, as the device did to the first ones."""
    public = recipient.suite.derive_public(recipient.raw)
    return seal_key_to(
        public, opened.content_key, suite=recipient.suite, kid=recipient.kid, content_alg=opened.content_alg
    )


def _openable(
    slots: Sequence[RecipientSlot], keys: Mapping[bytes, PrivateKey]
) -> Iterator[tuple[RecipientSlot, PrivateKey]]:
    for slot in slots:
        key = keys.get(slot.kid)
        if key is not None and key.suite is slot.suite:
            yield slot, key


def _open_key(slot: RecipientSlot, key: PrivateKey, content_alg: int, what: str) -> bytes:
    info = sealed.recipient_info(content_alg, slot.protected_bytes)
    try:
        content_key = key.suite.hpke.decrypt(slot.ek + slot.sealed_key, key.loaded, info=info)
    except InvalidTag:
        raise OpenError(f"{what}: the key sealed to {slot.kid.hex()[:16]} does not open") from None
    if len(content_key) != suites.CONTENT_KEY_BYTES:
        raise OpenError(f"{what}: the sealed content key has {len(content_key)} bytes")
    return content_key
