"""A receiver that knows version 1 of the format only, and a unit that writes version 2.

It refuses each envelope of version 2 for good, as it must. Nothing is wrong with them: they are delivered once the
receiver has been upgraded, so they wait in the spool, and the unit says what is to be done.

Owns: how such a refusal is known, and for how long envelopes wait then.
"""

from __future__ import annotations

import logging
from typing import Final

from agent.ports import Clock
from agent.wire.envelope import Envelope
from agent.wire.header import FORMAT_VERSION, VERSION_1

REFUSAL: Final = f"envelope: format version {FORMAT_VERSION}, "
"""How a receiver begins its refusal that knows version 1 only."""
UPGRADE_WAIT_S: Final = 3600.0
"""Somebody upgrades a receiver; nobody is helped by being asked more often."""

_log = logging.getLogger(__name__)


class OldReceiver:
    """Remembers when the receiver last refused version 2 because it knows version 1 only."""

    def __init__(self, clock: Clock) -> None:
        """Begin as if the receiver knew version 2. `clock` says when to try again."""
        self._clock = clock
        self._until_s = clock.monotonic_s()

    def has_refused(self, envelope: Envelope, reason: str) -> bool:
        """Whether a refusal of this envelope only means that the receiver knows no other version than 1."""
        return envelope.position.version != VERSION_1 and reason.startswith(REFUSAL)

    def note_refusal(self) -> None:
        """Hold envelopes of version 2 back for `UPGRADE_WAIT_S` from now on, with one log line in that time."""
        now_s = self._clock.monotonic_s()
        if now_s < self._until_s:
            return
        self._until_s = now_s + UPGRADE_WAIT_S
        _log.error(
            "the receiver takes version 1 only: upgrade it first; reads of version %d wait in the spool, and the next "
            "one is tried in an hour",
            FORMAT_VERSION,
        )

    def must_wait(self, envelope: Envelope) -> bool:
        """Whether an envelope would be refused, as far as is known."""
        return envelope.position.version != VERSION_1 and self._clock.monotonic_s() < self._until_s
