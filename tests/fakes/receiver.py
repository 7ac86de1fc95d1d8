"""A receiver in memory, beside the `Transport` port: honest unless a script says otherwise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from agent.errors import TransportError
from agent.wire import cbor
from agent.wire.envelope import Envelope, parse_envelope
from agent.wire.header import ZERO_DIGEST
from agent.wire.protocol import Answer, Stored
from tests.fakes.receipts import honest_receipt

Script = Callable[[list[Envelope]], list[Answer]]


class ReceiverSimulator:
    """Stores what it is sent and signs receipts; `script` holds what to do instead, one entry per request."""

    def __init__(self) -> None:
        """Begin empty and honest."""
        self.stored: dict[str, Envelope] = {}
        self.requests: list[list[str]] = []
        self.script: deque[Script | TransportError] = deque()
        self.closed = False
        self._receipts: dict[str, bytes] = {}
        self._newest: dict[bytes, bytes] = {}

    def send(self, envelopes: Sequence[bytes]) -> list[Answer]:
        """As the port."""
        if self.closed:
            raise RuntimeError("this end is closed")
        batch = [parse_envelope(data) for data in envelopes]
        self.requests.append([envelope.envelope_id for envelope in batch])
        act = self.script.popleft() if self.script else self.store
        if isinstance(act, TransportError):
            raise act
        return act(batch)

    def store(self, batch: list[Envelope]) -> list[Answer]:
        """Store a batch and sign its receipts."""
        answers: list[Answer] = []
        for envelope in batch:
            self.stored.setdefault(envelope.envelope_id, envelope)
            answers.append(Stored(self._receipt(envelope)))
        return answers

    def _receipt(self, envelope: Envelope) -> bytes:
        """Return the receipt of a stored envelope, the same each time; each names the one before of its key."""
        if envelope.envelope_id not in self._receipts:
            prev = self._newest.get(envelope.device_kid, ZERO_DIGEST)
            receipt = honest_receipt(envelope, log_index=len(self._receipts), prev=prev)
            self._receipts[envelope.envelope_id] = receipt
            if envelope.position.run is not None:
                self._newest[envelope.device_kid] = cbor.sha256(receipt)
        return self._receipts[envelope.envelope_id]

    def close(self) -> None:
        """As the port."""
        self.closed = True
