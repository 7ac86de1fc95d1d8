"""The note of the chain that is open, or of the last link of one that was closed.

```
open RUN CHAIN DIGEST      a chain has begun; DIGEST is the envelope before it, or zeros
closed RUN DIGEST          a clean stop; DIGEST is the last envelope that was accepted, or zeros
```

Version 1 of the format counted no runs. Its program left DIGEST alone, in a file of another name, and removed that at
its start. So where such a file is, that program was the last to stop in order: at the upgrade, or because somebody went
back to it for a while. Its envelope comes before the next chain then, and the numbers go on.

Owns: these files, and which number and predecessor the next chain gets. The note is durable before the first envelope
of its chain is sealed. That costs one sync at each start and none for a read. An `open` note at a start means that the
run before crashed. Then the spool is asked which envelope was accepted last: it has that envelope, or a mark that
stands for it (`agent.spool.newest`). A note that is missing or damaged is treated like an open one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.disk.notes import replace_note
from agent.errors import SpoolError
from agent.ports import Disk
from agent.records import Link
from agent.seal.chain import Chain, run_after
from agent.wire.header import ZERO_DIGEST, ChainPosition

LAST_CHAIN_FILE: Final = "last-chain"
LAST_LINK_FILE: Final = "last-link"
"""What the program of version 1 leaves."""
MAX_NOTE_BYTES: Final = 160

_NOTE: Final = re.compile(
    rb"(?:open (?P<open>[0-9]{1,16}) [0-9a-f]{32}|closed (?P<closed>[0-9]{1,16})) (?P<digest>[0-9a-f]{64})\n?"
)
_LINK_OF_VERSION_1: Final = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Noted:
    run: int | None
    digest: bytes
    is_open: bool


class LastLink:
    """The note, in the state directory."""

    def __init__(self, state_dir: Path, files: Disk) -> None:
        """Keep the note in `state_dir`, through `files`."""
        self._path = state_dir / LAST_CHAIN_FILE
        self._path_of_version_1 = state_dir / LAST_LINK_FILE
        self._files = files

    def begin(self, newest: Callable[[], Link | None]) -> Chain:
        """Begin the unit's next chain: number and predecessor are durable on return.

        Args:
            newest: Returns the newest envelope of version 2 that the spool has or remembers; it is called after a
                crash and at the upgrade only, for it reads the whole spool.

        Raises:
            SpoolError: The disk refused.
        """
        noted = self._read()
        if noted is None or noted.is_open:
            noted = _after_crash(noted, newest())
        link = self._link_of_version_1()
        last = link or noted.digest
        run = 0 if noted.run is None else run_after(noted.run, last)
        chain = Chain(run=run, last=last, note=self._note_open)
        if link is not None:
            self._files.unlink(self._path_of_version_1)
            self._files.sync_dir(self._path_of_version_1.parent)
        return chain

    def leave(self, chain: Chain) -> None:
        """Note the last link of a chain that ends here.

        Raises:
            SpoolError: The disk refused.
        """
        at = chain.next
        replace_note(self._files, self._path, b"closed %d %s\n" % (at.run or 0, at.prev.hex().encode()))

    def _note_open(self, first: ChainPosition) -> None:
        note = f"open {first.run} {first.chain.hex()} {first.prev.hex()}\n"
        replace_note(self._files, self._path, note.encode())

    def _read(self) -> _Noted | None:
        match = _NOTE.fullmatch(self._content(self._path))
        if match is None:
            return None
        is_open = match["open"] is not None
        return _Noted(int(match["open"] or match["closed"]), bytes.fromhex(match["digest"].decode()), is_open)

    def _link_of_version_1(self) -> bytes | None:
        content = self._content(self._path_of_version_1)
        return bytes.fromhex(content.decode()) if _LINK_OF_VERSION_1.fullmatch(content) else None

    def _content(self, path: Path) -> bytes:
        try:
            return self._files.read(path, limit_bytes=MAX_NOTE_BYTES)
        except SpoolError:
            return b""


def _after_crash(noted: _Noted | None, newest: Link | None) -> _Noted:
    """Return the note that a clean stop would have left."""
    if newest is not None and (noted is None or newest.run >= (noted.run or 0)):
        return _Noted(newest.run, newest.digest, is_open=False)
    if noted is None:
        return _Noted(None, ZERO_DIGEST, is_open=False)
    return noted
