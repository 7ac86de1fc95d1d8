"""Vectors of what unit and receiver say in the clear: tombstone, receipt, request and reply, rotation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from agent.wire.cbor import encode
from tests.vectors.keys import DEVICE, OTHER_DEVICE, OTHER_RECEIVER, OWNER, RECEIVER, Signer, seed
from tests.vectors.messages import (
    CHAIN,
    ENVELOPE,
    EVICTED,
    KEYRING_TYPE,
    MAX_SEQ,
    NEW_KEY,
    READ_TYPE,
    RECEIPT,
    RECEIPT_TYPE,
    ROTATION_TYPE,
    TOMBSTONE,
    TOMBSTONE_TYPE,
    Map,
    certificate_request,
    changed,
    envelope,
    flip,
    header,
    place,
    receipt,
    rotation,
    rotation_payload,
    set_part,
    sign1,
    signature,
    tombstone,
)
from tests.vectors.vector import Vector, accepted, map_faults, refused, sign1_faults

_DEVICE = {"device": DEVICE.public.hex()}
_PINNED: Map = {"receivers": [RECEIVER.public.hex()], "envelope": ENVELOPE.hex()}
_ENROLLED: Map = {"enrolled": [{"name": "north-gate", "key": DEVICE.public.hex()}]}
_LATER_CHAIN = max(CHAIN, seed("another chain")[:16])
_EARLIER_CHAIN = min(CHAIN, seed("another chain")[:16])
_MIB = 1 << 20


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _right_tombstones()
    yield from _tombstone_faults()
    yield from _receipts()
    yield from _receipt_faults()
    yield from _requests()
    yield from _replies()
    yield from _rotations()
    yield from _rotation_faults()


def _gone(first: int, last: int, chain: bytes = CHAIN) -> list[Any]:
    return [chain, first, last, seed(f"gone {last}")]


def _right_tombstones() -> Iterator[Vector]:
    chains = [_gone(0, 2, _EARLIER_CHAIN), _gone(3, 3, _LATER_CHAIN), _gone(5, MAX_SEQ, _LATER_CHAIN)]
    for name, why, payload in (
        ("right-overflow", "Three reads were refused; they leave no gap.", TOMBSTONE),
        (
            "right-expired",
            "One place of one chain.",
            EVICTED | {"reason": "expired", "gone": [_gone(4, 4)], "count": 1},
        ),
        (
            "right-evicted",
            "Ranges of two chains; between two of one chain one place is left.",
            EVICTED | {"gone": chains},
        ),
        (
            "right-count-of-others",
            "It took over an older tombstone, so it counts more reads than places.",
            EVICTED | {"count": MAX_SEQ},
        ),
    ):
        data = tombstone(payload)
        values = {"id": hashlib.sha256(data).digest(), "kid": DEVICE.kid, "ps": place(7), "tombstone": payload}
        yield accepted("tombstone", name, why, data, values, **_DEVICE)


def _tombstone_faults() -> Iterator[Vector]:
    head = header(TOMBSTONE_TYPE, DEVICE, ps=place(7))
    replaced = encode(TOMBSTONE | {"count": 2})
    yield from sign1_faults("tombstone", head, encode(TOMBSTONE), DEVICE, OTHER_DEVICE, replaced=replaced, **_DEVICE)
    yield from map_faults("tombstone", TOMBSTONE, tombstone, **_DEVICE)
    faults: dict[str, tuple[str, str, Map]] = {
        "no-read": ("It stands for no read.", "value", TOMBSTONE | {"count": 0}),
        "count-too-high": ("It stands for 2^53 reads.", "value", TOMBSTONE | {"count": MAX_SEQ + 1}),
        "unknown-reason": ("A reason that there is not.", "value", TOMBSTONE | {"reason": "lost"}),
        "overflow-with-places": (
            "Reads that were never accepted have no place.",
            "value",
            EVICTED | {"reason": "overflow"},
        ),
        "evicted-without-places": ("Reads that were accepted had a place.", "value", EVICTED | {"gone": []}),
        "expired-without-places": ("Reads that were accepted had a place.", "value", TOMBSTONE | {"reason": "expired"}),
        "ranges-overlap": ("Two ranges share place 2.", "order", EVICTED | {"gone": [_gone(0, 2), _gone(2, 4)]}),
        "ranges-touch": (
            "Two ranges are one: 0 to 2 and 3 to 4.",
            "order",
            EVICTED | {"gone": [_gone(0, 2), _gone(3, 4)]},
        ),
        "ranges-unsorted": ("The later range stands first.", "order", EVICTED | {"gone": [_gone(5, 6), _gone(0, 2)]}),
        "range-twice": ("One range stands there twice.", "order", EVICTED | {"gone": [_gone(0, 2), _gone(0, 2)]}),
        "chains-unsorted": (
            "The later chain stands first.",
            "order",
            EVICTED | {"gone": [_gone(0, 2, _LATER_CHAIN), _gone(4, 5, _EARLIER_CHAIN)]},
        ),
        "range-reversed": ("A range from 2 to 0.", "order", EVICTED | {"gone": [_gone(2, 0)]}),
        "range-of-three": ("A range without its digest.", "value", EVICTED | {"gone": [_gone(0, 2)[:3]]}),
        "short-digest": ("A digest of 31 bytes.", "value", EVICTED | {"gone": [[CHAIN, 0, 2, bytes(31)]]}),
        "short-chain": ("A chain of 15 bytes.", "value", EVICTED | {"gone": [[CHAIN[:15], 0, 2, bytes(32)]]}),
        "too-many-ranges": ("1025 ranges.", "value", EVICTED | {"gone": [_gone(2 * at, 2 * at) for at in range(1025)]}),
        "negative-time": ("A time before 1970.", "value", TOMBSTONE | {"from": -1}),
    }
    for name, (why, cause, payload) in faults.items():
        yield refused("tombstone", name, why, tombstone(payload), cause, **_DEVICE)
    sealed = sign1(head, sealed_payload(), DEVICE)
    yield refused(
        "tombstone", "sealed-read", "A sealed read under a tombstone's content type.", sealed, "value", **_DEVICE
    )


def sealed_payload() -> bytes:
    """Return the COSE_Encrypt of the envelope that receipts are for."""
    parts: list[bytes] = []
    envelope(alter=lambda message: parts.append(message[2]))
    return parts[0]


def _receipts() -> Iterator[Vector]:
    yield accepted("receipt", "right", "A pinned receiver holds exactly this envelope.", receipt(), RECEIPT, **_PINNED)
    two = _PINNED | {"receivers": [OTHER_RECEIVER.public.hex(), RECEIVER.public.hex()]}
    yield accepted(
        "receipt",
        "right-second-pinned-key",
        "Two keys are pinned; the second one signed it.",
        receipt(),
        RECEIPT,
        **two,
    )
    edges = RECEIPT | {"at": 253_402_300_799_999, "log": MAX_SEQ}
    yield accepted("receipt", "right-edges", "The last time and the highest index.", receipt(edges), edges, **_PINNED)
    buried = tombstone()
    of_tombstone = RECEIPT | {"id": hashlib.sha256(buried).digest(), "len": len(buried), "seq": 7}
    context = _PINNED | {"envelope": buried.hex()}
    yield accepted(
        "receipt",
        "right-for-a-tombstone",
        "A tombstone is an envelope too.",
        receipt(of_tombstone),
        of_tombstone,
        **context,
    )


def _receipt_faults() -> Iterator[Vector]:
    head = header(RECEIPT_TYPE, RECEIVER)
    replaced = encode(RECEIPT | {"log": 18})
    yield from sign1_faults("receipt", head, encode(RECEIPT), RECEIVER, OTHER_RECEIVER, replaced=replaced, **_PINNED)
    yield from map_faults("receipt", RECEIPT, receipt, **_PINNED)
    faults: dict[str, tuple[str, str, Map]] = {
        "for-another-envelope": (
            "A receipt for another envelope at the same place.",
            "mismatch",
            {"id": seed("another envelope")},
        ),
        "for-another-length": ("It names one byte more.", "mismatch", {"len": len(ENVELOPE) + 1}),
        "for-another-device": ("It names another device's key.", "mismatch", {"dev": OTHER_DEVICE.kid}),
        "for-another-chain": ("It names another chain.", "mismatch", {"chain": seed("another chain")[:16]}),
        "for-another-place": ("It names the next place.", "mismatch", {"seq": 1}),
        "length-over-the-limit": ("It names more bytes than an envelope may have.", "value", {"len": _MIB + 1}),
        "id-in-hex": ("The id is a text.", "value", {"id": RECEIPT["id"].hex()}),
        "short-id": ("The id has 31 bytes.", "value", {"id": RECEIPT["id"][:31]}),
        "negative-place": ("The place is -1.", "value", {"seq": -1}),
        "index-too-high": ("The index is 2^53.", "value", {"log": MAX_SEQ + 1}),
        "time-too-late": ("A time after the year 9999.", "value", {"at": 253_402_300_800_000}),
    }
    for name, (why, cause, change) in faults.items():
        yield refused("receipt", name, why, receipt(RECEIPT | change), cause, **_PINNED)
    replayed = _PINNED | {"envelope": envelope(read=b"").hex()}
    yield refused(
        "receipt", "replayed", "A right receipt, replayed for another envelope.", receipt(), "mismatch", **replayed
    )
    own = sign1(header(RECEIPT_TYPE, DEVICE), encode(RECEIPT), DEVICE)
    yield refused("receipt", "by-the-device", "The device signed it itself.", own, "signer", **_PINNED)
    none = _PINNED | {"receivers": []}
    yield refused("receipt", "nobody-pinned", "No receiver's key is pinned.", receipt(), "signer", **none)
    as_keyring = sign1(header(KEYRING_TYPE, RECEIVER), encode(RECEIPT), RECEIVER)
    yield refused("receipt", "keyring-type", "The content type is a keyring's.", as_keyring, "content-type", **_PINNED)
    other = signature(encode(header(READ_TYPE, RECEIVER)), encode(RECEIPT), RECEIVER)
    confused = receipt(alter=set_part(3, other))
    yield refused(
        "receipt",
        "signature-of-another-type",
        "The signature is over the same payload as a read.",
        confused,
        "signature",
        **_PINNED,
    )
    padded = receipt() + bytes(1025 - len(receipt()))
    yield refused(
        "receipt",
        "too-long",
        "Longer than a receipt may be: zeros follow it, up to 1025 bytes.",
        padded,
        "size",
        **_PINNED,
    )


def _requests() -> Iterator[Vector]:
    buried = tombstone()
    for name, why, items in (
        ("right-one", "One envelope.", [ENVELOPE]),
        ("right-two", "A read and a tombstone.", [ENVELOPE, buried]),
        ("right-not-looked-into", "What is in an item is not looked into here.", [b"", b"\x00"]),
        ("right-64", "As many items as there may be.", [bytes([number]) for number in range(64)]),
    ):
        yield accepted("request", name, why, b"".join(map(encode, items)), items)
    one = encode(ENVELOPE)
    for name, why, data, cause in (
        ("empty", "No envelope.", b"", "value"),
        ("65-items", "One item too many.", b"\x41\x00" * 65, "value"),
        ("text-item", "An item is a text.", one + b"\x61a", "value"),
        ("array-of-envelopes", "An array of envelopes, not a sequence.", encode([ENVELOPE]), "value"),
        ("truncated", "The last byte is missing.", one[:-1], "encoding"),
        ("indefinite-item", "An item in chunks.", b"\x5f\x41\x00\xff", "encoding"),
        ("long-length", "An item's length 1 takes two bytes.", b"\x58\x01\x00", "encoding"),
        ("stray-break", "A break stands behind the envelope.", one + b"\xff", "encoding"),
        ("envelope-too-long", "An item of one byte more than an envelope may have.", encode(bytes(_MIB + 1)), "size"),
        ("too-long", "Eight items of 1 MiB and their heads: more than 8 MiB.", encode(bytes(_MIB)) * 8, "size"),
    ):
        yield refused("request", name, why, data, cause)


def _replies() -> Iterator[Vector]:
    stored, no, later = [0, receipt()], [1, "this place is taken"], [2, 60]
    right: tuple[tuple[str, str, list[Any]], ...] = (
        ("right-stored", "The receipt of one envelope; it is verified by itself.", [stored]),
        ("right-refused", "Refused for good.", [no]),
        ("right-later", "Put off.", [later]),
        ("right-three", "One answer of each kind, in order.", [stored, no, later]),
        (
            "right-edges",
            "The longest reason, with characters of four bytes, the shortest wait and the longest.",
            [[1, "\U0001f697" * 200], [2, 0], [2, 86_400]],
        ),
    )
    for name, why, items in right:
        yield accepted("reply", name, why, b"".join(map(encode, items)), items, sent=len(items))
    faults: tuple[tuple[str, str, list[Any], int], ...] = (
        ("too-few", "One answer for two envelopes.", [stored], 2),
        ("too-many", "Two answers for one envelope.", [stored, later], 1),
        ("unknown-kind", "An answer of kind 3.", [[3, b""]], 1),
        ("boolean-kind", "The kind is `false`, which some languages take for 0.", [[False, receipt()]], 1),
        ("long-reason", "A reason of 201 characters.", [[1, "x" * 201]], 1),
        ("wait-too-long", "A wait of a day and a second.", [[2, 86_401]], 1),
        ("negative-wait", "A wait of -1 second.", [[2, -1]], 1),
        ("receipt-as-text", "The receipt is a text.", [[0, "receipt"]], 1),
        ("three-parts", "An answer of three parts.", [[2, 60, 0]], 1),
        ("bare-receipt", "A receipt stands where an answer must.", [receipt()], 1),
    )
    for name, why, items, sent in faults:
        yield refused("reply", name, why, b"".join(map(encode, items)), "value", sent=sent)
    good = encode(later)
    yield refused("reply", "truncated", "The last byte is missing.", good[:-1], "encoding", sent=1)
    yield refused("reply", "long-integer", "The kind takes two bytes.", b"\x82\x18\x02\x18\x3c", "encoding", sent=1)
    yield refused("reply", "float-wait", "The wait is the float 60.0.", b"\x82\x02\xf9\x53\x80", "encoding", sent=1)
    too_long = encode([0, bytes(64 * (1024 + 8))])
    yield refused(
        "reply", "too-long", "One answer of more bytes than a whole reply may have.", too_long, "size", sent=1
    )


def _rotations() -> Iterator[Vector]:
    payload = rotation_payload()
    why = "The old key vouches for the new one, which has proven itself."
    yield accepted("rotation", "right", why, rotation(), payload, **_ENROLLED)
    both = {"enrolled": [{"name": "south-gate", "key": OTHER_DEVICE.public.hex()}, *_ENROLLED["enrolled"]]}
    yield accepted(
        "rotation",
        "right-second-enrolled",
        "Two units are enrolled; it is the second one's.",
        rotation(),
        payload,
        **both,
    )


def _rotation_faults() -> Iterator[Vector]:
    right = rotation_payload()
    head = header(ROTATION_TYPE, DEVICE)
    for vector in sign1_faults("rotation", head, encode(right), DEVICE, OTHER_DEVICE, replaced=None, **_ENROLLED):
        if vector.name != "wrong-signer":  # the proof names the old key's id, so it would be the second fault
            yield vector
    yield from map_faults("rotation", right, lambda data: sign1(head, data, DEVICE), **_ENROLLED)

    def fault(name: str, why: str, data: bytes, cause: str, context: Map = _ENROLLED) -> Vector:
        return refused("rotation", name, why, data, cause, **context)

    proof = right["proof"]
    yield fault(
        "altered-proof", "One bit of the proof is flipped.", rotation(right | {"proof": flip(proof, 0)}), "proof"
    )
    by_old = rotation(right | {"proof": rotation_payload(new=DEVICE)["proof"]})
    yield fault("proof-by-the-old-key", "The old key made the proof for its own rotation.", by_old, "proof")
    elsewhere = rotation_payload(device="south-gate", csr=certificate_request("south-gate"))["proof"]
    yield fault(
        "proof-for-another-name",
        "The proof is for another unit's name.",
        rotation(right | {"proof": elsewhere}),
        "proof",
    )
    foreign = Signer("a key of somebody else")
    yield fault(
        "key-without-its-proof",
        "The new key is somebody else's, and the proof is not by it.",
        rotation(right | {"key": foreign.public}),
        "proof",
    )
    by_new = sign1(head, encode(right), NEW_KEY)
    yield fault("signed-by-the-new-key", "The new key signed it under the old key's id.", by_new, "signature")
    nobody = {"enrolled": [{"name": "north-gate", "key": OTHER_DEVICE.public.hex()}]}
    yield fault("old-key-not-enrolled", "The key that signed it is not enrolled.", rotation(), "signer", nobody)
    renamed = {"enrolled": [{"name": "south-gate", "key": DEVICE.public.hex()}]}
    yield fault(
        "enrolled-under-another-name", "The key that signed it is another unit's.", rotation(), "mismatch", renamed
    )
    yield fault("to-the-same-key", "The new key is the old one.", rotation(rotation_payload(new=DEVICE)), "same-key")
    small = right | {"key": b"\x01" + bytes(31), "proof": b"\x01" + bytes(63)}
    yield fault(
        "small-order-key",
        "The new key is the point of order 1, under which this proof holds for anything.",
        rotation(small),
        "key",
    )
    yield fault("short-key", "The new key has 31 bytes.", rotation(right | {"key": NEW_KEY.public[:31]}), "value")
    yield fault("short-proof", "The proof has 63 bytes.", rotation(right | {"proof": proof[:63]}), "value")
    yield fault("no-request", "The certificate request is empty.", rotation(rotation_payload(csr=b"")), "value")
    yield fault(
        "request-too-long",
        "The certificate request has 2049 bytes.",
        rotation(rotation_payload(csr=bytes(2049))),
        "value",
    )
    yield fault("long-name", "The name has 65 characters.", rotation(changed(right, device="n" * 65)), "value")
    yield fault(
        "owner-signed",
        "The owner's key signed it, and is enrolled as no unit.",
        sign1(header(ROTATION_TYPE, OWNER), encode(proven_for(OWNER)), OWNER),
        "signer",
    )
    padded = rotation() + bytes(4097 - len(rotation()))
    yield fault("too-long", "Longer than a statement may be: zeros follow it, up to 4097 bytes.", padded, "size")


def proven_for(old: Signer) -> Map:
    """Return a payload whose proof names another old key."""
    request = certificate_request()
    proof = NEW_KEY.key.sign(encode(["plateseal rotation 1", old.kid, "north-gate", NEW_KEY.public, request]))
    return rotation_payload(proof=proof)
