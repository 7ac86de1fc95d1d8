"""The device's chain: every envelope names the one before it, so a gap shows.

Owns: the next position. A position is used up only when its envelope has been accepted by the spool; a read that
the spool refused leaves no hole.
"""

from __future__ import annotations

import os

from agent.wire.envelope import Envelope
from agent.wire.header import CHAIN_ID_BYTES, ZERO_DIGEST, ChainPosition


class Chain:
    """One run of the capture daemon with one signing key; `restart` begins the next one."""

    def __init__(self, *, last: bytes | None = None) -> None:
        """Begin a chain with a fresh random id.

        Args:
            last: Digest of the last envelope of the chain before this one, if known.
        """
        self._next = ChainPosition(chain=os.urandom(CHAIN_ID_BYTES), seq=0, prev=ZERO_DIGEST, last=last)

    @property
    def next(self) -> ChainPosition:
        """The position that the next envelope takes."""
        return self._next

    def restart(self) -> None:
        """Begin a new chain after this one, which names the last envelope of this one.

        For a new signing key: a chain is signed by one key from end to end.
        """
        last = self._next.prev if self._next.seq else self._next.last
        self._next = ChainPosition(chain=os.urandom(CHAIN_ID_BYTES), seq=0, prev=ZERO_DIGEST, last=last)

    def advance(self, accepted: Envelope) -> None:
        """Move on: `accepted` is durable.

        Raises:
            ValueError: It does not stand at the next position.
        """
        if accepted.position != self._next:
            raise ValueError(f"envelope {accepted.envelope_id[:16]} is not the next of its chain")
        self._next = ChainPosition(chain=self._next.chain, seq=self._next.seq + 1, prev=accepted.digest)
