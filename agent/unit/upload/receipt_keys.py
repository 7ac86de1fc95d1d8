"""The receipt keys that this unit believes, as their file has them: one, or two while the receiver changes its key.

Owns: taking up the file when it changes, without a restart. Leaves to others: what a receipt proves
(`agent.wire.receipt`).

Invariant: a file that cannot be used changes nothing, so a slip of the hand never makes a unit believe nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.disk.watch import FileWatch
from agent.errors import KeyFileError
from agent.keys.keyfiles import load_ed25519_publics
from agent.ports import Clock
from agent.wire.cose import ed25519_kid

MAX_PINNED: Final = 2
"""The key in use and the one that is to follow it."""

_log = logging.getLogger(__name__)


def load_pinned(path: Path) -> dict[bytes, Ed25519PublicKey]:
    """Return the pinned receipt keys by key id.

    Raises:
        KeyFileError: The file cannot be read, or holds none or more than `MAX_PINNED`.
    """
    return {ed25519_kid(key): key for key in load_ed25519_publics(path, most=MAX_PINNED)}


class PinnedKeys(Mapping[bytes, Ed25519PublicKey]):
    """The pinned receipt keys by key id; looks at the file once a second at most. Not safe for threads."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Load the keys.

        Raises:
            KeyFileError: As `load_pinned`.
        """
        self._path = path
        self._watch = FileWatch(path, clock=clock)  # before it is read
        self._keys = load_pinned(path)

    def __getitem__(self, kid: bytes) -> Ed25519PublicKey:
        """Return the key with this id, of the file as it is now."""
        self._look()
        return self._keys[kid]

    def __iter__(self) -> Iterator[bytes]:
        """Go through the ids."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return how many are pinned."""
        return len(self._keys)

    def _look(self) -> None:
        if not self._watch.take_change():
            return
        try:
            self._keys = load_pinned(self._path)
        except KeyFileError as error:
            if self._watch.refused(str(error)):
                _log.error("the changed receipt keys are not used, those before go on: %s", error)
            return
        self._watch.accepted()
        _log.info("receipts are believed of %s from now on", ", ".join(kid.hex()[:16] for kid in self._keys))
