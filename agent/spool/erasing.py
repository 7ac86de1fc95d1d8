"""Erasing files in `shredding/`: zeros, then no name, several files side by side.

Owns: that one file which cannot be erased stops no other. Leaves to others: what may be erased, and the syncs of
directories that stand before it (`agent.spool.spool`). A full disk is not one file's trouble and is raised: a file
system that never writes in place needs room even for zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from agent.errors import SpoolError, SpoolFullError, SpoolMissingError
from agent.ports import Disk


class Eraser:
    """Erases files of one directory."""

    def __init__(self, directory: Path, files: Disk, *, threads: int) -> None:
        """Prepare.

        Args:
            directory: Where the files are.
            files: The file system; safe for threads if there are several.
            threads: Files erased side by side, so that the waits for the disk overlap.
        """
        self._directory = directory
        self._files = files
        self._threads = threads
        self._lock = threading.Lock()

    def erase(self, names: Iterable[str]) -> dict[str, str]:
        """Overwrite and remove files; those that are gone are fine. After the return it survives a power cut.

        Returns:
            Name to reason of those that could not be erased; they stay.

        Raises:
            SpoolError: The disk refused the directory's sync, or is full.
        """
        failed: dict[str, str] = {}
        if self._threads == 1:
            for name in names:
                self._erase_one(name, failed)
        else:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="erase") as pool:
                for erased in [pool.submit(self._erase_one, name, failed) for name in names]:
                    erased.result()
        self._files.sync_dir(self._directory)
        return failed

    def _erase_one(self, name: str, failed: dict[str, str]) -> None:
        path = self._directory / name
        try:
            with suppress(SpoolMissingError):  # the other process has finished it
                self._files.overwrite(path)
            self._files.unlink(path)
        except SpoolFullError:
            raise
        except SpoolError as error:
            with self._lock:
                failed[name] = str(error)
