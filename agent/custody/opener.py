"""Opening envelopes with the owner's private keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag

from agent.envelope import sealed, suites
from agent.envelope.plaintext import Plaintext, parse_plaintext
from agent.envelope.sealed import Envelope, RecipientSlot
from agent.errors import OpenError


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One epoch's private key.

    Attributes:
        suite: The row of the suite table for its type.
        kid: 32 bytes, the thumbprint of its public key.
        raw: 32 bytes, the private key or the seed of the hybrid's two.
    """

    suite: suites.RecipientSuite
    kid: bytes
    raw: bytes = field(repr=False)


def open_envelope(envelope: Envelope, keys: Mapping[bytes, PrivateKey]) -> Plaintext:
    """Decrypt one envelope. Its signature is the caller's to check first (`verify_envelope`).

    Args:
        envelope: A parsed envelope.
        keys: The owner's private keys by key id.

    Raises:
        OpenError: No recipient's key is there, or the ciphertext is not what was sealed.
        FormatError: It opens, but not to a read.
    """
    content, outer_protected = sealed.sealed_content(envelope)
    what = f"envelope {envelope.envelope_id[:16]}"
    for slot, key in _openable(content.recipients, keys):
        content_key = _open_key(slot, key, content.alg, what)
        aad = sealed.content_aad(content.protected_bytes, outer_protected)
        try:
            plaintext = suites.content_aead(content.alg, content_key).decrypt(content.nonce, content.ciphertext, aad)
        except InvalidTag:
            raise OpenError(f"{what}: the content is not what was sealed") from None
        return parse_plaintext(plaintext)
    wanted = ", ".join(slot.kid.hex()[:16] for slot in content.recipients)
    raise OpenError(f"{what}: sealed to {wanted}; none of these private keys is here")


def _openable(
    slots: tuple[RecipientSlot, ...], keys: Mapping[bytes, PrivateKey]
) -> Iterator[tuple[RecipientSlot, PrivateKey]]:
    for slot in slots:
        key = keys.get(slot.kid)
        if key is not None and key.suite is slot.suite:
            yield slot, key


def _open_key(slot: RecipientSlot, key: PrivateKey, content_alg: int, what: str) -> bytes:
    info = sealed.recipient_info(content_alg, slot.protected_bytes)
    try:
        content_key = key.suite.hpke.decrypt(slot.ek + slot.sealed_key, key.suite.load_private(key.raw), info=info)
    except InvalidTag:
        raise OpenError(f"{what}: the key sealed to {slot.kid.hex()[:16]} does not open") from None
    if len(content_key) != suites.CONTENT_KEY_BYTES:
        raise OpenError(f"{what}: the sealed content key has {len(content_key)} bytes")
    return content_key
