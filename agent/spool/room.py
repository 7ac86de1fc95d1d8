"""How much the spool may hold, and whether there is room for one more envelope.

Owns: the count of what is there, which is measured anew only where it says that there is no room. Reads leave
`reserve_bytes` and `reserve_count` to tombstones.
"""

from __future__ import annotations

from pathlib import Path

from agent.errors import SpoolFullError
from agent.ports import SpoolView
from agent.records import Envelope, SpoolState, Usage
from agent.spool.reserve import reserve_bytes, reserve_count


class Room:
    """The bounds of one spool, pending and quarantined envelopes together."""

    def __init__(self, spool: SpoolView, directory: Path, *, max_bytes: int, max_count: int | None) -> None:
        """Take over the bounds; the spool is measured when the first envelope comes.

        Args:
            spool: What is measured.
            directory: Its name, for the error message.
            max_bytes: Most bytes of all envelopes together.
            max_count: Most envelopes; None sets no limit.
        """
        self._spool = spool
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._used: Usage | None = None

    def require(self, envelope: Envelope) -> None:
        """Do nothing if there is room for an envelope, else raise.

        Raises:
            SpoolFullError: There is none.
            SpoolError: The disk refused.
        """
        if self._used is None or not self._has_room(envelope, self._used):
            self._used = self._measure()  # the uploading process may have erased some
        if not self._has_room(envelope, self._used):
            most = "" if self._max_count is None else f" of at most {self._max_count}"
            raise SpoolFullError(
                f"spool: {self._directory} holds {self._used.bytes} of at most {self._max_bytes} bytes in "
                f"{self._used.count}{most} envelopes; no room for {len(envelope.data)} bytes more"
            )

    def count(self, envelopes: int, size_bytes: int) -> None:
        """Note that so many more (or fewer, if negative) are there."""
        if self._used is not None:
            self._used = Usage(self._used.count + envelopes, self._used.bytes + size_bytes)

    def forget(self) -> None:
        """Forget what was counted; the spool is measured again when the next envelope comes."""
        self._used = None

    def _has_room(self, envelope: Envelope, used: Usage) -> bool:
        is_read = envelope.tombstone is None
        most_bytes = self._max_bytes - (reserve_bytes(self._max_bytes) if is_read else 0)
        if used.bytes + len(envelope.data) > most_bytes:
            return False
        if self._max_count is None:
            return True
        return used.count < self._max_count - (reserve_count(self._max_count) if is_read else 0)

    def _measure(self) -> Usage:
        pending, set_aside = self._spool.usage(SpoolState.PENDING), self._spool.usage(SpoolState.QUARANTINE)
        return Usage(pending.count + set_aside.count, pending.bytes + set_aside.bytes)
