"""How fast reads are sealed, and how much longer they get: `make bench` prints it.

    python -m agent.bench.sealing

One process on one core, by CPU time, so that other work on the machine counts less.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import __version__
from agent.envelope import suites
from agent.envelope.keyring import Keyring, RecipientKey
from agent.envelope.plaintext import ClockState, Direction, Plaintext, encode_plaintext
from agent.seal.chain import Chain
from agent.seal.keyring import KeyringBook
from agent.seal.sealer import Sealer

CROP_BYTES: Final = 12_000
"""A plate crop of about 200 pixels' width as JPEG at quality 85, with room."""
READS: Final = 2000


@dataclass(frozen=True, slots=True)
class SealingSpeed:
    """One row of the table.

    Attributes:
        key_type: The recipient key's type.
        cipher: The content AEAD.
        reads_per_s: Reads sealed in a second of one core.
        overhead_bytes: How much longer the envelope is than the read it holds.
    """

    key_type: suites.KeyType
    cipher: suites.ContentCipher
    reads_per_s: float
    overhead_bytes: int


def measure(key_type: suites.KeyType, cipher: suites.ContentCipher, *, reads: int = READS) -> SealingSpeed:
    """Seal reads with a crop of `CROP_BYTES` to one recipient, as the capture daemon does."""
    read = _sample()
    sealer = Sealer(signing_key=Ed25519PrivateKey.generate(), book=KeyringBook(_keyring(key_type)), cipher=cipher)
    chain = Chain()
    began_s = time.process_time()
    for _ in range(reads):
        envelope = sealer.seal(read, chain.next)
        chain.advance(envelope)
    took_s = time.process_time() - began_s
    overhead = len(envelope.data) - len(encode_plaintext(read))
    return SealingSpeed(key_type, cipher, reads / took_s, overhead)


def main() -> int:
    """Print one row per suite and cipher."""
    for key_type in suites.KeyType:
        for cipher in suites.ContentCipher:
            row = measure(key_type, cipher)
            sys.stdout.write(
                f"{row.key_type:16} {row.cipher:17} {row.reads_per_s:7.0f} reads/s on one core, "
                f"{row.overhead_bytes} bytes more than the read\n"
            )
    return 0


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
