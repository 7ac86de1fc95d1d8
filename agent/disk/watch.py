"""Noticing that files were replaced, without a restart and without inotify.

Owns: their stat signatures, how often they are looked at, and whether a refusal has been told. Leaves to others: what
the files are, and the words.

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
    """Says when files that belong together should be read again, and what to tell. Not safe for threads."""

    def __init__(self, *paths: Path, clock: Times) -> None:
        """Take the files as they are now as read; look at them with the intervals of `clock`."""
        self._paths = paths
        self._clock = clock
        self._seen = self._signatures()
        self._look_at_s = clock.monotonic_s() + LOOK_EVERY_S
        self._retry_at_s: float | None = None
        self._refused_for: str | None = None

    def take_change(self) -> bool:
        """Return whether to read the files again: one has changed, or they were refused a while ago. Once a change.

        The disk is asked at most once a second.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + LOOK_EVERY_S
        seen = self._signatures()  # before they are read: a change meanwhile shows at the next look
        retry = self._retry_at_s is not None and now_s >= self._retry_at_s
        if seen == self._seen and not retry:
            return False
        self._seen = seen
        self._retry_at_s = None
        return True

    def refused(self, reason: str = "") -> bool:
        """Note that the files as they are now could not be used; return whether that reason is news."""
        self._retry_at_s = self._clock.monotonic_s() + RETRY_AFTER_S
        was, self._refused_for = self._refused_for, reason
        return reason != was

    def accepted(self) -> bool:
        """Note that the files are in use; return whether they had been refused before."""
        was, self._refused_for = self._refused_for, None
        return was is not None

    def _signatures(self) -> tuple[_Signature, ...]:
        return tuple(_signature(path) for path in self._paths)


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
