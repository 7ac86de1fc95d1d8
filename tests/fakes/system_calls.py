"""The system calls that change files, recorded and refused on demand; the rest of `os` stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

CALLS: Final = ("open", "write", "fsync", "fdatasync", "close", "rename", "replace", "link", "unlink", "mkdir")


class SystemCalls:
    """Records calls as `name` or `name file`, in order, and fails one of them.

    Attributes:
        trace: The calls, each with the last part of its path, or of the path its descriptor was opened on.
        synced_twice: Descriptors on which fsync was called more than once.
    """

    def __init__(self, *, fail_at: int | None = None, error: int = 0, most_bytes: int | None = None) -> None:
        """Fail the call of that index with an errno; write at most so many bytes a call."""
        self.trace: list[str] = []
        self._open: dict[int, str] = {}
        self.synced_twice: list[str] = []
        self._synced: set[int] = set()
        self._fail_at = fail_at
        self._error = error
        self._most_bytes = most_bytes

    @contextmanager
    def watched(self) -> Iterator[SystemCalls]:
        """Stand between Python and the kernel while the block runs."""
        with ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(mock.patch.object(os, name, self._between(name, getattr(os, name))))
            yield self

    @property
    def left_open(self) -> list[str]:
        """Files whose descriptors were opened and are still open, whoever should have closed them."""
        here = Path("/proc/self/fd")
        return [
            name
            for descriptor, name in self._open.items()
            if (here / str(descriptor)).is_symlink() and (here / str(descriptor)).readlink().name == name
        ]

    def _between(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(target: Any, *rest: Any, **options: Any) -> Any:
            self._note(name, target)
            fails = len(self.trace) - 1 == self._fail_at
            if name == "write" and (fails or self._most_bytes):
                rest = (rest[0][: len(rest[0]) // 2 if fails else self._most_bytes],)
            if fails and name not in ("close", "write"):
                raise OSError(self._error, os.strerror(self._error))
            answer = call(target, *rest, **options)
            if name == "open":
                self._open[answer] = Path(target).name
                self._synced.discard(answer)
            if fails:  # a descriptor is closed and a piece is written whatever the call then says
                raise OSError(self._error, os.strerror(self._error))
            return answer

        return called

    def _note(self, name: str, target: Any) -> None:
        what = self._open.get(target, "?") if isinstance(target, int) else Path(target).name
        self.trace.append(f"{name} {what}")
        if name in {"fsync", "fdatasync"}:
            if target in self._synced:
                self.synced_twice.append(what)
            self._synced.add(target)
        if name == "close":
            self._open.pop(target, None)
