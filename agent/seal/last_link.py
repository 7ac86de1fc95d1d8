"""The note of a chain's last link that survives a clean stop.

After a crash there is no note, and the next chain says nothing of the one before it. A stale note would be worse
than none: it would claim that reads between it and the crash never were.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agent.ports import Files
from agent.seal.chain import Chain

LAST_LINK_FILE: Final = "last-link"

_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")


class LastLink:
    """The note, in the state directory."""

    def __init__(self, state_dir: Path, files: Files) -> None:
        """Keep the note in `state_dir`, through `files`."""
        self._path = state_dir / LAST_LINK_FILE
        self._files = files

    def take(self) -> bytes | None:
        """Return the digest that the last clean stop left, once: the note is durably gone afterwards.

        Raises:
            SpoolError: The disk refused.
        """
        try:
            with self._path.open("rb") as stream:
                note = stream.read(65)
        except OSError:
            return None
        self._files.unlink(self._path)
        self._files.sync_dir(self._path.parent)
        return bytes.fromhex(note.decode()) if _DIGEST.fullmatch(note) else None

    def leave(self, chain: Chain) -> None:
        """Note the last link of a chain that ends here. A chain without a link leaves none.

        Raises:
            SpoolError: The disk refused.
        """
        digest = chain.next.prev if chain.next.seq else chain.next.last
        if digest is not None:
            self._files.unlink(self._path)
            self._files.create(self._path, digest.hex().encode())
            self._files.sync_dir(self._path.parent)
