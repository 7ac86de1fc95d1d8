"""The device's chains: every envelope names the one before it, so a gap shows.

Owns: the next position. A position is used up only when its envelope has been accepted by the spool; a read that
the spool refused leaves no hole.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from agent.wire.envelope import Envelope
from agent.wire.header import CHAIN_ID_BYTES, ZERO_DIGEST, ChainPosition


class Chain:
    """One run of the capture daemon with one signing key; `restart` begins the next one."""

    def __init__(
        self, *, run: int = 0, last: bytes | None = None, note: Callable[[ChainPosition], None] = lambda _: None
    ) -> None:
        """Begin a chain with a fresh random id.

        Args:
            run: Its number in the unit's life.
            last: Digest of the last envelope that the unit accepted before, if there was one.
            note: Called with the first position of each chain, before anything is sealed for it; makes it durable.
        """
        self._note = note
        self._next = self._begin(run, last or ZERO_DIGEST)

    @property
    def next(self) -> ChainPosition:
        """The position that the next envelope takes."""
        return self._next

    def restart(self) -> None:
        """Begin a new chain after this one, which names the last envelope of this one.

        For a new signing key: a chain is signed by one key from end to end.

        Raises:
            SpoolError: The disk refused the note, and this chain goes on.
        """
        self._next = self._begin(run_after(self._next.run or 0, self._next.prev), self._next.prev)

    def advance(self, accepted: Envelope) -> None:
        """Move on: `accepted` is durable.

        Raises:
            ValueError: It does not stand at the next position.
        """
        if accepted.position != self._next:
            raise ValueError(f"envelope {accepted.envelope_id[:16]} is not the next of its chain")
        at = self._next
        self._next = ChainPosition(chain=at.chain, seq=at.seq + 1, prev=accepted.digest, run=at.run)

    def _begin(self, run: int, last: bytes) -> ChainPosition:
        first = ChainPosition(chain=os.urandom(CHAIN_ID_BYTES), seq=0, prev=last, run=run)
        self._note(first)
        return first


def run_after(run: int, last: bytes) -> int:
    """Return the number of the chain after chain `run`, given the last digest so far.

    A unit that has made no envelope yet (`last` is zero) is still at its first chain.
    """
    return 0 if last == ZERO_DIGEST else run + 1
