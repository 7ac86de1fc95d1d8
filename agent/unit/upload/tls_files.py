"""The upload service's TLS files, which an owner may replace while it runs.

Owns: when they are read again, and which private key belongs to the certificate. A renewed certificate may come for the
key in use or for the one beside it that a rotation has made (`tls.key.next`); the certificate decides, so the two files
need not change in one step. A pair that does not fit, half a file or a missing one changes nothing: the connection goes
on with the context before.
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
from agent.ports import Clock
from agent.upload.tls import client_context

_log = logging.getLogger(__name__)


class TlsFiles:
    """The CA's certificate, this unit's certificate, and its key. Not safe for threads."""

    def __init__(self, settings: UploadConfig, clock: Clock) -> None:
        """Load the TLS files.

        Raises:
            KeyFileError: One is missing or is not what it should be, or no key belongs to the certificate.
        """
        self._settings = settings
        self._next_key = settings.key.with_name(settings.key.name + NEXT_SUFFIX)
        paths = (settings.ca, settings.certificate, settings.key, self._next_key)
        self._watches = [FileWatch(path, clock) for path in paths]  # before they are read
        self._trouble: str | None = None
        self.context = self._load()

    def renewed(self) -> ssl.SSLContext | None:
        """Return a new context if the files have changed and are good, else None. Asks the disk once a second."""
        changes = [watch.take_change() for watch in self._watches]
        if not any(changes):
            return None
        try:
            self.context = self._load()
        except KeyFileError as error:
            for watch in self._watches:
                watch.refused()
            if str(error) != self._trouble:
                _log.error("the changed TLS files are not used, those before go on: %s", error)
            self._trouble = str(error)
            return None
        _log.info("TLS files have changed and are used from now on")
        self._trouble = None
        return self.context

    def _load(self) -> ssl.SSLContext:
        try:
            return self._context_with(self._settings.key)
        except KeyFileError as error:
            if not self._next_key.exists():
                raise
            trouble = error
        try:
            return self._context_with(self._next_key)
        except KeyFileError:
            raise trouble from None

    def _context_with(self, key: Path) -> ssl.SSLContext:
        read_private_file(key)  # refuses a key that others can read; OpenSSL would take it
        return client_context(ca=self._settings.ca, certificate=self._settings.certificate, key=key)
