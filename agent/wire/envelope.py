"""The envelope: COSE_Sign1 by the device around COSE_Encrypt to the recipients, or around a tombstone.

Owns: the layout of an envelope and the two byte strings that bind its layers: the outer protected header, which
is the inner ciphertext's external AAD, and the Recipient_structure, which is the HPKE info of each recipient.
Leaves to others: drawing keys and sealing (`agent.seal`, `content_key`), opening (`agent.custody`).

Invariants: an `Envelope` has parsed completely; its `envelope_id` is the SHA-256 of its bytes. Its signature holds
only after `verify_envelope`.

Source: RFC 9052 sections 4.2, 5.1 and 5.3; draft-ietf-cose-hpke-27 (Recipient_structure).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import EnvelopeVerificationError, FormatError
from agent.wire import cbor, cose, suites, usual
from agent.wire.header import (
    CONTENT_TYPE,
    TOMBSTONE_TYPE,
    VERSION_1,
    ChainPosition,
    Header,
    SeenReceipt,
    encode_header,
    parse_header,
)
from agent.wire.times import to_ms
from agent.wire.tombstone import TOMBSTONE_VERSION, Tombstone, parse_tombstone

MAX_ENVELOPE_BYTES: Final = 1 << 20
"""1 MiB. A read with a 4K crop at JPEG quality 90 is under 200 kB; eight of the largest fill one upload batch."""
MAX_RECIPIENTS: Final = 8
PEEK_BYTES: Final = 1024
"""An envelope's header lies within so many of its first bytes."""

_WHAT: Final = "envelope"
_HEAD: Final = b"\xd2\x84"
"""Tag 18 and an array of four: how every envelope begins."""
_CONTENT_HEADS: Final = 128
"""Heads of sealed content: eight to itself, six to each recipient."""
_TYPES: Final = (CONTENT_TYPE, TOMBSTONE_TYPE)


@dataclass(frozen=True, slots=True)
class RecipientSlot:
    """The content key, sealed to one recipient.

    Attributes:
        suite: The row of the suite table that sealed it.
        kid: 32 bytes, the recipient key's id.
        protected_bytes: The recipient's protected header, as authenticated.
        ek: Encapsulated key.
        sealed_key: The content key's ciphertext, 48 bytes.
    """

    suite: suites.RecipientSuite
    kid: bytes
    protected_bytes: bytes
    ek: bytes = field(repr=False)
    sealed_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedContent:
    """The COSE_Encrypt inside an envelope.

    Attributes:
        alg: COSE content algorithm, 3 or 24.
        protected_bytes: Its protected header, as authenticated.
        nonce: 12 bytes.
        ciphertext: The sealed plaintext with its 16-byte tag.
        recipients: 1 to `MAX_RECIPIENTS` slots.
    """

    alg: int
    protected_bytes: bytes
    nonce: bytes
    ciphertext: bytes = field(repr=False)
    recipients: tuple[RecipientSlot, ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """One link of a device's chain, a sealed read or a tombstone: the bytes and what they say without a private key.

    Attributes:
        data: The sealed bytes, whole.
        envelope_id: SHA-256 of `data` in lower-case hex: file name and idempotency key.
        device_kid: 32 bytes, id of the device signing key it claims.
        header: Its place among the unit's envelopes, and what it commits to.
        tombstone: What it says, if it is a tombstone; None for a sealed read.
        kids: Ids of the keys that a read is sealed to, each once, in bytewise order; empty for a tombstone.
    """

    data: bytes = field(repr=False)
    envelope_id: str
    device_kid: bytes
    header: Header
    tombstone: Tombstone | None = None
    kids: tuple[bytes, ...] = ()

    @property
    def position(self) -> ChainPosition:
        """Its place among the unit's envelopes."""
        return self.header.position

    @property
    def digest(self) -> bytes:
        """The 32 bytes of `envelope_id`."""
        return bytes.fromhex(self.envelope_id)


class _Newest:
    """What was taken apart last, by its bytes: whoever parses an envelope verifies it next, and opens it.

    The bytes are told by being the same object. Comparing a digest of them, or a hash, takes longer than parsing.
    """

    outer: tuple[bytes, cose.Sign1] | None = None
    content: tuple[bytes, SealedContent] | None = None


_newest = _Newest()


@lru_cache(maxsize=len(suites.CONTENT_ALGS))
def encode_content_header(cipher: suites.ContentCipher) -> bytes:
    """Encode the protected header of the COSE_Encrypt."""
    return cose.encode_protected({cose.HEADER_ALG: suites.CONTENT_ALGS[cipher]})


@lru_cache(maxsize=2 * MAX_RECIPIENTS)
def encode_recipient_header(suite: suites.RecipientSuite, kid: bytes) -> bytes:
    """Encode the protected header of one COSE_recipient."""
    return cose.encode_protected({cose.HEADER_ALG: suite.alg, cose.HEADER_KID: kid})


@lru_cache(maxsize=2 * MAX_RECIPIENTS)
def recipient_info(content_alg: int, protected_bytes: bytes) -> bytes:
    """Return the HPKE info of a recipient: its Recipient_structure, with empty extra info."""
    return cbor.encode(["HPKE Recipient", content_alg, protected_bytes, b""])


def content_aad(content_protected: bytes, outer_protected: bytes) -> bytes:
    """Return the Enc_structure that the content's AEAD authenticates."""
    return cbor.encode(["Encrypt", content_protected, outer_protected])


def encode_content(content: SealedContent) -> bytes:
    """Encode the COSE_Encrypt."""
    recipients = [recipient_value(slot) for slot in content.recipients]
    body = [content.protected_bytes, {cose.HEADER_IV: content.nonce}, content.ciphertext, recipients]
    return cbor.encode(cbor2.CBORTag(cose.TAG_ENCRYPT, body))


def sign_envelope(
    header: Header,
    content: SealedContent,
    key: Ed25519PrivateKey,
    *,
    encoded: tuple[bytes, bytes] | None = None,
) -> Envelope:
    """Sign sealed content and return the finished envelope.

    Args:
        header: Its place and its commitment.
        content: The sealed read, bound to this header.
        key: The unit's signing key.
        encoded: The key's id and the encoded header, where the caller has them: both take time to make.

    Raises:
        FormatError: The envelope would be longer than `MAX_ENVELOPE_BYTES`.
    """
    if encoded is None:
        kid = cose.ed25519_kid(key.public_key())
        encoded = kid, encode_header(kid, header)
    kid, protected = encoded
    return _finished(cose.sign1(protected, encode_content(content), key), kid, header, None, _kids(content))


def sign_tombstone(
    tombstone: Tombstone, key: Ed25519PrivateKey, position: ChainPosition, *, seen: SeenReceipt | None = None
) -> Envelope:
    """Sign a tombstone for its place among the unit's envelopes.

    Args:
        tombstone: What it says.
        key: The unit's signing key.
        position: Its place.
        seen: The newest receipt that the unit has verified, if any.
    """
    payload = cbor.encode(
        {
            "v": TOMBSTONE_VERSION,
            "reason": str(tombstone.reason),
            "count": tombstone.count,
            "from": to_ms(tombstone.first_at),
            "until": to_ms(tombstone.last_at),
            "gone": [[gone.chain, gone.first, gone.last, gone.digest] for gone in tombstone.gone],
        }
    )
    kid, header = cose.ed25519_kid(key.public_key()), Header(position, seen=seen)
    protected = encode_header(kid, header, content_type=TOMBSTONE_TYPE)
    return _finished(cose.sign1(protected, payload, key), kid, header, tombstone)


def parse_envelope(data: bytes) -> Envelope:
    """Parse an envelope completely, both layers, without checking any signature.

    Raises:
        FormatError: Anything but the one layout of the format, an unknown version, suite or field included.
    """
    message = _parse_outer(data)
    tombstone: Tombstone | None = None
    kids: tuple[bytes, ...] = ()
    header = parse_header(message.protected)
    if message.content_type == TOMBSTONE_TYPE:
        tombstone = parse_tombstone(message.payload, max_bytes=MAX_ENVELOPE_BYTES)
    else:
        content = _parse_content(message.payload)
        if header.position.version != VERSION_1:
            _refuse_duplicates(content.recipients)
        kids = _kids(content)
    return Envelope(
        data=data,
        envelope_id=cbor.sha256(data).hex(),
        device_kid=message.kid,
        header=header,
        tombstone=tombstone,
        kids=kids,
    )


def peek_position(head: bytes) -> ChainPosition:
    """Read the place that an envelope claims from its first `PEEK_BYTES` bytes; nothing below the header is looked at.

    Raises:
        FormatError: It does not begin as an envelope does.
    """
    if head[:2] != _HEAD:
        raise FormatError("envelope: not a COSE_Sign1 (tag 18)")
    protected = cbor.leading_bytes(head[2:], _WHAT)
    return parse_header(cbor.as_map(cbor.decode(protected, max_bytes=PEEK_BYTES, what=_WHAT), _WHAT)).position


def verify_envelope(envelope: Envelope, device_key: Ed25519PublicKey) -> None:
    """Check that the device that owns `device_key` signed this envelope.

    Raises:
        EnvelopeVerificationError: Another key's id, or a wrong signature.
    """
    message = _parse_outer(envelope.data)
    cose.verify_sign1(
        message, device_key, what=f"envelope {envelope.envelope_id[:16]}", error=EnvelopeVerificationError
    )


def sealed_content(envelope: Envelope) -> tuple[SealedContent, bytes]:
    """Return a read's sealed content and the outer protected header it is bound to.

    Raises:
        FormatError: A tombstone, which holds nothing sealed.
    """
    message = _parse_outer(envelope.data)
    return _parse_content(message.payload), message.protected_bytes


def _parse_outer(data: bytes) -> cose.Sign1:
    newest = _newest.outer
    if newest is not None and newest[0] is data:
        return newest[1]
    message = cose.parse_sign1(data, content_types=_TYPES, max_bytes=MAX_ENVELOPE_BYTES, what=_WHAT)
    _newest.outer = data, message
    return message


def _finished(
    data: bytes, kid: bytes, header: Header, tombstone: Tombstone | None, kids: tuple[bytes, ...] = ()
) -> Envelope:
    if len(data) > MAX_ENVELOPE_BYTES:
        raise FormatError(f"envelope: {len(data)} bytes, at most {MAX_ENVELOPE_BYTES} are allowed")
    return Envelope(
        data=data,
        envelope_id=cbor.sha256(data).hex(),
        device_kid=kid,
        header=header,
        tombstone=tombstone,
        kids=kids,
    )


def _kids(content: SealedContent) -> tuple[bytes, ...]:
    return tuple(sorted({slot.kid for slot in content.recipients}))


def _parse_content(payload: bytes) -> SealedContent:
    newest = _newest.content
    if newest is not None and newest[0] is payload:
        return newest[1]
    content = _sealed_content(payload, "envelope content")
    _newest.content = payload, content
    return content


def _sealed_content(payload: bytes, what: str) -> SealedContent:
    parts = usual.encrypt_parts(payload) if len(payload) <= MAX_ENVELOPE_BYTES else None
    protected_raw, unprotected_raw, ciphertext, recipients = parts or _content_parts(payload, what)
    protected_bytes = cbor.as_bytes(protected_raw, None, what)
    alg = _parse_content_header(protected_bytes)
    unprotected = cbor.as_map(unprotected_raw, what)
    cbor.exact_keys(unprotected, frozenset({cose.HEADER_IV}), what)
    slots = cbor.as_list(recipients, None, what)
    if not 1 <= len(slots) <= MAX_RECIPIENTS:
        raise FormatError(f"{what}: {len(slots)} recipients, 1 to {MAX_RECIPIENTS} are allowed")
    return SealedContent(
        alg=alg,
        protected_bytes=protected_bytes,
        nonce=cbor.as_bytes(unprotected[cose.HEADER_IV], suites.NONCE_BYTES, f"{what}: nonce"),
        ciphertext=_at_least(cbor.as_bytes(ciphertext, None, what), suites.TAG_BYTES, f"{what}: ciphertext"),
        recipients=tuple(parse_recipient(slot) for slot in slots),
    )


def _content_parts(payload: bytes, what: str) -> list[object]:
    value = cbor.decode(payload, max_bytes=MAX_ENVELOPE_BYTES, what=what, max_heads=_CONTENT_HEADS)
    if not isinstance(value, cbor2.CBORTag) or value.tag != cose.TAG_ENCRYPT:
        raise FormatError(f"{what}: not a COSE_Encrypt (tag {cose.TAG_ENCRYPT})")
    return cbor.as_list(value.value, 4, what)


@lru_cache(maxsize=len(suites.CONTENT_ALGS))
def _parse_content_header(protected_bytes: bytes) -> int:
    what = "envelope content"
    protected = cbor.as_map(cbor.decode(protected_bytes, max_bytes=MAX_ENVELOPE_BYTES, what=what), what)
    cbor.exact_keys(protected, frozenset({cose.HEADER_ALG}), what)
    alg = cbor.as_uint(protected[cose.HEADER_ALG], 255, what)
    if alg not in suites.CONTENT_ALGS.values():
        raise FormatError(f"{what}: unknown content algorithm {alg}")
    return alg


def _refuse_duplicates(slots: tuple[RecipientSlot, ...]) -> None:
    if len({slot.kid for slot in slots}) != len(slots):
        raise FormatError("envelope content: one recipient twice, each is allowed once")


def recipient_value(slot: RecipientSlot) -> list[object]:
    """Return a COSE_recipient as it is encoded."""
    return [slot.protected_bytes, {cose.HEADER_EK: slot.ek}, slot.sealed_key]


def parse_recipient(value: object, *, what: str = "envelope recipient") -> RecipientSlot:
    """Parse a decoded COSE_recipient.

    Raises:
        FormatError: Anything but the one layout.
    """
    protected_raw, unprotected_raw, sealed_key = cbor.as_list(value, 3, what)
    protected_bytes = cbor.as_bytes(protected_raw, None, what)
    suite, kid = _parse_recipient_header(protected_bytes, what)
    unprotected = cbor.as_map(unprotected_raw, what)
    cbor.exact_keys(unprotected, frozenset({cose.HEADER_EK}), what)
    return RecipientSlot(
        suite=suite,
        kid=kid,
        protected_bytes=protected_bytes,
        ek=cbor.as_bytes(unprotected[cose.HEADER_EK], suite.enc_bytes, f"{what}: encapsulated key"),
        sealed_key=cbor.as_bytes(
            sealed_key, suites.CONTENT_KEY_BYTES + suites.TAG_BYTES, f"{what}: sealed content key"
        ),
    )


@lru_cache(maxsize=8 * MAX_RECIPIENTS)  # the same for all reads of an epoch
def _parse_recipient_header(protected_bytes: bytes, what: str) -> tuple[suites.RecipientSuite, bytes]:
    protected = cbor.as_map(cbor.decode(protected_bytes, max_bytes=MAX_ENVELOPE_BYTES, what=what), what)
    cbor.exact_keys(protected, frozenset({cose.HEADER_ALG, cose.HEADER_KID}), what)
    suite = suites.suite_by_alg(protected[cose.HEADER_ALG], what=what)
    return suite, cbor.as_bytes(protected[cose.HEADER_KID], cose.KID_BYTES, f"{what}: key id")


def _at_least(data: bytes, minimum: int, what: str) -> bytes:
    if len(data) < minimum:
        raise FormatError(f"{what}: {len(data)} bytes, at least {minimum} are needed")
    return data
