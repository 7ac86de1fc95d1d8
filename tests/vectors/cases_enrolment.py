"""Vectors of the enrolment, and of the certificate request in it and in a rotation."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from agent.wire.cbor import encode
from tests.vectors.certificates import (
    ED25519_KEY,
    P384_KEY,
    UNIT,
    certificate,
    certificate_pem,
    pem,
    request,
    request_pem,
    subject,
    unsigned,
)
from tests.vectors.keys import DEVICE, OTHER_DEVICE, Signer
from tests.vectors.messages import NEW_KEY, TLS_KEY, Map, add_order, changed, flip, rotation, rotation_payload
from tests.vectors.vector import Vector, accepted, refused

CONTEXT: Final = "plateseal enrolment 2"
MAX_BYTES: Final = 16_384
SMALL_ORDER: Final = {
    "1": (1).to_bytes(32, "little"),
    "2": (2**255 - 20).to_bytes(32, "little"),
    "4": bytes(32),
    "8": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "1-not-canonical": (2**255 - 18).to_bytes(32, "little"),
    "1-signed": (1 + 2**255).to_bytes(32, "little"),
}
"""Keys of small order, by their order; the last two are other encodings of the first."""


_TLS_POINT: Final = TLS_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _rights()
    yield from _documents()
    yield from _fields()
    yield from _keys()
    yield from _proofs()
    yield from _requests()
    yield from _rotations()


def text_of(value: Any) -> bytes:
    """Return JSON as plateseal writes it."""
    return json.dumps(value, indent=1).encode() + b"\n"


def base64_of(data: bytes) -> str:
    """Return Base64."""
    return base64.b64encode(data).decode()


def proven(csr: bytes, device: str = UNIT, kid: bytes = DEVICE.kid, context: str = CONTEXT) -> bytes:
    """Return what the proof of version 2 signs."""
    return encode([context, kid, device, csr])


def enrolment(
    *, version: int = 2, csr: bytes | None = None, device: str = UNIT, signer: Signer = DEVICE, **changes: Any
) -> Map:
    """Return a request; where there are no changes, a right one."""
    der = request(subject(device)) if csr is None else csr
    signed = der if version == 1 else proven(der, device, signer.kid)
    return {
        "v": version,
        "device": device,
        "key_id": signer.kid.hex(),
        "public_key": base64_of(signer.public),
        "csr": request_pem(der),
        "proof": base64_of(signer.key.sign(signed)),
    } | changes


def _rights() -> Iterator[Vector]:
    right, der = enrolment(), request()

    def made(name: str, why: str, value: Map, data: bytes | None = None, signed: bytes = proven(der)) -> Vector:
        says = {"device": value["device"], "key_id": DEVICE.kid, "public_key": DEVICE.public, "tls_key": _TLS_POINT}
        vector = accepted("enrolment", name, why, data or text_of(value), says)
        return vector.with_steps({"csr": _der_of(value), "signed": signed})

    yield made("2-right", "Both keys have proven themselves.", right)
    old = enrolment(version=1)
    yield made("right", "Version 1: the proof is over the certificate request alone.", old, signed=der)
    name = "a" * 64
    signed = proven(request(subject(name)), name)
    yield made("2-right-long-name", "A name of 64 characters.", enrolment(device=name), signed=signed)
    name = "0._-z"
    signed = proven(request(subject(name)), name)
    yield made("2-right-other-letters", "Every kind of letter in the name.", enrolment(device=name), signed=signed)
    reverse = dict(reversed(list(right.items())))
    yield made("2-right-other-order", "The fields stand in another order.", right, text_of(reverse))
    yield made(
        "2-right-one-line", "No space and no line feed.", right, json.dumps(right, separators=(",", ":")).encode()
    )
    escaped = text_of(right).replace(b'"north-gate"', b'"\\u006eorth\\u002dgate"')
    yield made("2-right-escaped", "Letters of the name are escaped.", right, escaped)
    longest = text_of(right).ljust(MAX_BYTES, b" ")
    yield made("2-right-longest", "Spaces follow, up to 16,384 bytes.", right, longest)


def _der_of(value: Map) -> bytes:
    return base64.b64decode("".join(value["csr"].splitlines()[1:-1]))


def _fault(name: str, why: str, value: Map | bytes, cause: str) -> Vector:
    data = value if isinstance(value, bytes) else text_of(value)
    return refused("enrolment", f"2-{name}", why, data, cause)


def _documents() -> Iterator[Vector]:
    right = text_of(enrolment())
    yield _fault("truncated", "The closing brace is missing.", right.rstrip()[:-1], "encoding")
    yield _fault("empty", "Nothing.", b"", "encoding")
    yield _fault("trailing-text", "A second document follows.", right + b"{}", "encoding")
    yield _fault("byte-order-mark", "A byte order mark stands before it.", b"\xef\xbb\xbf" + right, "encoding")
    yield _fault("utf-16", "It is UTF-16.", right.decode().encode("utf-16-le"), "encoding")
    latin = right.replace(b"north", b"n\xf6rth")
    yield _fault("latin-1", "A letter is Latin-1.", latin, "encoding")
    half = right.replace(b"north", b"\\ud83d")
    yield _fault("half-a-character", "Half of a surrogate pair is escaped.", half, "encoding")
    twice = right.replace(b'"device"', b'"device": "south-gate",\n "device"')
    yield _fault("repeated-name", "The name is there twice.", twice, "encoding")
    same = right.replace(b'"v"', b'"v": 2,\n "\\u0076"')
    yield _fault("repeated-name-escaped", "The version is there twice, once escaped.", same, "encoding")
    comma = right.replace(b'"\n}', b'",\n}')
    yield _fault("trailing-comma", "A comma stands before the closing brace.", comma, "encoding")
    yield _fault("comment", "A comment stands in it.", right.replace(b"{", b"{ // a unit", 1), "encoding")
    yield _fault("single-quotes", "Texts stand in single quotes.", right.replace(b'"', b"'"), "encoding")
    yield _fault("raw-tab", "A text has a tab that is not escaped.", right.replace(b"north", b"no\trth"), "encoding")
    yield _fault("array", "An array of one request.", b"[" + right + b"]", "value")
    yield _fault("too-long", "Spaces follow, up to 16,385 bytes.", right.ljust(MAX_BYTES + 1, b" "), "size")


def _fields() -> Iterator[Vector]:
    right = enrolment()
    for field in right:
        cause = "version" if field == "v" else "field"
        yield _fault(f"without-{field.replace('_', '-')}", f"{field} is missing.", changed(right, field), cause)
    yield _fault("unknown-field", "A field too many.", right | {"x": 0}, "field")
    for name, version in (("0", 0), ("3", 3), ("true", True), ("null", None), ("text", "2")):
        yield _fault(f"version-{name}", f"The version is {json.dumps(version)}.", right | {"v": version}, "version")
    point = text_of(right).replace(b'"v": 2', b'"v": 2.0')
    yield _fault("version-2.0", "The version has a decimal point.", point, "version")
    for name, why, device in (
        ("empty-name", "The name is empty.", ""),
        ("long-name", "The name has 65 characters.", "n" * 65),
        ("capital-name", "The name has a capital letter.", "North-gate"),
        ("name-begins-with-dash", "The name begins with a dash.", "-gate"),
        ("name-begins-with-dot", "The name begins with a dot.", ".gate"),
        ("name-with-slash", "The name has a slash.", "north/gate"),
        ("name-with-space", "The name has a space.", "north gate"),
        ("name-with-line-feed", "A line feed ends the name.", "north-gate\n"),
        ("name-with-umlaut", "The name has a letter beyond ASCII.", "nörd-gate"),
    ):
        yield _fault(name, why, enrolment(device=device), "value")
    yield _fault("name-null", "The name is null.", right | {"device": None}, "value")
    yield _fault("name-number", "The name is a number.", right | {"device": 7}, "value")


def _keys() -> Iterator[Vector]:
    right = enrolment()
    public, kid = right["public_key"], right["key_id"]
    yield _fault("key-id-of-another-key", "The key id is another key's.", right | {"key_id": "00" * 32}, "key-id")
    yield _fault("key-id-in-capitals", "The key id is in capitals.", right | {"key_id": kid.upper()}, "key-id")
    yield _fault("short-key-id", "The key id has 31 bytes.", right | {"key_id": kid[:62]}, "key-id")
    yield _fault("key-id-null", "The key id is null.", right | {"key_id": None}, "value")
    for name, why, text in (
        ("short-key", "The key has 31 bytes.", base64_of(DEVICE.public[:31])),
        ("long-key", "The key has 33 bytes.", base64_of(DEVICE.public + b"\0")),
        ("key-in-hex", "The key is in hex.", DEVICE.public.hex()),
        ("key-without-padding", "The padding is missing.", public.rstrip("=")),
        ("key-with-more-padding", "There is more padding than needed.", public + "="),
        ("key-with-line-feed", "A line feed stands in the key.", public[:20] + "\n" + public[20:]),
        ("key-in-other-base64", "The alphabet is that of URLs.", base64.urlsafe_b64encode(b"\xff" * 32).decode()),
        ("key-with-unused-bits", "A bit that Base64 leaves unused is set.", next_letter(public)),
        ("key-empty", "The key is empty.", ""),
        ("key-null", "The key is null.", None),
    ):
        yield _fault(name, why, right | {"public_key": text}, "value")
    for order, raw in SMALL_ORDER.items():
        signer = _Small(raw)
        why = f"The key is a point of order {order[0]}, under which anybody can make a proof."
        value = enrolment(signer=DEVICE, public_key=base64_of(raw), key_id=signer.kid.hex())
        yield _fault(f"small-order-{order}", why, value | {"proof": base64_of(b"\x01" + bytes(63))}, "key")


class _Small(Signer):
    """A public key that nobody needs a private key for."""

    def __init__(self, raw: bytes) -> None:
        self.public = raw
        self.kid = kid_of(raw)


def kid_of(public: bytes) -> bytes:
    """Return the key id of any 32 bytes."""
    return hashlib.sha256(encode({1: 1, -1: 6, -2: public})).digest()


def next_letter(text: str) -> str:
    """Return Base64 of the same bytes whose last letter before the padding is the next one of the alphabet."""
    body = text.rstrip("=")
    return body[:-1] + chr(ord(body[-1]) + 1) + "=" * (len(text) - len(body))


def _proofs() -> Iterator[Vector]:
    right, der = enrolment(), request()
    proof = base64.b64decode(right["proof"])

    def fault(name: str, why: str, signature: bytes, cause: str = "proof") -> Vector:
        return _fault(name, why, right | {"proof": base64_of(signature)}, cause)

    yield fault("altered-proof", "One bit of the proof is flipped.", flip(proof, 0))
    parts: list[Any] = [b"", {}, b"", proof]
    add_order(parts)
    yield fault("proof-plus-order", "S of the proof is S + L.", parts[3])
    yield fault("proof-by-another-key", "Another key made the proof.", OTHER_DEVICE.key.sign(proven(der)))
    yield fault("proof-of-version-1", "The proof is over the certificate request alone.", DEVICE.key.sign(der))
    other = proven(der, context="plateseal rotation 1")
    yield fault("proof-for-a-rotation", "The context is that of a rotation.", DEVICE.key.sign(other))
    other = proven(der, context="plateseal enrolment 1")
    yield fault("proof-of-another-context", "The context is another one.", DEVICE.key.sign(other))
    yield fault("proof-for-another-name", "It is for another name.", DEVICE.key.sign(proven(der, "south-gate")))
    other = proven(der, kid=OTHER_DEVICE.kid)
    yield fault("proof-for-another-key-id", "It names another key.", DEVICE.key.sign(other))
    other = proven(request(key=P384_KEY))
    yield fault("proof-for-another-request", "It is for another certificate request.", DEVICE.key.sign(other))
    yield fault("short-proof", "The proof has 63 bytes.", proof[:63], "value")
    yield fault("long-proof", "The proof has 65 bytes.", proof + b"\0", "value")
    why = "A bit that Base64 leaves unused is set."
    yield _fault("proof-with-unused-bits", why, right | {"proof": next_letter(right["proof"])}, "value")
    new = enrolment(version=1, proof=right["proof"])
    yield refused("enrolment", "proof-of-version-2", "Version 1 with the proof of version 2.", text_of(new), "proof")


def _bad_requests() -> Iterator[tuple[str, str, bytes, str]]:
    """Yield what can be wrong with a certificate request that stands in a message."""
    yield "request-for-p384", "The TLS key is one of P-384.", request(key=P384_KEY), "request"
    yield "request-for-ed25519", "The TLS key is one of Ed25519.", request(key=ED25519_KEY), "request"
    yield "request-for-another-name", "Its subject is CN=south-gate.", request(subject("south-gate")), "request"
    yield "request-without-name", "Its subject is empty.", request(()), "request"
    yield "request-with-two-names", "It has two common names.", request(subject(UNIT, UNIT)), "request"
    more = (*subject(UNIT), (NameOID.ORGANIZATION_NAME, "the agency"))
    yield "request-with-organisation", "Its subject has an organisation too.", request(more), "request"
    organisation = ((NameOID.ORGANIZATION_NAME, UNIT),)
    yield "request-with-other-attribute", "The name is an organisation's.", request(organisation), "request"
    yield "request-not-signed", "Its own signature does not hold.", unsigned(request()), "proof"
    yield "certificate-as-request", "It is a certificate.", certificate(), "request"
    yield "request-truncated", "The last byte of the request is missing.", request()[:-1], "request"
    yield "request-trailing-byte", "A zero byte follows the request.", request() + b"\0", "request"


def _requests() -> Iterator[Vector]:
    for name, why, der, cause in _bad_requests():
        yield _fault(name, why, enrolment(csr=der), cause)
    right, der = enrolment(), request()
    for name, why, text in (
        ("request-as-certificate-pem", "The label is that of a certificate.", certificate_pem(der)),
        ("request-in-base64", "It is Base64 without the lines around it.", base64_of(der)),
        ("request-empty", "It is empty.", ""),
        ("request-with-umlaut", "A letter beyond ASCII stands behind it.", right["csr"] + "ö"),
        ("request-without-end", "The last line is missing.", right["csr"].rsplit("-----END")[0]),
        ("request-private-key", "The label is that of a key.", pem(der, "PRIVATE KEY")),
    ):
        yield _fault(name, why, right | {"csr": text}, "request")
    yield _fault("request-null", "It is null.", right | {"csr": None}, "value")


def _rotation_proofs(context: Map) -> Iterator[Vector]:
    right = rotation_payload()
    csr = right["csr"]
    parts = [DEVICE.kid, UNIT, NEW_KEY.public, csr]
    for name, why, signed in (
        ("proof-without-context", "The proof is over the rest, without its context.", parts),
        ("proof-of-an-enrolment", "The context is that of an enrolment.", [CONTEXT, *parts]),
        ("proof-of-another-version", "The context is another version's.", ["plateseal rotation 2", *parts]),
        (
            "proof-for-another-old-key",
            "The proof names another old key.",
            ["plateseal rotation 1", OTHER_DEVICE.kid, *parts[1:]],
        ),
        ("proof-for-another-request", "It is for another request.", ["plateseal rotation 1", *parts[:3], csr[:-1]]),
    ):
        proof = NEW_KEY.key.sign(encode(signed))
        yield refused("rotation", name, why, rotation(right | {"proof": proof}), "proof", **context)


def _rotations() -> Iterator[Vector]:
    context = {"enrolled": [{"name": UNIT, "key": DEVICE.public.hex()}]}
    for name, why, der, cause in _bad_requests():
        yield refused("rotation", name, why, rotation(rotation_payload(csr=der)), cause, **context)
    yield from _rotation_proofs(context)
    name = "North"
    bad = rotation_payload(device=name, csr=request(subject(name)))
    named = {"enrolled": [{"name": name, "key": DEVICE.public.hex()}]}
    yield refused("rotation", "capital-name", "The name has a capital letter.", rotation(bad), "value", **named)
    for name, why, ended in (
        ("revoked-key", "The old key was revoked.", "revoked"),
        ("followed-key", "Another key has followed the old one: a second statement.", OTHER_DEVICE.kid.hex()),
    ):
        units = {"enrolled": [{"name": UNIT, "key": DEVICE.public.hex(), "ended": ended}]}
        yield refused("rotation", name, why, rotation(), "ended", **units)
    new = rotation_payload()["key"]
    again = {"enrolled": [{"name": UNIT, "key": DEVICE.public.hex(), "ended": kid_of(new).hex()}]}
    why = "The same statement again: the new key has followed the old one already."
    yield accepted("rotation", "right-again", why, rotation(), rotation_payload(), **again)
    for name, why, unit, cause in (
        ("new-key-of-another", "The new key is another unit's.", {"name": "south-gate"}, "mismatch"),
        ("new-key-followed", "Another key has followed the new one.", {"ended": OTHER_DEVICE.kid.hex()}, "ended"),
    ):
        units = {"enrolled": [*context["enrolled"], {"name": UNIT, "key": new.hex()} | unit]}
        yield refused("rotation", name, why, rotation(), cause, **units)
