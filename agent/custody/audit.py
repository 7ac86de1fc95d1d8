"""The audit log: what was done with the owner's keys, by whom and why; signed, chained, never the plates.

```
audit.cose = CBOR sequence of COSE_Sign1, one per act, by the owner's signing key
  protected: {1: -8, 3: "application/plateseal-audit+cbor", 4: owner key id}
  payload:   {"v": 1, "seq": 0, 1, 2, .., "prev": SHA-256 of the entry before it (32 zero bytes at 0),
              "at": ms since 1970, "who", "action", "case", "reason", "count",
              optional: "ids": reads or keys it was about, "by": filters that were used,
                        "from", "until", "before": ms, "camera", "serial": of the keyring}
```

Owns: that layout, appending an entry durably, and naming what is wrong with a log. Leaves to others: what is entered.

Invariants: `append` returns only when the entry is on the disk, and adds to no log that does not verify. An act is
entered before it is done, so an entry may be there for an act that was cut off, and never the other way round. A log
that ends in half an entry is reported and left as it is, until somebody mends it and that is entered.

What it cannot show: that the newest entries were cut off, whole, by somebody who has the directory. For that an auditor
notes the head's digest and asks for it the next time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.layout import MAX_CASE_CHARS, check_case
from agent.custody.owner import Owner
from agent.disk.durable import sync_content, sync_directory
from agent.errors import AuditVerificationError, CustodyError, FormatError, UsageError, VerificationError
from agent.keys.keyfiles import PRIVATE_MODE, write_new_file
from agent.wire import cbor, cose
from agent.wire.envelope import DIGEST_BYTES, MAX_SEQ, ZERO_DIGEST
from agent.wire.keyring import MAX_KEYRING_KEYS
from agent.wire.times import as_time, to_ms

CONTENT_TYPE: Final = "application/plateseal-audit+cbor"
AUDIT_VERSION: Final = 1
MAX_IDS: Final = MAX_KEYRING_KEYS
"""Ids in one entry: all keys of a keyring."""
MAX_ENTRY_BYTES: Final = 256 << 10
"""`MAX_IDS` ids of 34 bytes, and room."""
WINDOW_BYTES: Final = 8 << 10
"""Read at first for an entry; one without ids has about 500 bytes."""
MAX_WHO_CHARS: Final = 64
MAX_REASON_CHARS: Final = 400
MAX_FINDINGS: Final = 100
"""Faults named one by one; a log that was overwritten would name thousands."""
MAX_GAP: Final = 10_000
"""Missing entries looked for in one gap."""

_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_REQUIRED: Final = frozenset({"v", "seq", "prev", "at", "who", "action", "case", "reason", "count"})
_OPTIONAL: Final = frozenset({"ids", "by", "from", "until", "before", "camera", "serial"})
_MAX_FILTERS: Final = 8


class Action(StrEnum):
    """What was done."""

    KEYS = "keys"
    SEARCH = "search"
    """A store was decrypted and looked through; nothing was shown yet."""
    OPEN = "open"
    HOLD = "hold"
    DESTROY = "destroy"
    EXPORT = "export"
    MEND = "mend"
    """Half an entry, which a crash had left at the end of this log, was set aside; `count` is its bytes."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """On whose word, and why, something is done.

    Attributes:
        who: The person, 1 to 64 characters.
        case: The case it is for; empty where none is needed.
        reason: In the person's words; empty where none is needed.
    """

    who: str
    case: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what an entry cannot hold.

        Raises:
            UsageError: Empty, too long, or with control characters.
        """
        if not 1 <= len(self.who) <= MAX_WHO_CHARS or not self.who.isprintable() or not self.who.strip():
            raise UsageError(f"--as: 1 to {MAX_WHO_CHARS} printable characters are allowed")
        if self.case:
            check_case(self.case)
        if len(self.reason) > MAX_REASON_CHARS or not self.reason.isprintable():
            raise UsageError(f"--reason: at most {MAX_REASON_CHARS} printable characters are allowed")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an act was limited to, where it was.

    Attributes:
        by: Names of the filters of a search.
        start, until: Window of a search by capture time.
        before: Limit of a destruction.
        camera: Camera of a search.
        serial: Of the keyring that was signed.
    """

    by: tuple[str, ...] = ()
    start: datetime | None = None
    until: datetime | None = None
    before: datetime | None = None
    camera: str | None = None
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act, as entered.

    Attributes:
        seq: Its number, from 0.
        prev: SHA-256 of the entry before it, 32 bytes.
        at: Aware UTC time, whole milliseconds.
        who, case, reason: As in `Mandate`.
        action: What was done.
        count: How many reads or keys.
        ids: The reads' envelope ids or the keys' ids, 32 bytes each, where the act names them.
        scope: What it was limited to.
    """

    seq: int
    prev: bytes
    at: datetime
    who: str
    action: Action
    case: str
    reason: str
    count: int
    ids: tuple[bytes, ...] = ()
    scope: Scope = Scope()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a log says, and what is wrong with it.

    Attributes:
        entries: Those whose signature holds, in the order of the file.
        findings: Everything that is wrong, one line each; empty for a log that verifies.
        head: SHA-256 of the last entry, 32 bytes; None for an empty log.
        digests: SHA-256 of every entry in `entries`.
    """

    entries: tuple[AuditEntry, ...]
    findings: tuple[str, ...]
    head: bytes | None
    digests: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the file: one entry, or bytes that are none.

    Attributes:
        offset: Where it begins.
        data: Its bytes; empty where they are no entry.
        length: How long it is.
        torn: It is the end of the file and looks like the beginning of an entry.
    """

    offset: int
    data: bytes
    length: int
    torn: bool = False


class AuditLog:
    """The log of one owner, to add to. Several processes may have it open; a lock on the file keeps their order."""

    def __init__(self, owner: Owner) -> None:
        """Add to the log in the owner's directory, which need not be there yet."""
        self._path = owner.layout.audit
        self._key = owner.signing_key
        self._checker = _Checker(owner.signing_key.public_key())
        self._verified_bytes = 0

    def append(
        self,
        action: Action,
        mandate: Mandate,
        *,
        count: int,
        ids: Sequence[bytes] = (),
        scope: Scope = Scope(),
    ) -> AuditEntry:
        """Enter an act. On return the entry survives a power cut; do the act only then.

        Args:
            action: What will be done.
            mandate: On whose word, and why.
            count: How many reads or keys.
            ids: The reads' envelope ids or the keys' ids, where they are known; at most `MAX_IDS`.
            scope: What the act is limited to.

        Raises:
            AuditVerificationError: The log as it is does not verify; it is left as it is.
            CustodyError: The disk refused; the log is as it was.
        """
        try:
            with _locked(self._path) as descriptor:
                self._catch_up(descriptor)
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
                )
                self._write(descriptor, self._encode(entry))
        except OSError as error:
            raise CustodyError(f"{self._path}: cannot be written: {error.strerror or error}") from None
        return entry

    def mend(self, mandate: Mandate) -> Path:
        """Set aside the half entry that a crash has left at the end, and enter that.

        Args:
            mandate: On whose word, and why.

        Returns:
            The file that has the bytes now, beside the log.

        Raises:
            AuditVerificationError: The log does not end in half an entry, or something else is wrong too.
            CustodyError: The disk refused.
        """
        try:
            with _locked(self._path) as descriptor:
                torn = self._torn(descriptor)
                aside = self._path.with_name(f"{self._path.stem}.torn-{torn.offset}")
                write_new_file(aside, os.pread(descriptor, torn.length, torn.offset), PRIVATE_MODE)
                os.ftruncate(descriptor, torn.offset)
                sync_content(descriptor)
        except OSError as error:
            raise CustodyError(f"{self._path}: cannot be mended: {error.strerror or error}") from None
        self.append(Action.MEND, mandate, count=torn.length)
        return aside

    def _torn(self, descriptor: int) -> _Piece:
        """Return the half entry at the end of a log that is whole before it."""
        checker = _Checker(self._key.public_key())
        for piece in _pieces(descriptor, 0, checker.marker):
            if piece.torn and not checker.faults():
                return piece
            checker.check(piece)
        raise AuditVerificationError(
            f"{self._path}: not to be mended: it does not end in half an entry, or more is wrong with it"
        )

    def _catch_up(self, descriptor: int) -> None:
        """Verify what was added since the last look: by this process nothing, by another one perhaps."""
        size = os.fstat(descriptor).st_size
        if size < self._verified_bytes:
            raise AuditVerificationError(f"{self._path}: became shorter while it was open; nothing was added")
        for piece in _pieces(descriptor, self._verified_bytes, self._checker.marker):
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
        self._checker.check(_Piece(offset=self._verified_bytes, data=item, length=len(item)))
        self._verified_bytes += len(item)

    def _encode(self, entry: AuditEntry) -> bytes:
        return cose.sign1(self._checker.protected, _encode_payload(entry), self._key)


def read_audit(path: Path, owner_key: Ed25519PublicKey) -> AuditReport:
    """Verify a log from beginning to end and name everything that is wrong with it.

    Args:
        path: The log.
        owner_key: The owner's public key.

    Raises:
        CustodyError: There is no log, or it cannot be read.
    """
    checker = _Checker(owner_key)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            for piece in _pieces(descriptor, 0, checker.marker):
                checker.check(piece)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CustodyError(f"{path}: {error.strerror or error}") from None
    return AuditReport(
        entries=tuple(checker.entries),
        findings=tuple(checker.findings()),
        head=checker.head,
        digests=frozenset(checker.digests),
    )


def account_name() -> str:
    """Return the name of the account this process runs under, from the system and not from the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name[:MAX_WHO_CHARS] or f"uid {os.getuid()}"
    except KeyError:
        return f"uid {os.getuid()}"


class _Checker:
    """Takes the pieces of a log in order, and names what is wrong.

    Attributes:
        protected: The protected header that every entry has.
        marker: The bytes that every entry begins with.
        expected: Number of the entry that should come next.
        head: SHA-256 of the last piece, if there is one.
        entries, digests: Those whose signature holds.
    """

    def __init__(self, owner_key: Ed25519PublicKey) -> None:
        self._key = owner_key
        self.protected = cose.encode_protected(cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(owner_key)))
        self.marker = bytes([0xC0 | cose.TAG_SIGN1, 0x84]) + cbor.encode(self.protected)
        self.expected = 0
        self.head: bytes | None = None
        self.entries: list[AuditEntry] = []
        self.digests: set[bytes] = set()
        self._seen: set[int] = set()
        self._gaps: list[range] = []
        self._faults: list[str] = []
        self._previous_holds = True

    def check(self, piece: _Piece) -> None:
        """Take the next piece."""
        try:
            entry = self._parse(piece)
        except (FormatError, VerificationError) as error:
            self._find(str(error))
            self.expected += 1
            self._previous_holds = False
            self.head = None
            return
        self._place(entry)
        digest = cbor.sha256(piece.data)
        self.head, self._previous_holds = digest, True
        self._seen.add(entry.seq)
        self.digests.add(digest)
        self.entries.append(entry)

    def faults(self) -> list[str]:
        """Return everything so far that must not be added to, one line each."""
        missing = [seq for gap in self._gaps for seq in gap if seq not in self._seen]
        if not missing:
            return self._faults
        return [
            *self._faults,
            f"entries {_ranges(missing)} are missing" if missing[1:] else f"entry {missing[0]} is missing",
        ]

    def findings(self) -> list[str]:
        """Return everything that is wrong so far, one line each."""
        first = self.entries[0] if self.entries else None
        if first is None or first.seq or first.action is Action.KEYS:
            return self.faults()
        return [*self.faults(), f"entry 0 is '{first.action}': the log that began with the owner's keys is gone"]

    def _parse(self, piece: _Piece) -> AuditEntry:
        place = f"entry {self.expected}"
        if piece.torn:
            raise FormatError(
                f"the last write was cut off: {piece.length} bytes at byte {piece.offset} are the beginning of {place}"
            )
        if not piece.data:
            raise FormatError(f"{place} is altered: {piece.length} bytes at byte {piece.offset} are no entry")
        try:
            message = cose.parse_sign1(
                piece.data, content_types=(CONTENT_TYPE,), max_bytes=MAX_ENTRY_BYTES, what="its bytes"
            )
            cbor.exact_keys(message.protected, _HEADER_KEYS, "its header")
            cose.verify_sign1(message, self._key, what="its signature")
            return _parse_payload(message.payload)
        except (FormatError, VerificationError) as error:
            raise FormatError(f"{place} is altered, at byte {piece.offset}: {error}") from None

    def _place(self, entry: AuditEntry) -> None:
        """Compare an entry, whose signature holds, with the place where it stands."""
        if entry.seq in self._seen:
            self._find(f"entry {entry.seq} stands in the log twice")
            return
        if entry.seq < self.expected:
            self._find(f"entry {entry.seq} is out of order: it stands after entry {self.expected - 1}")
            return
        if entry.seq > self.expected:
            self._gaps.append(range(self.expected, min(entry.seq, self.expected + MAX_GAP)))
            self._find(f"entry {entry.seq} stands where entry {self.expected} should be")
        elif self._previous_holds and entry.prev != (self.head or ZERO_DIGEST):
            self._find(f"entry {entry.seq} does not follow the entry before it, which was replaced")
        self.expected = entry.seq + 1

    def _find(self, fault: str) -> None:
        if len(self._faults) < MAX_FINDINGS:
            self._faults.append(fault)


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


def _pieces(descriptor: int, offset: int, marker: bytes) -> Iterator[_Piece]:
    """Take a log apart from `offset` on, an entry at a time."""
    size = os.fstat(descriptor).st_size
    while offset < size:
        piece = _piece(descriptor, offset, size, marker)
        yield piece
        offset += piece.length


def _piece(descriptor: int, offset: int, size: int, marker: bytes) -> _Piece:
    """Return the entry at `offset`, or the bytes up to where the next one begins."""
    for window_bytes in (WINDOW_BYTES, MAX_ENTRY_BYTES):
        window = os.pread(descriptor, window_bytes, offset)
        length = _entry_length(window, marker)
        if length:
            return _Piece(offset=offset, data=window[:length], length=length)
    following = window.find(marker, 1)
    length = len(window) if following < 0 else following
    begins_like_one = window[: len(marker)] == marker[: len(window)]
    return _Piece(offset=offset, data=b"", length=length, torn=begins_like_one and offset + length == size)


def _entry_length(window: bytes, marker: bytes) -> int:
    """Return how long the entry is that a window begins with; 0 if it begins with none, or not with all of it."""
    if not window.startswith(marker):
        return 0
    stream = BytesIO(window)
    try:
        cbor2.CBORDecoder(stream).decode()
    except Exception:  # noqa: BLE001  cbor2's tree, and what hostile tags make other parsers raise
        return 0
    # One whose length was altered may run into the next.
    return 0 if marker in window[1 : stream.tell()] else stream.tell()


def _encode_payload(entry: AuditEntry) -> bytes:
    value: cbor.CborMap = {
        "v": AUDIT_VERSION,
        "seq": entry.seq,
        "prev": entry.prev,
        "at": to_ms(entry.at),
        "who": entry.who,
        "action": str(entry.action),
        "case": entry.case,
        "reason": entry.reason,
        "count": entry.count,
    }
    if entry.ids:
        value["ids"] = list(entry.ids)
    return cbor.encode(value | _encode_scope(entry.scope))


def _encode_scope(scope: Scope) -> cbor.CborMap:
    moments = {"from": scope.start, "until": scope.until, "before": scope.before}
    value: cbor.CborMap = {name: to_ms(moment) for name, moment in moments.items() if moment is not None}
    if scope.by:
        value["by"] = list(scope.by)
    if scope.camera is not None:
        value["camera"] = scope.camera
    if scope.serial is not None:
        value["serial"] = scope.serial
    return value


def _parse_payload(payload: bytes) -> AuditEntry:
    what = "its payload"
    value = cbor.as_map(cbor.decode(payload, max_bytes=MAX_ENTRY_BYTES, what=what), what)
    if type(value.get("v")) is not int or value["v"] != AUDIT_VERSION:
        raise FormatError(f"{what}: version {value.get('v')!r:.20}, only {AUDIT_VERSION} is allowed")
    cbor.exact_keys(value, _REQUIRED, what, optional=_OPTIONAL)
    return AuditEntry(
        seq=cbor.as_uint(value["seq"], MAX_SEQ, what),
        prev=cbor.as_bytes(value["prev"], DIGEST_BYTES, what),
        at=as_time(value["at"], what),
        who=cbor.as_text(value["who"], MAX_WHO_CHARS, what),
        action=cbor.as_choice(Action, value["action"], f"{what}: action"),
        case=cbor.as_text(value["case"], MAX_CASE_CHARS, what),
        reason=cbor.as_text(value["reason"], MAX_REASON_CHARS, what),
        count=cbor.as_uint(value["count"], MAX_SEQ, what),
        ids=tuple(cbor.as_bytes(part, DIGEST_BYTES, what) for part in _limited(value, "ids", MAX_IDS)),
        scope=_parse_scope(value, what),
    )


def _parse_scope(value: cbor.CborMap, what: str) -> Scope:
    return Scope(
        by=tuple(cbor.as_text(part, MAX_WHO_CHARS, what) for part in _limited(value, "by", _MAX_FILTERS)),
        start=as_time(value["from"], what) if "from" in value else None,
        until=as_time(value["until"], what) if "until" in value else None,
        before=as_time(value["before"], what) if "before" in value else None,
        camera=cbor.as_text(value["camera"], MAX_WHO_CHARS, what) if "camera" in value else None,
        serial=cbor.as_uint(value["serial"], MAX_SEQ, what) if "serial" in value else None,
    )


def _limited(value: cbor.CborMap, name: str, maximum: int) -> list[object]:
    parts = cbor.as_list(value.get(name, []), None, f"its payload: {name}")
    if len(parts) > maximum:
        raise FormatError(f"its payload: more than {maximum} {name}")
    return parts


def _ranges(numbers: list[int]) -> str:
    """Write ascending numbers as "1, 3 to 5"."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)
