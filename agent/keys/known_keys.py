"""The unit's public signing keys, as its own disk remembers them: `STATE_DIR/signing-keys/KEY-ID.pem`.

Owns: the record. Capture writes it; upload reads it and so can check each envelope's signature before it is sent,
without ever seeing the private key that made it.

Invariant: a key is durable here before the first envelope under it is accepted. An envelope under a key that is not
here is damaged, somebody else's, or from before the newest `MAX_KEYS` keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.disk.durable import make_directory
from agent.errors import KeyFileError
from agent.keys import keyfiles
from agent.wire.cose import ed25519_kid

SIGNING_KEYS: Final = "signing-keys"
MAX_KEYS: Final = 64
"""Newest keys kept. A unit that rotates its key every month remembers five years."""

_NAME: Final = re.compile(r"[0-9a-f]{64}\.pem")


class KnownKeys:
    """The record of one unit. Not safe for threads."""

    def __init__(self, state_dir: Path) -> None:
        """Look at the record in `state_dir`; nothing is read or made yet."""
        self._directory = state_dir / SIGNING_KEYS
        self._loaded: dict[bytes, Ed25519PublicKey] = {}

    @property
    def directory(self) -> Path:
        """The folder of the record."""
        return self._directory

    def is_empty(self) -> bool:
        """Whether no key has been recorded yet: capture has not started with this state directory."""
        return not any(self._directory.glob("*.pem"))

    def record(self, key: Ed25519PublicKey) -> None:
        """Remember a key durably, and forget all but the newest `MAX_KEYS`; call before its first use.

        Raises:
            KeyFileError: The disk refused. The record is as before, or holds the key already.
        """
        path = self._path(ed25519_kid(key))
        try:
            make_directory(self._directory, mode=0o700)
            for cut_off in self._directory.glob(".*.new"):  # of an earlier start; only capture writes here
                cut_off.unlink(missing_ok=True)
            keyfiles.replace_file(path, keyfiles.public_pem(key), keyfiles.PUBLIC_MODE)
            others = [other for other in self._directory.iterdir() if _NAME.fullmatch(other.name) and other != path]
            others.sort(key=lambda other: other.stat().st_mtime_ns, reverse=True)
            for old in others[MAX_KEYS - 1 :]:
                old.unlink()
        except OSError as error:
            raise KeyFileError(f"{self._directory}: cannot record the signing key: {error.strerror or error}") from None

    def find(self, kid: bytes) -> Ed25519PublicKey | None:
        """Return the public key with this id, or None if the unit has not signed with it. Looks at the disk anew.

        Args:
            kid: 32 bytes.

        Raises:
            KeyFileError: The key's file is there and cannot be used.
        """
        if kid not in self._loaded:
            path = self._path(kid)
            if not path.exists():
                return None
            key = keyfiles.load_ed25519_public(path)
            if ed25519_kid(key) != kid:
                raise KeyFileError(f"{path}: holds another key than its name says; remove it and start capture anew")
            self._loaded[kid] = key
        return self._loaded[kid]

    def _path(self, kid: bytes) -> Path:
        return self._directory / f"{kid.hex()}.pem"
