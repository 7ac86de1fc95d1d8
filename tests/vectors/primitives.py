"""What libraries for CBOR, CDDL and COSE would be to a reader of docs/FORMAT.md: nothing of the format's messages.

Deterministic CBOR (RFC 8949, 4.2.1), strict; kinds of values, as in CDDL; keys, key ids, COSE_Sign1, COSE_Encrypt
with HPKE. Shares no code with plateseal. A check that does not hold raises `Refused` with its cause.
"""

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509.oid import NameOID

HYBRID = "HPKE-MLKEM768-X25519-KE"
EK_BYTES, PUBLIC_BYTES = {50: 32, 53: 65, HYBRID: 1120}, {50: 32, 53: 65, HYBRID: 1216}
P, Y_OF_ORDER_8 = 2**255 - 19, 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SUITES = {
    50: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
    53: Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
}


class Refused(Exception):  # noqa: N818  it is what a message is, not what went wrong
    """A message is not what the format says; its text is the cause, one word of README.md."""


def check(holds: object, cause: str) -> None:
    """Refuse unless the condition holds."""
    if not holds:
        raise Refused(cause)


@contextmanager
def refusing(cause: str) -> Iterator[None]:
    """Refuse what a library refuses."""
    try:
        yield
    except (InvalidSignature, InvalidTag, ValueError, LookupError, TypeError):
        raise Refused(cause) from None


def encode(v: Any) -> bytes:  # noqa: PLR0911  one return per type of CBOR
    """Encode a value deterministically. A tag is a pair: its number, and what it tags."""
    match v:
        case None | bool():
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[v]
        case int():
            return _head(0, v) if v >= 0 else _head(1, -1 - v)
        case bytes():
            return _head(2, len(v)) + v
        case str():
            return _head(3, len(v.encode())) + v.encode()
        case list():
            return _head(4, len(v)) + b"".join(map(encode, v))
        case dict():
            return _head(5, len(v)) + b"".join(sorted(encode(key) + encode(part) for key, part in v.items()))
        case _:
            return _head(6, v[0]) + encode(v[1])


def sequence(data: bytes) -> list[tuple[Any, bytes]]:
    """Decode a CBOR sequence to its values and their bytes; encoded again they must be the same bytes."""
    found, at = [], 0
    with refusing("encoding"):
        while at < len(data):
            start, (value, at) = at, _item(data, at)
            check(encode(value) == data[start:at], "encoding")
            found.append((value, data[start:at]))
    return found


def first(data: bytes) -> tuple[Any, bytes]:
    """Decode the first value, and return it with the bytes behind it."""
    with refusing("encoding"):
        value, end = _item(data, 0)
        check(encode(value) == data[:end], "encoding")
        return value, data[end:]


def decode(data: bytes) -> Any:
    """Decode exactly one value."""
    found = sequence(data)
    check(len(found) == 1, "encoding")
    return found[0][0]


def conform(v: Any, kind: Any) -> Any:  # noqa: PLR0911  one return per kind
    """Refuse a value of another kind. Return it, with the value beside each byte string that holds CBOR.

    A kind is, as in the CDDL, (type, least, most), {field: kind, "?": {optional field: kind}}, ["row", kind, ..],
    [tag, kind, ..], ["all", kind, least, most], ["one of", cause if none, choice, ..], ["cbor", kind of its value],
    ["by version", kind of version 1, kind of version 2], ["by field", field, {its value: kind}], ["by length", {length:
    kind}], ["or null", kind], and texts: ["match", pattern], ["line", most], ["base64", bytes], ["moment"].
    """
    match kind:
        case ["by version", *versions]:
            check(type(v) is dict, "value")
            version = v.get("v")
            check(type(version) is int and 0 < version <= len(versions), "version")
            return conform(v, versions[version - 1])
        case ["by field", name, choice]:
            check(type(v) is dict, "value")
            check(name in v, "field")
            check(type(v[name]) is str and v[name] in choice, "value")
            return conform(v, choice[v[name]])
        case ["by length", choice]:
            check(type(v) is list and len(v) in choice, "value")
            return conform(v, choice[len(v)])
        case ["or null", of]:
            return v if v is None else conform(v, of)
        case ["match" | "line" | "base64" | "moment" as text, *more]:
            check(type(v) is str, "value")
            return TEXTS[text](v, *more)
        case dict():
            kinds = {key: of for key, of in (kind | kind.get("?", {})).items() if key != "?"}
            check(type(v) is dict, "value")
            check("v" not in kind or (type(v.get("v")) is int and v["v"] == kind["v"][1]), "version")
            check(kind.keys() - {"?"} <= v.keys() <= kinds.keys(), "field")
            return {key: conform(part, kinds[key]) for key, part in v.items()}
        case ["one of", cause, *choices]:
            check((type(v), v) in [(type(choice), choice) for choice in choices], cause)
        case ["all", of, low, high]:
            check(type(v) is list and low <= len(v) <= high, "value")
            return [conform(part, of) for part in v]
        case ["cbor", of]:
            check(type(v) is bytes, "value")
            return conform(decode(v), of), v
        case ["row" | int() as tag, *kinds]:
            check(tag == "row" or (type(v) is tuple and v[0] == tag), "value")
            row = v if tag == "row" else v[1]
            check(type(row) is list and len(row) == len(kinds), "value")
            return [conform(part, of) for part, of in zip(row, kinds, strict=True)]
        case (of, low, high):
            check(type(v) is of and low <= (v if of is int else len(v)) <= high, "value")
    return v


def _match(text: str, pattern: str) -> str:
    check(re.fullmatch(pattern, text), "value")
    return text


def _line(text: str, most: int) -> str:
    check(len(text) <= most, "value")
    check(all(one == " " or unicodedata.category(one)[0] not in "CZ" for one in text), "value")
    return text


def unbase64(text: str, length: int, cause: str = "value") -> bytes:
    """Decode Base64 with padding, whose unused bits are zero, to so many bytes."""
    with refusing(cause):
        raw = base64.b64decode(text, validate=True)
    check(len(raw) == length and base64.b64encode(raw).decode() == text, cause)
    return raw


def _moment(text: str) -> str:
    with refusing("value"):
        at = datetime.fromisoformat(text)
        check(at.utcoffset() is not None and at.astimezone(UTC).isoformat(timespec="seconds") == text, "value")
    return text


TEXTS: dict[str, Any] = {"match": _match, "line": _line, "base64": unbase64, "moment": _moment}


def iso(milliseconds: int) -> str:
    """Return a time as an export's read.json has it."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_json(data: bytes) -> Any:
    """Decode JSON in UTF-8 that names nothing twice, and has no half characters."""
    with refusing("encoding"):
        value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_once)
        json.dumps(value, ensure_ascii=False).encode()
        return value


def _once(pairs: Any) -> Any:
    """Return an object's pairs as a dict; refuse a name that is there twice, and NaN."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError
    return dict(pairs)


def sha256(data: bytes) -> bytes:
    """Return the digest."""
    return hashlib.sha256(data).digest()


def cose_key(alg: Any, public: bytes) -> dict[Any, Any]:
    """Return the members of a COSE_Key that identify it. The algorithm -8 signs; 50, 53 and the hybrid receive."""
    if alg == 53:
        return {1: 2, -1: 1, -2: public[1:33], -3: public[33:]}
    return {1: 7, 3: HYBRID, -1: public} if alg == HYBRID else {1: 1, -1: 4 if alg == 50 else 6, -2: public}


def key_id(alg: Any, public: bytes) -> bytes:
    """Return the COSE Key Thumbprint."""
    return sha256(encode(cose_key(alg, public)))


def private_key(alg: Any, raw: bytes) -> tuple[Any, bytes]:
    """Return the private key of 32 bytes, and its public key."""
    if alg == 53:
        scalar = ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())
        return scalar, scalar.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if alg != HYBRID:
        key = Ed25519PrivateKey.from_private_bytes(raw) if alg == -8 else X25519PrivateKey.from_private_bytes(raw)
        return key, key.public_key().public_bytes_raw()
    seeds = hashlib.shake_256(raw).digest(96)
    lattice, curve = (
        mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds[:64]),
        X25519PrivateKey.from_private_bytes(seeds[64:]),
    )
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(lattice, curve), public


def check_public(alg: Any, public: bytes) -> None:
    """Refuse bytes that are no key of their kind, or one of small order, with which every exchange gives zero."""
    check(len(public) == PUBLIC_BYTES[alg], "value")
    with refusing("key"):
        if alg == 53:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        else:
            X25519PrivateKey.from_private_bytes(bytes(32)).exchange(X25519PublicKey.from_public_bytes(public[-32:]))
        if alg == HYBRID:
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:-32])


def check_signer(public: bytes) -> None:
    """Refuse an Ed25519 key of small order (1, 2, 4 or 8), under which anybody can sign."""
    y = int.from_bytes(public, "little") % 2**255 % P
    check(y not in (0, 1, P - 1, Y_OF_ORDER_8, P - Y_OF_ORDER_8), "key")


def check_signature(public: bytes, signature: bytes, signed: Any, cause: str) -> None:
    """Refuse a signature that does not hold, over bytes or over the encoding of an array."""
    with refusing(cause):
        message = signed if isinstance(signed, bytes) else encode(signed)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def check_request(der: bytes, name: str) -> bytes:
    """Check a certificate request (PKCS#10) for an ECDSA P-256 key and this name; return the key's point."""
    with refusing("request"):
        request = x509.load_der_x509_csr(der)
        key, signed = request.public_key(), request.is_signature_valid
        names = [(attribute.oid, attribute.value) for attribute in request.subject]
    check(isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1), "request")
    check(names == [(NameOID.COMMON_NAME, name)], "request")
    check(signed, "proof")
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_pem(data: bytes) -> bytes:
    """Return the Ed25519 key in a PEM file."""
    with refusing("encoding"):
        key = load_pem_public_key(data)
    check(isinstance(key, Ed25519PublicKey), "key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign1(data: bytes, most: int, keys: list[str], kinds: dict[str, Any], more: Any = None) -> tuple[Any, bytes, Any]:
    """Check a COSE_Sign1 by one of these keys (hex), whose content type is one of `kinds`.

    Returns:
        Its header, which may have `more` fields; the header's bytes; its payload, of the kind of its content type.
    """
    check(len(data) <= most, "size")
    fields = {1: ["one of", "algorithm", -8], 3: ["one of", "content-type", *kinds], 4: (bytes, 32, 32)} | (more or {})
    (header, protected), _, payload, signature = conform(
        decode(data), [18, ["cbor", fields], {}, (bytes, 0, most), (bytes, 64, 64)]
    )
    known = {key_id(-8, key): key for key in map(bytes.fromhex, keys)}
    check(header[4] in known, "signer")
    check_signature(known[header[4]], signature, ["Signature1", protected, b"", payload], "signature")
    return header, protected, conform(decode(payload), kinds[header[3]])


def commitment(content_key: bytes) -> bytes:
    """Return what the header of version 2 says of a content key."""
    return sha256(encode(["plateseal content key 2", content_key]))


def unseal(content: Any, holders: Any) -> bytes:
    """Return the content key of a COSE_Encrypt, with the private keys of `holders`."""
    (header, _), _, _, recipients = content
    pairs = [(key["alg"], *private_key(key["alg"], bytes.fromhex(key["private"]))) for key in holders]
    private = {(alg, key_id(alg, public)): key for alg, key, public in pairs}
    mine = [recipient for recipient in recipients if (recipient[0][0][1], recipient[0][0][4]) in private]
    check(mine, "recipient")
    (to, to_protected), ek, sealed = mine[0]
    info = encode(["HPKE Recipient", header[1], to_protected, b""])
    with refusing("sealed-key"):
        return SUITES[to[1]].decrypt(ek[-4] + sealed, private[to[1], to[4]], info=info)


def open_content(content: Any, outer: bytes, content_key: bytes, committed: bytes | None) -> bytes:
    """Open a COSE_Encrypt that is bound to an outer header; the key must be the one committed to, if any is."""
    (header, protected), unprotected, ciphertext, _ = content
    check(committed in (None, commitment(content_key)), "commitment")
    with refusing("ciphertext"):
        aead = AESGCM(content_key) if header[1] == 3 else ChaCha20Poly1305(content_key)
        return aead.decrypt(unprotected[5], ciphertext, encode(["Encrypt", protected, outer]))


def _head(major: int, n: int) -> bytes:
    width = 1 if n < 1 << 8 else 2 if n < 1 << 16 else 4 if n < 1 << 32 else 8
    return bytes([major << 5 | n]) if n < 24 else bytes([major << 5 | 23 + width.bit_length()]) + n.to_bytes(width)


def _item(data: bytes, at: int, depth: int = 0) -> tuple[Any, int]:
    """Decode the item at a byte, and say where it ends."""
    major, info = data[at] >> 5, data[at] & 31
    width = 1 << info - 24 if info >= 24 else 0
    n, at = int.from_bytes(data[at + 1 : at + 1 + width]) if width else info, at + 1 + width
    check(info < 28 and depth < 400 and (major != 6 or n in (16, 18, 96)), "encoding")
    if major < 2:
        return -1 - n if major else n, at
    if major < 4:
        return data[at : at + n] if major == 2 else data[at : at + n].decode(), at + n
    if major == 7:
        return {20: False, 21: True, 22: None}[n], at
    parts: list[Any] = []
    for _ in range({4: n, 5: 2 * n, 6: 1}[major]):
        part, at = _item(data, at, depth + 1)
        parts.append(part)
    return parts if major == 4 else (n, *parts) if major == 6 else dict(zip(parts[::2], parts[1::2], strict=True)), at
