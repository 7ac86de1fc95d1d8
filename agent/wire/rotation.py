"""The rotation statement: a device's old signing key vouches for its new one, and for a new TLS key.

```
rotation = COSE_Sign1 (tag 18), EdDSA/Ed25519, by the OLD signing key
  protected: {1: -8, 3: "application/plateseal-rotation+cbor", 4: old key id}
  payload:   {"v": 1, "device": name, "key": new Ed25519 public key (32 bytes),
              "csr": PKCS#10 request (DER) of the new TLS key,
              "proof": signature by the NEW key over the deterministic CBOR of
                       ["plateseal rotation 1", old key id, name, new public key, csr]}
```

Owns: the layout and its two signatures. The old key's signature says that this device wants the new key; the new key's
proof says that whoever wrote the statement holds it, so nobody can claim another device's key as their own next one.
Leaves to others: files (`agent.keys.rotation`), and the request and whether the old key is enrolled (`agent.receiver`).

The proof cannot be taken for another signature of the same key: what a COSE_Sign1 signs is an array that begins with
"Signature1".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, VerificationError
from agent.wire import cbor, cose
from agent.wire.plaintext import MAX_NAME_CHARS

CONTENT_TYPE: Final = "application/plateseal-rotation+cbor"
ROTATION_VERSION: Final = 1
MAX_CSR_BYTES: Final = 2048
"""A request for a P-256 key with a name of 64 characters has about 280 bytes."""
MAX_ROTATION_BYTES: Final = 4096
"""`MAX_CSR_BYTES` and the rest, which has about 400."""
PUBLIC_KEY_BYTES: Final = 32

_WHAT: Final = "rotation"
_PROOF_CONTEXT: Final = "plateseal rotation 1"
_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_KEYS: Final = frozenset({"v", "device", "key", "csr", "proof"})


@dataclass(frozen=True, slots=True)
class Rotation:
    """A parsed statement whose proof by the new key holds; the old key's signature only after `verify_rotation`.

    Attributes:
        data: The whole statement.
        device: The device's name.
        old_key_id: 32 bytes, id of the key that it claims to be signed by.
        new_key: The public half of the new signing key.
        csr_der: The request for the new TLS key's certificate (PKCS#10, DER), not looked into.
    """

    data: bytes = field(repr=False)
    device: str
    old_key_id: bytes
    new_key: Ed25519PublicKey = field(repr=False)
    csr_der: bytes = field(repr=False)

    @property
    def new_key_id(self) -> bytes:
        """32 bytes, the id of the new key."""
        return cose.ed25519_kid(self.new_key)


def encode_rotation(*, device: str, old_key: Ed25519PrivateKey, new_key: Ed25519PrivateKey, csr_der: bytes) -> bytes:
    """Sign a statement with both keys."""
    old_key_id = cose.ed25519_kid(old_key.public_key())
    new_public = new_key.public_key().public_bytes_raw()
    payload: cbor.CborMap = {
        "v": ROTATION_VERSION,
        "device": device,
        "key": new_public,
        "csr": csr_der,
        "proof": new_key.sign(_proven(old_key_id, device, new_public, csr_der)),
    }
    protected = cose.encode_protected(cose.signed_header(CONTENT_TYPE, old_key_id))
    return cose.sign1(protected, cbor.encode(payload), old_key)


def parse_rotation(data: bytes) -> Rotation:
    """Parse a statement and check the new key's proof.

    Raises:
        FormatError: Anything but the one layout of the format.
        VerificationError: The proof does not hold, or the new key is the old one.
    """
    message = _parse_message(data)
    value = cbor.as_map(cbor.decode(message.payload, max_bytes=MAX_ROTATION_BYTES, what=_WHAT), _WHAT)
    if type(value.get("v")) is not int or value["v"] != ROTATION_VERSION:
        raise FormatError(f"{_WHAT}: version {value.get('v')!r:.20}, only {ROTATION_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, _WHAT)
    device = cbor.as_text(value["device"], MAX_NAME_CHARS, f"{_WHAT}: device")
    new_public = cbor.as_bytes(value["key"], PUBLIC_KEY_BYTES, f"{_WHAT}: key")
    csr_der = cbor.as_bytes(value["csr"], None, f"{_WHAT}: csr")
    if not 0 < len(csr_der) <= MAX_CSR_BYTES:
        raise FormatError(f"{_WHAT}: csr has {len(csr_der)} bytes, 1 to {MAX_CSR_BYTES} are allowed")
    proof = cbor.as_bytes(value["proof"], cose.SIGNATURE_BYTES, f"{_WHAT}: proof")
    new_key = cose.load_new_signer(new_public, f"{_WHAT}: key")
    try:
        new_key.verify(proof, _proven(message.kid, device, new_public, csr_der))
    except InvalidSignature:
        raise VerificationError(f"{_WHAT}: 'proof' is not the new key's signature") from None
    if cose.ed25519_kid(new_key) == message.kid:
        raise VerificationError(f"{_WHAT}: the new key is the old one")
    return Rotation(data=data, device=device, old_key_id=message.kid, new_key=new_key, csr_der=csr_der)


def verify_rotation(rotation: Rotation, old_key: Ed25519PublicKey) -> None:
    """Check that the owner of `old_key` signed the statement.

    Raises:
        VerificationError: Another key's id, or a wrong signature.
    """
    cose.verify_sign1(_parse_message(rotation.data), old_key, what=_WHAT)


def _parse_message(data: bytes) -> cose.Sign1:
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_ROTATION_BYTES, what=_WHAT)
    cbor.exact_keys(message.protected, _HEADER_KEYS, f"{_WHAT} header")
    return message


def _proven(old_key_id: bytes, device: str, new_public: bytes, csr_der: bytes) -> bytes:
    return cbor.encode([_PROOF_CONTEXT, old_key_id, device, new_public, csr_der])
