"""Enrolment requests: every proof counts, and every malformed one is refused by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.errors import FormatError, KeyFileError, PlatesealError, VerificationError
from agent.keys.identity import create_identity
from agent.receiver.admission import strictjson
from agent.receiver.admission.enrolment import load_enrolment, parse_enrolment
from agent.wire import cbor, cose

_KEY = Ed25519PrivateKey.generate()
_TLS_KEY = ec.generate_private_key(ec.SECP256R1())
Value = dict[str, object]


def _csr(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey = _TLS_KEY, names: tuple[str, ...] = ("cam-1",)) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return request.public_bytes(Encoding.PEM).decode()


def _proof(csr: str, key: Ed25519PrivateKey = _KEY, *, version: int = 2, context: str = "plateseal enrolment 2") -> str:
    der = x509.load_pem_x509_csr(csr.encode()).public_bytes(Encoding.DER)
    proven = cbor.encode([context, cose.ed25519_kid(_KEY.public_key()), "cam-1", der])
    return base64.b64encode(key.sign(der if version == 1 else proven)).decode()


def _value(csr: str | None = None) -> Value:
    csr = csr or _csr()
    return {
        "v": 2,
        "device": "cam-1",
        "key_id": cose.ed25519_kid(_KEY.public_key()).hex(),
        "public_key": base64.b64encode(_KEY.public_key().public_bytes_raw()).decode(),
        "csr": csr,
        "proof": _proof(csr),
    }


def _forged_csr() -> str:
    """Return a request whose own signature is broken; the proof over it is made afterwards, so it holds."""
    der = bytearray(x509.load_pem_x509_csr(_csr().encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def test_identity_of_a_device_is_accepted(tmp_path: Path) -> None:
    """What `device init` writes is what the receiver takes."""
    identity = create_identity(tmp_path, name="cam-1")
    enrolment = load_enrolment(identity.enrolment)
    assert (enrolment.device, enrolment.key_id) == ("cam-1", identity.key_id)


def test_good_enrolment_is_accepted() -> None:
    """The table below starts from a request that holds."""
    assert parse_enrolment(json.dumps(_value()).encode()).key_id == cose.ed25519_kid(_KEY.public_key())


@pytest.mark.parametrize(
    ("change", "error", "expected"),
    [
        ({"v": 3}, FormatError, "version 3, only 1 and 2 are allowed"),
        ({"v": 1}, VerificationError, "'proof'"),
        ({"proof": _proof(_csr(), version=1)}, VerificationError, "'proof'"),
        ({"v": True}, FormatError, "version True"),
        ({"v": "1"}, FormatError, "version '1'"),
        ({"device": "Cam 1"}, FormatError, "device name"),
        ({"device": "../cam"}, FormatError, "device name"),
        ({"device": 7}, FormatError, "must be a text"),
        ({"device": "cam-2"}, FormatError, "CN=cam-2"),
        ({"key_id": "00" * 32}, VerificationError, "thumbprint"),
        ({"key_id": ""}, VerificationError, "thumbprint"),
        ({"public_key": "?"}, FormatError, "must be base64"),
        ({"public_key": "é"}, FormatError, "must be base64"),
        ({"public_key": base64.b64encode(bytes(31)).decode()}, FormatError, "has 31 bytes"),
        ({"public_key": base64.b64encode(bytes([1]) + bytes(31)).decode()}, FormatError, "small order"),
        ({"csr": "no request"}, FormatError, "PKCS#10"),
        ({"csr": "é"}, FormatError, "PKCS#10"),
        ({"proof": base64.b64encode(bytes(64)).decode()}, VerificationError, "'proof'"),
        ({"proof": base64.b64encode(bytes(63)).decode()}, FormatError, "has 63 bytes"),
        ({"proof": _proof(_csr(), Ed25519PrivateKey.generate())}, VerificationError, "'proof'"),
        ({"proof": _proof(_csr())}, VerificationError, "'proof'"),
        ({"extra": 1}, FormatError, "unknown field 'extra'"),
    ],
)
def test_changed_field_is_refused(change: Value, error: type[PlatesealError], expected: str) -> None:
    """One wrong field is enough, and the message says which."""
    with pytest.raises(error, match=expected):
        parse_enrolment(json.dumps({**_value(), **change}).encode())


def test_a_request_of_version_1_is_still_taken() -> None:
    """Its proof is over the certificate request alone; a proof of one version is none of the other."""
    csr = _csr()
    value = {**_value(csr), "v": 1, "proof": _proof(csr, version=1)}
    assert parse_enrolment(json.dumps(value).encode()).device == "cam-1"
    with pytest.raises(VerificationError, match="'proof'"):
        parse_enrolment(json.dumps({**value, "v": 2}).encode())


def test_a_signature_for_another_purpose_is_no_proof() -> None:
    """The context says what it is for."""
    csr = _csr()
    value = {**_value(csr), "proof": _proof(csr, context="plateseal rotation 1")}
    with pytest.raises(VerificationError, match="'proof'"):
        parse_enrolment(json.dumps(value).encode())


@pytest.mark.parametrize("key", ["v", "device", "key_id", "public_key", "csr", "proof"])
def test_missing_field_is_refused(key: str) -> None:
    """Every field is needed."""
    value = _value()
    del value[key]
    with pytest.raises(FormatError, match=f"'{key}' is missing"):
        parse_enrolment(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("csr", "error", "expected"),
    [
        (lambda: _csr(ec.generate_private_key(ec.SECP384R1())), FormatError, "P-256"),
        (lambda: _csr(Ed25519PrivateKey.generate()), FormatError, "P-256"),
        (lambda: _csr(names=("cam-1", "cam-2")), FormatError, "nothing else"),
        (lambda: _csr(names=()), FormatError, "nothing else"),
        (_forged_csr, VerificationError, "not signed by its own key"),
    ],
)
def test_request_of_another_kind_is_refused(csr: Callable[[], str], error: type[PlatesealError], expected: str) -> None:
    """A well-proven certificate request is still refused for its key, subject or own signature."""
    with pytest.raises(error, match=expected):
        parse_enrolment(json.dumps(_value(csr())).encode())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not a JSON document"),
        (b"[]", "not a JSON object"),
        (b"{", "not a JSON document"),
        (b"\xff\xfe", "not a JSON document"),
        (b"[" * 10_000, "not a JSON document"),
        (b'{"v": 1, "v": 1}', "is there twice"),
        (b" " * (strictjson.MAX_DOCUMENT_BYTES + 1), "longer than"),
    ],
)
def test_garbage_is_refused(data: bytes, expected: str) -> None:
    """What is no such document is refused with an error of ours."""
    with pytest.raises(FormatError, match=expected):
        parse_enrolment(data)


def test_file_is_named(tmp_path: Path) -> None:
    """A missing or bad file is named in the message."""
    path = tmp_path / "enrolment.json"
    with pytest.raises(KeyFileError, match=r"enrolment\.json: No such file"):
        load_enrolment(path)
    path.write_text("{}")
    with pytest.raises(FormatError, match=r"enrolment\.json: enrolment:"):
        load_enrolment(path)
