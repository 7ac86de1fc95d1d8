"""Reading the passphrase of the owner's key files from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.errors import KeyFileError
from agent.keys.keyfiles import read_private_file

MAX_PASSPHRASE_BYTES: Final = 1024


def read_passphrase_file(path: Path) -> bytes:
    """Return a file's content without the line end that editors add.

    Raises:
        KeyFileError: Missing, unreadable, open to group or others, empty, longer than a passphrase, or with NUL bytes,
            which scrypt's HMAC cannot tell from nothing at the end.
    """
    data = read_private_file(path)
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise KeyFileError(f"{path}: is empty, a passphrase is needed")
    if len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise KeyFileError(f"{path}: longer than {MAX_PASSPHRASE_BYTES} bytes, which no passphrase is")
    if b"\x00" in passphrase:
        raise KeyFileError(f"{path}: holds a NUL byte, which no passphrase may")
    return passphrase
