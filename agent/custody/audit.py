"""The audit log: what was done with the owner's keys, by whom and why; signed, chained, never the plates.

```
audit.cose = CBOR sequence of COSE_Sign1, one per act, by the owner's signing key
  protected: {1: -8, 3: "application/plateseal-audit+cbor", 4: owner key id}
  payload:   {"v": 1, "seq": 0, 1, 2, .., "prev": SHA-256 of the entry before it (32 zero bytes at 0),
              "at": ms since 1970, "who", "action", "case", "reason", "count",
              optional: "ids": reads or keys it was about, "by": filters that were used,
                        "from", "until", "before": ms, "camera", "serial": of the keyring,
                        "head": true, the end of the log is noted in audit.head from here on}
```

Owns: that layout, appending an entry durably, and reading a whole log. Leaves to others: an entry's payload
(`audit_entry`), what is wrong with a log (`audit_check`), what is entered.

Invariants: `append` returns only when the entry is on the disk, and adds to no log that does not verify. An act is
entered before it is done, so an entry may be there for an act that was cut off, and never the other way round. Where
the log ends is noted beside it (`audit_head`): one that was removed, emptied or cut off gets no entry, so nothing is
opened either. A log that ends in half an entry, or too early, is reported and left as it is, until somebody mends it
and that is entered.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.audit_check import Checker, Piece, pieces
from agent.custody.audit_entry import MAX_WHO_CHARS, Action, AuditEntry, Mandate, Scope, encode_payload
from agent.custody.audit_head import AuditHead, cure, head_fault, load_head, was_used, write_head
from agent.custody.owner import Owner
from agent.disk.durable import sync_content, sync_directory
from agent.errors import AuditVerificationError, CustodyError, KeyFileError
from agent.keys.keyfiles import PRIVATE_MODE, write_new_file
from agent.wire import cbor, cose
from agent.wire.header import ZERO_DIGEST


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a log says, and what is wrong with it.

    Attributes:
        entries: Those whose signature holds, in the order of the file.
        findings: Everything that is wrong, one line each; empty for a log that verifies.
        head: SHA-256 of the last entry, 32 bytes; None for an empty log.
        digests: The numbers of `entries` by the SHA-256 of each.
    """

    entries: tuple[AuditEntry, ...]
    findings: tuple[str, ...]
    head: bytes | None
    digests: Mapping[bytes, int]


class AuditLog:
    """The log of one owner, to add to. Several processes may have it open; a lock on the file keeps their order."""

    def __init__(self, owner: Owner) -> None:
        """Add to the log in the owner's directory, which need not be there yet."""
        self._layout = owner.layout
        self._path = owner.layout.audit
        self._key = owner.signing_key
        self._checker = Checker(owner.signing_key.public_key())
        self._verified_bytes = 0

    def append(
        self,
        action: Action,
        mandate: Mandate,
        *,
        count: int,
        ids: Sequence[bytes] = (),
        scope: Scope = Scope(),  # noqa: B008  frozen
    ) -> AuditEntry:
        """Enter an act. On return the entry survives a power cut; do the act only then.

        Args:
            action: What will be done.
            mandate: On whose word, and why.
            count: How many reads or keys.
            ids: The reads' envelope ids or the keys' ids, where they are known; at most `MAX_IDS`.
            scope: What the act is limited to.

        Raises:
            AuditVerificationError: The log as it is does not verify, or is not whole; it is left as it is.
            CustodyError: The disk refused; the log is as it was, or has the entry, and the act is not to be done.
        """
        if not self._path.exists() and was_used(self._layout):
            raise AuditVerificationError(f"{self._path}: {self._head_fault() or 'is missing'}. {cure(self._layout)}")
        try:
            with _locked(self._path) as descriptor:
                self._catch_up(descriptor)
                fault = self._head_fault()
                if fault is not None:
                    raise AuditVerificationError(f"{self._path}: {fault}; nothing was done. {cure(self._layout)}")
                self._note_old_end()
                return self._add(descriptor, action, mandate, count=count, ids=ids, scope=scope)
        except OSError as error:
            raise CustodyError(f"{self._path}: cannot be written: {error.strerror or error}") from None

    def _add(
        self,
        descriptor: int,
        action: Action,
        mandate: Mandate,
        *,
        count: int,
        ids: Sequence[bytes] = (),
        scope: Scope = Scope(),  # noqa: B008  frozen
    ) -> AuditEntry:
        """Write the next entry, and note that the log ends with it."""
        entry = AuditEntry(
            seq=self._checker.expected,
            prev=self._checker.head or ZERO_DIGEST,
            at=datetime.now(UTC),
            who=mandate.who,
            action=action,
            case=mandate.case,
            reason=mandate.reason,
            count=count,
            ids=tuple(ids),
            scope=scope,
            noted=True,
        )
        item = self._encode(entry)
        self._write(descriptor, item)
        self._note(AuditHead(entry.seq, cbor.sha256(item)))
        return entry

    def _note_old_end(self) -> None:
        """Note where a log of an earlier plateseal ends, before the first entry that says that this is noted."""
        if self._checker.head is not None and not self._layout.audit_head.exists():
            self._note(AuditHead(self._checker.expected - 1, self._checker.head))

    def _note(self, head: AuditHead) -> None:
        try:
            write_head(self._layout.audit_head, head, self._key)
        except KeyFileError as error:
            raise CustodyError(str(error)) from None

    def _head_fault(self) -> str | None:
        return head_fault(self._layout, self._key.public_key(), self._checker.entries, self._checker.digests)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let nobody enter anything for a block, this object neither.

        Raises:
            CustodyError: The log cannot be opened.
        """
        try:
            with _locked(self._path):
                yield
        except OSError as error:
            raise CustodyError(f"{self._path}: cannot be read: {error.strerror or error}") from None

    def mend(self, mandate: Mandate) -> Path | None:
        """Set aside the half entry that a crash has left at the end, and enter that; enter a loss at the end too.

        Args:
            mandate: On whose word, and why.

        Returns:
            The file that has the half entry's bytes now, beside the log; None where there was none.

        Raises:
            AuditVerificationError: The log ends neither in half an entry nor too early, or something else is wrong too.
            CustodyError: The disk refused.
        """
        try:
            with _locked(self._path) as descriptor:
                torn = self._torn(descriptor)
                aside = None if torn is None else self._set_aside(descriptor, torn)
                self._catch_up(descriptor)
                if self._head_fault() is not None:
                    self._add(descriptor, Action.LOST, mandate, count=self._entries_lost())
                elif torn is None:
                    raise AuditVerificationError(f"{self._path}: not to be mended: nothing is wrong with its end")
                if torn is not None:
                    self._add(descriptor, Action.MEND, mandate, count=torn.length)
        except OSError as error:
            raise CustodyError(f"{self._path}: cannot be mended: {error.strerror or error}") from None
        return aside

    def _set_aside(self, descriptor: int, torn: Piece) -> Path:
        aside = self._path.with_name(f"{self._path.stem}.torn-{torn.offset}")
        write_new_file(aside, os.pread(descriptor, torn.length, torn.offset), PRIVATE_MODE)
        os.ftruncate(descriptor, torn.offset)
        sync_content(descriptor)
        return aside

    def _entries_lost(self) -> int:
        """Return how many entries at the end are known to be gone; 0 where nothing says how many there were."""
        head = load_head(self._layout.audit_head, self._key.public_key())
        return 0 if head is None else max(head.seq + 1 - self._checker.expected, 0)

    def _torn(self, descriptor: int) -> Piece | None:
        """Return the half entry at the end of a log that is whole before it; None for a log without one."""
        checker = Checker(self._key.public_key())
        for piece in pieces(descriptor, 0, checker.marker):
            if piece.torn and not checker.faults():
                return piece
            checker.check(piece)
        if checker.faults():
            raise AuditVerificationError(f"{self._path}: not to be mended: more is wrong with it than its end")
        return None

    def _catch_up(self, descriptor: int) -> None:
        """Verify what was added since the last look: by this process nothing, by another one perhaps."""
        size = os.fstat(descriptor).st_size
        if size < self._verified_bytes:
            raise AuditVerificationError(f"{self._path}: became shorter while it was open; nothing was added")
        for piece in pieces(descriptor, self._verified_bytes, self._checker.marker):
            self._checker.check(piece)
        faults = self._checker.faults()
        if faults:
            raise AuditVerificationError(
                f"{self._path}: {faults[0]}; nothing was done. `plateseal custody audit` names everything, "
                "and its --mend sets half an entry aside"
            )
        self._verified_bytes = size

    def _write(self, descriptor: int, item: bytes) -> None:
        """Write one entry at the end and sync it; after a failure the log is cut back to what it was."""
        try:
            _write_whole(descriptor, item)
            sync_content(descriptor)
            if self._verified_bytes == 0:
                sync_directory(self._path.parent)
        except OSError:
            os.ftruncate(descriptor, self._verified_bytes)
            raise
        self._checker.check(Piece(offset=self._verified_bytes, data=item, length=len(item)))
        self._verified_bytes += len(item)

    def _encode(self, entry: AuditEntry) -> bytes:
        return cose.sign1(self._checker.protected, encode_payload(entry), self._key)


def read_audit(path: Path, owner_key: Ed25519PublicKey) -> AuditReport:
    """Verify a log from beginning to end and name everything that is wrong with it.

    Args:
        path: The log.
        owner_key: The owner's public key.

    Raises:
        CustodyError: There is no log, or it cannot be read.
    """
    checker = Checker(owner_key)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            for piece in pieces(descriptor, 0, checker.marker):
                checker.check(piece)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CustodyError(f"{path}: {error.strerror or error}") from None
    return AuditReport(
        entries=tuple(checker.entries),
        findings=tuple(checker.findings()),
        head=checker.head,
        digests=dict(checker.digests),
    )


def account_name() -> str:
    """Return the name of the account this process runs under, from the system and not from the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name[:MAX_WHO_CHARS] or f"uid {os.getuid()}"
    except KeyError:
        return f"uid {os.getuid()}"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the log to append, alone: another custodian waits."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # which ends the lock


def _write_whole(descriptor: int, item: bytes) -> None:
    """Write an entry with one call, so that a crash leaves a beginning of it and never a hole."""
    written = os.write(descriptor, item)
    if written != len(item):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
