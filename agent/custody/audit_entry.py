"""One entry of the audit log, and its bytes.

Owns: what an act is entered with, the limits of that, and the payload that `agent.custody.audit` draws. Leaves to
others: signatures and the chain (`audit_check`), the file (`audit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from agent.custody.layout import MAX_CASE_CHARS, check_case
from agent.errors import FormatError, UsageError
from agent.wire import cbor
from agent.wire.header import DIGEST_BYTES, MAX_SEQ
from agent.wire.keyring import MAX_KEYRING_KEYS
from agent.wire.times import as_time, to_ms

AUDIT_VERSION: Final = 1
MAX_IDS: Final = MAX_KEYRING_KEYS
"""Ids in one entry: all keys of a keyring."""
MAX_ENTRY_BYTES: Final = 256 << 10
"""`MAX_IDS` ids of 34 bytes, and room."""
MAX_WHO_CHARS: Final = 64
MAX_REASON_CHARS: Final = 400
_REQUIRED: Final = frozenset({"v", "seq", "prev", "at", "who", "action", "case", "reason", "count"})
_OPTIONAL: Final = frozenset({"ids", "by", "from", "until", "before", "camera", "serial", "head"})
_MAX_FILTERS: Final = 8
_MAX_HEADS: Final = 64 + MAX_IDS + _MAX_FILTERS
"""Heads: 36 to itself, one to each id and filter."""


class Action(StrEnum):
    """What was done."""

    KEYS = "keys"
    SEARCH = "search"
    """A store was decrypted and looked through; nothing was shown yet."""
    OPEN = "open"
    HOLD = "hold"
    DESTROY = "destroy"
    EXPORT = "export"
    CLOSE = "close"
    """A case's key was destroyed, and with it what was held for the case; `count` is the reads held for it."""
    PASSPHRASE = "passphrase"  # noqa: S105  the name of an act
    """The key files were put under another passphrase; `count` is the files that were still to be changed."""
    COPY = "copy"
    """The folder was copied; `count` is the private keys in the copy."""
    MEND = "mend"
    """Half an entry, which a crash had left at the end of this log, was set aside; `count` is its bytes."""
    LOST = "lost"
    """The end of this log, or all of it, is gone and was not found again; `count` entries are known to be missing."""


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
        noted: Whether the end of the log is noted beside it since this entry, or since an earlier one.
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
    noted: bool = False


def encode_payload(entry: AuditEntry) -> bytes:
    """Return the payload of an entry, deterministic CBOR."""
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
    if entry.noted:
        value["head"] = True
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


def parse_payload(payload: bytes) -> AuditEntry:
    """Return the entry that a payload says.

    Raises:
        FormatError: It is no payload of this version.
    """
    what = "its payload"
    value = cbor.as_map(cbor.decode(payload, max_bytes=MAX_ENTRY_BYTES, what=what, max_heads=_MAX_HEADS), what)
    if type(value.get("v")) is not int or value["v"] != AUDIT_VERSION:
        raise FormatError(f"{what}: version {value.get('v')!r:.20}, only {AUDIT_VERSION} is allowed")
    cbor.exact_keys(value, _REQUIRED, what, optional=_OPTIONAL)
    if "head" in value and value["head"] is not True:
        raise FormatError(f"{what}: head is {value['head']!r:.20}, only true is allowed")
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
        noted="head" in value,
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
