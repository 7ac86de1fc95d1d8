"""Where `plateseal receiver verify --state` keeps what it remembers, and the key that signs it.

Owns: the two files. Leaves to others: what is in the record (`agent.receiver.intake.memory`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import FormatError, KeyFileError, VerificationError
from agent.keys.keyfiles import load_ed25519_private, read_public_file, replace_file, write_private
from agent.receiver.intake.memory import MAX_MEMORY_BYTES, Memory, open_memory, sign_memory

STATE_MODE: Final = 0o600
"""It holds ids and numbers only; nobody else has to read them."""


class VerifierState:
    """The file of one verifier, and its key."""

    def __init__(self, path: Path, key: Path | None) -> None:
        """Open the key; with the first use of the file, make one.

        Args:
            path: The file; it need not be there yet.
            key: The verifier's private key; None for the one beside the file.

        Raises:
            KeyFileError: The key is missing, though it is needed, or cannot be used or made.
        """
        self.path = path
        beside = path.with_name(f"{path.name}.key")
        self._key_path = beside if key is None else key
        if key is None and not path.exists() and not beside.exists():
            write_private(beside, Ed25519PrivateKey.generate())
        try:
            self._key = load_ed25519_private(self._key_path)
        except KeyFileError as error:
            if self._key_path.exists():
                raise
            raise KeyFileError(f"{error}; without it {path} proves nothing: remove that, and verify again") from None

    def load(self) -> Memory | None:
        """Return what is remembered; None if there is no file yet.

        Raises:
            KeyFileError: The file cannot be read.
            VerificationError: It is altered, signed by another key, or no such file.
        """
        if not self.path.exists():
            return None
        data = read_public_file(self.path, max_bytes=MAX_MEMORY_BYTES)
        try:
            return open_memory(data, self._key.public_key())
        except (FormatError, VerificationError) as error:
            raise VerificationError(f"{self.path}: is not to be believed: {error}; {OUT_OF_IT}") from None

    def save(self, memory: Memory) -> None:
        """Put what is remembered in the place of what was, durably.

        Raises:
            KeyFileError: The disk refused.
        """
        replace_file(self.path, sign_memory(memory, self._key), STATE_MODE)


OUT_OF_IT: Final = "verify everything with --full, which writes it anew"

__all__ = ["OUT_OF_IT", "VerifierState"]
