"""A spool in memory, beside the `Spool` port."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.envelope.sealed import parse_envelope
from agent.errors import EnvelopeVerificationError, SpoolError, SpoolFullError, SpoolMissingError
from agent.records import Envelope, SpoolEntry, SpoolState, VerifiedReceipt
from agent.spool.spool import TOMBSTONE_ROOM_BYTES

_START = datetime(2026, 3, 1, tzinfo=UTC)


class MemorySpool:
    """Keeps envelopes in dictionaries; `corrupt` stands in for a bad disk."""

    def __init__(self, *, max_bytes: int) -> None:
        """Hold at most `max_bytes`."""
        self.reasons: dict[str, str] = {}
        self._max_bytes = max_bytes
        self._held: dict[SpoolState, dict[str, tuple[datetime, bytes]]] = {state: {} for state in SpoolState}
        self._puts = 0

    def put(self, envelope: Envelope) -> None:
        """As the port."""
        pending = self._held[SpoolState.PENDING]
        if envelope.envelope_id in pending:
            return
        used = sum(len(data) for held in self._held.values() for _, data in held.values())
        limit = self._max_bytes + (TOMBSTONE_ROOM_BYTES if envelope.tombstone is not None else 0)
        if used + len(envelope.data) > limit:
            raise SpoolFullError(f"spool: no room for {len(envelope.data)} more")
        self._puts += 1
        pending[envelope.envelope_id] = (_START + timedelta(seconds=self._puts), envelope.data)

    def entries(self, state: SpoolState, *, limit: int | None = None) -> list[SpoolEntry]:
        """As the port."""
        held = sorted((at, key, len(data)) for key, (at, data) in self._held[state].items())
        return [SpoolEntry(key, size, state, at) for at, key, size in held[:limit]]

    def get(self, envelope_id: str) -> Envelope:
        """As the port."""
        if envelope_id not in self._held[SpoolState.PENDING]:
            raise SpoolMissingError(f"spool: {envelope_id[:16]} is not pending")
        envelope = parse_envelope(self._held[SpoolState.PENDING][envelope_id][1])
        if envelope.envelope_id != envelope_id:
            raise EnvelopeVerificationError(f"spool: {envelope_id[:16]} is not what its name says")
        return envelope

    def shred(self, *receipts: VerifiedReceipt) -> None:
        """As the port."""
        for receipt in receipts:
            self._held[SpoolState.PENDING].pop(receipt.envelope_id, None)

    def expire(self, tombstone: Envelope) -> None:
        """As the port."""
        if tombstone.tombstone is None or tombstone.envelope_id not in self._held[SpoolState.PENDING]:
            raise SpoolError(f"spool: {tombstone.envelope_id[:16]} is no pending tombstone")
        for gone in tombstone.tombstone.gone:
            self._held[SpoolState.PENDING].pop(gone.digest.hex(), None)

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """As the port."""
        if envelope_id not in self._held[SpoolState.PENDING]:
            raise SpoolMissingError(f"spool: {envelope_id[:16]} is not pending")
        self._held[SpoolState.QUARANTINE][envelope_id] = self._held[SpoolState.PENDING].pop(envelope_id)
        self.reasons[envelope_id] = reason

    def corrupt(self, envelope_id: str, data: bytes) -> None:
        """Put other bytes under a pending envelope's name."""
        at, _ = self._held[SpoolState.PENDING][envelope_id]
        self._held[SpoolState.PENDING][envelope_id] = (at, data)
