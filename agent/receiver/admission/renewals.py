"""Units that ask for a new certificate over the connection that the old one opens.

```
renewals/KEY-ID.cose   the request that a unit's signing key has signed, until somebody has answered it
renewals/KEY-ID.pem    the newest answer, which the unit fetches
```

Owns: what a request must prove, keeping it, and `plateseal receiver renew --units`. Leaves to others: HTTP
(`agent.receiver.intake.service`) and what is in a certificate (`certificates`).

The running receiver keeps requests and hands answers out; it never signs with the CA's key, which may lie elsewhere.
A person, or a timer that the person has set up, answers them (docs/adr/0020).

A request is believed if it comes from a unit that may send, under a key that is in use, not revoked, not followed by
another one; if that key has signed it; and if the certificate that it names is one that the unit may come with. That
certificate goes on until the unit has taken the new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent.errors import FormatError, KeyFileError, ReceiverError, VerificationError
from agent.keys import keyfiles
from agent.receiver.admission.certificates import issue_client
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.admission.pki import bounded_history, load_issuer, log_end
from agent.receiver.admission.shelf import shelf_of
from agent.receiver.layout import ReceiverLayout
from agent.wire.renewal import MAX_CHAIN_BYTES, MAX_RENEWAL_BYTES, Renewal, parse_renewal, verify_renewal

_REQUEST: Final = ".cose"
_ANSWER: Final = ".pem"
RENEWAL_SUFFIXES: Final = (_REQUEST, _ANSWER)
_WHAT: Final = "renewal"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request.

    Attributes:
        device: The unit's name, or its key's id where the request cannot be read.
        expires_at: Aware UTC time at which the new certificate ends; None where there is none.
        refusal: Why there is none.
    """

    device: str
    expires_at: datetime | None
    refusal: str = ""


class RenewalBook:
    """The requests of one receiver's units. Remembers none of them; safe for threads."""

    def __init__(self, layout: ReceiverLayout) -> None:
        """Look into the receiver's folder from now on."""
        self._shelf = shelf_of(layout.renewals, may_be_missing=True)

    def waiting(self) -> list[str]:
        """Return the names of the requests that nobody has answered.

        Raises:
            ReceiverError: They cannot be listed.
        """
        return [name for name in self._shelf.names() if name.endswith(_REQUEST)]

    def request(self, name: str) -> bytes:
        """Return a request that waits.

        Raises:
            ReceiverError: It cannot be read, or is gone.
        """
        data = self._shelf.read(name, max_bytes=MAX_RENEWAL_BYTES)
        if data is None:
            raise ReceiverError(f"{self._shelf.where}/{name}: is gone")
        return data

    def forget(self, name: str) -> None:
        """Remove a request.

        Raises:
            ReceiverError: It cannot be removed.
        """
        self._shelf.remove(name)

    def answer(self, name: str, pem: bytes) -> None:
        """Put the certificate that answers a request where its unit fetches it.

        Raises:
            KeyFileError, ReceiverError: The disk or the database refused.
        """
        self._shelf.write(f"{name.removesuffix(_REQUEST)}{_ANSWER}", pem)

    def ask(self, data: bytes, sender: Device) -> bytes | None:
        """Return a unit's new certificate (PEM), or keep its request and return None.

        Args:
            data: The request as it came.
            sender: The device whose certificate made the connection.

        Raises:
            FormatError: It is no such request.
            VerificationError: It gets none.
            ReceiverError: The disk refused.
        """
        renewal = parse_renewal(data)
        verify_request(renewal, sender)
        answer = self._answer(renewal, sender)
        if answer is None:
            self._keep(renewal)
        return answer

    def hand_out(self, key_id: bytes, pem: bytes) -> bool:
        """Let a unit that waits fetch a certificate that was issued otherwise, by `receiver enrol`; whether one waits.

        Raises:
            KeyFileError, ReceiverError: The disk or the database refused.
        """
        request = _name(key_id, _REQUEST)
        if self._shelf.read(request, max_bytes=MAX_RENEWAL_BYTES) is None:
            return False
        self.answer(request, pem)
        self.forget(request)
        return True

    def is_new(self, data: bytes) -> bool:
        """Whether a well-formed request is not kept yet."""
        return self._read(parse_renewal(data).key_id, _REQUEST, MAX_RENEWAL_BYTES) != data

    def _answer(self, renewal: Renewal, sender: Device) -> bytes | None:
        """Return the answer if it follows the certificate that the request names and the unit may come with it."""
        pem = self._read(sender.key_id, _ANSWER, MAX_CHAIN_BYTES)
        if pem is None:
            return None
        try:
            found = x509.load_pem_x509_certificate(pem)
        except ValueError:
            return None
        der = found.public_bytes(Encoding.DER)
        return pem if _fingerprint(der) in sender.fingerprints and der != renewal.certificate_der else None

    def _keep(self, renewal: Renewal) -> None:
        if self._read(renewal.key_id, _REQUEST, MAX_RENEWAL_BYTES) == renewal.data:
            return
        try:
            self._shelf.write(_name(renewal.key_id, _REQUEST), renewal.data)
        except KeyFileError as error:
            raise ReceiverError(str(error)) from None

    def _read(self, key_id: bytes, suffix: str, max_bytes: int) -> bytes | None:
        try:
            data = self._shelf.read(_name(key_id, suffix), max_bytes=max_bytes)
        except ReceiverError:
            return None
        return None if data is None or len(data) > max_bytes else data


def _name(key_id: bytes, suffix: str) -> str:
    return f"{key_id.hex()}{suffix}"


def verify_request(renewal: Renewal, device: Device) -> None:
    """Check that an enrolled device asks, with a key that is in use, for a certificate that it has.

    Raises:
        VerificationError: Says what is wrong.
    """
    key = f"key {device.key_id.hex()[:16]}"
    if renewal.device != device.name:
        raise VerificationError(f"{_WHAT}: names {renewal.device}, and is that of {device.name}")
    if device.revoked is not None:
        raise VerificationError(f"{_WHAT}: {key} was revoked")
    if device.rotated is not None:
        raise VerificationError(f"{_WHAT}: {key} has been followed by key {device.rotated.to.hex()[:16]}")
    verify_renewal(renewal, device.signing_key)
    if _fingerprint(renewal.certificate_der) not in device.fingerprints:
        raise VerificationError(f"{_WHAT}: {key} has no such certificate any more")


def renew_units(directory: Path, *, ca_key: Path | None = None, now: datetime | None = None) -> Iterator[Answered]:
    """Answer every request that waits, one after the other.

    Args:
        directory: The receiver's.
        ca_key: The CA's private key, where it is kept elsewhere.
        now: Aware time of issue; the clock's if left out.

    Raises:
        KeyFileError: The CA's key or certificate or the receipt key cannot be read, or the disk refused.
        ReceiverError: A device's record or the store cannot be read.
    """
    layout, moment = ReceiverLayout(directory), now or datetime.now(UTC)
    requests = RenewalBook(layout)
    waiting = requests.waiting()
    if not waiting:
        return
    desk = _Desk(layout, requests, ca_key, moment)
    for name in waiting:
        try:
            yield desk.answer(name)
        except (FormatError, VerificationError) as error:
            requests.forget(name)
            yield Answered(name[:16], None, str(error))


class _Desk:
    """Issues certificates with the CA's key."""

    def __init__(self, layout: ReceiverLayout, requests: RenewalBook, ca_key: Path | None, moment: datetime) -> None:
        self._layout = layout
        self._requests = requests
        self._moment = moment
        self._issuer = load_issuer(layout, ca_key)
        self._receipt_key = keyfiles.load_ed25519_private(layout.receipt_key)
        self._book = DeviceBook(layout.devices)

    def answer(self, name: str) -> Answered:
        """Answer one request.

        The answer is there before the record that lets the unit in with it: a run that was cut off in between is done
        again, and the unit never loses the certificate that it has.
        """
        renewal = parse_renewal(self._requests.request(name))
        device = self._book.by_key_id(renewal.key_id)
        if device is None:
            raise VerificationError(f"{_WHAT}: its key is not enrolled")
        verify_request(renewal, device)
        tls_key = x509.load_der_x509_certificate(renewal.certificate_der).public_key()
        if not isinstance(tls_key, EllipticCurvePublicKey):
            raise VerificationError(f"{_WHAT}: the certificate is not for an ECDSA key")
        issued = issue_client(self._issuer, device.name, device.key_id, tls_key, self._moment)
        self._requests.answer(name, issued.public_bytes(Encoding.PEM))
        event = Event(EventKind.RENEWED, self._moment, log_end(self._layout))
        fingerprints = (issued.fingerprint(hashes.SHA256()).hex(), _fingerprint(renewal.certificate_der))
        renewed = replace(device, fingerprints=fingerprints, history=bounded_history((*device.history, event)))
        self._book.save(renewed, self._receipt_key)
        self._requests.forget(name)
        return Answered(device.name, issued.not_valid_after_utc)


def _fingerprint(certificate_der: bytes) -> str:
    return hashlib.sha256(certificate_der).hexdigest()
