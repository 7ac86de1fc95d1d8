"""A small share of the fuzzing campaign of `make torture`, and random damage to large envelopes."""

from __future__ import annotations

import random

import pytest

from agent.errors import PlatesealError
from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.wire import suites
from agent.wire.envelope import parse_envelope, verify_envelope
from tests.fakes.reads import make_keyring, make_plaintext, make_recipient
from tests.fakes.receipts import RECEIVER
from tests.torture import fuzz

COUNT = 2000


@pytest.mark.parametrize("target", fuzz.targets(), ids=lambda target: target.name)
def test_mutants_raise_our_errors_only(target: fuzz.Target) -> None:
    """Whatever else a parser raises comes through and fails the test; memory stays bounded."""
    outcome = fuzz.attack(target, count=COUNT, seed=7)
    assert outcome.inputs == COUNT
    assert outcome.peak_bytes < fuzz.MAX_PEAK_BYTES


def test_seeds_are_valid_before_they_are_damaged() -> None:
    """Otherwise the campaign would test nothing behind the first check."""
    targets = fuzz.targets()
    assert len(targets) > 3
    for target in targets:
        accepted = 0
        for seed in target.seeds:
            try:
                target.parse(seed)
            except PlatesealError:
                continue
            accepted += 1
        assert accepted >= 1, target.name


@pytest.mark.needs("campaigns")
def test_ten_thousand_random_flips_of_a_large_envelope_are_refused() -> None:
    """A hybrid envelope with a 12 kB crop: any single bit, anywhere."""
    recipient, _ = make_recipient(suites.KeyType.HYBRID)
    sealer = Sealer(
        signing_key=RECEIVER, book=KeyringBook(make_keyring(recipient)), cipher=suites.ContentCipher.AES_256_GCM
    )
    data = sealer.seal(make_plaintext(crop=bytes(range(256)) * 48), Chain().next).data
    rng = random.Random(3)
    for _ in range(10_000):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with pytest.raises(PlatesealError):
            verify_envelope(parse_envelope(bytes(flipped)), RECEIVER.public_key())
