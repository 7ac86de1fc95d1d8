"""A spool in memory, beside the `Spool` port."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from agent.errors import EnvelopeVerificationError, FormatError, SpoolError, SpoolFullError, SpoolMissingError
from agent.records import Envelope, Shredded, SpoolEntry, SpoolState, Usage, VerifiedReceipt
from agent.spool.reserve import reserve_bytes, reserve_count
from agent.wire.envelope import parse_envelope

_START = datetime(2026, 3, 1, tzinfo=UTC)


class MemorySpool:
    """Keeps envelopes in dictionaries; `corrupt` stands in for a bad disk."""

    def __init__(self, *, max_bytes: int, max_count: int | None = None) -> None:
        """Hold at most `max_bytes` and `max_count`, a reserve for tombstones included."""
        self.reasons: dict[str, str] = {}
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._held: dict[SpoolState, dict[str, tuple[datetime, bytes]]] = {state: {} for state in SpoolState}
        self._accepted: set[str] = set()
        self._puts = 0

    def put(self, envelope: Envelope) -> None:
        """As the port."""
        pending = self._held[SpoolState.PENDING]
        if envelope.envelope_id in pending:
            return
        self._require_room(envelope)
        self._puts += 1
        pending[envelope.envelope_id] = (_START + timedelta(seconds=self._puts), envelope.data)
        self._accepted.add(envelope.envelope_id)

    def entries(self, state: SpoolState, *, limit: int | None = None, newest: bool = False) -> list[SpoolEntry]:
        """As the port."""
        held = sorted(((at, key, len(data)) for key, (at, data) in self._held[state].items()), reverse=newest)
        return [SpoolEntry(key, size, state, at) for at, key, size in held[:limit]]

    def usage(self, state: SpoolState) -> Usage:
        """As the port."""
        held = self._held[state].values()
        return Usage(len(held), sum(len(data) for _, data in held))

    def get(self, envelope_id: str) -> Envelope:
        """As the port."""
        if envelope_id not in self._held[SpoolState.PENDING]:
            raise SpoolMissingError(f"spool: {envelope_id[:16]} is not pending")
        envelope = parse_envelope(self._held[SpoolState.PENDING][envelope_id][1])
        if envelope.envelope_id != envelope_id:
            raise EnvelopeVerificationError(f"spool: {envelope_id[:16]} is not what its name says")
        return envelope

    def keep_pending(self) -> None:
        """As the port: there is nothing to do in memory."""

    def shred(self, *receipts: VerifiedReceipt) -> Shredded:
        """As the port."""
        for receipt in receipts:
            self._held[SpoolState.PENDING].pop(receipt.envelope_id, None)
        return Shredded()

    def expire(self, tombstone: Envelope, envelope_ids: Sequence[str]) -> None:
        """As the port."""
        if tombstone.tombstone is None or tombstone.envelope_id not in self._accepted:
            raise SpoolError(f"spool: {tombstone.envelope_id[:16]} is no accepted tombstone")
        for envelope_id in envelope_ids:
            try:
                position = self.get(envelope_id).position
            except (SpoolMissingError, FormatError, EnvelopeVerificationError):
                continue
            if tombstone.tombstone.covers(position.chain, position.seq):
                del self._held[SpoolState.PENDING][envelope_id]

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

    def _require_room(self, envelope: Envelope) -> None:
        used_bytes = sum(self.usage(state).bytes for state in SpoolState) + len(envelope.data)
        used_count = sum(self.usage(state).count for state in SpoolState) + 1
        most_bytes, most_count = self._max_bytes, self._max_count
        if envelope.tombstone is None:
            most_bytes -= reserve_bytes(self._max_bytes)
            most_count = None if most_count is None else most_count - reserve_count(most_count)
        if used_bytes > most_bytes or (most_count is not None and used_count > most_count):
            raise SpoolFullError(f"spool: no room for {len(envelope.data)} more")
