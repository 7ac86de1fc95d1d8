"""Mutated messages against every parser of outside bytes: nothing but our errors may come out.

    python -m tests.torture fuzz

Half of the mutants are signed again after the mutation, so that they reach the parts behind the signature.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import PlatesealError
from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.wire import cbor, cose, suites
from agent.wire import protocol as reply
from agent.wire.envelope import parse_envelope, sign_tombstone, verify_envelope
from agent.wire.keyring import encode_keyring, parse_keyring
from agent.wire.protocol import Answer, Later, Refused, Stored
from agent.wire.receipt import verify_receipt
from agent.wire.renewal import encode_renewal, parse_renewal, verify_renewal
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.reads import NOON, SAMPLE, make_keyring, make_recipient
from tests.fakes.receipts import PINNED, RECEIVER, honest_receipt
from tests.torture.report import Result

INPUTS: Final = 200_000
"""Per parser."""
REDUCED_INPUTS: Final = 300
SEED: Final = 1
MAX_CPU_MS: Final = 10.0
MAX_PEAK_BYTES: Final = 10_000_000
TARGET: Final = (
    f"200,000 mutated messages per parser: only our errors, at most {MAX_CPU_MS:g} ms of CPU and "
    f"{MAX_PEAK_BYTES / 1e6:g} MB each"
)
INTERESTING: Final = (0, 1, 23, 24, 0x18, 0x1B, 0x40, 0x5B, 0x5F, 0x7B, 0x7F, 0x80, 0x9B, 0x9F, 0xA0, 0xBB, 0xBF, 0xC0,
    0xD8, 0xF6, 0xF7, 0xF9, 0xFB, 0xFF)  # fmt: skip
"""First bytes of CBOR items at the edges of its types."""


@dataclass(frozen=True)
class Target:
    """One parser with seeds to mutate."""

    name: str
    parse: Callable[[bytes], object]
    seeds: list[bytes]
    signer: Ed25519PrivateKey | None


@dataclass
class Outcome:
    """What a campaign against one parser saw."""

    target: str
    inputs: int = 0
    accepted: int = 0
    slowest_ms: float = 0.0
    peak_bytes: int = 0


def targets() -> list[Target]:
    """Return every parser of outside bytes, with valid messages as seeds."""
    device = Ed25519PrivateKey.generate()
    keys = [make_recipient(key_type, recipient=str(key_type))[0] for key_type in suites.KeyType]
    envelopes = [
        Sealer(signing_key=device, book=KeyringBook(make_keyring(*some)), cipher=cipher).seal(SAMPLE, Chain().next)
        for some in (keys[:1], keys)
        for cipher in suites.ContentCipher
    ]
    gone = tuple(Gone(b"\x01" * 16, seq, seq + 1, bytes([seq]) * 32) for seq in range(0, 9, 3))
    tombstones = [
        sign_tombstone(Tombstone(LossReason.EXPIRED, 6, NOON, NOON, gone), device, Chain().next),
        sign_tombstone(Tombstone(LossReason.EVICTED, 9, NOON, NOON, gone[:1]), device, Chain().next),
        sign_tombstone(Tombstone(LossReason.OVERFLOW, 5, NOON, NOON), device, Chain(last=b"\x05" * 32).next),
    ]
    all_envelopes = [*envelopes, *tombstones]
    receipts = [honest_receipt(envelope) for envelope in all_envelopes]
    answers: list[Answer] = [Stored(receipts[0]), Refused("fork"), Later(60)]
    keyrings = [encode_keyring(make_keyring(*some), device) for some in (keys[:1], keys)]
    return [
        Target(
            "envelope",
            lambda data: verify_envelope(parse_envelope(data), device.public_key()),
            [envelope.data for envelope in all_envelopes],
            device,
        ),
        Target("receipt", lambda data: verify_receipt(data, all_envelopes[0], PINNED), receipts, RECEIVER),
        Target("keyring", lambda data: parse_keyring(data, device.public_key()), keyrings, device),
        Target(
            "renewal",
            lambda data: verify_renewal(parse_renewal(data), device.public_key()),
            [encode_renewal(device="cam-1", certificate_der=bytes(range(256)) * 3, key=device)],
            device,
        ),
        Target("reply", lambda data: reply.parse_reply(data, expected=3), [reply.encode_reply(answers)], None),
        Target(
            "request",
            reply.parse_request,
            [reply.encode_request([envelope.data for envelope in envelopes[:2]])],
            None,
        ),
    ]


def attack(target: Target, *, count: int, seed: int) -> Outcome:
    """Run a campaign; anything that is not ours comes through as it is.

    Args:
        target: The parser.
        count: How many inputs.
        seed: The same seed gives the same mutations of the same seeds.
    """
    rng = random.Random(seed)
    outcome = Outcome(target.name)
    tracemalloc.start()
    try:
        for _ in range(count):
            data = mutant(target, rng)
            tracemalloc.reset_peak()
            before_bytes = tracemalloc.get_traced_memory()[0]
            took_ms, accepted = _once(target, data)
            if took_ms > outcome.slowest_ms:  # an input's own cost, not a collection or a busy machine
                took_ms = min(took_ms, *(_once(target, data)[0] for _ in range(3)))
            outcome.accepted += accepted
            outcome.slowest_ms = max(outcome.slowest_ms, took_ms)
            outcome.peak_bytes = max(outcome.peak_bytes, tracemalloc.get_traced_memory()[1] - before_bytes)
            outcome.inputs += 1
    finally:
        tracemalloc.stop()
    return outcome


def _once(target: Target, data: bytes) -> tuple[float, bool]:
    """Return milliseconds of CPU, and whether the input was accepted."""
    began_s = time.thread_time()
    try:
        target.parse(data)
    except PlatesealError:
        return 1000 * (time.thread_time() - began_s), False
    return 1000 * (time.thread_time() - began_s), True


def mutant(target: Target, rng: random.Random) -> bytes:
    """Return a damaged copy of one of the seeds, every other time with a fresh signature."""
    seed = rng.choice(target.seeds)
    if target.signer is None or rng.random() < 0.5:
        return damage(seed, rng)
    protected, _, payload, _ = cbor2.loads(seed).value
    if rng.random() < 0.5:
        protected = damage(protected, rng)
    else:
        payload = damage(payload, rng)
    return cose.sign1(protected, payload, target.signer)


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change a few places: bits, bytes, runs; cut off, repeat, or splice in an odd item."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(changed) + 1)
        match rng.randrange(8):
            case 0 if where < len(changed):
                changed[where] ^= 1 << rng.randrange(8)
            case 1 if where < len(changed):
                changed[where] = rng.choice(INTERESTING)
            case 2:
                changed.insert(where, rng.choice(INTERESTING))
            case 3:
                del changed[where : where + rng.randint(1, 8)]
            case 4:
                del changed[where:]
            case 5:
                changed[where:where] = changed[where : where + rng.randint(1, 64)]
            case 6:
                changed[where:where] = bytes([rng.choice(INTERESTING)]) * rng.choice((1, 9, 500))
            case _:
                changed[where:where] = cbor.encode({rng.randint(-24, 23): rng.randint(0, 1 << 64)})
    return bytes(changed)


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Run a campaign against every parser; a reduced one judges neither time nor memory."""
    began_s = time.monotonic()
    count = INPUTS if full else REDUCED_INPUTS
    outcomes: list[Outcome] = []
    for target in targets():
        outcomes.append(attack(target, count=count, seed=SEED))
        say(f"{target.name}: {count} inputs, {outcomes[-1].accepted} accepted")
    slowest_ms = max(outcome.slowest_ms for outcome in outcomes)
    peak_bytes = max(outcome.peak_bytes for outcome in outcomes)
    figures = (
        f"{sum(outcome.inputs for outcome in outcomes)} inputs to {len(outcomes)} parsers, only our errors; slowest "
        f"{slowest_ms:.1f} ms of CPU, peak {peak_bytes / 1e6:.2f} MB"
    )
    holds = not full or (slowest_ms <= MAX_CPU_MS and peak_bytes <= MAX_PEAK_BYTES)
    return Result("fuzz", TARGET, figures, holds, time.monotonic() - began_s)
