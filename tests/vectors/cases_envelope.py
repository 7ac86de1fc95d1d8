"""Vectors of the envelope around a sealed read, but for what is wrong with its recipients (`cases_recipients`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import cbor2

from agent.wire.cbor import encode
from tests.vectors.keys import AGENCY, AUDITOR, DEVICE, HYBRID, OTHER_DEVICE, Recipient, Signer, seed
from tests.vectors.messages import (
    CHAIN,
    MAX_SEQ,
    PREV,
    READ,
    READ_TYPE,
    RECEIPT_TYPE,
    TOMBSTONE,
    TOMBSTONE_TYPE,
    ZEROS,
    Encoded,
    Map,
    canonical,
    content,
    encode_map,
    envelope,
    header,
    place,
    set_part,
    sign1,
    signature,
)
from tests.vectors.vector import Vector, accepted, map_faults, refused, sign1_faults

SUITES = (AGENCY, AUDITOR, HYBRID)
CIPHERS = {3: "a256gcm", 24: "chacha20"}
MAX_ENVELOPE_BYTES = 1 << 20


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _right_envelopes()
    yield from _outer_faults()
    yield from _content_faults()
    yield from _sizes()


def context_of(*keys: Recipient, device: Signer = DEVICE) -> Map:
    """Return what an envelope is judged with."""
    return {"device": device.public.hex()} | ({"keys": [key.context for key in keys]} if keys else {})


OPENED = context_of(AGENCY)
_VERIFIED = context_of()


def fault_of(name: str, why: str, data: bytes, cause: str, context: Map = OPENED) -> Vector:
    """Return a wrong envelope."""
    return refused("envelope", name, why, data, cause, **context)


def _values(data: bytes, where: Map, **inside: Any) -> Map:
    return {"id": hashlib.sha256(data).digest(), "kid": DEVICE.kid, "ps": where, **inside}


def _right_envelopes() -> Iterator[Vector]:
    def right(
        name: str, why: str, *holders: Recipient, where: Map | None = None, read: Map = READ, **options: Any
    ) -> Vector:
        stands = where or place()
        data = envelope(outer=header(READ_TYPE, DEVICE, ps=stands), read=read, **options)
        inside = {"read": read} if holders else {}
        return accepted("envelope", name, why, data, _values(data, stands, **inside), **context_of(*holders))

    for key in SUITES:
        for alg, cipher in CIPHERS.items():
            why = f"A read sealed with {cipher} to one {key.key_type} key."
            yield right(f"right-{key.key_type}-{cipher}", why, key, keys=[key], alg=alg)
    yield right("right-three-recipients", "One recipient of each suite; the last one opens it.", HYBRID, keys=SUITES)
    yield right("right-second-recipient", "Two recipients; the second one opens it.", AUDITOR, keys=SUITES[:2])
    eight = [Recipient(f"recipient {number}, x25519") for number in range(8)]
    yield right(
        "right-eight-recipients", "As many recipients as there may be; the last one opens it.", eight[7], keys=eight
    )
    yield right("right-later-place", "Not the first of its chain.", AGENCY, where=place(1))
    yield right("right-last-place", "The highest sequence number.", AGENCY, where=place(MAX_SEQ))
    last = place(last=seed("the chain before"))
    yield right(
        "right-last-of-the-chain-before",
        "The first of its chain names the last of the chain before.",
        AGENCY,
        where=last,
    )
    yield right("right-not-opened", "Whoever holds no private key verifies it all the same.")
    optional = READ | {
        "region": "Portugal",
        "site": "main-street",
        "position": [52_520_008, -13_404_954],
        "lane": "left",
    }
    yield right("right-every-field", "A read with every optional field.", AGENCY, read=optional)


def _outer_faults() -> Iterator[Vector]:
    head = header(READ_TYPE, DEVICE, ps=place())
    payload = envelope_payload(head)
    another = envelope_payload(head, read=READ | {"frame": 43})
    yield from sign1_faults("envelope", head, payload, DEVICE, OTHER_DEVICE, replaced=another, **OPENED)

    def with_place(ps: bytes) -> bytes:
        return envelope(outer=encode_map([(k, Encoded(ps) if k == "ps" else v) for k, v in canonical(head)]))

    yield from map_faults("envelope", place(), with_place, prefix="place-", **OPENED)

    def placed(name: str, why: str, where: Map, cause: str = "value") -> Vector:
        return fault_of(name, why, envelope(outer=header(READ_TYPE, DEVICE, ps=where)), cause)

    yield placed("place-short-chain", "The chain's id has 15 bytes.", place(chain=CHAIN[:15]))
    yield placed("place-negative-seq", "The sequence number is -1.", place(1, seq=-1))
    yield placed("place-seq-too-high", "The sequence number is 2^53.", place(1, seq=MAX_SEQ + 1))
    yield placed("place-short-prev", "prev has 31 bytes.", place(1, prev=PREV[:31]))
    yield placed("place-zero-prev", "prev is zero at 1.", place(1, prev=ZEROS))
    yield placed("place-prev-at-zero", "prev is not zero at 0.", place(prev=PREV))
    yield placed("place-last-at-one", "last stands at 1.", place(1, last=PREV))
    yield placed("place-short-last", "last has 31 bytes.", place(last=PREV[:31]))
    yield placed("place-null-last", "last is null; where it is unknown it is left out.", place(last=None))
    yield fault_of(
        "header-without-place", "The header has no `ps`.", envelope(outer=header(READ_TYPE, DEVICE)), "field"
    )
    yield fault_of(
        "receipt-type",
        "A whole envelope whose content type is a receipt's.",
        envelope(outer=header(RECEIPT_TYPE, DEVICE, ps=place())),
        "content-type",
    )
    yield fault_of(
        "tombstone-under-read-type",
        "A tombstone whose content type is a read's.",
        sign1(head, encode(TOMBSTONE), DEVICE),
        "value",
    )
    yield fault_of("empty", "No byte at all.", b"", "encoding")
    yield fault_of("half", "The first half of the bytes.", envelope()[:350], "encoding")
    yield fault_of("nested-too-deep", "Arrays in arrays, 1000 levels deep.", b"\x81" * 1000 + b"\x00", "encoding")
    bad = encode_map([(3, Encoded(b"\x61\xff")) if k == 3 else (k, v) for k, v in canonical(head)])
    yield fault_of("not-utf-8", "The content type is a text of one byte, FF.", envelope(outer=bad), "encoding")
    yield fault_of("zero-signature", "The signature is zero.", envelope(alter=set_part(3, bytes(64))), "signature")
    moved = encode(header(READ_TYPE, DEVICE, ps=place(1)))
    yield fault_of(
        "header-replaced",
        "The header of another place stands under the signature.",
        envelope(alter=set_part(0, moved)),
        "signature",
    )
    confused = signature(encode(header(TOMBSTONE_TYPE, DEVICE, ps=place())), payload, DEVICE)
    yield fault_of(
        "signature-of-another-type",
        "The signature is over the same payload as a tombstone.",
        sign1(head, payload, DEVICE, alter=set_part(3, confused)),
        "signature",
    )


def envelope_payload(head: Map, **contents: Any) -> bytes:
    """Return the encoded COSE_Encrypt of an envelope."""
    return encode(cbor2.CBORTag(96, content(encode(head), **contents)))


def inside_fault(
    name: str, why: str, change: Callable[[list[Any]], Any], cause: str, context: Map = OPENED, **options: Any
) -> Vector:
    """Return an envelope whose COSE_Encrypt was changed before it was signed."""
    return fault_of(name, why, envelope(inside=change, **options), cause, context)


def _content_faults() -> Iterator[Vector]:
    yield fault_of("content-wrong-tag", "Tag 16 (COSE_Encrypt0) stands where 96 must.", envelope(inner_tag=16), "value")
    yield inside_fault("content-three-parts", "There are no recipients at all.", lambda parts: parts.pop(), "value")
    yield inside_fault("content-no-recipients", "The list of recipients is empty.", set_part(3, []), "value")
    nine = [Recipient(f"recipient {number}, x25519") for number in range(9)]
    yield fault_of(
        "content-nine-recipients",
        "One recipient more than there may be.",
        envelope(keys=nine),
        "value",
        context_of(nine[0]),
    )
    yield fault_of("content-a128gcm", "The content is sealed with A128GCM (1).", envelope(header={1: 1}), "algorithm")
    yield fault_of(
        "content-alg-text", 'The algorithm is the text "A256GCM".', envelope(header={1: "A256GCM"}), "algorithm"
    )
    yield fault_of(
        "content-header-field",
        "The content's protected header has a field too many.",
        envelope(header={1: 3, 4: AGENCY.kid}),
        "field",
    )
    yield inside_fault("content-short-nonce", "The nonce has 11 bytes.", set_part(1, {5: bytes(11)}), "value")
    yield inside_fault("content-no-nonce", "There is no nonce.", set_part(1, {}), "field")
    yield inside_fault(
        "content-partial-iv",
        "There is a partial IV (6) beside the nonce.",
        lambda parts: parts[1].update({6: b"\x00"}),
        "field",
    )
    yield inside_fault(
        "content-shorter-than-tag", "The ciphertext has 15 bytes, less than its tag.", set_part(2, bytes(15)), "value"
    )
    yield inside_fault("content-detached", "null stands where the ciphertext must.", set_part(2, None), "value")
    read_2 = READ | {"v": 3}
    yield fault_of("content-read-version-3", "It opens, to a read of version 3.", envelope(read=read_2), "version")
    trailing = encode(READ) + b"\x00"
    yield fault_of(
        "content-read-trailing-byte",
        "It opens, to a read that a zero byte follows.",
        envelope(read=trailing),
        "encoding",
    )


def _sizes() -> Iterator[Vector]:
    def sized(length: int) -> bytes:
        rest = len(envelope(inside=set_part(2, bytes(100_000)))) - 100_000
        return envelope(inside=set_part(2, bytes(length - rest)))

    whole = sized(MAX_ENVELOPE_BYTES)
    why = "As long as an envelope may be; its ciphertext is zeros, and nobody opens it."
    yield accepted("envelope", "right-longest", why, whole, _values(whole, place()), **_VERIFIED)
    yield fault_of(
        "too-long", "One byte longer than an envelope may be.", sized(MAX_ENVELOPE_BYTES + 1), "size", _VERIFIED
    )
