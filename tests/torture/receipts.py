"""Receipts that prove nothing, against the real worker and spool: none of them erases anything.

| kind | the receipt |
|---|---|
| flipped | every byte of an honest one, changed in every way |
| cut | every length shorter than an honest one, and longer ones |
| damaged | an honest one with random edits |
| forged | by a key that is not pinned, with and without the pinned one's id |
| replayed | honest, of another envelope |
| misdirected | by the right key, of another envelope, length, device, chain or place |
| odd | by the right key, in another form: fields, types, versions, headers; or no receipt at all |
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, cycle
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import TransportError
from agent.wire import cbor, cose
from agent.wire.envelope import MAX_ENVELOPE_BYTES, Envelope
from agent.wire.header import MAX_SEQ
from agent.wire.protocol import Stored
from agent.wire.receipt import CONTENT_TYPE, Receipt, sign_receipt
from tests.fakes.envelopes import make_chain
from tests.fakes.receipts import RECEIVER, honest_receipt
from tests.torture.delivery import KEY, Delivery, delivery
from tests.torture.fuzz import damage
from tests.torture.report import Result

TARGET: Final = "at least 100,000 forged, mutated, replayed, misdirected receipts; 0 erased"
RECEIPTS: Final = 110_000
REDUCED_RECEIPTS: Final = 4_000
ENVELOPES: Final = 64
SEED: Final = 5
ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""RFC 8032, 5.1: adding it to S gives a second signature that a careless check accepts."""

Forger = Callable[[Envelope], bytes]


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Answer a full spool with worthless receipts; then with honest ones, which must empty it."""
    began_s = time.monotonic()
    wanted = RECEIPTS if full else REDUCED_RECEIPTS
    envelopes = make_chain(KEY, ENVELOPES)
    with delivery(lambda envelope: Stored(honest_receipt(envelope))) as parts:
        for envelope in envelopes:
            parts.spool.put(envelope)
        answered, erased = attack(parts, envelopes, wanted, say, full=full)
        parts.transport.answer = lambda envelope: Stored(honest_receipt(envelope))
        parts.worker.run(drain=True)
        left = len(parts.names("pending"))
    kinds = ", ".join(f"{count} {kind}" for kind, count in answered.items())
    figures = f"{answered.total()} receipts ({kinds}): {erased} erased; then honest ones: {left} of {ENVELOPES} left"
    holds = answered.total() >= wanted and erased == 0 and left == 0
    return Result("receipts", TARGET, figures, holds, time.monotonic() - began_s)


def attack(
    parts: Delivery, envelopes: Sequence[Envelope], wanted: int, say: Callable[[str], None], *, full: bool
) -> tuple[Counter[str], int]:
    """Return how many receipts of each kind were answered with, and how many envelopes are not there any more."""
    whole = {envelope.envelope_id: envelope.data for envelope in envelopes}
    answered: Counter[str] = Counter()
    forgers = chain(_systematic(envelopes, every=1 if full else 97), _random(random.Random(SEED)))

    def answer(envelope: Envelope) -> Stored:
        kind, forge = next(forgers)
        receipt = forge(envelope)
        answered[kind] += 1
        return Stored(receipt)

    parts.transport.answer = answer
    erased = 0
    while answered.total() < wanted and not erased:
        with suppress(TransportError):  # as it must be: a receipt proved nothing
            parts.worker.step()
        erased = sum((parts.directory / "pending" / name).read_bytes() != data for name, data in whole.items())
        if answered.total() % 10_000 < ENVELOPES:
            say(f"{answered.total()} of {wanted} receipts, {erased} erased")
    if parts.worker.stats.acknowledged or parts.worker.stats.bad_receipts != answered.total():
        erased = max(erased, 1)
    return answered, erased


def _systematic(envelopes: Sequence[Envelope], *, every: int) -> Iterator[tuple[str, Forger]]:
    """Yield each kind's forgers in turn; of the flips and cuts only every `every`-th."""
    length = min(len(honest_receipt(envelope)) for envelope in envelopes)
    forged = [_by_a_stranger, _by_a_stranger_with_pinned_id, _second_signature]
    yield from (("forged", forger) for forger in forged * (1000 // every + 1))
    yield from (("odd", forger) for forger in _odd_forgers())
    yield from (("misdirected", _naming(**changes)) for changes in _misdirections(envelopes[0]))
    yield from (("replayed", _of(stranger)) for stranger in make_chain(KEY, ENVELOPES))
    yield from (("replayed", _of_neighbour(envelopes, step)) for step in range(1, ENVELOPES) for _ in envelopes)
    yield from (("cut", _cut(count)) for count in range(0, length, every))
    yield from (("cut", _longer(count)) for count in (1, 2, 64, 1024))
    flips = [(at, pattern) for at in range(length) for pattern in range(1, 256)]
    yield from (("flipped", _flip(at, pattern)) for at, pattern in flips[::every])


def _random(rng: random.Random) -> Iterator[tuple[str, Forger]]:
    def damaged(envelope: Envelope) -> bytes:
        honest = honest_receipt(envelope)
        while (changed := damage(honest, rng)) == honest:
            pass
        return changed

    yield from cycle([("damaged", damaged)])


def _flip(at: int, pattern: int) -> Forger:
    def forge(envelope: Envelope) -> bytes:
        data = bytearray(honest_receipt(envelope))
        data[at] ^= pattern
        return bytes(data)

    return forge


def _cut(count: int) -> Forger:
    return lambda envelope: honest_receipt(envelope)[:count]


def _longer(count: int) -> Forger:
    return lambda envelope: honest_receipt(envelope) + bytes(count)


def _of(other: Envelope) -> Forger:
    return lambda _: honest_receipt(other)


def _of_neighbour(envelopes: Sequence[Envelope], step: int) -> Forger:
    places = {envelope.envelope_id: index for index, envelope in enumerate(envelopes)}
    return lambda envelope: honest_receipt(envelopes[(places[envelope.envelope_id] + step) % len(envelopes)])


def _by_a_stranger(envelope: Envelope) -> bytes:
    return honest_receipt(envelope, key=Ed25519PrivateKey.generate())


def _by_a_stranger_with_pinned_id(envelope: Envelope) -> bytes:
    protected, _, payload, _ = cbor2.loads(honest_receipt(envelope)).value
    return cose.sign1(protected, payload, Ed25519PrivateKey.generate())


def _second_signature(envelope: Envelope) -> bytes:
    protected, _, payload, signature = cbor2.loads(honest_receipt(envelope)).value
    scalar = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    again = signature[:32] + scalar.to_bytes(32, "little")
    return cbor.encode(cbor2.CBORTag(cose.TAG_SIGN1, [protected, {}, payload, again]))


def _misdirections(envelope: Envelope) -> Iterator[dict[str, Any]]:
    """Yield what a receipt by the right key may name wrongly."""
    yield from ({"envelope_id": other} for other in ("00" * 32, "ff" * 32, envelope.envelope_id[::-1]))
    yield from ({"length": length} for length in (0, 1, len(envelope.data) + 1000, MAX_ENVELOPE_BYTES))
    yield from ({"device_kid": bytes([byte]) * 32} for byte in range(8))
    yield from ({"chain": bytes([byte]) * 16} for byte in range(8))
    yield from ({"seq": seq} for seq in (ENVELOPES, 1000, MAX_SEQ))


def _naming(**changes: Any) -> Forger:
    def forge(envelope: Envelope) -> bytes:
        position = envelope.position
        fields = {
            "envelope_id": envelope.envelope_id,
            "length": len(envelope.data),
            "device_kid": envelope.device_kid,
            "chain": position.chain,
            "seq": position.seq,
            **changes,
        }
        return sign_receipt(Receipt(stored_at=datetime(2026, 3, 1, tzinfo=UTC), log_index=1, **fields), RECEIVER)

    return forge


def _odd_forgers() -> Iterator[Forger]:
    yield lambda _: b""
    yield lambda envelope: envelope.data
    yield lambda envelope: envelope.digest
    for key, value in (("v", 0), ("v", 2), ("v", True), ("id", "text"), ("len", 1.5), ("at", "now"), ("log", -1)):
        yield _with_payload({key: value})
    for key in ("v", "id", "len", "dev", "chain", "seq", "at", "log"):
        yield _with_payload({}, without=key)
    yield _with_payload({"more": 1})
    yield _with_payload({}, encode=lambda fields: cbor2.dumps(dict(reversed(fields.items()))))
    yield _with_header({cose.HEADER_ALG: -7})
    yield _with_header({cose.HEADER_CONTENT_TYPE: "application/plateseal+cbor"})
    yield _with_header({cose.HEADER_KID: b"short"})
    yield _with_header({"more": 1})


def _with_payload(
    changes: dict[str, Any], *, without: str = "", encode: Callable[[dict[str, Any]], bytes] = cbor.encode
) -> Forger:
    def forge(envelope: Envelope) -> bytes:
        protected, _, payload, _ = cbor2.loads(honest_receipt(envelope)).value
        fields = {key: value for key, value in {**cbor2.loads(payload), **changes}.items() if key != without}
        return cose.sign1(protected, encode(fields), RECEIVER)

    return forge


def _with_header(changes: cbor.CborMap) -> Forger:
    def forge(envelope: Envelope) -> bytes:
        _, _, payload, _ = cbor2.loads(honest_receipt(envelope)).value
        header = {**cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(RECEIVER.public_key())), **changes}
        return cose.sign1(cose.encode_protected(header), payload, RECEIVER)

    return forge
