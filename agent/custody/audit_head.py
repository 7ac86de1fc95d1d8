"""Where the audit log ends: a note beside it, signed, by which a log that was removed, emptied or cut off is known.

```
audit.head = COSE_Sign1 by the owner's signing key
  protected: {1: -8, 3: "application/plateseal-audit-head+cbor", 4: owner key id}
  payload:   {"v": 1, "seq": number of the newest entry, "digest": SHA-256 of it}
```

Owns: that layout, and what it means that log and note do not agree. Leaves to others: when it is written (`audit`).

The note is written after each entry, so a crash may leave a log that is one entry longer than the note says; that is
no fault. Entries say that the note is kept (`noted`). A log of an earlier plateseal, none of whose entries says so,
needs none.

What it cannot show: that log and note were both put back to an older state, as a restored copy does; or, of a log that
an earlier plateseal began, that it was cut back to before the first note. For that an auditor notes the head elsewhere
(`custody audit --expect-head`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.custody.audit_entry import AuditEntry
from agent.custody.layout import SUFFIX, OwnerLayout
from agent.errors import AuditVerificationError, FormatError, VerificationError
from agent.keys.keyfiles import PRIVATE_MODE, read_private_file, replace_file
from agent.wire import cbor, cose
from agent.wire.header import DIGEST_BYTES, MAX_SEQ

CONTENT_TYPE: Final = "application/plateseal-audit-head+cbor"
HEAD_VERSION: Final = 1
MAX_HEAD_BYTES: Final = 1 << 10
"""One has about 250 bytes."""
_WHAT: Final = "audit head"
_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_KEYS: Final = frozenset({"v", "seq", "digest"})


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest entry of a log.

    Attributes:
        seq: Its number.
        digest: Its SHA-256, 32 bytes.
    """

    seq: int
    digest: bytes


def write_head(path: Path, head: AuditHead, key: Ed25519PrivateKey) -> None:
    """Put the note in the place of the one before, durably.

    Raises:
        KeyFileError: The disk refused; the note is the old one or the new one.
    """
    payload = cbor.encode({"v": HEAD_VERSION, "seq": head.seq, "digest": head.digest})
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(key.public_key()))
    replace_file(path, cose.sign1(cose.encode_protected(header), payload, key), PRIVATE_MODE)


def load_head(path: Path, owner_key: Ed25519PublicKey) -> AuditHead | None:
    """Load the note; None if there is none.

    Raises:
        KeyFileError: It cannot be read.
        AuditVerificationError: It is none, or another owner's.
    """
    if not path.exists():
        return None
    try:
        return _parse(read_private_file(path, what="the end of the audit log"), owner_key)
    except (FormatError, VerificationError) as error:
        raise AuditVerificationError(f"{path}: {error}") from None


def _parse(data: bytes, owner_key: Ed25519PublicKey) -> AuditHead:
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_HEAD_BYTES, what=_WHAT)
    cbor.exact_keys(message.protected, _HEADER_KEYS, f"{_WHAT} header")
    cose.verify_sign1(message, owner_key, what=_WHAT)
    value = cbor.as_map(cbor.decode(message.payload, max_bytes=MAX_HEAD_BYTES, what=_WHAT), _WHAT)
    if type(value.get("v")) is not int or value["v"] != HEAD_VERSION:
        raise FormatError(f"{_WHAT}: version {value.get('v')!r:.20}, only {HEAD_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, _WHAT)
    return AuditHead(
        seq=cbor.as_uint(value["seq"], MAX_SEQ, _WHAT), digest=cbor.as_bytes(value["digest"], DIGEST_BYTES, _WHAT)
    )


def head_fault(
    layout: OwnerLayout, owner_key: Ed25519PublicKey, log: Sequence[AuditEntry], digests: Mapping[bytes, int]
) -> str | None:
    """Return what is wrong with the end of a log; None if nothing is, or if no key was ever made here.

    Args:
        layout: The owner's files.
        owner_key: The owner's public key.
        log: The entries whose signature holds.
        digests: Their numbers by the SHA-256 of each.

    Raises:
        KeyFileError: The note cannot be read.
        AuditVerificationError: It is none, or another owner's.
    """
    head = load_head(layout.audit_head, owner_key)
    entries = max((entry.seq + 1 for entry in log), default=0)
    if head is None:
        return _fault_without_note(layout, log)
    if not entries:
        return f"is missing or empty, and had {head.seq + 1} entries"
    if entries <= head.seq:
        return f"was cut off: it ends with entry {entries - 1}, and had {head.seq + 1} entries"
    if digests.get(head.digest) != head.seq:
        return f"was replaced: entry {head.seq} is another one than {layout.audit_head.name} names"
    return None


def _fault_without_note(layout: OwnerLayout, log: Sequence[AuditEntry]) -> str | None:
    if not log:
        return "is missing or empty, though keys were made here" if was_used(layout) else None
    if was_used(layout) and any(entry.noted for entry in log):
        return f"may have been cut off: {layout.audit_head.name}, which says where it ends, is missing"
    return None


def was_used(layout: OwnerLayout) -> bool:
    """Whether keys were made in a folder, so that there must be a log: it has key files, a keyring, or cases."""
    return (
        layout.keyring.exists()
        or any(layout.private.glob(f"*{SUFFIX}"))
        or any(layout.cases.glob("*"))
        or layout.audit_head.exists()
    )


def cure(layout: OwnerLayout) -> str:
    """Return what helps where the end of a log is gone."""
    return (
        f"Bring {layout.audit.name} and {layout.audit_head.name} back from a copy of the folder. If they are lost for "
        f"good: plateseal custody audit --dir {layout.directory} --mend --reason TEXT, which enters the loss"
    )


__all__ = ["AuditHead", "cure", "head_fault", "load_head", "was_used", "write_head"]
