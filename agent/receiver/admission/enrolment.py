"""The requests of a device, as the receiver checks them: to be enrolled, and to rotate its keys.

Owns: what makes a request believable. An enrolment (JSON): the signing key's id is its thumbprint, the TLS key signed
its own certificate request, and the signing key signed that request (in version 2 together with the name, its own id
and what the signature is for), so whoever made it holds both keys. Whether the device is one of the owner's is for the
person who carries the file to say. A rotation (COSE_Sign1): the new key has proven itself and the TLS key signed its
own certificate request; that the old key is enrolled and signed the statement is checked where enrolled keys are known
(`pki`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.errors import FormatError, KeyFileError, UsageError, VerificationError
from agent.keys.identity import ENROLMENT_VERSION, check_device_name, proven_enrolment
from agent.receiver.admission import strictjson
from agent.wire import cose
from agent.wire.rotation import MAX_ROTATION_BYTES, Rotation, parse_rotation

_WHAT: Final = "enrolment"
_PUBLIC_KEY_BYTES: Final = 32
_SIGN1_HEAD: Final = bytes([0xC0 | cose.TAG_SIGN1])
"""First byte of a tagged COSE_Sign1 (RFC 8949, 3.4), which no JSON document begins with."""


class _Request(strictjson.Document):
    v: Annotated[int, strictjson.version(1, ENROLMENT_VERSION)]
    device: str
    key_id: str
    public_key: Annotated[bytes, strictjson.base64_of(_PUBLIC_KEY_BYTES)]
    csr: str
    proof: Annotated[bytes, strictjson.base64_of(cose.SIGNATURE_BYTES)]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A request whose proofs hold. Made by `parse_enrolment` and `parse_rotation_request` alone.

    Attributes:
        device: The name it asks for.
        key_id: 32 bytes, id of the signing key.
        signing_key: Public half of the key that signs envelopes.
        tls_key: Public half of the TLS client key.
        rotation: The statement, if the key is to follow another; its signature by that key is yet to be checked.
    """

    device: str
    key_id: bytes
    signing_key: Ed25519PublicKey = field(repr=False)
    tls_key: EllipticCurvePublicKey = field(repr=False)
    rotation: Rotation | None = field(default=None, repr=False)


def load_enrolment(path: Path) -> Enrolment:
    """Read a request, to enrol or to rotate, and check every proof in it.

    Raises:
        KeyFileError: The file cannot be read.
        FormatError: Neither request; the message names the file.
        VerificationError: A proof does not hold; the message names the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(strictjson.MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    is_rotation = data.startswith(_SIGN1_HEAD)
    try:
        return parse_rotation_request(data) if is_rotation else parse_enrolment(data)
    except (FormatError, VerificationError) as error:
        made = "rotation.cose, as `device rotate`" if is_rotation else "enrolment.json, as `device init`"
        raise type(error)(f"{path}: {error}; bring the unit's {made} made it") from None


def parse_enrolment(data: bytes) -> Enrolment:
    """Parse an enrolment request and check every proof in it.

    Raises:
        FormatError: Not an enrolment request of version 1 or 2, or other kinds of keys.
        VerificationError: The key id, the certificate request's signature or the proof does not hold.
    """
    asked = strictjson.parse_document(data, _Request, what=_WHAT)
    device = _device_name(asked.device, _WHAT)
    signing_key = cose.load_new_signer(asked.public_key, f"{_WHAT}: 'public_key'")
    key_id = cose.ed25519_kid(signing_key)
    if asked.key_id != key_id.hex():
        raise VerificationError(f"{_WHAT}: 'key_id' is not the thumbprint of 'public_key'")
    request = _parse_request(asked.csr)
    tls_key = _checked_tls_key(request, device, _WHAT)
    csr_der = request.public_bytes(Encoding.DER)
    try:
        signing_key.verify(asked.proof, csr_der if asked.v == 1 else proven_enrolment(key_id, device, csr_der))
    except InvalidSignature:
        raise VerificationError(f"{_WHAT}: 'proof' is not the signing key's signature of this request") from None
    return Enrolment(device=device, key_id=key_id, signing_key=signing_key, tls_key=tls_key)


def parse_rotation_request(data: bytes) -> Enrolment:
    """Parse a rotation statement and check what can be checked without the old key.

    Raises:
        FormatError: Not a statement of version 1, longer than any, or other kinds of keys.
        VerificationError: The new key's proof or the certificate request's signature does not hold.
    """
    if len(data) > MAX_ROTATION_BYTES:
        raise FormatError(f"rotation: longer than {MAX_ROTATION_BYTES} bytes")
    rotation = parse_rotation(data)
    device = _device_name(rotation.device, "rotation")
    try:
        request = x509.load_der_x509_csr(rotation.csr_der)
    except ValueError:
        raise FormatError("rotation: 'csr' is not a DER certificate request (PKCS#10)") from None
    return Enrolment(
        device=device,
        key_id=rotation.new_key_id,
        signing_key=rotation.new_key,
        tls_key=_checked_tls_key(request, device, "rotation"),
        rotation=rotation,
    )


def _device_name(name: str, what: str) -> str:
    try:
        return check_device_name(name)
    except UsageError as error:
        raise FormatError(f"{what}: {error}") from None


def _parse_request(pem: str) -> x509.CertificateSigningRequest:
    try:
        return x509.load_pem_x509_csr(pem.encode("ascii"))
    except ValueError:  # UnicodeEncodeError is one
        raise FormatError(f"{_WHAT}: 'csr' is not a PEM certificate request (PKCS#10)") from None


def _checked_tls_key(request: x509.CertificateSigningRequest, device: str, what: str) -> EllipticCurvePublicKey:
    """Return the request's key. Of what the request asks for, nothing else is taken over.

    Raises:
        FormatError: Another kind of key, or another name than the enrolment's.
        VerificationError: The request is not signed by its own key.
    """
    try:
        key = request.public_key()
        names = [(name.oid, name.value) for name in request.subject]
        genuine = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise FormatError(f"{what}: 'csr' cannot be read") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise FormatError(f"{what}: 'csr' must be for an ECDSA P-256 key")
    if names != [(NameOID.COMMON_NAME, device)]:
        raise FormatError(f"{what}: the subject of 'csr' must be CN={device} and nothing else")
    if not genuine:
        raise VerificationError(f"{what}: 'csr' is not signed by its own key")
    return key
