"""How long a TLS certificate is still good: the metric, and one log line when it is about to end.

Owns: when that is told. Leaves to others: renewing (`plateseal receiver enrol`), and taking the new one up
(`agent.unit.upload.tls_files`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from agent.disk.watch import FileWatch
from agent.errors import KeyFileError
from agent.health.limits import CERTIFICATE_SHORT
from agent.keys.keyfiles import read_public_file
from agent.ports import Clock

_log = logging.getLogger(__name__)


def certificate_end(path: Path) -> datetime:
    """Return the aware UTC time at which a PEM certificate ends.

    Raises:
        KeyFileError: It cannot be read, or is none.
    """
    try:
        return x509.load_pem_x509_certificate(read_public_file(path)).not_valid_after_utc
    except ValueError:
        raise KeyFileError(f"{path}: not a PEM certificate") from None


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
    return f"it is good until {own.not_valid_after_utc:%Y-%m-%d} and by the pinned CA's name; {clock}"


class CertificateWatch:
    """Follows one certificate file. Not safe for threads."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Look at `path` with the time of `clock`."""
        self._path = path
        self._clock = clock
        self._watch = FileWatch(path, clock)
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
        try:
            return certificate_end(self._path)
        except KeyFileError:
            return None  # whoever connects with it says why

    def _tell(self, left: timedelta) -> None:
        state = "good" if left >= CERTIFICATE_SHORT else "short" if left > timedelta(0) else "ended"
        before, self._told = self._told, state
        if state == before or (state == "good" and before is None):
            return
        if state == "good":
            _log.info("%s is good for %d days", self._path, left.days)
        elif state == "short":
            _log.warning("%s ends in %.1f days; the receiver's owner renews it", self._path, left / timedelta(days=1))
        else:
            _log.error("ALARM: %s has ended; nothing is delivered until it is renewed", self._path)
