"""The bench CA: what `receiver init`, `receiver enrol` and `receiver operator` make.

Owns: its files, and who gets a certificate. Leaves to others: what is in one (`certificates`). A fleet may use its own
CA instead: the receiver asks only that `ca.pem` issued the certificates and that a device's file names its certificate.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from agent.disk.durable import make_directory
from agent.errors import KeyFileError, ReceiverError, UsageError, VerificationError
from agent.keys import keyfiles
from agent.keys.identity import check_device_name
from agent.receiver.admission.certificates import (
    CLIENT_DAYS,
    Issuer,
    issue_client,
    issue_person,
    issue_server,
    make_ca,
)
from agent.receiver.admission.devices import MAX_CERTIFICATES, Device, DeviceBook, Event, EventKind
from agent.receiver.admission.enrolment import Enrolment, load_enrolment
from agent.receiver.admission.foreign import load_client
from agent.receiver.admission.operators import Operator, OperatorBook
from agent.receiver.admission.records import MAX_EVENTS
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import create_store, open_store, store_of
from agent.wire.rotation import Rotation, verify_rotation

DEFAULT_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
MAX_HOSTS: Final = 32

DEFAULT_OVERLAP: Final = timedelta(days=7)
"""Time to carry a rotated unit's new certificate to it, with a weekend in between."""
MAX_OVERLAP: Final = timedelta(days=CLIENT_DAYS)

_DIRECTORY_MODE: Final = 0o700
_DNS_NAME: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)
_MAX_DNS_NAME_CHARS: Final = 253


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A device's new TLS client certificate.

    Attributes:
        device: The device's name.
        key_id: 32 bytes, id of its signing key.
        pem: The certificate (PEM).
        expires_at: Aware UTC time after which it is refused.
        other_keys: How many other keys the same device has.
        replaced: 32 bytes, id of the key that this one follows, after a rotation.
        overlap_until: Aware UTC time until which that key's certificates connect, after a rotation.
    """

    device: str
    key_id: bytes
    pem: bytes = field(repr=False)
    expires_at: datetime
    other_keys: int
    replaced: bytes | None = None
    overlap_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedOperator:
    """An operator's new certificate, with its key, as browsers import it.

    Attributes:
        operator: Who may see the fleet now.
        pkcs12: Key, certificate and CA, under the passphrase.
        expires_at: Aware UTC time after which the certificate is refused.
        file: What messages call the operator's record, which is to be removed to end it.
    """

    operator: Operator
    pkcs12: bytes = field(repr=False)
    expires_at: datetime
    file: str


def init_receiver(
    directory: Path,
    *,
    hosts: list[str] | None = None,
    store: str | None = None,
    needs_standby: bool = False,
    bodies: Path | None = None,
    now: datetime | None = None,
) -> ReceiverLayout:
    """Make everything a bench receiver needs: CA, server certificate, receipt key, device folder, empty store.

    Args:
        directory: Made with mode 0700 if it is missing and its parent is there.
        hosts: DNS names and IP addresses that devices reach the receiver by; this machine's loopback if left out.
        store: Address of a PostgreSQL database that has no store yet; an SQLite file in the directory if left out.
        needs_standby: In PostgreSQL: no receipt leaves unless the server names a synchronous standby.
        bodies: Beside PostgreSQL: the file that names an object store for the envelopes' bytes.
        now: Aware time of issue; the clock's if left out.

    Raises:
        UsageError: A host that is neither.
        KeyFileError, ReceiverError: The directory holds a receiver, or part of one; or the disk refused. What is
            there is kept.
    """
    names = general_names(hosts or list(DEFAULT_HOSTS))
    moment = now or datetime.now(UTC)
    layout = ReceiverLayout(directory)
    _claim_directory(layout)
    if store is not None:  # first: it is what may go wrong
        create_store(store, needs_standby=needs_standby, bodies=bodies)
        keyfiles.write_public(layout.store_address, f"{store}\n".encode())
    issuer = make_ca(moment)
    keyfiles.write_private(layout.ca_key, issuer.key)
    keyfiles.write_public(layout.ca, issuer.certificate.public_bytes(Encoding.PEM))
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = issue_server(issuer, server_key.public_key(), names, moment)
    keyfiles.write_private(layout.server_key, server_key)
    keyfiles.write_public(layout.server_certificate, server.public_bytes(Encoding.PEM))
    receipt_key = Ed25519PrivateKey.generate()
    keyfiles.write_private(layout.receipt_key, receipt_key)
    keyfiles.write_public(layout.receipt_public, receipt_key.public_key())
    _make_directory(layout.devices)
    if store is None:
        create_store(layout.store)
    return layout


def enrol(
    directory: Path,
    enrolment: Path,
    *,
    another_key: bool = False,
    overlap: timedelta = DEFAULT_OVERLAP,
    certificate: Path | None = None,
    now: datetime | None = None,
) -> IssuedCertificate:
    """Enrol a device by its request, renew its certificate, or let a new key follow an enrolled one.

    The same key again gets a new certificate; the one before it goes on working, older ones stop. `revoke` ends a key.

    Args:
        directory: The receiver's.
        enrolment: The device's `enrolment.json`, or the `rotation.cose` that its old key signed.
        another_key: Allow a further key for a name that has one. A rotation needs no such word.
        overlap: For how long the old key's TLS certificates still connect after a rotation.
        certificate: A CA of the fleet's own has issued this one for the request; the bench CA does if left out.
        now: Aware time of issue; the clock's if left out.

    Raises:
        KeyFileError: A key, certificate or the request cannot be read; or the disk refused.
        FormatError, VerificationError: The request is malformed, a proof in it does not hold, or the key that signed
            a rotation is not enrolled, was revoked or has been followed by another one.
        UsageError: The name belongs to another key and `another_key` is not set; the key was revoked; or an overlap
            out of range.
        ReceiverError: The folder of devices or the store cannot be read.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise UsageError(f"--overlap: 0 to {MAX_OVERLAP.days} days are allowed")
    layout = ReceiverLayout(directory)
    request = load_enrolment(enrolment)
    book = DeviceBook(layout.devices)
    known = _not_revoked(book.by_key_id(request.key_id), enrolment)
    others = _other_keys(book, request)
    old = None if request.rotation is None else _rotating_device(book, request.rotation)
    if others and old is None and not another_key:
        raise UsageError(
            f"{enrolment}: device {request.device} is enrolled with another key; allow a second one (--another-key) or "
            f"end the other one first: plateseal receiver revoke {directory} {request.device} --reason TEXT"
        )
    moment, log = now or datetime.now(UTC), log_end(layout)
    receipt_key = keyfiles.load_ed25519_private(layout.receipt_key)
    issued, pem = _certificate_for(request, layout, certificate, moment)
    book.save(_enrolled(known, request, issued, moment, log), receipt_key)
    if old is not None and old.rotated is None:
        event = Event(EventKind.ROTATED, moment, log, to=request.key_id, until=moment + overlap)
        old = replace(old, history=(*old.history, event))
        book.save(old, receipt_key)  # last: a crash before it leaves both valid, and the same request finishes
    rotated = None if old is None else old.rotated
    return IssuedCertificate(
        device=request.device,
        key_id=request.key_id,
        pem=pem,
        expires_at=issued.not_valid_after_utc,
        other_keys=others,
        replaced=None if old is None else old.key_id,
        overlap_until=None if rotated is None else rotated.certificates_until,
    )


def issue_operator(directory: Path, name: str, *, passphrase: str, now: datetime | None = None) -> IssuedOperator:
    """Make a key and a certificate with which a person's browser may see the fleet page, and nothing else.

    Args:
        directory: The receiver's.
        name: The person's, as a device may be called.
        passphrase: Protects the key on its way to the browser.
        now: Aware time of issue; the clock's if left out.

    Raises:
        UsageError: No such name.
        KeyFileError: The CA's key or certificate cannot be read; or the disk refused.
        ReceiverError: The folder of operators cannot be made.
    """
    check_device_name(name)
    layout = ReceiverLayout(directory)
    issuer = load_issuer(layout)
    moment = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue_person(issuer, name, key.public_key(), moment)
    operator = Operator(name, certificate.fingerprint(hashes.SHA256()).hex(), moment)
    file = OperatorBook(layout.operators).save(operator)
    pkcs12 = serialize_key_and_certificates(
        f"plateseal operator {name}".encode(),
        key,
        certificate,
        [issuer.certificate],
        BestAvailableEncryption(passphrase.encode()),
    )
    return IssuedOperator(operator, pkcs12, certificate.not_valid_after_utc, file)


def _rotating_device(book: DeviceBook, rotation: Rotation) -> Device:
    """Return the enrolled device whose key signed a rotation.

    Raises:
        VerificationError: The key is not enrolled, or not for this name; the signature does not hold; or a key of the
            statement has been followed by another one, so the statement is an old or a second one.
    """
    what = f"rotation of {rotation.device}"
    old = book.by_key_id(rotation.old_key_id)
    if old is None:
        raise VerificationError(f"{what}: signed by key {rotation.old_key_id.hex()[:16]}, which is not enrolled here")
    if old.name != rotation.device:
        raise VerificationError(f"{what}: signed by a key of {old.name}")
    verify_rotation(rotation, old.signing_key)
    if old.revoked is not None:
        raise VerificationError(f"{what}: signed by key {old.key_id.hex()[:16]}, which was revoked")
    if old.rotated is not None and old.rotated.to != rotation.new_key_id:
        raise VerificationError(
            f"{what}: key {old.key_id.hex()[:16]} has been followed by key {old.rotated.to.hex()[:16]} already; "
            "if that was not this unit's doing, its old key is in other hands"
        )
    new = book.by_key_id(rotation.new_key_id)
    if new is not None and (new.name != rotation.device or new.rotated is not None):
        raise VerificationError(f"{what}: key {new.key_id.hex()[:16]} is enrolled and in use no more, or another's")
    return old


def load_issuer(layout: ReceiverLayout, ca_key: Path | None = None) -> Issuer:
    """Load the CA's certificate and key; the key from `ca_key` where it is kept elsewhere.

    Raises:
        KeyFileError: Missing, unreadable, another kind, or not a pair.
    """
    path = ca_key or layout.ca_key
    key = keyfiles.load_p256_private(path)
    pem = keyfiles.read_public_file(layout.ca)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise KeyFileError(f"{layout.ca}: not a PEM certificate") from None
    if certificate.public_key() != key.public_key():
        raise KeyFileError(
            f"{layout.ca}: is not the certificate of {path.name}; put back the one of the two that was replaced"
        )
    return Issuer(certificate, key)


def _certificate_for(
    request: Enrolment, layout: ReceiverLayout, given: Path | None, moment: datetime
) -> tuple[x509.Certificate, bytes]:
    """Return a device's certificate, and the file that goes to it: the one given, else one of the bench CA."""
    if given is not None:
        return load_client(given, request, layout.ca)
    issued = issue_client(load_issuer(layout), request.device, request.key_id, request.tls_key, moment)
    return issued, issued.public_bytes(Encoding.PEM)


def _not_revoked(device: Device | None, enrolment: Path) -> Device | None:
    if device is not None and device.revoked is not None:
        raise UsageError(
            f"{enrolment}: key {device.key_id.hex()[:16]} was revoked; let the unit make a new identity: plateseal "
            "device init --name NAME --dir DIR"
        )
    return device


def _other_keys(book: DeviceBook, request: Enrolment) -> int:
    """Return how many other keys the same device has that were not revoked."""
    return sum(each.key_id != request.key_id and each.revoked is None for each in book.named(request.device))


def log_end(layout: ReceiverLayout) -> int:
    """Return the end of the receiver's log.

    Raises:
        ReceiverError: The store cannot be read.
    """
    with open_store(store_of(layout), read_only=True) as store:
        return store.totals().log_end


def _enrolled(
    known: Device | None, request: Enrolment, certificate: x509.Certificate, moment: datetime, log: int
) -> Device:
    """Return the device's record with the new certificate first."""
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    before, history = (known.fingerprints, known.history) if known is not None else ((), ())
    event = Event(EventKind.RENEWED if history else EventKind.ENROLLED, moment, log)
    return Device(
        name=request.device,
        key_id=request.key_id,
        signing_key=request.signing_key,
        fingerprints=(fingerprint, *before)[:MAX_CERTIFICATES],
        history=bounded_history((*history, event)),
    )


def bounded_history(history: tuple[Event, ...]) -> tuple[Event, ...]:
    """Leave room for a rotation and some revocations: the oldest renewals make it."""
    renewals = [each for each in history if each.kind is EventKind.RENEWED]
    left_out = renewals[: max(0, len(history) - MAX_EVENTS // 2)]
    return tuple(each for each in history if each not in left_out)


def _claim_directory(layout: ReceiverLayout) -> None:
    _make_directory(layout.directory)
    there = [path.name for path in layout.everything if path.exists()]
    if len(there) == len(layout.everything):
        raise ReceiverError(f"{layout.directory}: holds a receiver already; it is not overwritten")
    if there:
        raise ReceiverError(
            f"{layout.directory}: holds {', '.join(there)}, part of a receiver; "
            "remove them if its making was cut off, and run this again"
        )


def _make_directory(directory: Path) -> None:
    try:
        make_directory(directory, mode=_DIRECTORY_MODE)
    except OSError as error:
        raise ReceiverError(f"{directory}: cannot be made: {error.strerror}") from None


def general_names(hosts: list[str]) -> list[x509.GeneralName]:
    """Return names and addresses as a certificate has them.

    Raises:
        UsageError: Too many, or one that is neither.
    """
    if len(hosts) > MAX_HOSTS:
        raise UsageError(f"--host: {len(hosts)} names, at most {MAX_HOSTS} are allowed")
    return [_general_name(host) for host in hosts]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > _MAX_DNS_NAME_CHARS or not _DNS_NAME.fullmatch(host):
        raise UsageError(f"--host {host[:80]!r}: a DNS name (letters, digits, '-', '.') or an IP address is needed")
    return x509.DNSName(host.lower())
