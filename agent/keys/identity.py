"""A device's identity: its two keys, made on the device, and the request to be enrolled.

Owns: which files an identity has and what they say. Leaves to others: what the owner does with the request
(`agent.receiver`), and the keys' files themselves (`agent.keys.keyfiles`).

| file | what | who reads it |
|---|---|---|
| `signing.key` | Ed25519 private key that signs envelopes | the capture service |
| `tls.key` | ECDSA P-256 private key of the TLS client | the upload service |
| `tls.csr` | PKCS#10 request for the TLS client's certificate | the owner |
| `enrolment.json` | everything the owner needs, with a proof that both keys belong together | the owner |

Invariant: `enrolment.json` is written last, so an identity that has it is whole. Two keys, because the process that
sees pixels has no network and the process with network must not be able to sign reads.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.errors import KeyFileError, UsageError
from agent.keys import keyfiles
from agent.wire import cbor, cose
from agent.wire.plaintext import MAX_NAME_CHARS

SIGNING_KEY_NAME: Final = "signing.key"
TLS_KEY_NAME: Final = "tls.key"
TLS_REQUEST_NAME: Final = "tls.csr"
TLS_CERTIFICATE_NAME: Final = "tls.pem"
"""Where the certificate that the owner issues belongs; the identity is made without it."""
ENROLMENT_NAME: Final = "enrolment.json"
ENROLMENT_VERSION: Final = 2
"""In version 1 the proof was over the certificate request alone, with nothing that says what it is for."""
_PROOF_CONTEXT: Final = "plateseal enrolment 2"
NEXT_SUFFIX: Final = ".next"
"""Of a key that is to follow the one without it (`agent.keys.rotation`); upload knows it too."""

_FILES: Final = (SIGNING_KEY_NAME, TLS_KEY_NAME, TLS_REQUEST_NAME, ENROLMENT_NAME)
_DIRECTORY_MODE: Final = 0o700
_DEVICE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Identity:
    """What there is to say about a new identity.

    Attributes:
        name: The device's name.
        key_id: 32 bytes, the signing key's COSE Key Thumbprint: `kid` of the device's envelopes.
        directory: Where its files are.
    """

    name: str
    key_id: bytes
    directory: Path

    @property
    def enrolment(self) -> Path:
        """The file to carry to the owner."""
        return self.directory / ENROLMENT_NAME


def check_device_name(name: str) -> str:
    """Return `name` if it can name a device.

    Raises:
        UsageError: Says which names can.
    """
    if len(name) > MAX_NAME_CHARS or not _DEVICE_NAME.fullmatch(name):
        raise UsageError(
            f"device name {name[:MAX_NAME_CHARS]!r}: allowed are 1 to {MAX_NAME_CHARS} of a-z, 0-9, '.', '_', '-', "
            "beginning with a letter or digit"
        )
    return name


def create_identity(directory: Path, *, name: str) -> Identity:
    """Make a device's keys and its enrolment request.

    Args:
        directory: Made with mode 0700 if it is missing and its parent is there.
        name: The device's name, as `check_device_name` allows.

    Raises:
        UsageError: The name cannot name a device.
        KeyFileError: The directory holds an identity, or part of one; or the disk refused. What is there is kept.
    """
    check_device_name(name)
    _claim_directory(directory)
    signing_key = Ed25519PrivateKey.generate()
    tls_key = ec.generate_private_key(ec.SECP256R1())
    request = certificate_request(tls_key, name)
    key_id = cose.ed25519_kid(signing_key.public_key())
    keyfiles.write_private(directory / SIGNING_KEY_NAME, signing_key)
    keyfiles.write_private(directory / TLS_KEY_NAME, tls_key)
    keyfiles.write_public(directory / TLS_REQUEST_NAME, request.public_bytes(Encoding.PEM))
    keyfiles.write_public(directory / ENROLMENT_NAME, encode_enrolment(name, signing_key, request))
    return Identity(name=name, key_id=key_id, directory=directory)


def _claim_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"{directory}: cannot be made: {error.strerror}") from None
    there = [name for name in _FILES if (directory / name).exists()]
    if ENROLMENT_NAME in there:
        raise KeyFileError(f"{directory}: holds a device identity already; it is not overwritten")
    if there:
        raise KeyFileError(
            f"{directory}: holds {', '.join(there)} of an identity whose making was cut off; "
            "remove them and run this again"
        )


def certificate_request(tls_key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateSigningRequest:
    """Return the request for a certificate of a device's TLS key, signed by it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(tls_key, hashes.SHA256())


def proven_enrolment(key_id: bytes, name: str, csr_der: bytes) -> bytes:
    """Return what the proof of an enrolment signs: what it is for, and whose it is.

    It cannot be taken for another signature of the same key: those are over an array that begins with another text.
    """
    return cbor.encode([_PROOF_CONTEXT, key_id, name, csr_der])


def encode_enrolment(name: str, signing_key: Ed25519PrivateKey, request: x509.CertificateSigningRequest) -> bytes:
    """Return the request to be enrolled; its proof signs the other key's request, which ties the two keys."""
    public_key = signing_key.public_key()
    key_id, csr_der = cose.ed25519_kid(public_key), request.public_bytes(Encoding.DER)
    value = {
        "v": ENROLMENT_VERSION,
        "device": name,
        "key_id": key_id.hex(),
        "public_key": base64.b64encode(public_key.public_bytes_raw()).decode("ascii"),
        "csr": request.public_bytes(Encoding.PEM).decode("ascii"),
        "proof": base64.b64encode(signing_key.sign(proven_enrolment(key_id, name, csr_der))).decode("ascii"),
    }
    return json.dumps(value, indent=1).encode("ascii") + b"\n"
