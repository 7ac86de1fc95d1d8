"""Vectors of what a unit asks its receiver beside its reads: the probe and its answer, the renewal and its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from agent.wire.cbor import encode
from tests.vectors.certificates import OTHER_TLS_KEY, UNIT, certificate, certificate_pem, pem, request, request_pem
from tests.vectors.keys import DEVICE, OTHER_DEVICE, OTHER_RECEIVER, RECEIVER, Signer, seed
from tests.vectors.messages import (
    MAX_SEQ,
    NEW_KEY,
    NOON,
    RECEIPT_TYPE,
    ROTATION_TYPE,
    Map,
    flip,
    header,
    sign1,
)
from tests.vectors.vector import Vector, accepted, map_faults, refused, sign1_faults, sign1_steps

PROBE_TYPE: Final = "application/plateseal-probe+cbor"
ANSWER_TYPE: Final = "application/plateseal-probe-answer+cbor"
RENEWAL_TYPE: Final = "application/plateseal-renewal+cbor"
MAX_TIME: Final = 253_402_300_799_999
PROBE: Final[Map] = {"v": 2, "at": NOON, "nonce": seed("probe nonce")[:16]}


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _probes()
    yield from _answers()
    yield from _renewals()
    yield from _renewal_answers()


def unit(key: Signer = DEVICE, *, name: str = UNIT, ended: str | None = None, **more: Any) -> Map:
    """Return an enrolled unit of a context; `ended` is "revoked", or the id of the key that followed."""
    return {"name": name, "key": key.public.hex()} | ({} if ended is None else {"ended": ended}) | more


def probe(payload: Map | bytes = PROBE, signer: Signer = DEVICE) -> bytes:
    """Return a probe."""
    return sign1(header(PROBE_TYPE, signer), payload, signer)


def _sender(*units: Map, name: str = UNIT) -> Map:
    return {"enrolled": list(units or [unit()]), "sender": name}


def _probes() -> Iterator[Vector]:
    head = header(PROBE_TYPE, DEVICE)

    def right(name: str, why: str, payload: Map, context: Map) -> Vector:
        steps = sign1_steps(head, payload)
        return accepted("probe", f"2-right{name}", why, probe(payload), payload, **context).with_steps(steps)

    yield right("", "An enrolled key asks, over its unit's connection.", PROBE, _sender())
    yield right("-first-time", "The unit's clock shows 1970; it is not looked at.", PROBE | {"at": 0}, _sender())
    yield right("-last-time", "The last time that there is.", PROBE | {"at": MAX_TIME}, _sender())
    other = unit(OTHER_DEVICE, name="south-gate")
    yield right("-second-enrolled", "Two units are enrolled; it is the second one's.", PROBE, _sender(other, unit()))
    for vector in sign1_faults(
        "probe", head, encode(PROBE), DEVICE, OTHER_DEVICE, replaced=encode(PROBE | {"at": NOON + 1}), **_sender()
    ):
        yield vector.renamed(f"2-{vector.name}")
    yield from map_faults("probe", PROBE, probe, prefix="2-", **_sender())

    def fault(name: str, why: str, change: Map, cause: str) -> Vector:
        return refused("probe", f"2-{name}", why, probe(PROBE | change), cause, **_sender())

    yield fault("version-1", "The version is 1; a probe has only version 2.", {"v": 1}, "version")
    yield fault("short-nonce", "The nonce has 15 bytes.", {"nonce": PROBE["nonce"][:15]}, "value")
    yield fault("long-nonce", "The nonce has 17 bytes.", {"nonce": bytes(17)}, "value")
    yield fault("nonce-in-hex", "The nonce is a text.", {"nonce": PROBE["nonce"].hex()}, "value")
    yield fault("negative-time", "A time before 1970.", {"at": -1}, "value")
    yield fault("time-too-late", "A time after the year 9999.", {"at": MAX_TIME + 1}, "value")
    for name, why, context, cause in (
        ("revoked-key", "The key was revoked.", _sender(unit(ended="revoked")), "ended"),
        ("followed-key", "Another key has followed it.", _sender(unit(ended=NEW_KEY.kid.hex())), "ended"),
        ("nobody-enrolled", "No unit is enrolled.", _sender(unit(OTHER_DEVICE)), "signer"),
        ("by-another-unit", "It comes over the connection of another unit.", _sender(name="south-gate"), "mismatch"),
    ):
        yield refused("probe", f"2-{name}", why, probe(), cause, **context)
    long = probe() + bytes(513 - len(probe()))
    yield refused("probe", "2-too-long", "Zeros follow it, up to 513 bytes.", long, "size", **_sender())
    as_answer = sign1(header(ANSWER_TYPE, DEVICE), PROBE, DEVICE)
    yield refused("probe", "2-answer-type", "The content type is an answer's.", as_answer, "content-type", **_sender())


ANSWER: Final[Map] = {"v": 2, "probe": hashlib.sha256(probe()).digest(), "at": NOON + 1000, "log": 17}


def _answers() -> Iterator[Vector]:
    head = header(ANSWER_TYPE, RECEIVER)
    context: Map = {"receivers": [RECEIVER.public.hex()], "probe": probe().hex()}

    def made(payload: Map | bytes) -> bytes:
        return sign1(head, payload, RECEIVER)

    def right(name: str, why: str, payload: Map, **changes: Any) -> Vector:
        vector = accepted("probe-answer", f"2-right{name}", why, made(payload), payload, **(context | changes))
        return vector.with_steps(sign1_steps(head, payload))

    yield right("", "A pinned receiver has answered this probe.", ANSWER)
    two = [OTHER_RECEIVER.public.hex(), RECEIVER.public.hex()]
    yield right("-second-pinned-key", "Two keys are pinned; the second one signed it.", ANSWER, receivers=two)
    yield right("-empty-log", "Nothing is stored yet, and its clock shows 1970.", ANSWER | {"at": 0, "log": 0})
    yield right("-edges", "The last time and the highest index.", ANSWER | {"at": MAX_TIME, "log": MAX_SEQ})
    replaced = encode(ANSWER | {"log": 18})
    for vector in sign1_faults(
        "probe-answer", head, encode(ANSWER), RECEIVER, OTHER_RECEIVER, replaced=replaced, **context
    ):
        yield vector.renamed(f"2-{vector.name}")
    yield from map_faults("probe-answer", ANSWER, made, prefix="2-", **context)

    def fault(name: str, why: str, change: Map, cause: str) -> Vector:
        return refused("probe-answer", f"2-{name}", why, made(ANSWER | change), cause, **context)

    yield fault("version-1", "The version is 1; an answer has only version 2.", {"v": 1}, "version")
    yield fault("short-digest", "The probe's digest has 31 bytes.", {"probe": bytes(31)}, "value")
    yield fault("to-another-probe", "It answers another probe.", {"probe": seed("another probe")}, "mismatch")
    yield fault("index-too-high", "The index is 2^53.", {"log": MAX_SEQ + 1}, "value")
    yield fault("negative-index", "The index is -1.", {"log": -1}, "value")
    yield fault("time-too-late", "A time after the year 9999.", {"at": MAX_TIME + 1}, "value")
    other = context | {"probe": probe(PROBE | {"nonce": bytes(16)}).hex()}
    why = "A right answer, replayed for a probe with another nonce."
    yield refused("probe-answer", "2-replayed", why, made(ANSWER), "mismatch", **other)
    none = context | {"receivers": []}
    yield refused("probe-answer", "2-nobody-pinned", "No key is pinned.", made(ANSWER), "signer", **none)
    as_receipt = sign1(header(RECEIPT_TYPE, RECEIVER), ANSWER, RECEIVER)
    why = "The content type is a receipt's."
    yield refused("probe-answer", "2-receipt-type", why, as_receipt, "content-type", **context)
    long = made(ANSWER) + bytes(513 - len(made(ANSWER)))
    yield refused("probe-answer", "2-too-long", "Zeros follow it, up to 513 bytes.", long, "size", **context)


CERTIFICATE: Final = certificate()
RENEWAL: Final[Map] = {"v": 1, "device": UNIT, "certificate": CERTIFICATE}
_OLDER: Final = certificate(days=90)


def _with(*certificates: bytes, **more: Any) -> Map:
    digests = [hashlib.sha256(each).hexdigest() for each in certificates]
    return {"enrolled": [unit(certificates=digests, **more)]}


_ENROLLED: Final = _with(CERTIFICATE)


def _renewals() -> Iterator[Vector]:
    head = header(RENEWAL_TYPE, DEVICE)

    def made(payload: Map | bytes) -> bytes:
        return sign1(head, payload, DEVICE)

    def right(name: str, why: str, payload: Map, context: Map) -> Vector:
        vector = accepted("renewal", f"right{name}", why, made(payload), payload, **context)
        return vector.with_steps(sign1_steps(head, payload))

    yield right("", "The unit's key asks for a certificate to follow the one that it has.", RENEWAL, _ENROLLED)
    why = "The unit may still come with the certificate before the newest."
    yield right("-older-certificate", why, RENEWAL | {"certificate": _OLDER}, _with(CERTIFICATE, _OLDER))
    longest, one = bytes(4096), b"\0"
    why = "The longest certificate; what is in it is not looked into here."
    yield right("-longest-certificate", why, RENEWAL | {"certificate": longest}, _with(longest))
    yield right("-shortest-certificate", "A certificate of one byte.", RENEWAL | {"certificate": one}, _with(one))
    replaced = encode(RENEWAL | {"certificate": _OLDER})
    yield from sign1_faults("renewal", head, encode(RENEWAL), DEVICE, OTHER_DEVICE, replaced=replaced, **_ENROLLED)
    yield from map_faults("renewal", RENEWAL, made, **_ENROLLED)

    def fault(name: str, why: str, change: Map, cause: str, context: Map = _ENROLLED) -> Vector:
        return refused("renewal", name, why, made(RENEWAL | change), cause, **context)

    yield fault("version-2", "The version is 2.", {"v": 2}, "version")
    yield fault("no-certificate", "The certificate is empty.", {"certificate": b""}, "value")
    yield fault("certificate-too-long", "The certificate has 4097 bytes.", {"certificate": bytes(4097)}, "value")
    text = {"certificate": certificate_pem(CERTIFICATE)}
    yield fault("certificate-as-pem", "The certificate is a text.", text, "value")
    yield fault("long-name", "The name has 65 characters.", {"device": "n" * 65}, "value")
    yield fault("of-another-unit", "It names another unit than the key is enrolled for.", {"device": "x"}, "mismatch")
    why = "The unit may not come with this certificate."
    yield fault("another-certificate", why, {"certificate": _OLDER}, "mismatch")
    yield fault("replayed", "It names one that was followed twice.", {}, "mismatch", _with(_OLDER, certificate(days=7)))
    yield fault("revoked-key", "The key was revoked.", {}, "ended", _with(CERTIFICATE, ended="revoked"))
    followed = _with(CERTIFICATE, ended=NEW_KEY.kid.hex())
    yield fault("followed-key", "Another key has followed it.", {}, "ended", followed)
    as_rotation = sign1(header(ROTATION_TYPE, DEVICE), RENEWAL, DEVICE)
    why = "The content type is a rotation's."
    yield refused("renewal", "rotation-type", why, as_rotation, "content-type", **_ENROLLED)
    long = made(RENEWAL) + bytes(8193 - len(made(RENEWAL)))
    yield refused("renewal", "too-long", "Zeros follow it, up to 8193 bytes.", long, "size", **_ENROLLED)


def _renewal_answers() -> Iterator[Vector]:
    context = {"certificate": CERTIFICATE.hex()}
    new = certificate(days=730)
    text = certificate_pem(new)

    def right(name: str, why: str, data: str) -> Vector:
        values = {"certificate": new}
        return accepted("renewal-answer", f"right{name}", why, data.encode(), values, **context)

    def fault(name: str, why: str, data: str | bytes, cause: str) -> Vector:
        raw = data if isinstance(data, bytes) else data.encode()
        return refused("renewal-answer", name, why, raw, cause, **context)

    yield right("", "A certificate for the same key that ends later.", text)
    issuer = certificate_pem(certificate(key=OTHER_TLS_KEY, unit="an issuer"))
    yield right("-chain", "A certificate of its issuer follows it; the first one counts.", text + issuer)
    longest = text + "\n" * (65_536 - len(text))
    yield right("-longest", "As long as an answer may be.", longest)
    yield fault("too-long", "One byte more than an answer may have.", longest + "\n", "size")
    yield fault("empty", "Nothing.", "", "encoding")
    yield fault("der", "DER, not PEM.", new, "encoding")
    yield fault("request", "A certificate request.", request_pem(request()), "encoding")
    altered = pem(flip(new, 1), "CERTIFICATE")
    yield fault("altered-length", "One bit of the certificate's length is flipped.", altered, "encoding")
    yield fault("truncated", "The last line is missing.", text[: -len("-----END CERTIFICATE-----\n")], "encoding")
    other = certificate_pem(certificate(key=OTHER_TLS_KEY, days=730))
    yield fault("another-key", "A certificate for another key.", other, "mismatch")
    yield fault("the-same", "The certificate that the unit has.", certificate_pem(CERTIFICATE), "rollback")
    yield fault("ends-earlier", "A certificate that ends earlier.", certificate_pem(_OLDER), "rollback")
    second = issuer + text
    yield fault("chain-reversed", "The issuer's certificate stands first.", second, "mismatch")
