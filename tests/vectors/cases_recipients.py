"""Vectors of an envelope's recipients, and of envelopes that are well formed and signed and do not open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from agent.wire.cbor import encode
from tests.vectors.cases_envelope import SUITES, context_of, fault_of, inside_fault
from tests.vectors.keys import ABSENT, AGENCY, AUDITOR, DEVICE, HYBRID, OTHER_DEVICE, Recipient, seed
from tests.vectors.messages import (
    READ_TYPE,
    content,
    envelope,
    flip,
    flip_part,
    header,
    place,
    recipient,
    set_part,
)
from tests.vectors.vector import Vector


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _recipient_faults()
    yield from _opening_faults()


def _slot(change: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """Return a change of the first recipient."""
    return lambda parts: change(parts[3][0])


def _recipient_faults() -> Iterator[Vector]:
    def fault(name: str, why: str, change: Callable[[list[Any]], Any], cause: str, key: Recipient = AGENCY) -> Vector:
        return inside_fault(f"recipient-{name}", why, _slot(change), cause, context_of(key), keys=[key])

    yield fault(
        "unknown-algorithm",
        "The recipient's algorithm is 35 (HPKE-0).",
        set_part(0, encode({1: 35, 4: AGENCY.kid})),
        "algorithm",
    )
    yield fault(
        "algorithm-text", 'The algorithm is the text "50".', set_part(0, encode({1: "50", 4: AGENCY.kid})), "algorithm"
    )
    yield fault(
        "unknown-header",
        "Its protected header has a field too many.",
        set_part(0, encode({1: 50, 3: "", 4: AGENCY.kid})),
        "field",
    )
    yield fault("short-key-id", "Its key id has 31 bytes.", set_part(0, encode({1: 50, 4: AGENCY.kid[:31]})), "value")
    yield fault("no-encapsulated-key", "It has no encapsulated key.", set_part(1, {}), "field")
    yield fault(
        "unprotected-key-id",
        "Its key id stands in the unprotected header too.",
        lambda slot: slot[1].update({4: AGENCY.kid}),
        "field",
    )
    yield fault("nested-recipient", "It has recipients of its own.", lambda slot: slot.append([]), "value")
    yield fault(
        "short-sealed-key", "The sealed content key has 47 bytes.", lambda slot: slot.append(slot.pop()[:-1]), "value"
    )
    yield fault(
        "long-sealed-key",
        "The sealed content key has 49 bytes.",
        lambda slot: slot.append(slot.pop() + b"\x00"),
        "value",
    )
    for key, length in ((AGENCY, 31), (AUDITOR, 64), (HYBRID, 1119)):
        yield fault(
            f"short-ek-{key.key_type}",
            f"The encapsulated key has {length} bytes.",
            lambda slot: slot[1].update({-4: slot[1][-4][:-1]}),
            "value",
            key,
        )
    yield fault(
        "compressed-ek-p256",
        "The encapsulated key is a compressed point of 33 bytes.",
        lambda slot: slot[1].update({-4: bytes([2 + slot[1][-4][64] % 2]) + slot[1][-4][1:33]}),
        "value",
        AUDITOR,
    )


def _ek(change: Callable[[bytes], bytes]) -> Callable[[list[Any]], Any]:
    return _slot(lambda slot: slot[1].update({-4: change(slot[1][-4])}))


def _flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: flip(data, at)


def _opening_faults() -> Iterator[Vector]:
    yield fault_of("open-no-key", "It is sealed to somebody else.", envelope(), "recipient", context_of(ABSENT))
    wrong_alg = recipient(AGENCY, header={1: 53, 4: AGENCY.kid})
    wrong_alg[1] = {-4: AUDITOR.seal(seed("x"), b"")[0]}
    yield inside_fault(
        "open-algorithm-of-another-key",
        "The key's id stands beside another suite.",
        set_part(3, [wrong_alg]),
        "recipient",
    )
    for key in SUITES:
        opened = context_of(key)
        yield inside_fault(
            f"open-altered-sealed-key-{key.key_type}",
            "One bit of the sealed content key is flipped.",
            _slot(flip_part(2)),
            "sealed-key",
            opened,
            keys=[key],
        )
    yield inside_fault(
        "open-small-order-ek-x25519",
        "The encapsulated key is the point of order 1, so the shared secret is zero.",
        _ek(lambda _: bytes(32)),
        "sealed-key",
    )
    yield inside_fault(
        "open-ek-off-the-curve-p256",
        "The encapsulated key is no point of P-256.",
        _ek(_flipped(64)),
        "sealed-key",
        context_of(AUDITOR),
        keys=[AUDITOR],
    )
    for half, at in (("mlkem", 0), ("x25519", 1100)):
        yield inside_fault(
            f"open-altered-ek-{half}-half",
            f"One bit of the {half} half of the encapsulated key is flipped.",
            _ek(_flipped(at)),
            "sealed-key",
            context_of(HYBRID),
            keys=[HYBRID],
        )
    small = "The X25519 half of the encapsulated key is the point of order 1."
    yield inside_fault(
        "open-small-order-ek-x25519-half",
        small,
        _ek(lambda ek: ek[:1088] + bytes(32)),
        "sealed-key",
        context_of(HYBRID),
        keys=[HYBRID],
    )
    first, second = AGENCY, Recipient("recipient 1, x25519")
    swapped = [[recipient(first)[0], *recipient(second)[1:]], [recipient(second)[0], *recipient(first)[1:]]]
    yield inside_fault(
        "open-swapped-recipients",
        "Two recipients' headers stand before each other's keys.",
        set_part(3, swapped),
        "sealed-key",
    )
    yield inside_fault(
        "open-sealed-for-another-cipher",
        "The content key is sealed for a content in ChaCha20/Poly1305.",
        set_part(3, [recipient(AGENCY, alg=24)]),
        "sealed-key",
    )
    yield inside_fault(
        "open-another-content-key",
        "The sealed content key is another one's.",
        set_part(3, [recipient(AGENCY, content_key=seed("another content key"))]),
        "ciphertext",
    )
    yield inside_fault(
        "open-altered-ciphertext",
        "One bit of the ciphertext is flipped, and the device signed that.",
        flip_part(2),
        "ciphertext",
    )
    yield inside_fault(
        "open-short-ciphertext",
        "The ciphertext's last byte is missing.",
        lambda parts: parts.__setitem__(2, parts[2][:-1]),
        "ciphertext",
    )
    yield inside_fault(
        "open-altered-nonce",
        "One bit of the nonce is flipped.",
        lambda parts: parts[1].update({5: _flipped(0)(parts[1][5])}),
        "ciphertext",
    )
    moved = partial(content, encode(header(READ_TYPE, DEVICE, ps=place())))
    yield fault_of(
        "open-moved-to-another-place",
        "A ciphertext of place 0, signed by its device at place 1.",
        envelope(outer=header(READ_TYPE, DEVICE, ps=place(1)), parts=moved()),
        "ciphertext",
    )
    chain = place(chain=seed("another chain")[:16])
    yield fault_of(
        "open-moved-to-another-chain",
        "A ciphertext of one chain, signed by its device in another.",
        envelope(outer=header(READ_TYPE, DEVICE, ps=chain), parts=moved()),
        "ciphertext",
    )
    yield fault_of(
        "open-moved-to-another-device",
        "One device's ciphertext, signed by another device at the same place.",
        envelope(signer=OTHER_DEVICE, parts=moved()),
        "ciphertext",
        context_of(AGENCY, device=OTHER_DEVICE),
    )
