"""Noticing that a file was replaced, without a restart and without inotify.

Owns: the file's stat signature and how often it is looked at. Leaves to others: what the file is.

A look is one `stat`, a microsecond. inotify would need a descriptor per folder, and says nothing about files that are
replaced through a bind mount or over a network file system. Device, inode, size and both times together change
whenever a file is replaced by renaming (another inode) or is written in place (mtime and ctime).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.ports import Times

LOOK_EVERY_S: Final = 1.0
"""Soon enough for a person who has just replaced a file, rare enough to cost nothing."""
RETRY_AFTER_S: Final = 60.0
"""A file that was refused is read again this much later although it looks the same: it may have been caught half
written within one tick of the file system's clock (1 to 10 ms), or the disk may have refused for a moment."""

_Signature = tuple[int, int, int, int, int] | None


class FileWatch:
    """Says when a file should be read again. Not safe for threads."""

    def __init__(self, path: Path, clock: Times) -> None:
        """Take the file as it is now as read; look at it with the intervals of `clock`."""
        self._path = path
        self._clock = clock
        self._seen = _signature(path)
        self._look_at_s = clock.monotonic_s() + LOOK_EVERY_S
        self._retry_at_s: float | None = None

    def take_change(self) -> bool:
        """Return whether to read the file again: it has changed, or was refused a while ago. Each change is told once.

        The disk is asked at most once a second.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + LOOK_EVERY_S
        signature = _signature(self._path)  # before the file is read: a change meanwhile shows at the next look
        retry = self._retry_at_s is not None and now_s >= self._retry_at_s
        if signature == self._seen and not retry:
            return False
        self._seen = signature
        self._retry_at_s = None
        return True

    def refused(self) -> None:
        """Note that the file as it is now could not be used."""
        self._retry_at_s = self._clock.monotonic_s() + RETRY_AFTER_S


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
