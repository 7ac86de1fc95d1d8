"""One process for each part of a spool, across processes and kills.

The lock is the kernel's, on the directory that the part is named after: nothing is written, and it ends with the
process however that ends. Two processes in one part would undo each other's steps (`agent.spool.spool`).
"""

from __future__ import annotations

import fcntl
import os
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.errors import SpoolError


class SpoolPart(StrEnum):
    """What a process does with a spool; the value is the directory that is locked for it."""

    CAPTURE = "incoming"
    UPLOAD = "shredding"


class SpoolLock:
    """Holds one part of a spool until closed, or until the process ends."""

    def __init__(self, directory: Path, part: SpoolPart) -> None:
        """Take the part.

        Raises:
            SpoolError: Another process has it, or the spool is not there.
        """
        path = directory / part
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolError(f"spool: cannot open {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise SpoolError(
                f"spool: another process holds the {part.name.lower()} side of {directory}; only one may, "
                "so end that one first"
            ) from error

    def close(self) -> None:
        """Unlock the part."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        """Hold it for a block."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Unlock the part."""
        self.close()
