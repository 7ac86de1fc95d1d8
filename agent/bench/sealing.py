"""How fast reads are sealed, and how much longer they get: `make bench` prints it.

    python -m agent.bench.sealing

One process on one core, by CPU time, the best of several rounds: a shared machine is slow now and then, never too fast.
Beside it, in the same run, what the algorithms alone allow: one HPKE encryption and one signature over as many bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import __version__
from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.wire import suites
from agent.wire.keyring import Keyring, RecipientKey
from agent.wire.plaintext import ClockState, Direction, Plaintext, encode_plaintext

CROP_BYTES: Final = 12_000
"""A plate crop of about 200 pixels' width as JPEG at quality 85, with room."""
ROUNDS: Final = 150
READS_A_ROUND: Final = 20


@dataclass(frozen=True, slots=True)
class SealingSpeed:
    """One row of the table.

    Attributes:
        key_type: The recipient key's type.
        cipher: The content AEAD.
        reads_per_s: Reads sealed in a second of one core.
        bound_per_s: What one HPKE encryption and one signature each would allow.
        overhead_bytes: How much longer the envelope is than the read it holds.
    """

    key_type: suites.KeyType
    cipher: suites.ContentCipher
    reads_per_s: float
    bound_per_s: float
    overhead_bytes: int


def measure(key_type: suites.KeyType, cipher: suites.ContentCipher, *, rounds: int = ROUNDS) -> SealingSpeed:
    """Seal reads with a crop of `CROP_BYTES` to one recipient, as the capture daemon does."""
    read, signing_key, keyring = _sample(), Ed25519PrivateKey.generate(), _keyring(key_type)
    sealer, chain = Sealer(signing_key=signing_key, book=KeyringBook(keyring), cipher=cipher), Chain()
    suite, public = suites.SUITES[key_type], suites.SUITES[key_type].load_public(keyring.keys[0].public)
    message, content_key = os.urandom(CROP_BYTES + suite.enc_bytes), os.urandom(suites.CONTENT_KEY_BYTES)

    def seal() -> None:
        chain.advance(sealer.seal(read, chain.next))

    def algorithms_alone() -> None:
        suite.hpke.encrypt(content_key, public, info=b"")
        signing_key.sign(message)

    envelope = sealer.seal(read, chain.next)
    reads_per_s, bound_per_s = _best_rates((seal, algorithms_alone), rounds)
    return SealingSpeed(
        key_type=key_type,
        cipher=cipher,
        reads_per_s=reads_per_s,
        bound_per_s=bound_per_s,
        overhead_bytes=len(envelope.data) - len(encode_plaintext(read, version=envelope.position.version)),
    )


def main() -> int:
    """Print one row per suite and cipher."""
    for key_type in suites.KeyType:
        for cipher in suites.ContentCipher:
            row = measure(key_type, cipher)
            sys.stdout.write(
                f"{row.key_type:16} {row.cipher:17} {row.reads_per_s:6.0f} reads/s on one core "
                f"({row.reads_per_s / row.bound_per_s:.2f} of the algorithms alone, {row.bound_per_s:.0f}/s), "
                f"{row.overhead_bytes} bytes more than the read\n"
            )
    return 0


def _best_rates(acts: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Return how often a second each act can be done, the best of rounds in which they take turns."""
    best_s = [float("inf")] * len(acts)
    for _ in range(rounds):
        for index, act in enumerate(acts):
            began_s = time.process_time()
            for _ in range(READS_A_ROUND):
                act()
            best_s[index] = min(best_s[index], time.process_time() - began_s)
    return [READS_A_ROUND / seconds for seconds in best_s]


def _keyring(key_type: suites.KeyType) -> Keyring:
    suite = suites.SUITES[key_type]
    public = suite.derive_public(suite.generate())
    now = datetime.now(UTC)
    key = RecipientKey(
        suite=suite,
        public=public,
        kid=suite.kid(public),
        recipient="agency",
        valid_from=now - timedelta(hours=1),
        valid_until=now + timedelta(days=1),
    )
    return Keyring(serial=1, keys=(key,))


def _sample() -> Plaintext:
    now = datetime.now(UTC)
    return Plaintext(
        camera="bench",
        captured_at=now,
        clock=ClockState.SYNCHRONIZED,
        text="AB123CD",
        confidences=(990,) * 7,
        votes=(9, 10),
        region=None,
        detector_confidence=900,
        box=(500, 300, 700, 350),
        frame_sequence=1,
        frame_wh=(1280, 720),
        first_seen=now,
        last_seen=now,
        direction=Direction.APPROACHING,
        crop=os.urandom(CROP_BYTES),
        detector_digest=bytes(32),
        reader_digest=bytes(32),
        agent_version=__version__,
    )


if __name__ == "__main__":
    sys.exit(main())
