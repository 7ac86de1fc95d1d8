"""One process for each part of a folder, and whether a process is still there, across processes and kills.

The locks are the kernel's: they end with the process, however that ends, and with the power. Two processes in one part
of a spool would undo each other's steps (`agent.spool.spool`).

Owns: taking and asking for these locks. Leaves to others: which file or folder stands for what.
"""

from __future__ import annotations

import fcntl
import os
import time
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agent.errors import SpoolError, SpoolHeldError

PRESENCE_TRIES: Final = 50
PRESENCE_AGAIN_S: Final = 0.02
"""Whoever looks holds the lock for microseconds: a second of tries finds it free."""


class SpoolPart(StrEnum):
    """What a process does with a spool; the value is the directory that is locked for it."""

    CAPTURE = "incoming"
    UPLOAD = "shredding"


class _Lock:
    """Holds a file or directory until closed, or until the process ends."""

    def __init__(self, path: Path, flags: int) -> None:
        """Open it and take its lock.

        Raises:
            OSError: It cannot be opened; of these, `BlockingIOError`: another process holds the lock.
        """
        self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Unlock it."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        """Hold it for a block."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Unlock it."""
        self.close()


class FolderLock(_Lock):
    """Holds a directory; nothing is written."""

    def __init__(self, directory: Path) -> None:
        """Take it.

        Raises:
            OSError: It cannot be opened; of these, `BlockingIOError`: another process holds it.
        """
        super().__init__(directory, os.O_RDONLY | os.O_DIRECTORY)


class SpoolLock(FolderLock):
    """Holds one part of a spool."""

    def __init__(self, directory: Path, part: SpoolPart) -> None:
        """Take the part.

        Raises:
            SpoolHeldError: Another process has it.
            SpoolError: The spool is not there.
        """
        try:
            super().__init__(directory / part)
        except BlockingIOError:
            raise SpoolHeldError(
                f"spool: another process holds the {part.name.lower()} side of {directory}; only one may, "
                "so end that one first"
            ) from None
        except OSError as error:
            raise SpoolError(f"spool: cannot open {directory / part}: {error.strerror or error}") from error


class Presence(_Lock):
    """Shows other processes that this one is there: a locked file, which stays behind unlocked."""

    def __init__(self, path: Path) -> None:
        """Take the file, which is made if it is missing.

        Raises:
            OSError: It cannot be made; of these, `BlockingIOError`: another process shows its presence with it.
        """
        for _ in range(PRESENCE_TRIES):
            try:
                super().__init__(path, os.O_RDWR | os.O_CREAT)
            except BlockingIOError:
                time.sleep(PRESENCE_AGAIN_S)
            else:
                return
        super().__init__(path, os.O_RDWR | os.O_CREAT)


def is_present(path: Path) -> bool:
    """Whether the process that shows its presence with a file is there; False where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # whatever lies there
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
