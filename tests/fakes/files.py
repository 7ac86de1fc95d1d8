"""A disk that fails on demand, beside the `Disk` port."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.disk.files import LocalFiles
from agent.errors import SpoolError, SpoolFileError, SpoolFullError
from agent.records import FileStatus


class PowerCutError(Exception):
    """The machine lost power: nothing after this moment happened. Not one of ours, so nobody handles it."""


class NoLinks(LocalFiles):
    """A file system that has no links, as vfat and exFAT."""

    def link(self, source: Path, target: Path) -> None:
        """As the port."""
        self.status(source)
        raise SpoolFileError(f"spool: cannot link {source}: {os.strerror(errno.EPERM)}")


class FaultyFiles:
    """`LocalFiles` that counts its steps and fails, or loses power, at a chosen one. Looks are no steps."""

    def __init__(self) -> None:
        """Work faultlessly until told otherwise."""
        self.steps: list[str] = []
        self.listings = 0
        self._files = LocalFiles()
        self._fail_at: int | None = None
        self._errno: int | None = None

    def fail_at(self, step: int, error: int | None) -> None:
        """Fail at the `step`-th step from now (0 is the next) with an errno; None cuts the power for good."""
        self._fail_at, self._errno = len(self.steps) + step, error

    def create(self, path: Path, data: bytes) -> None:
        """As the port; a failure leaves half of the file."""
        if self._arrives(f"create {path.parent.name}"):
            path.write_bytes(data[: len(data) // 2])
            self._fail()
        self._files.create(path, data)

    def overwrite(self, path: Path) -> None:
        """As the port; a failure leaves the file half overwritten."""
        if self._arrives("overwrite"):
            data = path.read_bytes()
            path.write_bytes(bytes(len(data) // 2) + data[len(data) // 2 :])
            self._fail()
        self._files.overwrite(path)

    def rename(self, source: Path, target: Path) -> None:
        """As the port."""
        if self._arrives(f"rename to {target.parent.name}"):
            self._fail()
        self._files.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        """As the port."""
        if self._arrives(f"link to {target.parent.name}"):
            self._fail()
        self._files.link(source, target)

    def unlink(self, path: Path) -> None:
        """As the port."""
        if self._arrives(f"unlink {path.parent.name}"):
            self._fail()
        self._files.unlink(path)

    def sync_dir(self, directory: Path) -> None:
        """As the port."""
        if self._arrives(f"sync {directory.name}"):
            self._fail()
        self._files.sync_dir(directory)

    def prepare(self, directories: Sequence[Path]) -> None:
        """As the port."""
        self._files.prepare(directories)

    def names(self, directory: Path) -> Iterator[str]:
        """As the port; counted."""
        self.listings += 1
        return self._files.names(directory)

    def statuses(self, directory: Path) -> Iterator[tuple[str, FileStatus]]:
        """As the port; counted."""
        self.listings += 1
        return self._files.statuses(directory)

    def status(self, path: Path) -> FileStatus:
        """As the port."""
        return self._files.status(path)

    def read(self, path: Path, *, limit_bytes: int) -> bytes:
        """As the port."""
        return self._files.read(path, limit_bytes=limit_bytes)

    def _arrives(self, step: str) -> bool:
        self.steps.append(step)
        index = len(self.steps) - 1
        dead = self._errno is None and self._fail_at is not None and index > self._fail_at
        return dead or index == self._fail_at

    def _fail(self) -> None:
        if self._errno is None:
            raise PowerCutError
        kind = SpoolFullError if self._errno == errno.ENOSPC else SpoolError
        raise kind(f"spool: cannot {self.steps[-1]}: {os.strerror(self._errno)}")
