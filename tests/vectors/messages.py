"""Builders of every message of docs/FORMAT.md, from keys and nonces that are the same each time.

Each takes its parts one by one, so that a vector can have one of them wrong and everything around it right: what is
wrong is sealed and signed like what is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.wire.cbor import encode
from tests.vectors.keys import AGENCY, DEVICE, OWNER, RECEIVER, Recipient, Signer, seed

Map = dict[Any, Any]

READ_TYPE: Final = "application/plateseal+cbor"
TOMBSTONE_TYPE: Final = "application/plateseal-tombstone+cbor"
RECEIPT_TYPE: Final = "application/plateseal-receipt+cbor"
KEYRING_TYPE: Final = "application/plateseal-keyring+cbor"
ROTATION_TYPE: Final = "application/plateseal-rotation+cbor"
AUDIT_TYPE: Final = "application/plateseal-audit+cbor"
KEY_TYPE: Final = "application/plateseal-key+cbor"

NOON: Final = 1_772_366_400_000
"""2026-03-01 12:00 UTC, milliseconds."""
DAY: Final = 86_400_000
MAX_SEQ: Final = (1 << 53) - 1
ZEROS: Final = bytes(32)
CHAIN: Final = seed("chain")[:16]
PREV: Final = seed("an envelope before")
CONTENT_KEY: Final = seed("content key")
NONCE: Final = seed("nonce")[:12]
SALT: Final = seed("salt")[:16]
PASSPHRASE: Final = "a passphrase for test vectors, for no other use"
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""L, the order of Ed25519's base point (RFC 8032, 5.1)."""

READ: Final[Map] = {
    "v": 1,
    "camera": "cam-1",
    "captured_at": NOON,
    "clock": "synchronized",
    "text": "AB123CD",
    "confidences": [990, 980, 970, 1000, 0, 500, 999],
    "votes": [4, 5],
    "detector": 870,
    "box": [10, 20, 110, 50],
    "frame": 42,
    "frame_wh": [1280, 720],
    "first_seen": NOON - 1000,
    "last_seen": NOON + 1000,
    "direction": "approaching",
    "crop": b"",
    "models": {"detector": seed("detector"), "reader": seed("reader")},
    "agent": "0.1.0",
}


class Encoded:
    """Bytes that stand in a message as they are, where `encode` would never write them."""

    def __init__(self, data: bytes) -> None:
        """Keep the bytes."""
        self.data = data


def encode_map(pairs: Sequence[tuple[Any, Any]]) -> bytes:
    """Encode a map of fewer than 24 pairs in the given order, with what `Encoded` parts it has."""
    parts = (part.data if isinstance(part, Encoded) else encode(part) for pair in pairs for part in pair)
    return bytes([0xA0 | len(pairs)]) + b"".join(parts)


def canonical(value: Map) -> list[tuple[Any, Any]]:
    """Return the pairs of a map in the order of the deterministic encoding."""
    return sorted(value.items(), key=lambda pair: encode(pair[0]))


def changed(value: Map, *without: object, **changes: Any) -> Map:
    """Return a map without some fields and with others."""
    return {key: part for key, part in (value | changes).items() if key not in without}


def signature(protected: bytes, payload: bytes, signer: Signer) -> bytes:
    """Sign as COSE_Sign1 does."""
    return signer.key.sign(encode(["Signature1", protected, b"", payload]))


def sign1(
    header: Map | bytes,
    payload: Map | bytes,
    signer: Signer,
    *,
    alter: Callable[[list[Any]], Any] = list,
    tag: int = 18,
) -> bytes:
    """Return a COSE_Sign1; `alter` may change its four parts after they are signed."""
    protected = header if isinstance(header, bytes) else encode(header)
    signed = payload if isinstance(payload, bytes) else encode(payload)
    parts = [protected, {}, signed, signature(protected, signed, signer)]
    alter(parts)
    return encode(cbor2.CBORTag(tag, parts))


def header(content_type: str, signer: Signer, **more: Any) -> Map:
    """Return the protected header of a COSE_Sign1."""
    return {1: -8, 3: content_type, 4: signer.kid, **more}


def place(seq: int = 0, /, **changes: Any) -> Map:
    """Return a place in the chain."""
    return {"v": 1, "chain": CHAIN, "seq": seq, "prev": PREV if seq else ZEROS, **changes}


def recipient_info(alg: int, protected: bytes) -> bytes:
    """Return the Recipient_structure."""
    return encode(["HPKE Recipient", alg, protected, b""])


def recipient(
    key: Recipient, *, alg: int = 3, header: Map | None = None, content_key: bytes = CONTENT_KEY
) -> list[Any]:
    """Return a COSE_recipient."""
    protected = encode(header or {1: key.suite.alg, 4: key.kid})
    ek, sealed = key.seal(content_key, recipient_info(alg, protected))
    return [protected, {-4: ek}, sealed]


def content(
    outer: bytes,
    read: Map | bytes = READ,
    keys: Sequence[Recipient] = (AGENCY,),
    *,
    alg: int = 3,
    header: Map | None = None,
) -> list[Any]:
    """Return the four parts of the COSE_Encrypt that is bound to the outer protected header."""
    protected = encode(header or {1: alg})
    plain = read if isinstance(read, bytes) else encode(read)
    aead = ChaCha20Poly1305(CONTENT_KEY) if alg == 24 else AESGCM(CONTENT_KEY)
    sealed = aead.encrypt(NONCE, plain, encode(["Encrypt", protected, outer]))
    return [protected, {5: NONCE}, sealed, [recipient(key, alg=alg) for key in keys]]


def envelope(
    *,
    outer: Map | bytes | None = None,
    parts: list[Any] | None = None,
    inside: Callable[[list[Any]], Any] = list,
    alter: Callable[[list[Any]], Any] = list,
    signer: Signer = DEVICE,
    tag: int = 18,
    inner_tag: int = 96,
    **contents: Any,
) -> bytes:
    """Return an envelope around a sealed read.

    Args:
        outer: The outer protected header.
        parts: The COSE_Encrypt, where it is not to be bound to this header.
        inside: Changes the COSE_Encrypt before it is signed.
        alter: Changes the COSE_Sign1 after it is signed.
        signer: Who signs.
        tag: Of the COSE_Sign1.
        inner_tag: Of the COSE_Encrypt.
        contents: Goes to `content`.
    """
    head = outer if isinstance(outer, bytes) else encode(outer or header(READ_TYPE, signer, ps=place()))
    body = parts or content(head, **contents)
    inside(body)
    return sign1(head, encode(cbor2.CBORTag(inner_tag, body)), signer, alter=alter, tag=tag)


TOMBSTONE: Final[Map] = {"v": 1, "reason": "overflow", "count": 3, "from": NOON, "until": NOON + 5000, "gone": []}
EVICTED: Final[Map] = TOMBSTONE | {"reason": "evicted", "gone": [[CHAIN, 0, 2, seed("gone")]]}


def tombstone(payload: Map | bytes = TOMBSTONE, *, signer: Signer = DEVICE, **options: Any) -> bytes:
    """Return an envelope that is a tombstone."""
    return sign1(header(TOMBSTONE_TYPE, signer, ps=place(7)), payload, signer, **options)


ENVELOPE: Final = envelope()
RECEIPT: Final[Map] = {
    "v": 1,
    "id": hashlib.sha256(ENVELOPE).digest(),
    "len": len(ENVELOPE),
    "dev": DEVICE.kid,
    "chain": CHAIN,
    "seq": 0,
    "at": NOON + DAY,
    "log": 17,
}


def receipt(payload: Map | bytes = RECEIPT, *, signer: Signer = RECEIVER, **options: Any) -> bytes:
    """Return a receipt."""
    return sign1(header(RECEIPT_TYPE, signer), payload, signer, **options)


def keyring_row(
    key: Recipient = AGENCY, *, holder: str = "agency", start: int = NOON, end: int | None = None, **changes: Any
) -> Map:
    """Return a key of a keyring; its epoch is a day where no end is named."""
    until = start + DAY if end is None else end
    row = {"kid": key.kid, "alg": key.suite.alg, "pub": key.public, "for": holder, "from": start, "until": until}
    return row | changes


def keyring(*rows: Map, serial: int = 5, signer: Signer = OWNER, more: Map | None = None, **options: Any) -> bytes:
    """Return a keyring."""
    payload = {"v": 1, "serial": serial, "keys": list(rows or [keyring_row()])} | (more or {})
    return sign1(header(KEYRING_TYPE, signer), payload, signer, **options)


NEW_KEY: Final = Signer("device, new key")
TLS_KEY: Final = ec.derive_private_key(int.from_bytes(seed("device, TLS key")), ec.SECP256R1())
_CSR_NAME: Final = "north-gate"


def certificate_request(name: str = _CSR_NAME) -> bytes:
    """Return a PKCS#10 request; its ECDSA signature is deterministic (RFC 6979)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(TLS_KEY, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def rotation_payload(
    *, device: str = _CSR_NAME, csr: bytes | None = None, new: Signer = NEW_KEY, **changes: Any
) -> Map:
    """Return a statement with the new key's proof."""
    request = certificate_request() if csr is None else csr
    proof = new.key.sign(encode(["plateseal rotation 1", DEVICE.kid, device, new.public, request]))
    return {"v": 1, "device": device, "key": new.public, "csr": request, "proof": proof} | changes


def rotation(payload: Map | None = None, *, signer: Signer = DEVICE, head: Map | None = None, **options: Any) -> bytes:
    """Return a rotation statement."""
    return sign1(head or header(ROTATION_TYPE, signer), payload or rotation_payload(), signer, **options)


def owner_cose_key(signer: Signer = OWNER) -> Map:
    """Return the COSE_Key of an owner."""
    return {1: 1, 2: signer.kid, 3: -8, -1: 6, -2: signer.public, -4: signer.key.private_bytes_raw()}


def cose_key(key: Recipient) -> Map:
    """Return the COSE_Key of a recipient's private key."""
    head = {2: key.kid, 3: key.suite.alg, key.suite.private_label: key.private}
    return head | key.suite.cose_key(key.public)


def locked(
    inside: Map,
    use: str,
    *,
    cost: Sequence[Any] = (SALT, 16, 8, 1),
    changes: Map | None = None,
    named: bytes | None = None,
    derived: tuple[int, int, int] | None = (16, 8, 1),
    alter: Callable[[list[Any]], Any] = list,
    tag: int = 16,
) -> bytes:
    """Return a key file under the passphrase.

    Args:
        inside: The COSE_Key.
        use: What it is for.
        cost: What the file says: salt, N, r, p.
        changes: Fields of the protected header that are otherwise.
        named: The key id that it is bound to, if it is not that of the key.
        derived: The cost that is paid; None for one that nobody should pay: the content is zeros then.
        alter: Changes the three parts.
        tag: Of the COSE_Encrypt0.
    """
    head = {1: 3, 3: KEY_TYPE, "ps": {"v": 1, "use": use, "kid": inside[2]}, "scrypt": list(cost)} | (changes or {})
    protected, sealed = encode(head), bytes(16)
    if derived is not None:
        n, r, p = derived
        key = Scrypt(salt=cost[0], length=32, n=n, r=r, p=p).derive(PASSPHRASE.encode())
        aad = encode(["Encrypt0", protected, encode([use, named or inside[2]])])
        sealed = AESGCM(key).encrypt(NONCE, encode(inside), aad)
    parts = [protected, {5: NONCE}, sealed]
    alter(parts)
    return encode(cbor2.CBORTag(tag, parts))


def audit_payload(seq: int, prev: bytes, **changes: Any) -> Map:
    """Return the payload of an entry."""
    entry = {"v": 1, "seq": seq, "prev": prev, "at": NOON + seq, "who": "erika", "case": "", "reason": "", "count": 1}
    return entry | {"action": "open" if seq else "keys"} | changes


def audit_entry(payload: Map | bytes, *, signer: Signer = OWNER, **options: Any) -> bytes:
    """Return an entry."""
    return sign1(header(AUDIT_TYPE, signer), payload, signer, **options)


def audit_entries(*changes: Map) -> list[bytes]:
    """Return a log of as many entries, each as usual but for its changes."""
    entries: list[bytes] = []
    for seq, change in enumerate(changes):
        prev = hashlib.sha256(entries[-1]).digest() if entries else ZEROS
        entries.append(audit_entry(audit_payload(seq, prev) | change))
    return entries


def flip(data: bytes, at: int) -> bytes:
    """Return the bytes with the lowest bit of one of them flipped."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def set_part(index: int, part: Any) -> Callable[[list[Any]], None]:
    """Return a change that replaces one part of a message."""
    return lambda parts: parts.__setitem__(index, part)


def flip_part(index: int, at: int = 0) -> Callable[[list[Any]], None]:
    """Return a change that flips one bit of one part."""
    return lambda parts: parts.__setitem__(index, flip(parts[index], at))


def add_order(parts: list[Any]) -> None:
    """Add L to the S of the signature: the same point, another encoding (RFC 8032, 5.1.7 forbids it)."""
    scalar = int.from_bytes(parts[3][32:], "little") + ORDER
    parts[3] = parts[3][:32] + scalar.to_bytes(32, "little")
