"""Vectors of the device record: JSON that the receiver signs, with a history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from agent.wire.cbor import encode
from tests.vectors.cases_enrolment import base64_of, next_letter, text_of
from tests.vectors.certificates import UNIT
from tests.vectors.keys import DEVICE, OTHER_DEVICE, OTHER_RECEIVER, OWNER, RECEIVER, Signer, seed
from tests.vectors.messages import MAX_SEQ, Map, add_order, changed, flip
from tests.vectors.vector import Vector, accepted, refused

CONTEXT: Final = "plateseal device record 2"
MAX_BYTES: Final = 262_144
CAR: Final = "\U0001f697"
FIRST: Final = "2026-03-01T12:00:00+00:00"
LATER: Final = "2026-04-01T12:00:00+00:00"
ENROLLED: Final[Map] = {"event": "enrolled", "at": FIRST, "log": 0}
RENEWED: Final[Map] = {"event": "renewed", "at": LATER, "log": 90}
ROTATED: Final[Map] = {
    "event": "rotated",
    "at": LATER,
    "log": 120,
    "to": OTHER_DEVICE.kid.hex(),
    "certificates_until": "2026-04-08T12:00:00+00:00",
}
REVOKED: Final[Map] = {"event": "revoked", "at": LATER, "log": 130, "after": 100, "reason": "stolen"}
CERTIFICATES: Final = [seed("newest certificate").hex(), seed("certificate before").hex()]
OLD: Final[Map] = {
    "v": 1,
    "name": UNIT,
    "key_id": DEVICE.kid.hex(),
    "public_key": base64_of(DEVICE.public),
    "certificate_sha256": CERTIFICATES,
    "enrolled_at": FIRST,
}
_FOLLOWED: Final = {"rotated_to": OTHER_DEVICE.kid.hex(), "certificates_until": LATER}
_CONTEXT: Final[Map] = {"kid": DEVICE.kid.hex(), "receivers": [RECEIVER.public.hex()]}


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _rights()
    yield from _old_rights()
    yield from _documents()
    yield from _fields()
    yield from _events()
    yield from _signatures()
    yield from _old_faults()


def record(*events: Map, signer: Signer = RECEIVER, **changes: Any) -> Map:
    """Return a record without its signature."""
    return {
        "v": 2,
        "name": UNIT,
        "key_id": DEVICE.kid.hex(),
        "public_key": base64_of(DEVICE.public),
        "certificate_sha256": CERTIFICATES,
        "history": list(events or [ENROLLED]),
        "receiver": signer.kid.hex(),
    } | changes


def signed(value: Map) -> bytes:
    """Return what is signed."""
    return encode([CONTEXT, value])


def whole(value: Map, *, signer: Signer = RECEIVER, over: bytes | None = None) -> Map:
    """Return a record with its signature."""
    return value | {"signature": base64_of(signer.key.sign(signed(value) if over is None else over))}


def _says(value: Map, *, after: int | None = None, to: str | None = None, until: str | None = None) -> Map:
    """Return what a reader takes from a record."""
    fields = ("name", "key_id", "public_key", "certificate_sha256")
    history = value.get("history") or [{"event": "enrolled", "at": value["enrolled_at"], "log": None}]
    if "rotated_to" in value:
        history = [*history, {"event": "rotated", "at": None, "log": None, "to": to, "certificates_until": until}]
    return {
        **{name: value[name] for name in fields},
        "history": history,
        "after": after,
        "followed_by": to,
        "certificates_until": until,
    }


def _rights() -> Iterator[Vector]:
    def right(name: str, why: str, *events: Map, **says: Any) -> Vector:
        value = record(*events)
        vector = accepted(
            "device-record", f"2-right{name}", why, text_of(whole(value)), _says(value, **says), **_CONTEXT
        )
        return vector.with_steps({"signed": signed(value)})

    rotated = {"to": ROTATED["to"], "until": ROTATED["certificates_until"]}
    yield right("", "A key that was enrolled.")
    yield right("-renewed", "Its certificate was renewed.", ENROLLED, RENEWED)
    yield right("-rotated", "Another key has followed it.", ENROLLED, ROTATED, **rotated)
    yield right("-revoked", "It was revoked.", ENROLLED, REVOKED, after=100)
    yield right("-everything", "Every event there is.", ENROLLED, RENEWED, ROTATED, REVOKED, after=100, **rotated)
    earlier = REVOKED | {"after": 60, "log": 140}
    yield right("-second-end-earlier", "Of two ends the lower one counts.", ENROLLED, REVOKED, earlier, after=60)
    yield right(
        "-second-end-later", "Of two ends the lower one counts, here the first.", ENROLLED, earlier, REVOKED, after=60
    )
    second = ROTATED | {"to": OWNER.kid.hex(), "certificates_until": FIRST}
    yield right(
        "-rotated-twice", "Of two keys that follow, the first one counts.", ENROLLED, ROTATED, second, **rotated
    )
    yield right("-order", "A reader does not compare the events' times and places.", RENEWED, ENROLLED)
    unknown = {"at": None, "log": None}
    why = "Made from a record of version 1, which did not say when."
    yield right("-not-known", why, ENROLLED | unknown, ROTATED | unknown, REVOKED | unknown, after=100, **rotated)
    edges = REVOKED | {"log": MAX_SEQ, "after": 0, "reason": CAR * 200, "at": "9999-12-31T23:59:59+00:00"}
    yield right(
        "-edges", "The longest reason, with characters of four bytes, and the last second.", ENROLLED, edges, after=0
    )
    yield right("-64-events", "As many events as there may be.", ENROLLED, *[RENEWED] * 63)
    value = record(certificate_sha256=CERTIFICATES[:1])
    one = accepted(
        "device-record", "2-right-one-certificate", "One certificate.", text_of(whole(value)), _says(value), **_CONTEXT
    )
    yield one.with_steps({"signed": signed(value)})
    value = record(signer=OTHER_RECEIVER)
    before = _CONTEXT | {"receivers": [RECEIVER.public.hex(), OTHER_RECEIVER.public.hex()]}
    data = text_of(whole(value, signer=OTHER_RECEIVER))
    why = "The receipt key before the one in use has signed it."
    yield accepted("device-record", "2-right-earlier-receipt-key", why, data, _says(value), **before).with_steps(
        {"signed": signed(value)}
    )
    value = record(ENROLLED, REVOKED | {"reason": "verloren, mit Umlaut: ö " + CAR})
    plain = json.dumps(dict(reversed(list(whole(value).items()))), ensure_ascii=False).encode()
    why = "Another order of the fields, other spaces, and letters that are not escaped: the signed bytes are the same."
    yield accepted("device-record", "2-right-other-form", why, plain, _says(value, after=100), **_CONTEXT).with_steps(
        {"signed": signed(value)}
    )
    value = record()
    longest = text_of(whole(value)).ljust(MAX_BYTES, b" ")
    why = "Spaces follow, up to 262,144 bytes."
    yield accepted("device-record", "2-right-longest", why, longest, _says(value), **_CONTEXT).with_steps(
        {"signed": signed(value)}
    )


def _old_rights() -> Iterator[Vector]:
    nobody = _CONTEXT | {"receivers": []}
    why = "Version 1 has no signature, and so no receipt key is needed."
    yield accepted("device-record", "right", why, text_of(OLD), _says(OLD), **nobody)
    value = OLD | _FOLLOWED
    says = _says(value, to=_FOLLOWED["rotated_to"], until=LATER)
    yield accepted("device-record", "right-rotated", "Another key has followed it.", text_of(value), says, **_CONTEXT)
    longest = text_of(OLD).ljust(MAX_BYTES, b" ")
    yield accepted(
        "device-record", "right-longest", "Spaces follow, up to 262,144 bytes.", longest, _says(OLD), **nobody
    )


def _fault(name: str, why: str, value: Map | bytes, cause: str, **context: Any) -> Vector:
    data = value if isinstance(value, bytes) else text_of(value)
    return refused("device-record", name, why, data, cause, **(_CONTEXT | context))


def _documents() -> Iterator[Vector]:
    right = text_of(whole(record()))
    yield _fault("2-truncated", "The closing brace is missing.", right.rstrip()[:-1], "encoding")
    yield _fault("2-empty", "Nothing.", b"", "encoding")
    yield _fault("2-trailing-text", "A second document follows.", right + b"{}", "encoding")
    yield _fault("2-byte-order-mark", "A byte order mark stands before it.", b"\xef\xbb\xbf" + right, "encoding")
    twice = right.replace(b'"name"', b'"name": "south-gate",\n "name"')
    yield _fault("2-repeated-name", "The name is there twice.", twice, "encoding")
    inner = right.replace(b'"log": 0', b'"log": 0, "log": 0')
    yield _fault("2-repeated-name-in-event", "An event has its place twice.", inner, "encoding")
    value = text_of(record(ENROLLED, REVOKED | {"reason": "half"}) | {"signature": base64_of(bytes(64))})
    half = value.replace(b'"half"', b'"\\ud83d"')
    yield _fault("2-half-a-character", "The reason is half of a surrogate pair.", half, "encoding")
    named = right.replace(b'"north-gate"', b'"\\ud83d"')
    yield _fault("2-half-a-character-in-name", "The name is half of a surrogate pair.", named, "encoding")
    yield _fault("2-array", "An array of one record.", b"[" + right + b"]", "value")
    yield _fault("2-too-long", "Spaces follow, up to 262,145 bytes.", right.ljust(MAX_BYTES + 1, b" "), "size")
    yield _fault("too-long", "Spaces follow, up to 262,145 bytes.", text_of(OLD).ljust(MAX_BYTES + 1, b" "), "size")


def _fields() -> Iterator[Vector]:
    right = whole(record())
    for field in right:
        cause = "version" if field == "v" else "field"
        yield _fault(f"2-without-{field.replace('_', '-')}", f"{field} is missing.", changed(right, field), cause)

    def fault(fault_name: str, why: str, cause: str = "value", **changes: Any) -> Vector:
        return _fault(f"2-{fault_name}", why, whole(record(**changes)), cause)

    yield fault("unknown-field", "A field too many.", "field", x=0)
    yield _fault("2-rotated-to", "A field of version 1.", whole(record() | _FOLLOWED), "field")
    for name, version in (("0", 0), ("3", 3), ("true", True), ("null", None), ("text", "2")):
        yield fault(f"version-{name}", f"The version is {json.dumps(version)}.", "version", v=version)
    point = text_of(right).replace(b'"v": 2', b'"v": 2.0')
    yield _fault("2-version-2.0", "The version has a decimal point.", point, "version")
    yield fault("capital-name", "The name has a capital letter.", name="North-gate")
    yield fault("long-name", "The name has 65 characters.", name="n" * 65)
    yield fault("name-null", "The name is null.", name=None)
    yield fault("key-id-of-another-key", "The key id is another key's.", "key-id", key_id=OTHER_DEVICE.kid.hex())
    yield fault("key-id-in-capitals", "The key id is in capitals.", "key-id", key_id=DEVICE.kid.hex().upper())
    yield fault("public-of-another-key", "The key is another one.", "key-id", public_key=base64_of(OTHER_DEVICE.public))
    yield fault("short-key", "The key has 31 bytes.", public_key=base64_of(DEVICE.public[:31]))
    loose = base64_of(DEVICE.public).replace("=", "")
    yield fault("key-without-padding", "The key's padding is missing.", public_key=loose)
    yield fault("no-certificate", "No certificate.", certificate_sha256=[])
    yield fault("three-certificates", "Three certificates.", certificate_sha256=[*CERTIFICATES, "00" * 32])
    yield fault("certificate-in-capitals", "A digest in capitals.", certificate_sha256=["AB" * 32])
    yield fault("short-certificate", "A digest of 31 bytes.", certificate_sha256=["ab" * 31])
    yield fault("certificate-with-line-feed", "A line feed ends a digest.", certificate_sha256=["ab" * 32 + "\n"])
    yield fault("certificate-as-text", "One digest, not an array.", certificate_sha256=CERTIFICATES[0])
    yield fault("no-event", "No event.", history=[])
    yield fault("65-events", "One event too many.", history=[ENROLLED, *[RENEWED] * 64])
    yield fault("history-null", "The history is null.", history=None)
    yield fault("receiver-in-capitals", "The receiver's id is in capitals.", receiver=RECEIVER.kid.hex().upper())
    other = {"kid": OTHER_DEVICE.kid.hex()}
    yield _fault("2-name-of-another-key", "The file's name is another key's id.", right, "use", **other)


def _events() -> Iterator[Vector]:
    def fault(name: str, why: str, event: Any, cause: str = "value") -> Vector:
        return _fault(f"2-event-{name}", why, whole(record(ENROLLED, event)), cause)

    yield fault("unknown", "An event that there is not.", RENEWED | {"event": "sold"})
    yield fault("text", "An event is a text.", "renewed")
    yield fault("null", "An event is null.", None)
    yield fault("unknown-field", "An event has a field too many.", RENEWED | {"x": 0}, "field")
    for field in ("event", "at", "log"):
        yield fault(f"without-{field}", f"{field} is missing.", changed(RENEWED, field), "field")
    for field in ("to", "certificates_until"):
        name = field.replace("_", "-")
        yield fault(f"rotated-without-{name}", f"{field} is missing.", changed(ROTATED, field), "field")
        yield fault(f"rotated-{name}-null", f"{field} is null.", ROTATED | {field: None})
        yield fault(
            f"enrolled-{name}-null", f"An enrolment has {field}, which is null.", ENROLLED | {field: None}, "field"
        )
    for field in ("after", "reason"):
        yield fault(f"revoked-without-{field}", f"{field} is missing.", changed(REVOKED, field), "field")
        yield fault(f"revoked-{field}-null", f"{field} is null.", REVOKED | {field: None})
    yield fault(
        "renewed-with-end", "A renewal says where the key ended.", RENEWED | {"after": 1, "reason": "x"}, "field"
    )
    yield fault("revoked-and-rotated", "An end names a key that follows.", REVOKED | {"to": ROTATED["to"]}, "field")
    yield fault("empty-reason", "The reason is empty.", REVOKED | {"reason": ""})
    yield fault("long-reason", "The reason has 201 characters.", REVOKED | {"reason": "x" * 201})
    yield fault("negative-end", "It ended after -1.", REVOKED | {"after": -1})
    yield fault("end-too-high", "It ended after 2^53.", REVOKED | {"after": MAX_SEQ + 1})
    yield fault("negative-log", "The place is -1.", RENEWED | {"log": -1})
    yield fault("log-too-high", "The place is 2^53.", RENEWED | {"log": MAX_SEQ + 1})
    yield fault("log-true", "The place is true.", RENEWED | {"log": True})
    yield fault("log-as-text", "The place is a text.", RENEWED | {"log": "90"})
    value = text_of(whole(record(ENROLLED, RENEWED)))
    why = "The place has a decimal point."
    yield _fault("2-event-log-90.0", why, value.replace(b'"log": 90', b'"log": 90.0'), "value")
    why = "The place has an exponent."
    yield _fault("2-event-log-9e1", why, value.replace(b'"log": 90', b'"log": 9e1'), "value")
    yield fault("to-in-capitals", "The key that follows is in capitals.", ROTATED | {"to": "AB" * 32})
    yield fault("short-to", "The key that follows has 31 bytes.", ROTATED | {"to": "ab" * 31})
    for name, why, at in (
        ("number", "The time is milliseconds.", 1_772_366_400_000),
        ("z", "The time ends with Z.", "2026-04-01T12:00:00Z"),
        ("other-zone", "The time is that of another zone.", "2026-04-01T14:00:00+02:00"),
        ("no-zone", "The time has no zone.", "2026-04-01T12:00:00"),
        ("milliseconds", "The time has milliseconds.", "2026-04-01T12:00:00.000+00:00"),
        ("minutes", "The time has no seconds.", "2026-04-01T12:00+00:00"),
        ("space", "A space stands where T must.", "2026-04-01 12:00:00+00:00"),
        ("no-day", "There is no such day.", "2026-02-30T12:00:00+00:00"),
        ("hour-24", "There is no such hour.", "2026-04-01T24:00:00+00:00"),
        ("second-60", "A leap second.", "2026-06-30T23:59:60+00:00"),
        ("year-0", "There is no year 0.", "0000-04-01T12:00:00+00:00"),
        ("week", "A week of the year.", "2026-W14-3T12:00:00+00:00"),
        ("line-feed", "A line feed ends the time.", "2026-04-01T12:00:00+00:00\n"),
    ):
        yield fault(f"at-{name}", why, RENEWED | {"at": at})
    until = ROTATED | {"certificates_until": "2026-04-08"}
    yield fault("until-a-day", "The end of the overlap is a day.", until)


def _signatures() -> Iterator[Vector]:
    value = record(ENROLLED, REVOKED)
    right = whole(value)
    signature = RECEIVER.key.sign(signed(value))

    def fault(name: str, why: str, change: Map, cause: str = "signature", **context: Any) -> Vector:
        return _fault(f"2-{name}", why, right | change, cause, **context)

    def signed_otherwise(name: str, why: str, over: bytes, signer: Signer = RECEIVER) -> Vector:
        return _fault(f"2-{name}", why, whole(value, over=over, signer=signer), "signature")

    yield fault(
        "altered-signature", "One bit of the signature is flipped.", {"signature": base64_of(flip(signature, 0))}
    )
    parts: list[Any] = [b"", {}, b"", signature]
    add_order(parts)
    yield fault("signature-plus-order", "S of the signature is S + L.", {"signature": base64_of(parts[3])})
    yield fault("short-signature", "The signature has 63 bytes.", {"signature": base64_of(signature[:63])}, "value")
    yield fault("end-removed", "The revocation was taken out.", {"history": [ENROLLED]})
    yield fault("end-later", "The end was moved.", {"history": [ENROLLED, REVOKED | {"after": 101}]})
    yield fault("events-reordered", "The events have changed places.", {"history": [REVOKED, ENROLLED]})
    yield fault("event-added", "A renewal was put in.", {"history": [ENROLLED, RENEWED, REVOKED]})
    yield fault("other-reason", "The reason was changed.", {"history": [ENROLLED, REVOKED | {"reason": "lost"}]})
    yield fault("another-name", "The name was changed.", {"name": "south-gate"})
    yield fault("another-certificate", "A certificate was put in.", {"certificate_sha256": ["00" * 32]})
    swapped = {"certificate_sha256": CERTIFICATES[::-1]}
    yield fault("certificates-reordered", "The certificates have changed places.", swapped)
    yield signed_otherwise(
        "signed-by-another", "Another key has signed under this one's id.", signed(value), OTHER_RECEIVER
    )
    yield from _rewritten()
    yield signed_otherwise("without-context", "The signature is over the record alone.", encode(value))
    other = encode(["plateseal enrolment 2", value])
    yield signed_otherwise("another-context", "The context is that of an enrolment.", other)
    yield signed_otherwise("signed-as-json", "The signature is over the JSON.", text_of(value))
    foreign = record(signer=OTHER_RECEIVER)
    data = whole(foreign, signer=OTHER_RECEIVER)
    yield _fault("2-wrong-signer", "Another receiver has signed it, and it says so.", data, "signer")
    own = whole(record(signer=DEVICE), signer=DEVICE)
    yield _fault("2-by-the-device", "The device has signed it itself.", own, "signer")
    why = "The receiver's public receipt key is not at hand."
    yield fault("no-receipt-key", why, {}, "signer", receivers=[])
    of_other = record(key_id=OTHER_DEVICE.kid.hex(), public_key=base64_of(OTHER_DEVICE.public), name="south-gate")
    replayed = right | {"signature": base64_of(RECEIVER.key.sign(signed(of_other)))}
    yield _fault("2-signature-of-another-record", "The signature is another record's.", replayed, "signature")


def _rewritten() -> Iterator[Vector]:
    """Yield records that say the same in another form than the one that was signed."""
    right = whole(record(ENROLLED, REVOKED))

    def fault(name: str, why: str, cause: str = "value", event: Map = ENROLLED, **changes: Any) -> Vector:
        rewritten = right | {"history": [event, REVOKED]} | changes
        return _fault(f"2-rewritten-{name}", f"{why}, after it was signed.", rewritten, cause)

    yield fault("time", "Milliseconds were put into a time", event=ENROLLED | {"at": "2026-03-01T12:00:00.999+00:00"})
    yield fault("zone", "A time was written in another zone", event=ENROLLED | {"at": "2026-03-01T13:00:00+01:00"})
    yield fault("null", "A field that is null was put into an event", "field", event=ENROLLED | {"to": None})
    loose = next_letter(right["public_key"])
    yield fault("key", "A bit of the key that Base64 leaves unused was set", public_key=loose)
    loose = next_letter(right["signature"])
    yield fault("signature", "A bit of the signature that Base64 leaves unused was set", signature=loose)


def _old_faults() -> Iterator[Vector]:
    for field in ("name", "key_id", "public_key", "certificate_sha256", "enrolled_at"):
        why = f"{field} is missing."
        yield _fault(f"without-{field.replace('_', '-')}", why, changed(OLD, field), "field")
    yield _fault("unknown-field", "A field too many.", OLD | {"x": 0}, "field")
    yield _fault("history", "Version 1 has no history.", OLD | {"history": [ENROLLED]}, "field")
    half = changed(OLD | _FOLLOWED, "certificates_until")
    yield _fault("rotated-without-until", "certificates_until is missing.", half, "field")
    half = changed(OLD | _FOLLOWED, "rotated_to")
    yield _fault("until-without-rotated", "rotated_to is missing.", half, "field")
    yield _fault("rotated-null", "Both are null.", OLD | dict.fromkeys(_FOLLOWED), "value")
    yield _fault(
        "rotated-in-capitals",
        "The key that follows is in capitals.",
        OLD | _FOLLOWED | {"rotated_to": "AB" * 32},
        "value",
    )
    yield _fault("enrolled-at-z", "The time ends with Z.", OLD | {"enrolled_at": "2026-03-01T12:00:00Z"}, "value")
    yield _fault("enrolled-at-null", "The time is null.", OLD | {"enrolled_at": None}, "value")
    yield _fault("three-certificates", "Three certificates.", OLD | {"certificate_sha256": ["00" * 32] * 3}, "value")
    yield _fault("key-id-of-another-key", "The key id is another key's.", OLD | {"key_id": "00" * 32}, "key-id")
    other = {"kid": OTHER_DEVICE.kid.hex()}
    yield _fault("name-of-another-key", "The file's name is another key's id.", OLD, "use", **other)
