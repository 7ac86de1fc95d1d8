"""The spool as one looks at it: lists, counts and reads, and changes nothing.

Owns: the names in the spool's directories, and the check of an envelope's content against its name. Leaves to others:
what changes there (`agent.spool.spool`), and whose signature an envelope has.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from agent.errors import EnvelopeVerificationError, SpoolError, SpoolMissingError
from agent.ports import DiskView
from agent.records import FileStatus, SpoolEntry, SpoolState, Usage
from agent.wire.envelope import MAX_ENVELOPE_BYTES, Envelope, parse_envelope

INCOMING: Final = "incoming"
SHREDDING: Final = "shredding"
REASON_SUFFIX: Final = ".reason"
MAX_REASON_BYTES: Final = 1024

_ID: Final = re.compile(r"[0-9a-f]{64}")


def is_id(name: str) -> bool:
    """Whether a file's name can be an envelope's."""
    return _ID.fullmatch(name) is not None


def reason_of(path: Path) -> Path:
    """Return the note that says why a file is in quarantine."""
    return path.with_name(path.name + REASON_SUFFIX)


def exists(path: Path, files: DiskView) -> bool:
    """Whether there is a file, or anything else, at this path.

    Raises:
        SpoolError: The disk refused.
    """
    try:
        files.status(path)
    except SpoolMissingError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file in quarantine.

    Attributes:
        name: An envelope's id, or the name that a file got which was none.
        status: Its length, and the time at which it was put.
        reason: Why it is there; empty if nobody noted it.
    """

    name: str
    status: FileStatus
    reason: str


class SpoolReader:
    """`SpoolView` over a directory."""

    def __init__(self, directory: Path, files: DiskView) -> None:
        """Look at `directory` through `files`; nothing is read or made yet."""
        self._root = directory
        self._pending = directory / SpoolState.PENDING
        self._quarantine = directory / SpoolState.QUARANTINE
        self._files = files

    def entries(self, state: SpoolState, *, limit: int | None = None, newest: bool = False) -> list[SpoolEntry]:
        """List at most `limit` envelopes, oldest first; with `newest` the newest ones, newest first.

        Raises:
            SpoolError: The disk refused.
        """
        found = self._scan(state)
        if limit is None:
            return sorted(found, key=_age, reverse=newest)
        choose: Callable[..., list[SpoolEntry]] = heapq.nlargest if newest else heapq.nsmallest
        return choose(limit, found, key=_age)

    def usage(self, state: SpoolState) -> Usage:
        """Count envelopes and their bytes, in quarantine whatever else is set aside too; keeps nothing in memory.

        Raises:
            SpoolError: The disk refused.
        """
        envelopes, size_bytes = 0, 0
        for _, status in self._counted(state):
            envelopes += 1
            size_bytes += status.size_bytes
        return Usage(envelopes, size_bytes)

    def get(self, envelope_id: str) -> Envelope:
        """Read a pending envelope, whole and checked against its name.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
            FormatError: Its bytes are no envelope.
            EnvelopeVerificationError: Its bytes are not those that were put.
        """
        return self._read(self._in_pending(envelope_id))

    def pending_names(self) -> Iterator[str]:
        """Yield every name in pending, an envelope's or not; those of other things than files end with a slash.

        Raises:
            SpoolError: The disk refused.
        """
        return self._files.names(self._pending)

    def set_aside(self) -> Iterator[SetAside]:
        """Yield what is in quarantine, with the reasons.

        Raises:
            SpoolError: The disk refused.
        """
        for name, status in self._files.statuses(self._quarantine):
            if not name.endswith(REASON_SUFFIX):
                yield SetAside(name, status, self._reason(self._quarantine / name))

    def _scan(self, state: SpoolState) -> Iterator[SpoolEntry]:
        for name, status in self._found(state):
            yield SpoolEntry(name, status.size_bytes, state, status.modified_at)

    def _found(self, state: SpoolState) -> Iterator[tuple[str, FileStatus]]:
        return ((name, each) for name, each in self._files.statuses(self._root / state) if each.is_file and is_id(name))

    def _counted(self, state: SpoolState) -> Iterator[tuple[str, FileStatus]]:
        if state is SpoolState.PENDING:
            return self._found(state)
        return (found for found in self._files.statuses(self._quarantine) if not found[0].endswith(REASON_SUFFIX))

    def _read(self, path: Path) -> Envelope:
        envelope = parse_envelope(self._files.read(path, limit_bytes=MAX_ENVELOPE_BYTES))
        if envelope.envelope_id != path.name:
            raise EnvelopeVerificationError(f"spool: the content of {path} is not what its name says")
        return envelope

    def _reason(self, path: Path) -> str:
        try:
            return self._files.read(reason_of(path), limit_bytes=MAX_REASON_BYTES).decode(errors="replace")
        except SpoolMissingError:
            return ""

    def _is_there(self, path: Path) -> bool:
        return exists(path, self._files)

    def _in_pending(self, envelope_id: str) -> Path:
        return self._pending / _checked(envelope_id)

    def _in_quarantine(self, envelope_id: str) -> Path:
        return self._quarantine / _checked(envelope_id)


def _checked(envelope_id: str) -> str:
    if not is_id(envelope_id):
        raise SpoolError("spool: an envelope id is 64 lower-case hex digits")
    return envelope_id


def _age(entry: SpoolEntry) -> tuple[datetime, str]:
    return entry.spooled_at, entry.envelope_id
