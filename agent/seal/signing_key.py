"""The signing key's file on the device, which a rotation replaces while capture runs.

Owns: noticing the new key. Leaves to others: what changes with it (`agent.app.keys`) and how it came (`rotation`).
"""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import KeyFileError
from agent.ports import Clock
from agent.seal.keyfiles import load_ed25519_private
from agent.seal.watch import FileWatch

_log = logging.getLogger(__name__)


class SigningKeyFile:
    """The device's signing key as its file has it. Not safe for threads."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Load the key.

        Raises:
            KeyFileError: The file cannot be used.
        """
        self._path = path
        self._watch = FileWatch(path, clock)  # before the key is read: a change meanwhile shows at the next look
        self._key = load_ed25519_private(path)
        self._trouble: str | None = None

    @property
    def key(self) -> Ed25519PrivateKey:
        """The key in use."""
        return self._key

    def look(self) -> Ed25519PrivateKey | None:
        """Return the new key if the file holds one by now, else None. A file that cannot be used changes nothing."""
        if not self._watch.is_due():
            return None
        try:
            key = load_ed25519_private(self._path)
        except KeyFileError as error:
            self._refuse(str(error))
            return None
        if self._trouble is not None:
            _log.info("%s: a signing key again", self._path)
        self._trouble = None
        if key.public_key() == self._key.public_key():
            return None
        self._key = key
        return key

    def _refuse(self, reason: str) -> None:
        self._watch.refused()
        if reason != self._trouble:
            _log.error("the new signing key is not used, the one before goes on: %s", reason)
        self._trouble = reason
