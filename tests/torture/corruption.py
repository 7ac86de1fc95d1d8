"""A spool file with one wrong byte, at every place, or cut off, at every length: found, set aside, nobody held up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.wire import suites
from agent.wire.envelope import Envelope
from agent.wire.protocol import Stored
from tests.fakes.reads import make_keyring, make_plaintext, make_recipient
from tests.fakes.receipts import honest_receipt
from tests.torture.delivery import KEY, Delivery, delivery
from tests.torture.report import Result

TARGET: Final = (
    "single-byte corruption and every truncation length of a spool file: 100 % detected and quarantined, "
    "all others delivered"
)
CROP_BYTES: Final = 11_000
"""With it an envelope takes about 12 kB, as a real one does."""
REDUCED_CROP_BYTES: Final = 64
TOGETHER: Final = 16
"""Damaged files in the spool at a time, beside as many whole ones."""
SEED: Final = 5

Damage = tuple[str, int]
"""What is done to a file: ("byte", its offset) or ("length", what is left)."""


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Damage spool files in every way, a few at a time, and deliver."""
    began_s = time.monotonic()
    rng = random.Random(SEED)
    envelopes = seal(2 * TOGETHER, crop_bytes=CROP_BYTES if full else REDUCED_CROP_BYTES)
    size = min(len(envelope.data) for envelope in envelopes)
    todo = [*(("byte", at) for at in range(size)), *(("length", count) for count in range(size))]
    caught = delivered = rounds = 0
    with delivery(lambda envelope: Stored(honest_receipt(envelope))) as parts:
        for cases in _groups(todo):
            now_caught, now_delivered = one_round(parts, envelopes, cases, rng)
            caught, delivered, rounds = caught + now_caught, delivered + now_delivered, rounds + 1
            if rounds % 200 == 0:
                say(f"{caught} of {len(todo)} damaged files set aside")
    others = 2 * TOGETHER * rounds - len(todo)
    figures = (
        f"a file of {size} bytes damaged in {len(todo)} ways: {caught} found and set aside, "
        f"{delivered} of {others} others delivered"
    )
    return Result(
        "corruption", TARGET, figures, caught == len(todo) and delivered == others, time.monotonic() - began_s
    )


def one_round(
    parts: Delivery, envelopes: Sequence[Envelope], cases: Sequence[Damage], rng: random.Random
) -> tuple[int, int]:
    """Fill the spool, damage one file per case, and deliver.

    Returns:
        How many of the damaged ones are in quarantine with a reason, their bytes as they were found and not sent; and
        how many of the others were sent and erased.
    """
    damaged: dict[str, bytes] = {}
    for index, envelope in enumerate(envelopes):
        parts.spool.put(envelope)
        if index < len(cases):
            damaged[envelope.envelope_id] = _damage(envelope.data, cases[index], rng)
            (parts.directory / "pending" / envelope.envelope_id).write_bytes(damaged[envelope.envelope_id])
    parts.transport.sent.clear()
    parts.worker.run(drain=True)
    kept, quarantine = parts.names("quarantine"), parts.directory / "quarantine"
    caught = sum(
        name not in parts.transport.sent
        and {name, f"{name}.reason"} <= kept
        and (quarantine / name).read_bytes() == data
        and b"corrupt" in (quarantine / f"{name}.reason").read_bytes()
        for name, data in damaged.items()
    )
    left = kept | parts.names("pending") | parts.names("shredding")
    delivered = sum(
        envelope.envelope_id in parts.transport.sent and envelope.envelope_id not in left for envelope in envelopes
    )
    for path in quarantine.iterdir():
        path.unlink()
    return caught, delivered


def seal(count: int, *, crop_bytes: int) -> list[Envelope]:
    """Return a chain of sealed reads."""
    recipient, _ = make_recipient(suites.KeyType.X25519)
    sealer = Sealer(signing_key=KEY, book=KeyringBook(make_keyring(recipient)), cipher=suites.ContentCipher.AES_256_GCM)
    chain, envelopes = Chain(), []
    for _ in range(count):
        envelopes.append(sealer.seal(make_plaintext(crop=bytes(crop_bytes)), chain.next))
        chain.advance(envelopes[-1])
    return envelopes


def _groups(todo: Sequence[Damage]) -> Iterator[Sequence[Damage]]:
    return (todo[at : at + TOGETHER] for at in range(0, len(todo), TOGETHER))


def _damage(data: bytes, case: Damage, rng: random.Random) -> bytes:
    what, at = case
    if what == "length":
        return data[:at]
    changed = bytearray(data)
    changed[at] ^= rng.randrange(1, 256)
    return bytes(changed)
