"""Rollback protection: the newest keyring this device has ever used, remembered durably.

Owns: the note `keyring-serial` in the state directory, one line: the serial, a space, SHA-256 of the keyring file in
lower-case hex. Why: an old keyring is still signed by its owner. Whoever could bring it back would have the device seal
to keys of old epochs, one of which they may have stolen, or to a recipient who has been removed since.

Invariant: the note is durable before the first read is sealed to a newer keyring. What it does not stop: someone who
may write to the state directory, or put back a backup of the whole disk.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from agent.disk.notes import replace_note
from agent.errors import KeyringVerificationError
from agent.ports import Files
from agent.wire.keyring import Keyring

NOTE_FILE: Final = "keyring-serial"
MAX_NOTE_BYTES: Final = 128
"""Serials have at most 16 digits (2^53 - 1), the digest 64."""

_NOTE: Final = re.compile(rb"(0|[1-9][0-9]{0,15}) ([0-9a-f]{64})\n")


class SerialNote:
    """The note, in the state directory."""

    def __init__(self, state_dir: Path, files: Files) -> None:
        """Keep the note in `state_dir`, through `files`."""
        self._path = state_dir / NOTE_FILE
        self._files = files

    def admit(self, keyring: Keyring, data: bytes) -> None:
        """Check a verified keyring against the newest one ever used, and remember it; call before its first use.

        Args:
            keyring: What `data` says.
            data: The keyring file, whole.

        Raises:
            KeyringVerificationError: Older than the newest ever used, another one under its serial, or the note is
                damaged. The note is unchanged.
            SpoolError: The disk refused. The note is the old one or the new one.
        """
        digest = hashlib.sha256(data).hexdigest()
        if self.check(keyring, data):
            self._files.sync_dir(self._path.parent)  # a start that was cut off may have left the name not durable
            return
        replace_note(self._files, self._path, f"{keyring.serial} {digest}\n".encode("ascii"))

    def check(self, keyring: Keyring, data: bytes) -> bool:
        """Check a verified keyring against the newest one ever used, and change nothing; return whether it is that one.

        Args:
            keyring: What `data` says.
            data: The keyring file, whole.

        Raises:
            KeyringVerificationError: As `admit`.
        """
        newest = self._read()
        if newest is None:
            return False
        serial, known = newest
        if keyring.serial < serial:
            raise KeyringVerificationError(
                f"serial {keyring.serial} is older than serial {serial}, which this device has used before"
            )
        digest = hashlib.sha256(data).hexdigest()
        if keyring.serial == serial and digest != known:
            raise KeyringVerificationError(
                f"serial {serial} was another keyring before (SHA-256 {known[:16]}, now {digest[:16]}); "
                "a changed keyring needs a higher serial"
            )
        return keyring.serial == serial

    def _read(self) -> tuple[int, str] | None:
        try:
            with self._path.open("rb") as stream:
                note = stream.read(MAX_NOTE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyringVerificationError(f"{self._path}: cannot be read: {error.strerror or error}") from None
        match = _NOTE.fullmatch(note)
        if match is None:
            raise KeyringVerificationError(
                f"{self._path}: damaged, so an older keyring cannot be told from a newer one; "
                "remove it if the keyring in place is the newest"
            )
        return int(match[1]), match[2].decode("ascii")
