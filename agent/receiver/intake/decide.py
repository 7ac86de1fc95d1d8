"""What the receiver answers to each envelope of a batch.

Owns: the order of the checks, and the one rule behind them: refuse only what can never become right, put off
everything else, and send a receipt only once it is committed. Leaves to others: HTTP (`service`), SQL and receipts
(`stores`).

| the envelope | answer |
|---|---|
| is no envelope of this format | refused |
| comes from a device key that is not enrolled here (yet) | later |
| comes from another device than the one that sends | refused |
| carries a signature that does not hold | refused |
| comes from a key that was revoked, and was not logged before | refused |
| stands where another one stands, or breaks the chain | refused |
| was made after the rotation by the key that was rotated out, where that can be seen | refused |
| comes while the receiver's clock shows a time that is surely over | later |
| cannot be stored now | later |
| is stored, now or before | its receipt, the same bytes each time |
| was stored before, and its receipt is gone from the store | later |

An envelope that shows that two machines use one key (`stores.forks`) is stored like any other: which of the two is the
unit, a person must find out. It is told once, counted, and kept for the fleet page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import EnvelopeVerificationError, FormatError, ReceiverError, VerificationError
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.intake.counts import Counts
from agent.receiver.intake.notices import Notices, Pace
from agent.receiver.ports import ChainConflict, EnvelopeStore, Forked, Outcome, ReceiptLost
from agent.wire import cose
from agent.wire.envelope import Envelope, parse_envelope, verify_envelope
from agent.wire.probe import ProbeAnswer, parse_probe, sign_answer
from agent.wire.protocol import Answer, Later, Refused, Stored
from agent.wire.times import FIRST_DAY

NOT_ENROLLED_WAIT_S: Final = 60
"""A person enrols a device; nobody is helped by being asked more often."""
STORE_WAIT_S: Final = 30
"""A full or failing disk of the receiver: long enough to spare it, short enough to go on soon after."""

_log = logging.getLogger(__name__)


class Intake:
    """Checks, stores and acknowledges batches. Safe for threads."""

    def __init__(
        self,
        *,
        devices: DeviceBook,
        store: EnvelopeStore,
        receipt_key: Ed25519PrivateKey,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        counts: Counts | None = None,
        keep_fork: Callable[[bytes, str, datetime], None] = lambda *_: None,
    ) -> None:
        """Take over what a receiver is made of; closing the store stays with the caller.

        Args:
            devices: Who may send.
            store: Where envelopes go.
            receipt_key: Signs receipts.
            now: The aware UTC time.
            counts: Where answers are counted.
            keep_fork: Keeps for the fleet page which device key two machines use, what shows it, and when it was seen;
                may raise `ReceiverError`.
        """
        self._devices = devices
        self._store = store
        self._receipt_key = receipt_key
        self._now = now
        self._counts = counts or Counts()
        self._keep_fork = keep_fork
        self._notices = Notices()
        self._pace = Pace()

    def sender(self, certificate_der: bytes) -> Device | None:
        """Return the enrolled device that a verified TLS certificate belongs to, or None.

        After a rotation the old certificates end with the overlap, or as soon as the new one has delivered something:
        then the unit has it.

        Raises:
            ReceiverError: The device's file or the store cannot be read.
        """
        device = self._devices.by_certificate(certificate_der)
        if device is None or device.rotated is None:
            return device
        return None if any(map(self._store.has_sent, self._devices.followers(device))) else device

    def take(self, batch: Sequence[bytes], sender: Device) -> list[Answer]:
        """Answer each envelope of a batch, in order.

        Args:
            batch: Envelopes as they came.
            sender: The device whose certificate made the connection.
        """
        signers: dict[bytes, Device | Later] = {}
        checked = [self._check(data, sender, signers) for data in batch]
        envelopes = [entry for entry in checked if isinstance(entry, Envelope)]
        stored = iter(self._keep(envelopes, sender, [each for each in signers.values() if isinstance(each, Device)]))
        answers = [next(stored) if isinstance(entry, Envelope) else entry for entry in checked]
        for answer in answers:
            self._counts.add("envelopes", type(answer).__name__.lower())
            if isinstance(answer, Refused):
                self._tell_refused(answer, sender)
        return answers

    def _tell_refused(self, answer: Refused, sender: Device) -> None:
        left_out = self._pace.turn(sender.name)
        if left_out is not None:
            more = f"; {left_out} more of its envelopes since the last line" if left_out else ""
            _log.warning("refused an envelope of %s: %s%s", sender.name, answer.reason, more)

    def prove(self, data: bytes, sender: Device) -> bytes | str:
        """Answer a probe, signed, if an envelope of its signer would be taken now; else return why not.

        Args:
            data: The probe as it came.
            sender: The device whose certificate made the connection.

        Raises:
            ReceiverError: The store, or the signer's record, cannot be used.
        """
        try:
            probe = parse_probe(data)
        except FormatError as error:
            return str(error)
        why_not = _why_not(probe, self._devices.by_key_id(probe.kid), sender)
        if why_not is not None:
            return why_not
        return sign_answer(data, ProbeAnswer(self._time(), self._store.try_to_write()), self._receipt_key)

    def _check(self, data: bytes, sender: Device, signers: dict[bytes, Device | Later]) -> Envelope | Answer:
        """Return the envelope if it may be stored, else the answer to it. `signers` is this batch's memory."""
        try:
            envelope = parse_envelope(data)
        except FormatError as error:
            return Refused(str(error))
        kid = envelope.device_kid
        signer = signers[kid] if kid in signers else signers.setdefault(kid, self._signer(kid, sender))
        if isinstance(signer, Later):
            return signer
        if signer.name != sender.name:
            return Refused(f"envelope {envelope.envelope_id[:16]}: of device {signer.name}, sent by {sender.name}")
        try:
            verify_envelope(envelope, signer.signing_key)
        except EnvelopeVerificationError as error:
            return Refused(str(error))
        return self._end_of(signer, envelope) or envelope

    def _end_of(self, signer: Device, envelope: Envelope) -> Answer | None:
        """Refuse what a revoked key brings; what was logged before its end has its receipt for good."""
        if signer.revoked is None:
            return None
        try:
            row = self._store.get(envelope.digest)
        except ReceiverError:
            return Later(STORE_WAIT_S)
        if row is not None and row.log <= signer.revoked.after:
            return None
        key = signer.key_id.hex()[:16]
        return Refused(f"envelope {envelope.envelope_id[:16]}: key {key} was revoked after log {signer.revoked.after}")

    def _signer(self, key_id: bytes, sender: Device) -> Device | Later:
        """Return the device that signs with a key, or how long to put its envelopes off."""
        subject = f"key {key_id.hex()[:16]}"
        try:
            signer = self._devices.by_key_id(key_id)
        except ReceiverError as error:
            if self._notices.begins(subject):
                _log.error("putting envelopes of %s off: %s", subject, error)
            return Later(STORE_WAIT_S)
        if signer is None:
            if self._notices.begins(subject):
                _log.warning("putting envelopes of %s off, sent by %s: it is not enrolled", subject, sender.name)
            return Later(NOT_ENROLLED_WAIT_S)
        if self._notices.ends(subject):
            _log.info("taking envelopes of %s again", subject)
        return signer

    def _keep(self, envelopes: list[Envelope], sender: Device, signers: list[Device]) -> list[Answer]:
        """Store what passed; receipts come back once they are committed."""
        if not envelopes:
            return []
        try:
            outcomes = self._store.store_batch(
                envelopes,
                self._time(),
                self._receipt_key,
                sender=sender.key_id,
                followers={each.key_id: self._devices.followers(each) for each in signers if each.rotated is not None},
            )
        except ReceiverError as error:
            if self._notices.begins("store"):
                _log.error("putting envelopes off: %s", error)
            return [Later(STORE_WAIT_S)] * len(envelopes)
        if self._notices.ends("store"):
            _log.info("storing again")
        names = {signer.key_id: signer.name for signer in signers}
        for envelope, outcome in zip(envelopes, outcomes, strict=True):
            if isinstance(outcome, Forked) or (isinstance(outcome, ChainConflict) and outcome.is_fork):
                self._tell_fork(envelope.device_kid, names[envelope.device_kid], outcome.reason)
        return [self._answer(outcome) for outcome in outcomes]

    def _tell_fork(self, key_id: bytes, name: str, reason: str) -> None:
        self._counts.add("forks")
        subject = f"fork {key_id.hex()[:16]}"
        if self._notices.begins(subject):
            _log.error("two machines use the key %s of %s: %s", key_id.hex()[:16], name, reason)
        if self._pace.turn(subject) is not None:
            try:
                self._keep_fork(key_id, reason, self._now())
            except ReceiverError as error:
                _log.error("the fleet page does not know of it: %s", error)

    def _time(self) -> datetime:
        now = self._now()
        if now < FIRST_DAY:
            raise ReceiverError(f"the receiver's clock shows {now:%Y-%m-%d}, a day that is over; set it")
        return now

    def _answer(self, outcome: Outcome) -> Answer:
        match outcome:
            case ChainConflict(reason=reason):
                return Refused(reason)
            case Forked(receipt=receipt):
                return Stored(receipt)
            case ReceiptLost(reason=reason):
                if self._notices.begins(reason):
                    _log.error("putting an envelope off: %s; `plateseal receiver verify` says more", reason)
                return Later(STORE_WAIT_S)
            case receipt:
                return Stored(receipt)


def _why_not(probe: cose.Sign1, signer: Device | None, sender: Device) -> str | None:
    """Return why no new envelope that the signer of a probe has signed would be taken; None if it would."""
    key = f"signing key {probe.kid.hex()[:16]}"
    if signer is None:
        return f"{key} is not enrolled; the certificate is that of {sender.name}"
    if signer.name != sender.name:
        return f"{key} is that of {signer.name}, and the certificate that of {sender.name}"
    if signer.revoked is not None:
        return f"{key} was revoked"
    if signer.rotated is not None:
        return f"{key} has been followed by key {signer.rotated.to.hex()[:16]}"
    try:
        cose.verify_sign1(probe, signer.signing_key, what="probe")
    except VerificationError as error:
        return str(error)
    return None
