"""An envelope that the line does not carry in one piece: it goes behind the others, and its size is told.

Owns: when a lone envelope whose transfer broke is put off, and for how long. Leaves to others: the order (`queue`),
what the transfer's time is (`body`).

A time that was up says that the line is too slow for it; a connection that broke says so only the second time.
"""

from __future__ import annotations

import logging
from typing import Final

from agent.errors import BrokenTransferError
from agent.records import Envelope

MAX_WAIT_S: Final = 3600.0
"""Lines get better in hours: a tunnel ends, a cell has fewer users at night."""
MAX_REMEMBERED: Final = 1024
"""Envelopes that are counted at a time; beyond it the book begins anew."""

_log = logging.getLogger(__name__)


class SlowEnvelopes:
    """Counts how often each envelope did not get through alone."""

    def __init__(self, *, first_wait_s: float) -> None:
        """Put an envelope off for `first_wait_s` at first, and for twice as long each time."""
        self._first_wait_s = first_wait_s
        self._broken: dict[str, int] = {}

    def note(self, envelope: Envelope, error: BrokenTransferError) -> float | None:
        """Note that a lone envelope's transfer broke.

        Returns:
            For how long it goes behind the others, seconds; None if it is to be tried again at once.
        """
        if len(self._broken) >= MAX_REMEMBERED:
            self._broken.clear()
        times = self._broken[envelope.envelope_id] = self._broken.get(envelope.envelope_id, 0) + 1
        if times == 1 and not error.timed_out:
            return None
        if times == 1 or (times == 2 and not error.timed_out):
            _log.warning(
                "envelope %s of %d bytes does not get through, the others go first: %s",
                envelope.envelope_id[:16],
                len(envelope.data),
                error,
            )
        return min(self._first_wait_s * 2.0 ** min(times - 1, 20), MAX_WAIT_S)

    def done(self, envelope_ids: list[str]) -> None:
        """Forget envelopes that were answered."""
        for envelope_id in envelope_ids:
            self._broken.pop(envelope_id, None)
