"""Files with plates in clear, which a user has asked for: for that user's eyes only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, TextIO

from agent.errors import UsageError

PRIVATE_MODE: Final = 0o600


def open_private(path: Path, *, option: str) -> TextIO:
    """Open a text file for writing, new or in place of an old one; nobody else may read it, whoever could before.

    Args:
        path: The file.
        option: The command's option that named it, for the message.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_MODE)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, PRIVATE_MODE)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}") from error
    return os.fdopen(descriptor, "w", encoding="utf-8")


def write_private(path: Path, text: str, *, option: str) -> None:
    """Write a text file as `open_private` opens it.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        with open_private(path, option=option) as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from None


def create_private(path: Path, content: bytes, *, option: str) -> None:
    """Write a new file; one that is there already is left alone.

    Raises:
        UsageError: It is there already, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    except FileExistsError:
        raise UsageError(f"{option}: {path} is there already; name another folder, or remove it") from None
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}") from error


def make_private_folder(path: Path, *, option: str) -> None:
    """Make a folder for its user's eyes only; one that is there must be empty.

    Raises:
        UsageError: It holds something, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        occupied = any(path.iterdir())
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be made or listed: {error.strerror}") from error
    if occupied:
        raise UsageError(f"{option} {path}: not empty; it wants a new or empty folder, so that nothing is overwritten")
