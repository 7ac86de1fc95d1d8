"""The delivery loop: again and again until every envelope has its receipt.

Owns: what is checked before an envelope is sent, what an answer does to the spool, and how long to wait after a
failure. Leaves to others: which envelope goes next (`lanes`), how many at once and how fast (`pace`).

Invariants: an envelope is sent only if its bytes are those that were put and one of the unit's own keys signed them. It
is shredded only with a receipt that `verify_receipt` has checked against the very bytes that were sent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

from agent.config.models import UploadConfig
from agent.envelope.receipt import verify_receipt
from agent.envelope.reply import Answer, Later, Refused, Stored
from agent.envelope.sealed import verify_envelope
from agent.errors import (
    BatchTooLargeError,
    BrokenTransferError,
    EnvelopeVerificationError,
    FormatError,
    ReceiptVerificationError,
    RejectedError,
    SpoolMissingError,
    TransportError,
)
from agent.ports import Clock, Spool, Transport
from agent.records import Envelope, VerifiedReceipt
from agent.upload.lanes import Lanes
from agent.upload.pace import Bandwidth, BatchSize, LogBudget

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class UploadStats:
    """Counts since the start; written by the worker, read by reports.

    Attributes:
        acknowledged: Envelopes with a verified receipt.
        shredded: Envelopes erased.
        refused: Envelopes that the receiver refused for good.
        corrupt: Envelopes whose bytes on disk are not what was put.
        unsigned: Envelopes that none of the unit's own keys signed.
        bad_receipts: Receipts that failed a check.
        failed_batches: Requests without an agreed answer.
        sent_bytes: Request bodies, failed ones too.
        slowest_erasure_s: Longest time from an answer to the end of its reads' files, seconds.
        link_up: Whether the last request got an agreed answer; None before the first.
    """

    acknowledged: int = 0
    shredded: int = 0
    refused: int = 0
    corrupt: int = 0
    unsigned: int = 0
    bad_receipts: int = 0
    failed_batches: int = 0
    sent_bytes: int = 0
    slowest_erasure_s: float = 0.0
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
        device_key: Callable[[bytes], Ed25519PublicKey | None],
        settings: UploadConfig,
        clock: Clock,
        stop: threading.Event,
        note_receipt: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            spool: Where sealed reads wait.
            transport: The way to the receiver.
            receiver_keys: Pinned receipt keys by key id.
            device_key: Returns the unit's own public signing key with this id, or None if it has none such.
            settings: Batch sizes, limits and waits.
            clock: For envelopes that the receiver puts off, and for what a batch takes.
            stop: Set from outside to end the loop at the next safe point.
            note_receipt: Told the newest time in the verified receipts of each batch.
        """
        self.stats = UploadStats()
        self._spool = spool
        self._transport = transport
        self._receiver_keys = receiver_keys
        self._device_key = device_key
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._note_receipt = note_receipt
        self._lanes = Lanes(spool, clock, backlog=settings.batch_envelopes, fresh_share=settings.fresh_share)
        self._size = BatchSize(most=settings.batch_envelopes, reply_timeout_s=settings.reply_timeout_s)
        self._bandwidth = Bandwidth(settings.max_bytes_per_s, clock)
        self._lines = LogBudget(clock)

    def run(self, *, drain: bool = False) -> None:
        """Deliver until told to stop; with `drain`, until nothing that may be sent now is left.

        Raises:
            SpoolError: The disk refused.
            KeyFileError: One of the unit's public signing keys is damaged.
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
            KeyFileError: One of the unit's public signing keys is damaged.
        """
        if self._stop.wait(self._bandwidth.wait_s()):
            return 0
        batch, looked_at = self._next_batch()
        if not batch:
            return looked_at
        began_s = self._clock.monotonic_s()
        answers = self._send(batch)
        if answers is None:
            return looked_at
        answered_s = self._clock.monotonic_s()
        self._act_on(batch, answers)
        erased_s = self._clock.monotonic_s() - answered_s
        self.stats.slowest_erasure_s = max(self.stats.slowest_erasure_s, erased_s)
        self._size.worked(len(batch), sent_s=answered_s - began_s, erased_s=erased_s)
        return looked_at

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
            return retrying(self.step)
        return 0

    def _note_failure(self, retry_state: RetryCallState) -> None:
        self.stats.failed_batches += 1
        if self.stats.link_up is not False:
            error = retry_state.outcome.exception() if retry_state.outcome else None
            _log.warning("delivery fails, sealed reads stay in the spool and are sent again: %s", error)
            self.stats.link_up = False

    def _note_success(self) -> None:
        if not self.stats.link_up:
            _log.info("receiver reached, delivering")
            self.stats.link_up = True

    def _next_batch(self) -> tuple[list[Envelope], int]:
        """Return the next batch, and how many envelopes were looked at for it."""
        batch: list[Envelope] = []
        looked_at = size_bytes = 0
        most_bytes = self._bandwidth.most_bytes(self._settings.batch_bytes)
        for envelope_id in self._lanes.next_ids():
            looked_at += 1
            envelope = self._load(envelope_id)
            if envelope is None:
                continue
            size_bytes += _size_in_request(envelope)
            if batch and size_bytes > most_bytes:
                self._lanes.put_back([envelope_id])
                break
            batch.append(envelope)
            if len(batch) == self._size.limit:
                break
        return batch, looked_at

    def _load(self, envelope_id: str) -> Envelope | None:
        """Return an envelope that may be sent, or None: it is not there any more, or has been set aside."""
        try:
            envelope = self._spool.get(envelope_id)
        except SpoolMissingError:
            return None  # delivered or expired since it was listed
        except (FormatError, EnvelopeVerificationError) as error:
            self.stats.corrupt += 1
            self._set_aside(envelope_id, f"corrupt on disk: {error}")
            return None
        try:
            self._check_signature(envelope)
        except EnvelopeVerificationError as error:
            self.stats.unsigned += 1
            self._set_aside(envelope_id, str(error))
            return None
        return envelope

    def _check_signature(self, envelope: Envelope) -> None:
        key = self._device_key(envelope.device_kid)
        if key is None:
            raise EnvelopeVerificationError(
                f"signed by a key that this unit does not know, {envelope.device_kid.hex()[:16]}"
            )
        verify_envelope(envelope, key)

    def _send(self, batch: list[Envelope]) -> list[Answer] | None:
        """Return the answers to a batch, or None if it is too large; what is not answered goes next."""
        size_bytes = sum(map(_size_in_request, batch))
        self._bandwidth.spend(size_bytes)
        self.stats.sent_bytes += size_bytes
        try:
            answers = self._transport.send([envelope.data for envelope in batch])
        except BatchTooLargeError as error:
            self._note_success()
            self._shrink(batch, error)
            return None
        except TransportError as error:
            self._lanes.put_back(envelope.envelope_id for envelope in batch)
            if isinstance(error, BrokenTransferError):
                self._size.failed(len(batch))
            raise
        return answers

    def _shrink(self, batch: list[Envelope], error: BatchTooLargeError) -> None:
        if len(batch) == 1:
            self.stats.refused += 1
            self._set_aside(batch[0].envelope_id, f"the receiver refuses {len(batch[0].data)} bytes: {error}")
            return
        self._size.failed(len(batch))
        self._lanes.put_back(envelope.envelope_id for envelope in batch)

    def _act_on(self, batch: list[Envelope], answers: list[Answer]) -> None:
        proven: list[VerifiedReceipt] = []
        unproven: list[str] = []
        refused: list[tuple[str, str]] = []
        doubt: ReceiptVerificationError | FormatError | None = None
        for envelope, answer in zip(batch, answers, strict=True):
            match answer:
                case Stored(receipt):
                    try:
                        proven.append(verify_receipt(receipt, envelope, self._receiver_keys))
                    except (ReceiptVerificationError, FormatError) as error:
                        self.stats.bad_receipts += 1
                        unproven.append(envelope.envelope_id)
                        doubt = error
                case Refused(reason):
                    refused.append((envelope.envelope_id, f"refused by the receiver: {reason}"))
                case Later(wait_s):
                    self._lanes.put_off(envelope.envelope_id, wait_s=wait_s)
        self.stats.acknowledged += len(proven)
        self._spool.shred(*proven)
        self.stats.shredded += len(proven)
        for envelope_id, reason in refused:
            self.stats.refused += 1
            self._set_aside(envelope_id, reason)
        if proven:
            self._note_receipt(max(verified.receipt.stored_at for verified in proven))
        if doubt is not None:
            self._lanes.put_back(unproven)
            raise TransportError(f"a receipt proves nothing, its envelope stays: {doubt}")
        self._note_success()

    def _set_aside(self, envelope_id: str, reason: str) -> None:
        held_back = self._lines.spend()
        if held_back is not None:
            others = f" ({held_back} others before it without a line)" if held_back else ""
            _log.error("envelope %s set aside: %s%s", envelope_id[:16], reason, others)
        with suppress(SpoolMissingError):  # expired meanwhile
            self._spool.quarantine(envelope_id, reason=reason)


def _size_in_request(envelope: Envelope) -> int:
    return len(envelope.data) + 5  # a byte string's CBOR head has at most 5 bytes at these sizes


__all__ = ["UploadStats", "UploadWorker", "wait_as_told"]
