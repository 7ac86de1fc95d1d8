"""One batch on its way, and what is left to do when it was answered.

Owns: the thread's side of a request and its times. Leaves to others: what is in it and what an answer does (`worker`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import Final

from agent.ports import Clock, Transport
from agent.records import Envelope, VerifiedReceipt
from agent.wire.protocol import Answer

ASK_EVERY_S: Final = 1.0
"""How often the loop asks whether to stop while it waits for an answer."""


class Request:
    """A batch on its way, sent by a thread of its own.

    Attributes:
        batch: What is sent.
        answered_s: When the answer or its failure came, on the monotonic clock; infinite before.
    """

    def __init__(self, batch: list[Envelope], transport: Transport, clock: Clock, line: Executor) -> None:
        """Send a batch by a thread of `line`, at once."""
        self.batch = batch
        self.answered_s = math.inf
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._answers = line.submit(self._send, transport)

    def waits_s(self) -> float:
        """Return how long the answer has waited, seconds; less than 0 while there is none."""
        return self._clock.monotonic_s() - self.answered_s

    def answers(self, stop: threading.Event) -> list[Answer]:
        """Wait for the answers, and ask `stop` meanwhile: that is how the loop shows that it is alive.

        Raises:
            TransportError: No agreed answer came.
        """
        while wait([self._answers], timeout=ASK_EVERY_S).not_done:
            stop.wait(0.0)
        return self._answers.result()

    @property
    def took_s(self) -> float:
        """From the request's beginning to its answer, seconds."""
        return self.answered_s - self._began_s

    def _send(self, transport: Transport) -> list[Answer]:
        try:
            return transport.send([envelope.data for envelope in self.batch])
        finally:
            self.answered_s = self._clock.monotonic_s()


@dataclass(frozen=True, slots=True)
class Answered:
    """What is left to do for a batch that was answered.

    Attributes:
        proven: Proofs for what is to be erased.
        refused: (envelope id, reason) of what is to be set aside.
        count: Envelopes in the batch.
        took_s: From the request to the answer, seconds.
        at_s: When the answer came, on the monotonic clock.
    """

    proven: Sequence[VerifiedReceipt]
    refused: Sequence[tuple[str, str]]
    count: int
    took_s: float
    at_s: float


def size_in_request(envelope: Envelope) -> int:
    """Return how many bytes of a request's body an envelope takes."""
    return len(envelope.data) + 5  # a byte string's CBOR head has at most 5 bytes at these sizes
