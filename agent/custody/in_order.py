"""Reads in the order of their capture, when they come in another one; in memory as far as there is room for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agent.custody.opener import OpenedRead

KEPT_BYTES: Final = 64 << 20
"""Of envelopes whose reads stay in memory, opened. Those that come after them are opened once more."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A read that was found.

    Attributes:
        captured_at: Aware time.
        digest: Its envelope's id, 32 bytes.
        opened: The read; None where it is to be opened again.
    """

    captured_at: datetime
    digest: bytes
    opened: OpenedRead | None = field(repr=False)


class InOrder:
    """Takes reads in any order, and gives them back by time of capture; those of one moment as they came."""

    def __init__(self, reopen: Callable[[bytes], OpenedRead | None]) -> None:
        """Begin; `reopen` returns a read by the 32 bytes of its envelope's id, or None if it is gone meanwhile."""
        self._reopen = reopen
        self._found: list[_Found] = []
        self._room = KEPT_BYTES

    def add(self, opened: OpenedRead) -> None:
        """Take one."""
        self._room -= len(opened.envelope.data)
        kept = opened if self._room >= 0 else None
        self._found.append(_Found(opened.read.captured_at, opened.envelope.digest, kept))

    def __iter__(self) -> Iterator[OpenedRead]:
        """Yield all of them."""
        for found in sorted(self._found, key=lambda found: found.captured_at):
            opened = found.opened or self._reopen(found.digest)
            if opened is not None:
                yield opened
