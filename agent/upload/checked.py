"""What is checked before an envelope is sent, and what becomes of one that cannot be sent.

Owns: envelopes that the disk cannot read, that nobody of this unit signed, or that cannot be set aside. Leaves to
others: which envelope is next (`queue`), and what an answer does (`worker`).

Invariant: "set aside" is logged when it is true. What cannot be set aside stays pending, is not sent while this process
knows of it, is tried again every `STUCK_WAIT_S`, and is told of once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import EnvelopeVerificationError, FormatError, SpoolError, SpoolMissingError
from agent.ports import Clock, Spool
from agent.records import Envelope, Shredded
from agent.upload.old_receiver import UPGRADE_WAIT_S, OldReceiver
from agent.upload.pace import LogBudget
from agent.upload.queue import DeliveryQueue, Waiting
from agent.upload.stats import UploadStats
from agent.wire.envelope import verify_envelope

UNREADABLE_WAIT_S: Final = 60.0
"""An envelope that the disk cannot read is tried again after this."""
MAX_UNREADABLE: Final = 64
"""So many of them are remembered; others are found anew."""
STUCK_WAIT_S: Final = 3600.0
"""What cannot be moved in the spool is tried again after this: only a person can change it."""
MAX_STUCK: Final = 1024
"""So many of them are remembered; others are told of again at each try."""

_log = logging.getLogger(__name__)


class CheckedEnvelopes:
    """The pending envelopes of one spool, each checked before it is handed out. Not safe for threads."""

    def __init__(
        self,
        spool: Spool,
        queue: DeliveryQueue,
        stats: UploadStats,
        *,
        device_key: Callable[[bytes], Ed25519PublicKey | None],
        old_receiver: OldReceiver,
        clock: Clock,
    ) -> None:
        """Look at nothing yet; the arguments are the worker's."""
        self._spool = spool
        self._queue = queue
        self._stats = stats
        self._device_key = device_key
        self._old_receiver = old_receiver
        self._lines = LogBudget(clock)
        self._unreadable: set[str] = set()
        self._stuck: dict[str, str] = {}
        self._told: set[str] = set()

    def load(self, envelope_id: str) -> Envelope | None:
        """Return an envelope that may be sent, or None: it is gone, put off, or has been set aside.

        Raises:
            SpoolError: The disk refused more than this one file.
            KeyFileError: One of the unit's public signing keys is damaged.
        """
        if envelope_id in self._stuck:
            self.set_aside(envelope_id, self._stuck[envelope_id])
            return None  # it is not sent or judged again
        try:
            envelope = self._spool.get(envelope_id)
        except SpoolMissingError:
            self._queue.done([envelope_id])  # delivered or expired since it was listed
            return None
        except (FormatError, EnvelopeVerificationError) as error:
            self._set_unreadable_aside()
            self._stats.corrupt += 1
            self.set_aside(envelope_id, f"corrupt on disk: {error}")
            return None
        except SpoolError as error:
            self._put_unreadable_off(envelope_id, error)
            return None
        self._set_unreadable_aside()
        return self._cleared(envelope)

    def set_aside(self, envelope_id: str, reason: str) -> None:
        """Set an envelope aside for a person; one that cannot be moved stays, and is told of once.

        Raises:
            SpoolError: The disk refused more than this one file.
        """
        try:
            self._spool.quarantine(envelope_id, reason=reason)
        except SpoolMissingError:
            pass  # expired meanwhile
        except SpoolError as error:
            if len(self._stuck) < MAX_STUCK:
                self._stuck[envelope_id] = reason
            self._queue.put_off(envelope_id, wait_s=STUCK_WAIT_S, why=Waiting.STUCK)
            self._tell_once(envelope_id, f"cannot be set aside and stays pending ({error}): {reason}")
            return
        else:
            self._log_error(f"envelope {envelope_id[:16]} set aside: {reason}")
        self._stuck.pop(envelope_id, None)
        self._queue.done([envelope_id])

    def note_shredded(self, shredded: Shredded) -> None:
        """Put delivered envelopes off whose files cannot be moved, and tell of those that cannot be erased."""
        for envelope_id, why in shredded.kept.items():
            self._queue.put_off(envelope_id, wait_s=STUCK_WAIT_S, why=Waiting.STUCK)
            self._tell_once(envelope_id, f"is delivered, cannot be erased and stays pending: {why}")
        for envelope_id, why in shredded.unerased.items():
            self._tell_once(
                envelope_id, f"is delivered, and its file stays in shredding/ until a start can erase it: {why}"
            )

    def require_readable(self) -> None:
        """Pass if the disk could read all that it was asked for.

        Raises:
            SpoolError: It could not; how many envelopes stay for it.
        """
        if self._unreadable:
            count = f"{len(self._unreadable)}{' or more' if len(self._unreadable) == MAX_UNREADABLE else ''}"
            first = min(self._unreadable)[:16]
            raise SpoolError(f"not drained: the disk cannot read {count} of the envelopes, {first} first; they stay")

    def _put_unreadable_off(self, envelope_id: str, error: SpoolError) -> None:
        """Try an envelope that the disk cannot read again later: it may be the whole disk, and only for now."""
        self._stats.unreadable += 1
        self._queue.put_off(envelope_id, wait_s=UNREADABLE_WAIT_S, why=Waiting.UNREADABLE)
        if len(self._unreadable) < MAX_UNREADABLE:
            self._unreadable.add(envelope_id)
        self._tell_once(envelope_id, f"stays for now: {error}")

    def _set_unreadable_aside(self) -> None:
        """The disk reads another one: what it still cannot read is damaged, and is for a person."""
        unreadable, self._unreadable = self._unreadable, set()
        self._told -= unreadable
        for envelope_id in unreadable:
            try:
                self._spool.get(envelope_id)
            except (SpoolMissingError, FormatError, EnvelopeVerificationError):
                continue  # gone, or looked at in its turn
            except SpoolError as error:
                self.set_aside(envelope_id, f"the disk cannot read it: {error}")

    def _cleared(self, envelope: Envelope) -> Envelope | None:
        try:
            self._check_signature(envelope)
        except EnvelopeVerificationError as error:
            self._stats.unsigned += 1
            self.set_aside(envelope.envelope_id, str(error))
            return None
        if self._old_receiver.must_wait(envelope):
            self._queue.put_off(envelope.envelope_id, wait_s=UPGRADE_WAIT_S, why=Waiting.OLD_RECEIVER)
            return None
        return envelope

    def _check_signature(self, envelope: Envelope) -> None:
        key = self._device_key(envelope.device_kid)
        if key is None:
            raise EnvelopeVerificationError(
                f"signed by a key that this unit does not know, {envelope.device_kid.hex()[:16]}"
            )
        verify_envelope(envelope, key)

    def _tell_once(self, envelope_id: str, what: str) -> None:
        """Log an error about an envelope, and not again at each round."""
        if envelope_id not in self._told:
            if len(self._told) >= MAX_STUCK:
                self._told.clear()
            self._told.add(envelope_id)
            self._log_error(f"envelope {envelope_id[:16]} {what}")

    def _log_error(self, line: str) -> None:
        held_back = self._lines.spend()
        if held_back is not None:
            _log.error("%s%s", line, f" ({held_back} others before it without a line)" if held_back else "")
