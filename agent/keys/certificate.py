"""How long a TLS certificate is still good: the metric, and one log line when it is about to end.

Owns: when that is told. Leaves to others: renewing, and taking the new one up (`agent.unit.upload.tls_files`,
`agent.receiver.intake.server_tls`).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from agent.disk.watch import FileWatch
from agent.errors import KeyFileError
from agent.health.limits import CERTIFICATE_SHORT
from agent.keys.keyfiles import read_public_file
from agent.ports import Times
from agent.wire import cose

_HEX: Final = frozenset("0123456789abcdef")

_log = logging.getLogger(__name__)


def load_certificate(path: Path) -> x509.Certificate:
    """Load a PEM certificate; of several the first one.

    Raises:
        KeyFileError: It cannot be read, or is none.
    """
    try:
        return x509.load_pem_x509_certificate(read_public_file(path))
    except ValueError:
        raise KeyFileError(f"{path}: not a PEM certificate") from None


def certificate_end(path: Path) -> datetime:
    """Return the aware UTC time at which a PEM certificate ends.

    Raises:
        KeyFileError: It cannot be read, or is none.
    """
    return load_certificate(path).not_valid_after_utc


def key_id_of(certificate: x509.Certificate) -> bytes | None:
    """Return the signing key's id that a device certificate carries as its subject's serialNumber, or None."""
    values = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    if len(values) != 1 or not isinstance(values[0], str) or not is_key_id(values[0]):
        return None
    return bytes.fromhex(values[0])


def is_key_id(text: str) -> bool:
    """Whether a text is a key id in lower-case hex."""
    return len(text) == 2 * cose.KID_BYTES and _HEX.issuperset(text)


def certificate_words(path: Path, ca: Path, now: datetime) -> str:
    """Say what is known here of a certificate that somebody refuses: its times, and whether the pinned CA issued it.

    Args:
        path: The certificate (PEM).
        ca: The certificate of the pinned CA (PEM).
        now: This unit's aware time, which is told.
    """
    try:
        own, issuer = (x509.load_pem_x509_certificate(read_public_file(each)) for each in (path, ca))
    except (KeyFileError, ValueError):
        return f"{path} or {ca} cannot be read any more"
    clock = f"this unit's clock shows {now:%Y-%m-%d %H:%M} UTC"
    if now >= own.not_valid_after_utc:
        return f"it has expired at {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, {clock}"
    if now < own.not_valid_before_utc:
        return f"it is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, {clock}"
    if own.issuer != issuer.subject:
        return "it is by another CA than the one that is pinned for the receiver"
    try:
        own.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return "it is by another CA, which has the name of the one that is pinned for the receiver"
    return f"it is good until {own.not_valid_after_utc:%Y-%m-%d} and by the pinned CA; {clock}"


class CertificateWatch:
    """Follows one certificate file. Not safe for threads."""

    def __init__(
        self,
        path: Path,
        clock: Times,
        *,
        renewed: Path | None = None,
        short: timedelta = CERTIFICATE_SHORT,
        renewal: str = "the receiver's owner renews it",
        ended: str = "nothing is delivered until it is renewed",
    ) -> None:
        """Look at `path` with the time of `clock`.

        Args:
            path: A PEM certificate; of several the first one.
            renewed: Another file, whose certificate counts where it was issued later.
            clock: Says what time it is.
            short: With less time left than this it is said that it ends.
            renewal: What is to be done then.
            ended: What comes of it when it has ended.
        """
        self._path = path
        self._short = short
        self._words = renewal, ended
        self._clock = clock
        self._paths = (path,) if renewed is None else (path, renewed)
        self._watch = FileWatch(*self._paths, clock=clock)
        self._ends_at = self._read()
        self._told: str | None = None

    def left_s(self) -> float | None:
        """Return the seconds until it ends, less than 0 after; None while it cannot be read. Tells what is to be told.

        Asks the disk once a second at most.
        """
        if self._watch.take_change():
            self._ends_at = self._read()
        if self._ends_at is None:
            return None
        left = self._ends_at - self._clock.now()
        self._tell(left)
        return left.total_seconds()

    def _read(self) -> datetime | None:
        found = []
        for path in self._paths:
            with suppress(KeyFileError):  # whoever connects with it says why
                found.append(load_certificate(path))
        return max(found, key=lambda each: each.not_valid_before_utc).not_valid_after_utc if found else None

    def _tell(self, left: timedelta) -> None:
        renewal, ended = self._words
        state = "good" if left >= self._short else "short" if left > timedelta(0) else "ended"
        before, self._told = self._told, state
        if state == before or (state == "good" and before is None):
            return
        if state == "good":
            _log.info("%s is good for %d days", self._path, left.days)
        elif state == "short":
            _log.warning("%s ends in %.1f days; %s", self._path, left / timedelta(days=1), renewal)
        else:
            _log.error("ALARM: %s has ended; %s", self._path, ended)
