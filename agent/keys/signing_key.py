"""The signing key's file on the device, which a rotation replaces while capture runs.

Owns: noticing the new key. Leaves to others: what changes with it (`agent.unit.capture.keys`), how it came
(`rotation`), and remembering its public half (`known_keys`).

Invariant: a key's public half is in the unit's record before the key is given out.
"""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.watch import FileWatch
from agent.errors import KeyFileError
from agent.keys.keyfiles import load_ed25519_private
from agent.keys.known_keys import KnownKeys
from agent.ports import Clock

_log = logging.getLogger(__name__)


class SigningKeyFile:
    """The device's signing key as its file has it. Not safe for threads."""

    def __init__(self, path: Path, clock: Clock, *, known: KnownKeys) -> None:
        """Load the key, and record its public half in `known`.

        Raises:
            KeyFileError: The file cannot be used, or the record cannot be written.
        """
        self._path = path
        self._known = known
        self._watch = FileWatch(path, clock=clock)  # before the key is read: a change meanwhile shows at the next look
        self._key = load_ed25519_private(path)
        known.record(self._key.public_key())

    @property
    def key(self) -> Ed25519PrivateKey:
        """The key in use."""
        return self._key

    def look(self) -> Ed25519PrivateKey | None:
        """Return the new key if the file holds one by now, else None.

        A file that cannot be used, or a new key that cannot be recorded, changes nothing.
        """
        if not self._watch.take_change():
            return None
        try:
            key = load_ed25519_private(self._path)
            is_new = key.public_key() != self._key.public_key()
            if is_new:
                self._known.record(key.public_key())
        except KeyFileError as error:
            if self._watch.refused(str(error)):
                _log.error("the new signing key is not used, the one before goes on: %s", error)
            return None
        if self._watch.accepted():
            _log.info("%s: a signing key again", self._path)
        if not is_new:
            return None
        self._key = key
        return key
