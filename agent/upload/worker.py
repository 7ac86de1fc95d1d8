"""The delivery loop: oldest first, in batches, again and again until every envelope has its receipt.

Owns: what is sent when, what an answer does to the spool, and how long to wait after a failure. Invariant: an
envelope is shredded only with a receipt that `verify_receipt` has checked against the very bytes that were sent.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

from agent.config.models import UploadConfig
from agent.envelope.receipt import verify_receipt
from agent.envelope.reply import Answer, Later, Refused, Stored
from agent.errors import (
    BatchTooLargeError,
    EnvelopeVerificationError,
    FormatError,
    ReceiptVerificationError,
    RejectedError,
    SpoolMissingError,
    TransportError,
)
from agent.ports import Clock, Spool, Transport
from agent.records import Envelope, SpoolState, VerifiedReceipt

LISTING: Final = 4096
"""Envelopes listed at once. A listing reads the whole directory, so a large backlog wants few of them; each entry
takes about 200 bytes of memory."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class UploadStats:
    """Counts since the start; written by the worker, read by reports.

    Attributes:
        acknowledged: Envelopes with a verified receipt.
        shredded: Envelopes erased.
        refused: Envelopes that the receiver refused for good.
        corrupt: Envelopes whose bytes on disk are not what was put.
        bad_receipts: Receipts that failed a check.
        failed_batches: Requests without an agreed answer.
        link_up: Whether the last request got an agreed answer; None before the first.
    """

    acknowledged: int = 0
    shredded: int = 0
    refused: int = 0
    corrupt: int = 0
    bad_receipts: int = 0
    failed_batches: int = 0
    link_up: bool | None = None


class wait_as_told(wait_base):  # noqa: N801  tenacity's own naming
    """Wait as long as the receiver asked, and at least as long as the schedule says."""

    def __init__(self, *, first_s: float, most_s: float) -> None:
        """Grow from `first_s` to `most_s` with full jitter."""
        self._schedule = wait_random_exponential(multiplier=first_s, max=most_s)
        self._first_s = first_s
        self._most_s = most_s

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return seconds to wait before the next attempt."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, RejectedError):
            return self._most_s  # only a person can change it; ask rarely, but ask
        told_s = error.retry_after_s if isinstance(error, TransportError) else None
        return max(self._first_s * 0.5, told_s or 0.0, self._schedule(retry_state))


class UploadWorker:
    """Delivers one spool to one receiver."""

    def __init__(
        self,
        *,
        spool: Spool,
        transport: Transport,
        receiver_keys: Mapping[bytes, Ed25519PublicKey],
        settings: UploadConfig,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            spool: Where sealed reads wait.
            transport: The way to the receiver.
            receiver_keys: Pinned receipt keys by key id.
            settings: Batch sizes and waits.
            clock: For envelopes that the receiver puts off.
            stop: Set from outside to end the loop at the next safe point.
        """
        self.stats = UploadStats()
        self._spool = spool
        self._transport = transport
        self._receiver_keys = receiver_keys
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._batch_limit = settings.batch_envelopes
        self._queue: deque[str] = deque()
        self._put_off: dict[str, float] = {}

    def run(self, *, drain: bool = False) -> None:
        """Deliver until told to stop; with `drain`, until nothing that may be sent now is left.

        Raises:
            SpoolError: The disk refused.
        """
        while not self._stop.is_set():
            handled = self._step_with_retry()
            if handled == 0:
                if drain:
                    return
                self._stop.wait(self._settings.poll_s)

    def step(self) -> int:
        """Send one batch and act on every answer. Returns how many envelopes were looked at; 0 when none waits.

        Raises:
            TransportError: No agreed answer, or a receipt that proves nothing. Nothing unproven was erased.
            SpoolError: The disk refused.
        """
        batch = self._next_batch()
        if not batch:
            return 0
        try:
            answers = self._transport.send([envelope.data for envelope in batch])
        except BatchTooLargeError as error:
            self._shrink(batch, error)
            return len(batch)
        self._act_on(batch, answers)
        self._batch_limit = min(self._batch_limit * 2, self._settings.batch_envelopes)
        return len(batch)

    def _step_with_retry(self) -> int:
        retrying = Retrying(
            retry=retry_if_exception_type(TransportError),
            wait=wait_as_told(first_s=self._settings.retry_first_s, most_s=self._settings.retry_most_s),
            sleep=sleep_using_event(self._stop),
            stop=stop_when_event_set(self._stop),
            before_sleep=self._note_failure,
            reraise=True,
        )
        with suppress(TransportError):  # raised only when told to stop while failing; the spool keeps everything
            handled = retrying(self.step)
            if handled and not self.stats.link_up:
                _log.info("receiver reached, delivering")
                self.stats.link_up = True
            return handled
        return 0

    def _note_failure(self, retry_state: RetryCallState) -> None:
        self.stats.failed_batches += 1
        self._queue.clear()  # the next attempt looks at the spool anew
        if self.stats.link_up is not False:
            error = retry_state.outcome.exception() if retry_state.outcome else None
            _log.warning("delivery fails, sealed reads stay in the spool and are sent again: %s", error)
            self.stats.link_up = False

    def _next_batch(self) -> list[Envelope]:
        batch: list[Envelope] = []
        size_bytes = 0
        for envelope_id in self._waiting():
            envelope = self._load(envelope_id)
            if envelope is None:
                continue
            # A byte string's CBOR head has at most 5 bytes at these sizes.
            size_bytes += len(envelope.data) + 5
            if batch and size_bytes > self._settings.batch_bytes:
                self._queue.appendleft(envelope_id)
                break
            batch.append(envelope)
            if len(batch) == self._batch_limit:
                break
        return batch

    def _waiting(self) -> Iterator[str]:
        if not self._queue:
            now_s = self._clock.monotonic_s()
            self._put_off = {key: until_s for key, until_s in self._put_off.items() if until_s > now_s}
            listed = self._spool.entries(SpoolState.PENDING, limit=LISTING + len(self._put_off))
            self._queue.extend(entry.envelope_id for entry in listed if entry.envelope_id not in self._put_off)
        while self._queue:
            yield self._queue.popleft()

    def _load(self, envelope_id: str) -> Envelope | None:
        try:
            return self._spool.get(envelope_id)
        except SpoolMissingError:
            return None  # expired since it was listed
        except (FormatError, EnvelopeVerificationError) as error:
            self.stats.corrupt += 1
            self._set_aside(envelope_id, f"corrupt on disk: {error}")
            return None

    def _shrink(self, batch: list[Envelope], error: BatchTooLargeError) -> None:
        if len(batch) == 1:
            self.stats.refused += 1
            self._set_aside(batch[0].envelope_id, f"the receiver refuses {len(batch[0].data)} bytes: {error}")
            return
        self._batch_limit = len(batch) // 2
        self._queue.extendleft(envelope.envelope_id for envelope in reversed(batch))

    def _act_on(self, batch: list[Envelope], answers: list[Answer]) -> None:
        proven: list[VerifiedReceipt] = []
        doubt: ReceiptVerificationError | FormatError | None = None
        for envelope, answer in zip(batch, answers, strict=True):
            match answer:
                case Stored(receipt):
                    try:
                        proven.append(verify_receipt(receipt, envelope, self._receiver_keys))
                    except (ReceiptVerificationError, FormatError) as error:
                        self.stats.bad_receipts += 1
                        doubt = error
                case Refused(reason):
                    self.stats.refused += 1
                    self._set_aside(envelope.envelope_id, f"refused by the receiver: {reason}")
                case Later(wait_s):
                    self._put_off[envelope.envelope_id] = self._clock.monotonic_s() + wait_s
        self.stats.acknowledged += len(proven)
        self._spool.shred(*proven)
        self.stats.shredded += len(proven)
        if doubt is not None:
            raise TransportError(f"a receipt proves nothing, its envelope stays: {doubt}")

    def _set_aside(self, envelope_id: str, reason: str) -> None:
        _log.error("envelope %s set aside: %s", envelope_id[:16], reason)
        with suppress(SpoolMissingError):  # expired meanwhile
            self._spool.quarantine(envelope_id, reason=reason)


__all__ = ["UploadStats", "UploadWorker", "wait_as_told"]
