"""Vectors of the configuration bundle: TOML below a minisign signature."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.vectors.certificates import UNIT
from tests.vectors.keys import OTHER_OWNER, OWNER, Signer
from tests.vectors.messages import MAX_SEQ, Map, add_order, flip
from tests.vectors.vector import Vector, accepted, refused

MAX_BYTES: Final = 262_144
UNTRUSTED: Final = "plateseal configuration, signature of the owner's key"
TRUSTED: Final = f"plateseal configuration of {UNIT}, serial 5"
TABLE: Final[Map] = {
    "camera_id": UNIT,
    "state_dir": "/var/lib/plateseal",
    "seal": {"crop": False, "recipients": ["agency", "auditor"]},
    "upload": {"url": "https://receiver.example:8443/v1/envelopes", "batch_envelopes": 64},
}
TOML: Final = f"""\
camera_id = "{UNIT}"
state_dir = "/var/lib/plateseal"

[seal]
crop = false
recipients = ["agency", "auditor"]

[upload]
url = "https://receiver.example:8443/v1/envelopes"
batch_envelopes = 64
"""
_CONTEXT: Final[Map] = {"owner": OWNER.public.hex(), "camera": UNIT, "newest": 4}


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _rights()
    yield from _lines()
    yield from _signatures()
    yield from _contents()


def toml(signed: str = f'camera = "{UNIT}"\nserial = 5\n', rest: str = TOML) -> bytes:
    """Return a bundle's TOML."""
    return f"{rest}\n[signed]\n{signed}".encode()


def prehash(content: bytes) -> bytes:
    """Return what minisign signs of a content."""
    return hashlib.blake2b(content).digest()


def bundle(
    content: bytes | None = None,
    signer: Signer = OWNER,
    *,
    kind: bytes = b"ED",
    key_id: bytes | None = None,
    untrusted: str = UNTRUSTED,
    trusted: str = TRUSTED,
    signature: bytes | None = None,
    over_all: bytes | None = None,
    lines: Callable[[list[bytes]], Any] = list,
) -> bytes:
    """Return a bundle.

    Args:
        content: The TOML.
        signer: Who signs.
        kind: Two letters of the algorithm.
        key_id: 8 bytes, where they are not the signer's.
        untrusted: The first comment.
        trusted: The second one.
        signature: The first signature, where it is another one.
        over_all: The second one, likewise.
        lines: May change the four lines.
    """
    inside = toml() if content is None else content
    first = signer.key.sign(prehash(inside)) if signature is None else signature
    second = signer.key.sign(first + trusted.encode()) if over_all is None else over_all
    four = [
        f"untrusted comment: {untrusted}".encode(),
        base64.b64encode(kind + (signer.kid[:8] if key_id is None else key_id) + first),
        f"trusted comment: {trusted}".encode(),
        base64.b64encode(second),
    ]
    lines(four)
    return b"\n".join([*four, inside])


def _rights() -> Iterator[Vector]:
    def right(
        name: str,
        why: str,
        content: bytes,
        *,
        serial: int = 5,
        table: Map = TABLE,
        camera: str = UNIT,
        **options: Any,
    ) -> Vector:
        values = {"camera": camera, "serial": serial, "table": table}
        context = _CONTEXT | {"newest": serial - 1, "camera": camera}
        vector = accepted("bundle", f"right{name}", why, bundle(content, **options), values, **context)
        first = OWNER.key.sign(prehash(content))
        trusted = options.get("trusted", TRUSTED).encode()
        return vector.with_steps({"signed": prehash(content), "signature": first, "signed_over_all": first + trusted})

    yield right("", "The owner's configuration for this unit, with the next serial.", toml())
    yield right("-first", "The lowest serial.", toml(f'camera = "{UNIT}"\nserial = 1\n'), serial=1)
    highest = toml(f'camera = "{UNIT}"\nserial = {MAX_SEQ}\n')
    yield right("-highest", "The highest serial.", highest, serial=MAX_SEQ)
    why = "The comments are for people: the trusted one need not name the serial."
    yield right("-other-comments", why, toml(), untrusted="é", trusted="für das Nordtor")
    yield right("-empty-comments", "Comments may be empty.", toml(), untrusted="", trusted="")
    yield right("-no-line-feed", "No line feed ends the TOML.", toml().rstrip())
    yield right("-bare", "Nothing but the table of what was signed.", toml(rest=""), table={})
    long = "n" * 64
    yield right("-long-name", "A name of 64 characters.", toml(f'camera = "{long}"\nserial = 5\n'), camera=long)
    longest = toml() + b"#" * (MAX_BYTES - len(bundle()))
    yield right("-longest", "262,144 bytes, as long as a bundle may be.", longest)


def _fault(name: str, why: str, data: bytes, cause: str, **context: Any) -> Vector:
    return refused("bundle", name, why, data, cause, **(_CONTEXT | context))


def _lines() -> Iterator[Vector]:
    right = bundle()
    four, content = right.split(b"\n")[:4], toml()

    def line(name: str, why: str, number: int, text: bytes, cause: str = "encoding") -> Vector:
        return _fault(name, why, bundle(lines=lambda lines: lines.__setitem__(number, text)), cause)

    yield _fault("too-long", "One byte more than a bundle may have.", right.ljust(MAX_BYTES + 1, b"#"), "size")
    yield _fault("empty", "Nothing.", b"", "encoding")
    yield _fault("toml-alone", "There is no signature.", content, "encoding")
    yield _fault("signature-alone", "The file ends within the fourth line.", b"\n".join(four), "encoding")
    yield _fault("leading-line-feed", "An empty line stands before it.", b"\n" + right, "encoding")
    crlf = b"\r\n".join(four) + b"\r\n" + content
    yield _fault("carriage-returns", "The four lines end with CR LF.", crlf, "encoding")
    yield line("no-untrusted-comment", "The first line is no comment.", 0, b"plateseal configuration")
    yield line("comment-in-latin-1", "The first comment is Latin-1.", 0, b"untrusted comment: f\xfcr")
    yield line("no-trusted-comment", "The third line is no comment.", 2, b"plateseal configuration")
    yield line("two-untrusted-comments", "The third line is an untrusted comment.", 2, four[0])
    yield line("signature-no-base64", "The signature is in hex.", 1, base64.b64decode(four[1]).hex().encode())
    short = base64.b64encode(base64.b64decode(four[1])[:-1])
    yield line("short-signature", "The second line has 73 bytes.", 1, short)
    yield line("no-padding", "The fourth line's padding is missing.", 3, four[3].rstrip(b"="))
    body = four[3].rstrip(b"=")
    loose = body[:-1] + bytes([body[-1] + 1]) + b"=="
    yield line("unused-bits", "A bit that Base64 leaves unused is set in the fourth line.", 3, loose)
    yield line("space-behind", "A space ends the second line.", 1, four[1] + b" ")
    plain = OWNER.key.sign(content)
    old = bundle(kind=b"Ed", signature=plain, over_all=OWNER.key.sign(plain + TRUSTED.encode()))
    yield _fault("old-kind", "A signature of the old kind, Ed, over the content itself.", old, "algorithm")
    yield _fault("unknown-kind", "The algorithm is EX.", bundle(kind=b"EX"), "algorithm")


def _signatures() -> Iterator[Vector]:
    content = toml()
    first = OWNER.key.sign(prehash(content))
    second = OWNER.key.sign(first + TRUSTED.encode())

    def fault(name: str, why: str, cause: str = "signature", **options: Any) -> Vector:
        return _fault(name, why, bundle(**options), cause)

    yield fault("wrong-signer", "Another owner has signed it, and it says so.", "signer", signer=OTHER_OWNER)
    other = flip(OWNER.kid[:8], 0)
    yield fault("another-key-id", "The signature names another key.", "signer", key_id=other)
    yield fault(
        "signed-by-another", "Another owner has signed under this one's id.", signer=OTHER_OWNER, key_id=OWNER.kid[:8]
    )
    altered = flip(first, 0)
    yield fault("altered-signature", "One bit of the signature is flipped.", signature=altered)
    parts = [b"", {}, b"", first]
    add_order(parts)
    yield fault("signature-plus-order", "S of the signature is S + L.", signature=parts[3])
    yield fault("altered-second-signature", "One bit of the second signature is flipped.", over_all=flip(second, 0))
    by_other = OTHER_OWNER.key.sign(first + TRUSTED.encode())
    yield fault("second-signed-by-another", "Another owner has made the second signature.", over_all=by_other)
    yield fault(
        "altered-comment", "The trusted comment names another serial.", trusted=TRUSTED[:-1] + "6", over_all=second
    )
    line = OWNER.key.sign(first + b"trusted comment: " + TRUSTED.encode())
    yield fault("second-over-the-line", "The second signature is over the whole third line.", over_all=line)
    plain = OWNER.key.sign(content)
    yield fault("not-prehashed", "The signature is over the content itself.", signature=plain)
    short = OWNER.key.sign(hashlib.blake2b(content, digest_size=32).digest())
    yield fault("short-prehash", "The signature is over a digest of 32 bytes.", signature=short)
    again = OWNER.key.sign(prehash(b"\n" + content))
    yield fault("line-feed-signed", "The signature is over the line feed before the TOML too.", signature=again)
    yield _fault("altered-content", "The TOML was changed.", bundle().replace(b"= 64", b"= 65"), "signature")
    yield _fault(
        "other-serial", "The serial was changed.", bundle().replace(b"serial = 5\n", b"serial = 6\n"), "signature"
    )
    yield _fault("content-added", "A comment was added.", bundle() + b"#\n", "signature")


def _contents() -> Iterator[Vector]:
    def fault(name: str, why: str, content: bytes, cause: str, **context: Any) -> Vector:
        return _fault(name, why, bundle(content), cause, **context)

    def signed(name: str, why: str, table: str, cause: str = "value") -> Vector:
        return fault(name, why, toml(table), cause)

    camera = f'camera = "{UNIT}"\n'
    yield fault(
        "latin-1", "The TOML is Latin-1.", toml(rest='site = "S\xfcd"\n').decode().encode("latin-1"), "encoding"
    )
    yield fault("not-toml", "JSON stands where TOML must.", b'{"signed": {}}', "encoding")
    yield fault("field-twice", "A field is there twice.", toml(camera + "serial = 5\nserial = 6\n"), "encoding")
    yield fault("nothing-signed", "There is no table of what was signed.", TOML.encode(), "field")
    yield fault("signed-as-text", "What was signed is a text.", b'signed = "north-gate 5"\n', "field")
    yield fault(
        "signed-as-array", "What was signed is an array.", b"[[signed]]\n" + camera.encode() + b"serial = 5\n", "field"
    )
    yield signed("no-camera", "The unit is missing.", "serial = 5\n", "field")
    yield signed("no-serial", "The serial is missing.", camera, "field")
    yield signed("unknown-field", "The table has a field too many.", camera + "serial = 5\nx = 0\n", "field")
    yield signed("serial-0", "The serial is 0.", camera + "serial = 0\n")
    yield signed("negative-serial", "The serial is -1.", camera + "serial = -1\n")
    yield signed("serial-too-high", "The serial is 2^53.", camera + f"serial = {MAX_SEQ + 1}\n")
    yield signed("serial-as-text", "The serial is a text.", camera + 'serial = "5"\n')
    yield signed("serial-5.0", "The serial is a float.", camera + "serial = 5.0\n")
    yield signed("serial-true", "The serial is true.", camera + "serial = true\n")
    yield signed("camera-as-number", "The unit is a number.", "camera = 7\nserial = 5\n")
    yield signed("long-camera", "The unit's name has 65 characters.", f'camera = "{"n" * 65}"\nserial = 5\n')
    yield fault("another-unit", "It is for another unit.", toml(), "mismatch", camera="south-gate")
    yield fault("replayed", "The unit has used this serial before.", toml(), "rollback", newest=5)
    yield fault("older", "The unit has used a higher serial before.", toml(), "rollback", newest=6)
