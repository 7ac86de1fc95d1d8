"""Erasing files that are on their way out: overwriting and unlinking, several side by side.

Owns: those two steps of each file, which rest on no step of another file. Leaves to others: the order and the syncs
around them (`agent.spool.spool`), and what overwriting reaches (`agent.disk.files`).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from agent.errors import SpoolMissingError
from agent.ports import Disk


class Eraser:
    """Erases files through one disk, so many side by side."""

    def __init__(self, files: Disk, *, side_by_side: int) -> None:
        """Erase nothing yet."""
        self._files = files
        self._side_by_side = side_by_side

    def erase(self, doomed: Iterable[Path]) -> None:
        """Overwrite and unlink; it is durable once their directory is synced.

        Raises:
            SpoolError: The disk refused; some may be there still.
        """
        if self._side_by_side == 1:
            for path in doomed:
                self._erase_one(path)
            return
        with ThreadPoolExecutor(self._side_by_side, thread_name_prefix="erase") as pool:
            for erased in [pool.submit(self._erase_one, path) for path in doomed]:
                erased.result()

    def _erase_one(self, path: Path) -> None:
        with suppress(SpoolMissingError):  # the other process has finished it
            self._files.overwrite(path)
        self._files.unlink(path)
