"""The spool on disk: one file per envelope, named by its digest.

```
DIRECTORY/incoming/    being written; nothing here was ever accepted
DIRECTORY/pending/     accepted: survives a power cut
DIRECTORY/shredding/   proven delivered: being erased
DIRECTORY/quarantine/  set aside for a person, each with ID.reason
```

| step | file operations, in order | a crash inside it leaves the envelope |
|---|---|---|
| put | create incoming/ID (synced), rename to pending/ID, sync pending | not accepted, or pending whole |
| shred | rename to shredding/ID, sync pending, overwrite, unlink, sync shredding | pending, or for `recover_shreds` |
| expire | as shred, for the envelopes that a pending tombstone names | pending, or for `recover_shreds` |
| quarantine | create ID.reason (synced), rename to quarantine/ID, sync both | pending, or set aside |

Two processes share a spool: capture puts and owns incoming; upload shreds and owns shredding. No step of one can
be seen half-done by the other, because every hand-over is a rename.

Owns: this table, the byte limit, and the check of content against name. Leaves to others: what an envelope means.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.envelope.sealed import MAX_ENVELOPE_BYTES, Envelope, parse_envelope
from agent.errors import EnvelopeVerificationError, SpoolError, SpoolFullError, SpoolMissingError
from agent.ports import Files
from agent.records import SpoolEntry, SpoolState, VerifiedReceipt

INCOMING: Final = "incoming"
SHREDDING: Final = "shredding"
DIRECTORY_MODE: Final = 0o700
REASON_SUFFIX: Final = ".reason"
MAX_REASON_BYTES: Final = 1024
TOMBSTONE_ROOM_BYTES: Final = 1 << 20
"""Tombstones may go this much over the limit: a full spool must still be able to say what it forced out."""

_ID: Final = re.compile(r"[0-9a-f]{64}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FileSpool:
    """`Spool` over a directory."""

    def __init__(self, directory: Path, *, max_bytes: int, files: Files) -> None:
        """Make the directories if they are missing, and take stock.

        Args:
            directory: The spool; its parent must exist.
            max_bytes: Pending and quarantined envelopes may take this much together.
            files: The durable side of the file system.

        Raises:
            SpoolError: The directory cannot be made, read or written.
        """
        self._root = directory
        self._max_bytes = max_bytes
        self._files = files
        self._make_directories()
        self._used_bytes = self._measure()

    def put(self, envelope: Envelope) -> None:
        """Accept an envelope: on return it survives a power cut. Putting it twice is the same as once.

        Raises:
            SpoolFullError: No room; nothing changed.
            SpoolError: The disk refused; the envelope is not accepted.
        """
        target = self._path(SpoolState.PENDING, envelope.envelope_id)
        if not target.exists():
            self._require_room(envelope)
            incoming = self._root / INCOMING / envelope.envelope_id
            try:
                self._files.create(incoming, envelope.data)
            except SpoolError:
                self._discard(incoming)
                raise
            self._files.rename(incoming, target)
            self._used_bytes += len(envelope.data)
        self._files.sync_dir(target.parent)

    def entries(self, state: SpoolState, *, limit: int | None = None) -> list[SpoolEntry]:
        """List envelopes, oldest first.

        Raises:
            SpoolError: The disk refused.
        """
        found = self._scan(state)
        if limit is None:
            return sorted(found, key=_age)
        return heapq.nsmallest(limit, found, key=_age)

    def get(self, envelope_id: str) -> Envelope:
        """Read a pending envelope, whole and checked against its name.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
            FormatError: Its bytes are no envelope.
            EnvelopeVerificationError: Its bytes are not those that were put.
        """
        path = self._path(SpoolState.PENDING, envelope_id)
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_ENVELOPE_BYTES + 1)
        except FileNotFoundError as error:
            raise SpoolMissingError(f"spool: {path} is not there") from error
        except OSError as error:
            raise SpoolError(f"spool: cannot read {path}: {error.strerror or error}") from error
        envelope = parse_envelope(data)
        if envelope.envelope_id != envelope_id:
            raise EnvelopeVerificationError(f"spool: the content of {path} is not what its name says")
        return envelope

    def shred(self, *receipts: VerifiedReceipt) -> None:
        """Erase pending envelopes that their receiver holds. Erasing one twice is the same as once.

        Raises:
            SpoolError: The disk refused; envelopes may still be there. Call it again, or `recover_shreds` later.
        """
        self._take_away(receipt.envelope_id for receipt in receipts)

    def expire(self, tombstone: Envelope) -> None:
        """Erase the pending envelopes that an accepted tombstone names; those that are not there are fine.

        Raises:
            SpoolError: The tombstone is not pending itself, or the disk refused.
        """
        if tombstone.tombstone is None or not self._path(SpoolState.PENDING, tombstone.envelope_id).exists():
            raise SpoolError(f"spool: {tombstone.envelope_id[:16]} is no pending tombstone; nothing is erased on it")
        self._take_away(gone.digest.hex() for gone in tombstone.tombstone.gone)

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """Set a pending envelope aside, with a reason for a person. It is kept.

        Raises:
            SpoolError: The disk refused.
        """
        source = self._path(SpoolState.PENDING, envelope_id)
        target = self._path(SpoolState.QUARANTINE, envelope_id)
        note = target.with_name(envelope_id + REASON_SUFFIX)
        self._files.unlink(note)
        self._files.create(note, reason.encode()[:MAX_REASON_BYTES])
        self._files.rename(source, target)
        self._files.sync_dir(target.parent)
        self._files.sync_dir(source.parent)

    def recover_puts(self) -> int:
        """Remove what an interrupted `put` left; called by the one process that puts. Returns how many.

        Raises:
            SpoolError: The disk refused.
        """
        left = list(_names(self._root / INCOMING))
        for name in left:
            self._files.unlink(self._root / INCOMING / name)
        if left:
            self._files.sync_dir(self._root / INCOMING)
        return len(left)

    def recover_shreds(self) -> int:
        """Finish an interrupted `shred`; called by the one process that shreds. Returns how many.

        Raises:
            SpoolError: The disk refused.
        """
        left = [self._root / SHREDDING / name for name in _names(self._root / SHREDDING)]
        if left:
            self._erase(left)
        return len(left)

    def _take_away(self, envelope_ids: Iterable[str]) -> None:
        doomed: list[Path] = []
        for envelope_id in envelope_ids:
            target = self._root / SHREDDING / envelope_id
            try:
                self._files.rename(self._path(SpoolState.PENDING, envelope_id), target)
            except SpoolMissingError:
                continue  # taken away before, by this process or the other
            doomed.append(target)
        if doomed:
            self._files.sync_dir(self._root / SpoolState.PENDING)
            self._erase(doomed)

    def _erase(self, doomed: list[Path]) -> None:
        for path in doomed:
            with suppress(SpoolMissingError):  # the other process has finished it
                self._files.overwrite(path)
            self._files.unlink(path)
        self._files.sync_dir(self._root / SHREDDING)

    def _make_directories(self) -> None:
        names = (INCOMING, SpoolState.PENDING, SHREDDING, SpoolState.QUARANTINE)
        missing = [path for path in (self._root, *(self._root / name for name in names)) if not path.is_dir()]
        try:
            for path in missing:
                path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        except OSError as error:
            raise SpoolError(f"spool: cannot make {self._root}: {error.strerror or error}") from error
        if not os.access(self._root / INCOMING, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolError(f"spool: {self._root} is not writable by this user")
        for parent in {path.parent for path in missing}:
            self._files.sync_dir(parent)

    def _require_room(self, envelope: Envelope) -> None:
        size_bytes = len(envelope.data)
        limit = self._max_bytes + (TOMBSTONE_ROOM_BYTES if envelope.tombstone is not None else 0)
        if self._used_bytes + size_bytes > limit:
            self._used_bytes = self._measure()  # the uploading process may have erased some
        if self._used_bytes + size_bytes > limit:
            raise SpoolFullError(
                f"spool: {self._root} holds {self._used_bytes} of at most {self._max_bytes} bytes; "
                f"no room for {size_bytes} more"
            )

    def _measure(self) -> int:
        return sum(entry.size_bytes for state in SpoolState for entry in self._scan(state))

    def _scan(self, state: SpoolState) -> Iterator[SpoolEntry]:
        directory = self._root / state
        for name in _names(directory):
            if _ID.fullmatch(name):
                try:
                    yield self._entry(directory / name, state)
                except FileNotFoundError:
                    continue  # moved on since the directory was read

    def _entry(self, path: Path, state: SpoolState) -> SpoolEntry:
        status = path.stat()
        return SpoolEntry(
            envelope_id=path.name,
            size_bytes=status.st_size,
            state=state,
            spooled_at=_EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000),
        )

    def _path(self, state: SpoolState, envelope_id: str) -> Path:
        if not _ID.fullmatch(envelope_id):
            raise SpoolError("spool: an envelope id is 64 lower-case hex digits")
        return self._root / state / envelope_id

    def _discard(self, incoming: Path) -> None:
        try:
            self._files.unlink(incoming)
        except SpoolError:
            return  # the disk is failing; `recover_puts` removes it at the next start


def _names(directory: Path) -> Iterator[str]:
    try:
        with os.scandir(directory) as listing:
            for entry in listing:
                yield entry.name
    except OSError as error:
        raise SpoolError(f"spool: cannot list {directory}: {error.strerror or error}") from error


def _age(entry: SpoolEntry) -> tuple[datetime, str]:
    return entry.spooled_at, entry.envelope_id
