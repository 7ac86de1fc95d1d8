"""The delivery loop: again and again until every envelope has its receipt.

Owns: what an answer does to the spool, and when a drain is over. Leaves to others: which envelope goes next (`queue`),
what is checked before it is sent (`checked`), how many at once and how fast (`pace`), the thread that sends
(`request`), how long to wait after a failure (`backoff`).

A request is sent by a thread of its own; everything else is done by the caller's. While batches go well the caller
erases the batch before and reads the next one beside the request, so that unit and receiver work at the same time. At
the first fault what was read ahead goes back to the queue, and batches go one by one until the link is up again.

Invariants: an envelope is sent only if its bytes are those that were put and one of the unit's own keys signed them. It
is shredded only with a receipt that `verify_receipt` has checked against the very bytes that were sent. At most two
batches are in memory. Nothing is read ahead while an answer has waited for `ANSWER_WAITS_S`: erasing comes first.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set

from agent.config.models import UploadConfig
from agent.errors import (
    BatchTooLargeError,
    BrokenTransferError,
    FormatError,
    ReceiptVerificationError,
    SpoolError,
    TransportError,
    UndeliveredError,
)
from agent.ports import Clock, Spool, Transport
from agent.records import Envelope, SpoolState, VerifiedReceipt
from agent.upload.backoff import wait_as_told
from agent.upload.checked import CheckedEnvelopes
from agent.upload.old_receiver import UPGRADE_WAIT_S, OldReceiver
from agent.upload.pace import Bandwidth, BatchSize
from agent.upload.queue import DeliveryQueue, Waiting
from agent.upload.request import Answered, Request, size_in_request
from agent.upload.slow import SlowEnvelopes
from agent.upload.stats import UploadStats
from agent.wire.protocol import Answer, Later, Refused, Stored
from agent.wire.receipt import verify_receipt

ANSWER_WAITS_S: Final = 0.25
"""Reading ahead ends when an answer has waited this long: an eighth of what its erasure may take."""

NOTED: Final = {"noted": True}
"""Marks a line that is no error and still belongs into `status` and health reports (`agent.unit.status.last_error`)."""

_log = logging.getLogger(__name__)


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
        note_receipt: Callable[[VerifiedReceipt], None] = lambda _: None,
        stats: UploadStats | None = None,
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
            note_receipt: Told the newest of the verified receipts of each batch.
            stats: Counted on in these, where a worker before this one has counted.
        """
        self.stats = stats or UploadStats()
        self._spool = spool
        self._transport = transport
        self._receiver_keys = receiver_keys
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._note_receipt = note_receipt
        self._queue = DeliveryQueue(spool, clock, backlog=settings.batch_envelopes, fresh_share=settings.fresh_share)
        self._size = BatchSize(
            most=settings.batch_envelopes, most_bytes=settings.batch_bytes, reply_timeout_s=settings.reply_timeout_s
        )
        self._slow = SlowEnvelopes(first_wait_s=settings.retry_most_s)
        self._bandwidth = Bandwidth(settings.max_bytes_per_s, clock)
        self._old_receiver = OldReceiver(clock)
        self._cause = ""
        self._checked = CheckedEnvelopes(
            spool, self._queue, self.stats, device_key=device_key, old_receiver=self._old_receiver, clock=clock
        )

    def run(self, *, drain: bool = False) -> None:
        """Deliver until told to stop; with `drain`, until nothing is left.

        Raises:
            UndeliveredError: With `drain`, something is left that may not be sent now, or it was told to stop before.
            SpoolError: The disk refused; with `drain`, also where it cannot read envelopes, which stay.
            KeyFileError: One of the unit's public signing keys is damaged.
        """
        while not self._stop.wait(0.0):
            if self._step_with_retry() or self._queue.recall(Waiting.SLOW):
                continue
            if drain and self._drained():
                return
            self._stop.wait(self._settings.poll_s)
        if drain:
            self._drained(stopped=True)

    def _drained(self, *, stopped: bool = False) -> bool:
        """Whether nothing waits; False only where more has come meanwhile.

        Raises:
            UndeliveredError: Something waits that may not be sent now, or that nobody will send.
            SpoolError: The disk refused, or cannot read what waits.
        """
        left = self._spool.usage(SpoolState.PENDING).count
        waiting = self._queue.waiting()
        if left and (waiting or stopped):
            self._checked.require_readable()
            raise UndeliveredError(_not_drained(left, waiting))
        return not left

    def step(self) -> int:
        """Send one batch and act on every answer, and so on while the next one can be read beside it.

        Returns:
            How many envelopes were looked at; 0 when none waits.

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
        answered: Answered | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="send") as line:
            while batch and not self._stop.wait(0.0):
                request = self._send(batch, line)
                if answered is not None:
                    self._erase(answered)
                following, also = self._next_batch(beside=request) if self._goes_well() else ([], 0)
                looked_at += also
                answered = self._settle(request, following)
                batch = following if answered is not None else []
        self._give_back(batch)
        if answered is not None:
            self._erase(answered)
        return looked_at

    def _goes_well(self) -> bool:
        """Whether to read ahead beside a request: not on a line that is limited, slow, or was down just now."""
        is_limited = self._settings.max_bytes_per_s is not None
        return bool(self.stats.link_up) and self._size.is_largest and not is_limited and not self._stop.is_set()

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
        told = str(retry_state.outcome.exception()) if retry_state.outcome else ""
        cause = re.sub(r"[0-9]+", "", told)  # how far a body came is no other cause
        if self.stats.link_up is not False or cause != self._cause:
            _log.warning("delivery fails, sealed reads stay in the spool and are sent again: %s", told, extra=NOTED)
        self.stats.link_up, self._cause = False, cause

    def _note_success(self) -> None:
        if not self.stats.link_up:
            _log.info("receiver reached, delivering")
            self.stats.link_up = True

    def _next_batch(self, *, beside: Request | None = None) -> tuple[list[Envelope], int]:
        """Return the next batch, and how many envelopes were looked at for it; a short one if `beside` is answered."""
        batch: list[Envelope] = []
        looked_at = size_bytes = 0
        most_bytes = self._bandwidth.most_bytes(self._size.limit_bytes)
        for envelope_id in self._queue.next_ids():
            looked_at += 1
            envelope = self._checked.load(envelope_id)
            if envelope is None:
                continue
            size_bytes += size_in_request(envelope)
            if batch and size_bytes > most_bytes:
                self._queue.put_back([envelope_id])
                break
            batch.append(envelope)
            if len(batch) == self._size.limit or (beside is not None and beside.waits_s() > ANSWER_WAITS_S):
                break
        with suppress(SpoolError):  # delivered is better than durable
            self._spool.keep_pending()
        return batch, looked_at

    def _send(self, batch: list[Envelope], line: Executor) -> Request:
        size_bytes = sum(map(size_in_request, batch))
        self._bandwidth.spend(size_bytes)
        self.stats.sent_bytes += size_bytes
        return Request(batch, self._transport, self._clock, line)

    def _settle(self, request: Request, following: list[Envelope]) -> Answered | None:
        """Act on the answers to a batch, or give it and the next one back.

        Returns:
            What is left to do; None if the batch was too large.

        Raises:
            TransportError: As `step`.
        """
        batch = request.batch
        try:
            answers = request.answers(self._stop)
        except BatchTooLargeError as error:
            self._note_success()
            self._shrink(batch, following, error)
            return None
        except TransportError as error:
            self._give_back(batch, following)
            if isinstance(error, BrokenTransferError):
                self._note_broken(batch, error)
            raise
        answered, unproven, doubt = self._sort(request, answers)
        if doubt is not None:
            self._give_back(unproven, following)
            self._erase(answered)
            raise TransportError(f"a receipt proves nothing, its envelope stays: {doubt}")
        self._note_success()
        return answered

    def _note_broken(self, batch: list[Envelope], error: BrokenTransferError) -> None:
        """Make the next batch smaller; a lone envelope goes behind the others, if there are any."""
        self._size.failed(len(batch), sent_bytes=error.sent_bytes)
        if len(batch) == 1:
            wait_s = self._slow.note(batch[0], error)
            if wait_s is not None and self._queue.has_others(batch[0].envelope_id):
                self._queue.put_off(batch[0].envelope_id, wait_s=wait_s, why=Waiting.SLOW)

    def _shrink(self, batch: list[Envelope], following: list[Envelope], error: BatchTooLargeError) -> None:
        if len(batch) == 1:
            self._give_back(following)
            self.stats.refused += 1
            self._checked.set_aside(batch[0].envelope_id, f"the receiver refuses {len(batch[0].data)} bytes: {error}")
            return
        self._give_back(batch, following)
        self._size.failed(len(batch))

    def _give_back(self, *batches: list[Envelope]) -> None:
        self._queue.put_back(envelope.envelope_id for batch in batches for envelope in batch)

    def _sort(
        self, request: Request, answers: list[Answer]
    ) -> tuple[Answered, list[Envelope], ReceiptVerificationError | FormatError | None]:
        """Check the receipts; return what is left to do, which envelopes are not proven, and why."""
        proven: list[VerifiedReceipt] = []
        unproven: list[Envelope] = []
        refused: list[tuple[str, str]] = []
        doubt: ReceiptVerificationError | FormatError | None = None
        for envelope, answer in zip(request.batch, answers, strict=True):
            match answer:
                case Stored(receipt):
                    try:
                        proven.append(verify_receipt(receipt, envelope, self._receiver_keys))
                    except (ReceiptVerificationError, FormatError) as error:
                        self.stats.bad_receipts += 1
                        unproven.append(envelope)
                        doubt = error
                case Refused(reason) if self._old_receiver.has_refused(envelope, reason):
                    self._old_receiver.note_refusal()
                    self._queue.put_off(envelope.envelope_id, wait_s=UPGRADE_WAIT_S, why=Waiting.OLD_RECEIVER)
                case Refused(reason):
                    refused.append((envelope.envelope_id, reason))
                case Later(wait_s):
                    self._queue.put_off(envelope.envelope_id, wait_s=wait_s, why=Waiting.LATER)
        self.stats.acknowledged += len(proven)
        return Answered(proven, refused, len(answers), request.took_s, request.answered_s), unproven, doubt

    def _erase(self, answered: Answered) -> None:
        """Erase what is proven, then set aside what is refused."""
        shredded = self._spool.shred(*answered.proven)
        self.stats.shredded += len(answered.proven) - len(shredded.kept) - len(shredded.unerased)
        self._queue.done(verified.envelope_id for verified in answered.proven)
        self._slow.done([verified.envelope_id for verified in answered.proven])
        self._checked.note_shredded(shredded)
        for envelope_id, reason in answered.refused:
            self.stats.refused += 1
            self._checked.set_aside(envelope_id, f"refused by the receiver: {reason}")
        erased_s = self._clock.monotonic_s() - answered.at_s
        self.stats.slowest_erasure_s = max(self.stats.slowest_erasure_s, erased_s)
        self._size.worked(answered.count, sent_s=answered.took_s, erased_s=erased_s)
        if answered.proven:
            self._note_receipt(max(answered.proven, key=_age_of_receipt))


def _not_drained(left: int, waiting: Counter[Waiting]) -> str:
    known = [f"{count} {why}" for why, count in waiting.most_common()]
    others = left - waiting.total()
    if others > 0:
        known.append(f"{others} not sent yet")
    return f"not drained: {left} left in the spool ({', '.join(known)})"


def _age_of_receipt(verified: VerifiedReceipt) -> tuple[datetime, int]:
    return verified.receipt.stored_at, verified.receipt.log_index


__all__ = ["UploadStats", "UploadWorker"]
