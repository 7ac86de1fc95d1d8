"""Which AEAD seals the read itself: the configured one, or the one that this machine does faster.

AES-256-GCM wins wherever the processor has instructions for AES and carry-less multiplication (any current x86, most
ARMv8); on those without, such as the Raspberry Pi 4's, ChaCha20-Poly1305 is several times faster. Both are equally safe
here: every key is used once. Both are part of the format, so the owner opens either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Literal

from agent.wire import suites
from agent.wire.suites import ContentCipher

SAMPLE_BYTES: Final = 16 << 10
"""A read with a crop has 5 to 30 kB."""
ROUNDS: Final = 7
"""The best of these counts: an interrupted round says nothing about the cipher."""
SEALS_PER_ROUND: Final = 8
"""Long enough for any timer: 8 x 16 kB take 60 us at 2 GB/s and 2 ms at 60 MB/s."""

_log = logging.getLogger(__name__)


def choose_cipher(
    wanted: ContentCipher | Literal["auto"], *, timer: Callable[[], float] = time.perf_counter
) -> ContentCipher:
    """Return the configured cipher, or for `auto` the faster one; AES-256-GCM on a tie.

    Args:
        wanted: As configured.
        timer: Seconds on a clock for intervals.
    """
    if wanted != "auto":
        return wanted
    best_s = {cipher: _best_round_s(cipher, timer) for cipher in ContentCipher}
    chosen = min(best_s, key=lambda cipher: best_s[cipher])
    speeds = ", ".join(f"{cipher} {_megabytes_per_s(seconds)}" for cipher, seconds in best_s.items())
    _log.info("sealing with %s, the faster one here (%s)", chosen, speeds)
    return chosen


def _best_round_s(cipher: ContentCipher, timer: Callable[[], float]) -> float:
    aead = suites.content_aead(suites.CONTENT_ALGS[cipher], bytes(suites.CONTENT_KEY_BYTES))
    nonce, sample = bytes(suites.NONCE_BYTES), bytes(SAMPLE_BYTES)  # zeros: nothing of this is kept or sent
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = timer()
        for _ in range(SEALS_PER_ROUND):
            aead.encrypt(nonce, sample, None)
        best_s = min(best_s, timer() - began_s)
    return best_s


def _megabytes_per_s(round_s: float) -> str:
    return "too fast to say" if round_s <= 0 else f"{SAMPLE_BYTES * SEALS_PER_ROUND / round_s / 1e6:.0f} MB/s"
