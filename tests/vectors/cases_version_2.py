"""Vectors of what version 2 of the format changed: header, padding, commitment, receipts, keyrings, held reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import cbor2

from agent.wire.cbor import encode
from tests.vectors.keys import ABSENT, AGENCY, AUDITOR, CASE, DEVICE, HYBRID, OWNER, RECEIVER, Recipient, Signer, seed
from tests.vectors.messages import (
    CHAIN,
    CONTENT_KEY,
    DAY,
    KEYRING_TYPE,
    MAX_SEQ,
    NONCE,
    NOON,
    PREV,
    READ,
    READ_TYPE,
    RECEIPT_TYPE,
    TOMBSTONE,
    TOMBSTONE_TYPE,
    ZEROS,
    Map,
    changed,
    content,
    envelope,
    flip,
    header,
    keyring_row,
    recipient,
    recipient_info,
    sign1,
)
from tests.vectors.vector import Vector, accepted, map_faults, refused, sign1_faults

HELD_TYPE: Final = "application/plateseal-held+cbor"
COMMITMENT: Final = hashlib.sha256(encode(["plateseal content key 2", CONTENT_KEY])).digest()
READ_2: Final[Map] = READ | {"v": 2}
PADDED_BYTES: Final = 448
"""Any length may be padded to; this one is what a unit would choose for such a read."""
RCPT: Final = [RECEIVER.kid[:8], 17, seed("a receipt")]
SUITES: Final = (AGENCY, AUDITOR, HYBRID)
CIPHERS: Final = {3: "a256gcm", 24: "chacha20"}


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _right_envelopes()
    yield from _place_faults()
    yield from _commitments()
    yield from _tombstones()
    yield from _plaintexts()
    yield from _receipts()
    yield from _keyrings()
    yield from _held()


def place_2(seq: int = 0, /, **changes: Any) -> Map:
    """Return "ps" of a read; where it is the unit's first, it names none before it."""
    return {"v": 2, "run": 0, "chain": CHAIN, "seq": seq, "prev": PREV if seq else ZEROS, "com": COMMITMENT, **changes}


SETTLED: Final[Map] = READ_2 | {"seen": "A8123CD", "format": "AR-2016"}
"""A read of which the camera saw a character that looks like the one in its text."""


def padded(read: Map = READ_2) -> bytes:
    """Return an encoded read with zeros behind it."""
    return encode(read).ljust(PADDED_BYTES, b"\0")


def envelope_2(where: Map | None = None, *, read: bytes | None = None, **options: Any) -> bytes:
    """Return an envelope of version 2."""
    outer = header(READ_TYPE, options.get("signer", DEVICE), ps=where or place_2())
    return envelope(outer=outer, read=padded() if read is None else read, **options)


def context_of(*keys: Recipient, device: Signer = DEVICE) -> Map:
    """Return what an envelope is judged with."""
    return {"device": device.public.hex()} | ({"keys": [key.context for key in keys]} if keys else {})


def _steps(where: Map, keys: Sequence[Recipient], alg: int, read: Map) -> Map:
    """Return what a writer has on its way to an envelope."""
    outer, inner = encode(header(READ_TYPE, DEVICE, ps=where)), encode({1: alg})
    parts = content(outer, padded(read), keys, alg=alg)
    payload = encode(cbor2.CBORTag(96, parts))
    return {
        "content_key": CONTENT_KEY,
        "commitment": COMMITMENT,
        "nonce": NONCE,
        "read": encode(read),
        "plaintext": padded(read),
        "protected": outer,
        "enc_structure": encode(["Encrypt", inner, outer]),
        "ciphertext": parts[2],
        "recipient_structures": [recipient_info(alg, slot[0]) for slot in parts[3]],
        "sig_structure": encode(["Signature1", outer, b"", payload]),
    }


def _right_envelopes() -> Iterator[Vector]:
    def right(
        name: str,
        why: str,
        *holders: Recipient,
        where: Map | None = None,
        keys: Sequence[Recipient] = (AGENCY,),
        alg: int = 3,
        read: Map = READ_2,
    ) -> Vector:
        stands = where or place_2()
        data = envelope_2(stands, read=padded(read), keys=keys, alg=alg)
        values = {"id": hashlib.sha256(data).digest(), "kid": DEVICE.kid, "ps": stands}
        if holders:
            values["read"] = read
        steps = _steps(stands, keys, alg, read)
        return accepted("envelope", f"2-{name}", why, data, values, **context_of(*holders)).with_steps(steps)

    for key in SUITES:
        for alg, cipher in CIPHERS.items():
            why = f"Version 2: a read sealed with {cipher} to one {key.key_type} key."
            yield right(f"right-{key.key_type}-{cipher}", why, key, keys=[key], alg=alg)
    yield right("right-three-recipients", "One recipient of each suite; the last one opens it.", HYBRID, keys=SUITES)
    yield right("right-receipt", "The unit had verified a receipt.", AGENCY, where=place_2(1, rcpt=RCPT))
    yield right(
        "right-next-run",
        "The first of its chain names the last envelope of the chain before.",
        AGENCY,
        where=place_2(run=8, prev=PREV),
    )
    yield right(
        "right-after-version-1",
        "The first run, after envelopes of version 1: it names the last of them.",
        AGENCY,
        where=place_2(prev=PREV),
    )
    yield right("right-last-place", "The highest run and number.", AGENCY, where=place_2(MAX_SEQ, run=MAX_SEQ))
    yield right("right-not-opened", "Whoever holds no private key verifies it all the same.")
    yield right("right-behind", "The unit's clock was wrong, and it knew.", AGENCY, read=READ_2 | {"clock": "behind"})


def _fault(name: str, why: str, data: bytes, cause: str, context: Map | None = None) -> Vector:
    return refused("envelope", f"2-{name}", why, data, cause, **(context or context_of(AGENCY)))


def _place_faults() -> Iterator[Vector]:
    def with_place(ps: bytes) -> bytes:
        head = {1: -8, 3: READ_TYPE, 4: DEVICE.kid}
        body = b"".join(encode(key) + encode(value) for key, value in head.items())
        return envelope(outer=b"\xa4" + body + encode("ps") + ps)

    yield from map_faults("envelope", place_2(1), with_place, prefix="2-place-", **context_of(AGENCY))

    def placed(name: str, why: str, where: Map, cause: str = "value") -> Vector:
        return _fault(f"place-{name}", why, envelope_2(where), cause)

    yield placed("zero-prev-at-one", "prev is zero, and it is not the unit's first.", place_2(1, prev=ZEROS))
    yield placed("zero-prev-in-run-1", "prev is zero in the second run.", place_2(run=1))
    yield placed("last", "last is a field of version 1.", place_2(last=PREV), "field")
    yield placed("no-run", "The run is missing.", changed(place_2(), "run"), "field")
    yield placed("negative-run", "The run is -1.", place_2(run=-1))
    yield placed("run-too-high", "The run is 2^53.", place_2(run=MAX_SEQ + 1))
    yield placed("no-commitment", "A read commits to no content key.", changed(place_2(), "com"), "field")
    yield placed("short-commitment", "The commitment has 31 bytes.", place_2(com=COMMITMENT[:31]))
    yield placed("receipt-of-two", "The seen receipt lacks its digest.", place_2(1, rcpt=RCPT[:2]))
    yield placed("receipt-short-receiver", "The receiver's id has 7 bytes.", place_2(1, rcpt=[bytes(7), *RCPT[1:]]))
    yield placed("receipt-short-digest", "The digest has 31 bytes.", place_2(1, rcpt=[*RCPT[:2], bytes(31)]))
    yield placed("receipt-null", "rcpt is null; where there is none it is left out.", place_2(1, rcpt=None))
    one = {"v": 1, "chain": CHAIN, "seq": 0, "prev": ZEROS}
    yield placed("commitment-in-version-1", "Version 1 has no commitment.", one | {"com": COMMITMENT}, "field")
    yield placed("run-in-version-1", "Version 1 has no run.", one | {"run": 0}, "field")


def _commitments() -> Iterator[Vector]:
    yield _fault(
        "commitment-to-another-key",
        "The header commits to another content key than the recipient was given.",
        envelope_2(place_2(com=seed("another commitment"))),
        "commitment",
    )
    two = [recipient(AGENCY), recipient(AUDITOR, content_key=seed("another content key"))]
    lied = envelope_2(inside=lambda parts: parts.__setitem__(3, two))
    yield _fault(
        "two-keys-for-two",
        "The second recipient was given another content key than the first one, and opens it.",
        lied,
        "commitment",
        context_of(AUDITOR),
    )
    twice = envelope_2(keys=[AGENCY, AGENCY])
    yield _fault("recipient-twice", "One key is a recipient twice.", twice, "value")
    yield _fault("read-of-version-1", "A read of version 1 is sealed in it.", envelope_2(read=encode(READ)), "version")
    yield _fault(
        "padded-with-ones", "A byte behind the read is not zero.", envelope_2(read=padded()[:-1] + b"\1"), "encoding"
    )
    padded_1 = envelope(read=encode(READ) + bytes(9))
    yield _fault("padding-in-version-1", "Version 1 has no padding.", padded_1, "encoding")


def _tombstones() -> Iterator[Vector]:
    def made(where: Map) -> bytes:
        return sign1(header(TOMBSTONE_TYPE, DEVICE, ps=where), TOMBSTONE, DEVICE)

    where = changed(place_2(7, rcpt=RCPT), "com")
    data = made(where)
    values = {"id": hashlib.sha256(data).digest(), "kid": DEVICE.kid, "ps": where, "tombstone": TOMBSTONE}
    yield accepted("tombstone", "2-right", "Version 2: it has no content key to commit to.", data, values, **_VERIFIED)
    yield refused("tombstone", "2-commitment", "It commits to a key.", made(place_2(7)), "field", **_VERIFIED)


_VERIFIED: Final = context_of()


def _plaintexts() -> Iterator[Vector]:
    version_2 = {"version": 2}
    for name, why, data in (
        ("right", "Padded as a unit does.", padded()),
        ("right-one-zero", "One zero byte behind it.", encode(READ_2) + b"\0"),
        ("right-bare", "Padding may have no byte at all.", encode(READ_2)),
    ):
        yield accepted("plaintext", f"2-{name}", why, data, READ_2, **version_2)
    longest = {"text": "W" * 20, "seen": "W" * 20, "confidences": [1000] * 20, "format": "F" * 64}
    for name, why, read in (
        ("right-settled", "A look-alike was settled by a format of plates.", SETTLED),
        ("right-of-no-format", "No format has the text, which is as it was seen.", READ_2 | {"seen": "AB123CD"}),
        ("right-as-seen", "A format has the text that was seen.", SETTLED | {"seen": "AB123CD"}),
        ("right-seen-longest", "Text and format are as long as they may be.", READ_2 | longest),
    ):
        yield accepted("plaintext", f"2-{name}", why, padded(read), read, **version_2)

    def fault(name: str, why: str, data: bytes, cause: str) -> Vector:
        return refused("plaintext", f"2-{name}", why, data, cause, **version_2)

    yield from map_faults("plaintext", READ_2, lambda data: data + bytes(9), prefix="2-", **version_2)
    yield fault("one-behind", "The integer 1 stands behind the read.", encode(READ_2) + b"\1", "encoding")
    yield fault("zeros-and-one", "The last byte of the padding is not zero.", padded()[:-1] + b"\1", "encoding")
    yield fault("zeros-alone", "Zeros and no read.", bytes(PADDED_BYTES), "value")
    yield fault("zeros-before", "A zero stands before the read.", b"\0" + encode(READ_2), "encoding")
    yield fault("version-1", "A read of version 1 in an envelope of version 2.", encode(READ), "version")
    unseen = changed(SETTLED, "seen")
    yield fault("format-without-seen", "A format, and nothing of what was seen.", padded(unseen), "field")
    for name, why, change in (
        ("seen-shorter", "Six characters were seen, and the text has seven.", {"seen": "A8123C"}),
        ("seen-null", "seen is null; where no formats are configured it is left out.", {"seen": None}),
        ("format-null", "format is null; where no format has the text it is left out.", {"format": None}),
        ("long-format", "A format's name of 65 characters.", {"format": "F" * 65}),
    ):
        yield fault(name, why, padded(SETTLED | change), "value")
    in_1 = encode(READ | {"seen": "AB123CD"})
    yield refused("plaintext", "seen-in-version-1", "Version 1 has no such field.", in_1, "field")
    yield refused("plaintext", "version-2-in-1", "A read of version 2 in version 1.", encode(READ_2), "version")
    behind = encode(READ | {"clock": "behind"})
    yield refused("plaintext", "behind-in-version-1", "Version 1 has no such state of the clock.", behind, "value")


ENVELOPE_2: Final = envelope_2(place_2(1))
RECEIPT_2: Final[Map] = {
    "v": 2,
    "id": hashlib.sha256(ENVELOPE_2).digest(),
    "len": len(ENVELOPE_2),
    "dev": DEVICE.kid,
    "chain": CHAIN,
    "seq": 1,
    "at": NOON + DAY,
    "log": 17,
    "prev": seed("the receipt before"),
}


def _receipts() -> Iterator[Vector]:
    context = {"envelope": ENVELOPE_2.hex(), "receivers": [RECEIVER.public.hex()]}
    head = header(RECEIPT_TYPE, RECEIVER)

    def made(payload: Map) -> bytes:
        return sign1(head, payload, RECEIVER)

    def fault(name: str, why: str, payload: Map, cause: str) -> Vector:
        return refused("receipt", f"2-{name}", why, made(payload), cause, **context)

    yield accepted("receipt", "2-right", "It names the receipt before it.", made(RECEIPT_2), RECEIPT_2, **context)
    first = RECEIPT_2 | {"prev": ZEROS}
    yield accepted("receipt", "2-right-first", "The first one for this device key.", made(first), first, **context)
    yield fault("without-prev", "It names no receipt before it.", changed(RECEIPT_2, "prev"), "field")
    yield fault("short-prev", "prev has 31 bytes.", RECEIPT_2 | {"prev": bytes(31)}, "value")
    yield fault("replayed", "A receipt for another envelope.", RECEIPT_2 | {"id": seed("another")}, "mismatch")
    old = changed(RECEIPT_2, "prev") | {"v": 1}
    yield fault("version-1", "A receipt of version 1 for an envelope of version 2.", old, "mismatch")
    yield fault("prev-in-version-1", "Version 1 names no receipt before it.", RECEIPT_2 | {"v": 1}, "field")


def _keyrings() -> Iterator[Vector]:
    head = header(KEYRING_TYPE, OWNER)
    context = {"owner": OWNER.public.hex()}
    rows = [keyring_row(), keyring_row(HYBRID, start=NOON + DAY)]
    right = {"v": 2, "serial": 5, "keys": rows, "issued": NOON - DAY, "recorded": False}

    def made(payload: Map | bytes) -> bytes:
        return sign1(head, payload, OWNER)

    def fault(name: str, why: str, change: Map, cause: str) -> Vector:
        return refused("keyring", f"2-{name}", why, made(right | change), cause, **context)

    yield accepted("keyring", "2-right", "It says when it was issued.", made(right), right, **context)
    recorded = right | {"recorded": True}
    yield accepted(
        "keyring", "2-right-recorded", "Recordings go to their own day.", made(recorded), recorded, **context
    )
    gap = right | {"keys": [keyring_row(), keyring_row(HYBRID, start=NOON + 2 * DAY)]}
    yield accepted("keyring", "2-right-gap", "A day without an epoch.", made(gap), gap, **context)
    yield from map_faults("keyring", right, made, prefix="2-", **context)
    missing = made(changed(right, "issued"))
    yield refused("keyring", "2-not-issued", "It does not say when it was issued.", missing, "field", **context)
    yield fault("issued-before-1970", "It was issued at -1.", {"issued": -1}, "value")
    yield fault("recorded-1", "recorded is 1, which some languages take for true.", {"recorded": 1}, "value")
    overlap = [keyring_row(), keyring_row(HYBRID, start=NOON + DAY - 1)]
    yield fault("epochs-overlap", "Two epochs of one recipient share a millisecond.", {"keys": overlap}, "order")
    within = [
        keyring_row(end=NOON + 9 * DAY),
        keyring_row(HYBRID, start=NOON + DAY),
        keyring_row(AUDITOR, start=NOON + 3 * DAY),
    ]
    yield fault("epoch-within-another", "One epoch holds two others.", {"keys": within}, "order")
    one = {"issued": NOON, "v": 1}
    yield fault("issued-in-version-1", "Version 1 does not say when.", one, "field")


_WITHOUT_TAG_18: Final = frozenset({"foreign-tag", "untagged", "wrong-tag"})
"""What does not begin with it is taken for a held read of version 1."""


def _held() -> Iterator[Vector]:
    of = envelope_2()
    right = {"v": 2, "id": hashlib.sha256(of).digest(), "case": "2027-0815", "slot": recipient(CASE)}
    context = {
        "device": DEVICE.public.hex(),
        "envelope": of.hex(),
        "keys": [CASE.context],
        "owner": OWNER.public.hex(),
        "case": "2027-0815",
    }
    head = header(HELD_TYPE, OWNER)

    def made(payload: Map | bytes) -> bytes:
        return sign1(head, payload, OWNER)

    def fault(name: str, why: str, change: Map, cause: str) -> Vector:
        return refused("held", f"2-{name}", why, made(right | change), cause, **context)

    yield accepted("held", "2-right", "The owner held this read for this case.", made(right), READ_2, **context)
    another = encode(right | {"case": "another"})
    yield from (
        vector.renamed(f"2-{vector.name}")
        for vector in sign1_faults("held", head, encode(right), OWNER, DEVICE, replaced=another, **context)
        if vector.name not in _WITHOUT_TAG_18
    )
    yield from map_faults("held", right, made, prefix="2-", **context)
    yield fault("of-another-envelope", "It is for another envelope.", {"id": seed("another")}, "mismatch")
    yield fault("for-another-case", "It is for another case.", {"case": "2027-0816"}, "mismatch")
    slot = recipient(CASE, content_key=seed("another content key"))
    yield fault("another-content-key", "It holds another content key.", {"slot": slot}, "commitment")
    yield fault(
        "absent-key", "It is sealed to somebody whose key is not here.", {"slot": recipient(ABSENT)}, "recipient"
    )
    three = recipient(CASE)
    altered = [*three[:2], flip(three[2], 0)]
    yield fault("altered-key", "One bit of the sealed key is flipped, and signed.", {"slot": altered}, "sealed-key")
    bare = encode(recipient(CASE))
    yield refused("held", "2-unsigned", "A held read of version 1 for version 2.", bare, "version", **context)
