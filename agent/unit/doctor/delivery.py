"""The doctor's look at the way out: TLS files, identity, receipt key, and a probe that goes the whole way.

Owns: what is tried on that way. The receiver answers a probe as it would take a read, and signs the answer with its
receipt key, but stores nothing (`agent.wire.probe`): what the doctor calls good has been proven.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from agent.config.models import UnitConfig
from agent.errors import FormatError, KeyFileError, PlatesealError, ReceiptVerificationError, TransportError
from agent.health.assess import assess_certificate
from agent.keys.certificate import certificate_words
from agent.keys.identity import NEXT_SUFFIX
from agent.keys.keyfiles import load_ed25519_private, read_public_file
from agent.keys.renewal import newest_certificate
from agent.unit.doctor import mends
from agent.unit.doctor.finding import Finding, Outcome, of_health
from agent.unit.process.clock import SystemClock
from agent.unit.process.unit_files import enrol, missing_file, new_identity, told
from agent.unit.upload.receipt_keys import load_pinned
from agent.unit.upload.tls_files import TlsFiles
from agent.upload.tls import HttpsTransport
from agent.wire.cose import ed25519_kid
from agent.wire.health import one_line
from agent.wire.probe import NONCE_BYTES, sign_probe, verify_answer

CLOCK_DOUBT: Final = timedelta(minutes=5)
"""A unit's clock and its receiver's may differ by so much before the doctor tells."""

_WAIT: Final = "nothing is delivered until it is so; reads wait on the unit"


def examine_delivery(unit: UnitConfig) -> Iterator[Finding]:
    """Look at everything between the spool and the receiver's signature, the receiver itself last."""
    yield from certificates(unit)
    yield tls_files(unit)
    yield identity(unit)
    yield receipt_key(unit)
    yield receiver(unit)


def certificates(unit: UnitConfig) -> Iterator[Finding]:
    """Whether the TLS files are good now, and for how long."""
    settings, now = unit.upload, datetime.now(UTC)
    in_use = newest_certificate(settings.certificate, unit.state_dir)
    for name, path in (("certificate", in_use), ("CA", settings.ca)):
        try:
            certificate = x509.load_pem_x509_certificate(read_public_file(path))
        except KeyFileError as error:
            what, mend = told(unit, error, _bring(unit, name))
            yield Finding(name, Outcome.FAULT, what, _WAIT, mend)
            continue
        except ValueError:
            yield Finding(name, Outcome.FAULT, f"{path}: not a PEM certificate", _WAIT, _bring(unit, name))
            continue
        left = certificate.not_valid_after_utc - now
        short = assess_certificate(int(left.total_seconds()))
        if now < certificate.not_valid_before_utc:
            begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
            what = f"{path} is not valid before {begins} UTC, and this unit's clock shows {now:%Y-%m-%d %H:%M} UTC"
            mend = f"{mends.CLOCK}; if it is right: {_bring(unit, name)}"
            yield Finding(name, Outcome.FAULT, what, _WAIT, mend)
        elif short is None:
            yield Finding(name, Outcome.GOOD, f"good for {left.days} days")
        else:
            found = of_health(short, more=f", {path}")
            yield found if name == "certificate" else replace(found, check=name, mend=_bring(unit, name))


def tls_files(unit: UnitConfig) -> Finding:
    """Whether certificate and private key belong together."""
    try:
        TlsFiles(unit.upload, SystemClock(), state_dir=unit.state_dir)
    except KeyFileError as error:
        if missing_file(unit, error) is not None:
            return Finding("TLS files", Outcome.SKIPPED, "one is missing, as is told above")
        return Finding("TLS files", Outcome.FAULT, str(error), "upload does not start with them", _pair(unit))
    return Finding("TLS files", Outcome.GOOD, "the certificate fits its key")


def identity(unit: UnitConfig) -> Finding:
    """Whether certificate and signing key are of one unit: the receiver writes the key's id into the certificate."""
    check = "identity"
    try:
        in_use = newest_certificate(unit.upload.certificate, unit.state_dir)
        certificate = x509.load_pem_x509_certificate(read_public_file(in_use))
        found = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        keys = [load_ed25519_private(path) for path in _signing_keys(unit)]
    except (KeyFileError, ValueError):
        return Finding(check, Outcome.SKIPPED, "certificate or signing key cannot be read, as is told above")
    own = [ed25519_kid(key.public_key()).hex() for key in keys]
    if not found:
        return Finding(check, Outcome.SKIPPED, "the certificate names no signing key; it is by an outside CA")
    named = str(found[0].value)
    if named not in own:
        what = f"{in_use} is for signing key {named[:16]}, and this unit's is {own[0][:16]}"
        return Finding(
            check, Outcome.FAULT, what, "the receiver takes no read of another unit's key", new_identity(unit)
        )
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if names and names[0].value != unit.camera_id:
        what = f"keys and certificate are of unit {names[0].value!s}, and the configuration is of {unit.camera_id}"
        why = (
            "if they were copied from another unit, two machines sign with one key, which the receiver tells as a fork"
        )
        return Finding(check, Outcome.WARNING, what, why, new_identity(unit))
    return Finding(check, Outcome.GOOD, f"certificate and signing key {named[:16]} are of one unit")


def receipt_key(unit: UnitConfig) -> Finding:
    """Whether receipts can be checked."""
    try:
        pinned = load_pinned(unit.upload.receiver_key)
    except KeyFileError as error:
        why = "without it no receipt can be checked, and upload does not start"
        what, mend = told(unit, error, mends.bring_receipt_key(unit))
        return Finding("receipt key", Outcome.FAULT, what, why, mend)
    return Finding("receipt key", Outcome.GOOD, "pinned" if len(pinned) == 1 else "two are pinned")


def receiver(unit: UnitConfig) -> Finding:
    """Whether the receiver would take a read of this unit, and signs as is pinned: a probe goes the whole way."""
    settings = unit.upload
    try:
        context = TlsFiles(settings, SystemClock(), state_dir=unit.state_dir).context
        key, pinned = load_ed25519_private(unit.seal.signing_key), load_pinned(settings.receiver_key)
    except KeyFileError as error:
        return Finding("receiver", Outcome.SKIPPED, f"not asked without the files: {error}")
    clock = SystemClock()
    transport = HttpsTransport(
        settings.url,
        context=context,
        clock=clock,
        connect_timeout_s=settings.connect_timeout_s,
        reply_timeout_s=settings.reply_timeout_s,
        own=lambda: certificate_words(
            newest_certificate(settings.certificate, unit.state_dir), settings.ca, clock.now()
        ),
    )
    probe = sign_probe(key, at=clock.now(), nonce=os.urandom(NONCE_BYTES))
    with closing(transport):
        try:
            status, body = transport.prove(probe)
        except TransportError as error:
            return Finding("receiver", Outcome.FAULT, str(error), _WAIT, mends.for_cause(unit, str(error)))
        if status == HTTPStatus.NOT_FOUND:
            return _older_receiver(transport, unit)
    if status != HTTPStatus.OK:
        return _refusal(unit, status, one_line(body.decode("utf-8", "replace")))
    return _judge_answer(unit, body, probe, pinned)


def _judge_answer(unit: UnitConfig, answer: bytes, probe: bytes, pinned: Mapping[bytes, Ed25519PublicKey]) -> Finding:
    url, now = unit.upload.url, datetime.now(UTC)
    try:
        said = verify_answer(answer, probe, pinned)
    except (FormatError, ReceiptVerificationError) as error:
        why = "no receipt of this receiver holds, so nothing is ever erased here"
        return Finding("receiver", Outcome.FAULT, f"{url}: {error}", why, mends.bring_receipt_key(unit))
    if abs(said.at - now) > CLOCK_DOUBT:
        what = f"its clock shows {said.at:%Y-%m-%d %H:%M} UTC, this unit's {now:%Y-%m-%d %H:%M} UTC"
        why = "one of the two is wrong: reads would carry a wrong time"
        return Finding("receiver", Outcome.WARNING, what, why, "timedatectl, here and at the receiver")
    return Finding("receiver", Outcome.GOOD, f"{url} would take a read of this unit, and signs as pinned")


def _older_receiver(transport: HttpsTransport, unit: UnitConfig) -> Finding:
    """Ask a receiver of an earlier plateseal, which knows no probe, whether this unit may send."""
    try:
        status = transport.ask()
    except PlatesealError as error:
        return Finding("receiver", Outcome.FAULT, str(error), _WAIT, "look into the receiver's log")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _refusal(unit, status, "the client certificate is not that of an enrolled device")
    what = f"{unit.upload.url} answers, but is older than this plateseal: what it signs could not be tried"
    return Finding("receiver", Outcome.WARNING, what, "a wrong receipt.pub would not show", "upgrade the receiver")


def _refusal(unit: UnitConfig, status: int, line: str) -> Finding:
    what = f"{unit.upload.url} answered {status}: {line}"
    if status == HTTPStatus.FORBIDDEN:
        return Finding("receiver", Outcome.FAULT, what, "it takes no read of this unit", mends.let_in(unit))
    return Finding("receiver", Outcome.FAULT, what, _WAIT, "look into the receiver's log; df and its disk's health")


def _bring(unit: UnitConfig, name: str) -> str:
    """Say how the file of a check of `certificates` is had again."""
    return mends.bring_ca(unit) if name == "CA" else enrol(unit)


def _pair(unit: UnitConfig) -> str:
    """Say what mends TLS files that cannot be used together."""
    if any(each.outcome is Outcome.FAULT for each in certificates(unit)):
        return "as is told of the certificate or the CA"
    return mends.ROTATE if unit.upload.key.exists() else new_identity(unit)


def _signing_keys(unit: UnitConfig) -> list[Path]:
    """Return the file of the signing key, and that of the one which a rotation has made, if there is one."""
    own = unit.seal.signing_key
    following = own.with_name(own.name + NEXT_SUFFIX)
    return [own, following] if following.exists() else [own]
