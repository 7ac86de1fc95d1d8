"""The upload service's TLS files, which an owner may replace while it runs.

Owns: when they are read again, and which private key belongs to which certificate. A rotation puts a key and a
certificate beside those in use (`tls.key.next`, `tls.pem.next`) and then into their places, one after the other: the
pair that fits is used, so the files need not change in one step. No pair that fits, half a file or a missing one
changes nothing: the connection goes on with the context before.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from agent.config.models import UploadConfig
from agent.disk.watch import FileWatch
from agent.errors import KeyFileError
from agent.keys.identity import NEXT_SUFFIX
from agent.keys.keyfiles import read_private_file
from agent.keys.renewal import RENEWED_NAME, issued_at
from agent.ports import Clock
from agent.upload.tls import client_context

_log = logging.getLogger(__name__)


class TlsFiles:
    """The CA's certificate, this unit's certificate, and its key. Not safe for threads."""

    def __init__(self, settings: UploadConfig, clock: Clock, *, state_dir: Path) -> None:
        """Load the TLS files; a certificate that the receiver has renewed lies in `state_dir`.

        Raises:
            KeyFileError: One is missing or is not what it should be, or no key belongs to the certificate.
        """
        self._settings = settings
        self._keys = (settings.key, _next(settings.key))
        self._certificates = (settings.certificate, _next(settings.certificate), state_dir / RENEWED_NAME)
        self._passed_over: str | None = None
        paths = (settings.ca, *self._certificates, *self._keys)
        self._watch = FileWatch(*paths, clock=clock)  # before they are read
        self.context = self._load()

    def renewed(self) -> ssl.SSLContext | None:
        """Return a new context if the files have changed and are good, else None. Asks the disk once a second."""
        if not self._watch.take_change():
            return None
        try:
            self.context = self._load()
        except KeyFileError as error:
            if self._watch.refused(str(error)):
                _log.error("the changed TLS files are not used, those before go on: %s", error)
            return None
        _log.info("TLS files have changed and are used from now on")
        self._watch.accepted()
        return self.context

    def _load(self) -> ssl.SSLContext:
        """Return a context with the newest certificate that a key fits.

        Raises:
            KeyFileError: None does; says what is wrong with the files that the configuration names.
        """
        configured = self._certificates[0]
        troubles: dict[Path, KeyFileError] = {}
        for certificate in sorted(self._certificates, key=issued_at, reverse=True):
            if not certificate.exists() and certificate != configured:
                continue
            for key in self._keys:
                if not key.exists() and certificate in troubles:
                    continue
                try:
                    context = self._context_with(certificate, key)
                except KeyFileError as error:
                    troubles.setdefault(certificate, error)
                else:
                    self._tell_passed_over([str(troubles[each]) for each in troubles if each != certificate])
                    return context
        raise troubles[configured]

    def _tell_passed_over(self, troubles: list[str]) -> None:
        """Log that a newer certificate than the one in use is of no use, when that changes."""
        line = "; ".join(troubles) or None
        if line is not None and line != self._passed_over:
            _log.error("a newer certificate is not used, one before it goes on: %s", line)
        self._passed_over = line

    def _context_with(self, certificate: Path, key: Path) -> ssl.SSLContext:
        read_private_file(key)  # refuses a key that others can read; OpenSSL would take it
        return client_context(ca=self._settings.ca, certificate=certificate, key=key)


def _next(path: Path) -> Path:
    """Return what is to follow a file."""
    return path.with_name(path.name + NEXT_SUFFIX)
