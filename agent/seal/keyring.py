"""The keyring file on the device: the recipients to seal to, as the owner signed them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.envelope.keyring import MAX_KEYRING_BYTES, Keyring, RecipientKey, parse_keyring
from agent.errors import FormatError, KeyFileError, KeyringVerificationError
from agent.seal.keyfiles import read_public_file


class KeyringBook:
    """`RecipientBook` over one verified keyring."""

    def __init__(self, keyring: Keyring) -> None:
        """Serve the keys of `keyring`, which has been verified."""
        self._keyring = keyring

    @classmethod
    def load(cls, path: Path, owner_key: Ed25519PublicKey) -> KeyringBook:
        """Read a keyring file and check that the pinned owner signed it.

        Raises:
            KeyFileError: It cannot be read, or is no keyring.
            KeyringVerificationError: Another owner's, or a wrong signature.
        """
        try:
            return cls(parse_keyring(read_public_file(path, max_bytes=MAX_KEYRING_BYTES), owner_key))
        except FormatError as error:
            raise KeyFileError(f"{path}: {error}") from None
        except KeyringVerificationError as error:
            raise KeyringVerificationError(f"{path}: {error}") from None

    @property
    def keyring(self) -> Keyring:
        """The keyring itself, for reports."""
        return self._keyring

    def recipients_at(self, captured_at: datetime) -> tuple[RecipientKey, ...]:
        """Return one key per recipient for a read captured then; never empty."""
        return self._keyring.keys_at(captured_at)
