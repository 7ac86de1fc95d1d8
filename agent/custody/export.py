"""One read for a court: everything to check it without plateseal, in a folder.

```
OUT/envelope.cose    the envelope, as the device signed it
OUT/previous.cose    the message before it by the same device key, sealed as it is; left out where the store has none
OUT/next.cose        the message after it, likewise
OUT/receipt.cose     what the receiver signed when it stored it, byte for byte; left out where the store keeps none
OUT/receipt.pub      the receiver's public receipt key (PEM), with the receipt
OUT/device.pub       the device's public key (PEM)
OUT/content.key      this read's content key, 32 bytes in hex: it opens this envelope and nothing else
OUT/read.json        what the read says
OUT/crop.jpg         the picture of the plate, where one was sealed
OUT/VERIFY.md        how to check all that
OUT/SHA256SUMS       digests of these files
```

Owns: that folder. The neighbours are there because a chain is checked by the digests of whole messages; they stay
sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.custody.access import check_mandate, load_keys
from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate
from agent.custody.opener import OpenedRead
from agent.custody.owner import Owner, make_folder
from agent.custody.search import ReceiverView, open_stored
from agent.custody.testimony import doubts
from agent.custody.verify_text import verify_text
from agent.errors import FormatError, OpenError, UsageError, VerificationError
from agent.keys.keyfiles import PRIVATE_MODE, public_pem, write_new_file
from agent.wire import cbor
from agent.wire.envelope import Envelope, parse_envelope
from agent.wire.plaintext import Plaintext
from agent.wire.receipt import verify_receipt

ENVELOPE: Final = "envelope.cose"
PREVIOUS: Final = "previous.cose"
NEXT: Final = "next.cose"
RECEIPT: Final = "receipt.cose"
RECEIPT_PUBLIC: Final = "receipt.pub"
DEVICE_PUBLIC: Final = "device.pub"
CONTENT_KEY: Final = "content.key"
READ: Final = "read.json"
CROP: Final = "crop.jpg"
VERIFY: Final = "VERIFY.md"
SUMS: Final = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        directory: The folder that was written.
        files: Names of the files in it.
        missing: What could not be added, one line each, for the person who exports.
        doubts: What speaks against the receipt, one line each.
    """

    directory: Path
    files: tuple[str, ...]
    missing: tuple[str, ...]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Link:
    """An envelope and its neighbours in the device's chain, as stored."""

    envelope: bytes
    previous: bytes | None
    following: bytes | None


def export_read(
    owner: Owner,
    receiver: ReceiverView,
    envelope_id: str,
    mandate: Mandate,
    *,
    out: Path,
    receipt_keys: Mapping[bytes, Ed25519PublicKey],
) -> Exported:
    """Write one read, and all it takes to check it, into a new folder.

    Args:
        owner: The owner whose keys open the reads.
        receiver: The receiver whose store is looked through.
        envelope_id: Which read, lower-case hex.
        mandate: Who exports, for which case, and why; case and reason are needed.
        out: A new or empty folder; its parent must exist.
        receipt_keys: The receiver's public receipt keys by key id, earlier ones too, as far as they are at hand.

    Raises:
        UsageError: No such envelope in the store, no case or reason, or `out` is not empty.
        OpenError: The envelope does not verify, or no key is left that opens it. Nothing was written.
        AuditVerificationError: The audit log does not verify. Nothing was opened.
        CustodyError: The audit log cannot be written.
        KeyFileError: The folder cannot be written, or a key file cannot be used.
    """
    check_mandate(mandate)
    link = _find(receiver, envelope_id)
    _check_empty(out)
    AuditLog(owner).append(Action.EXPORT, mandate, count=1, ids=[bytes.fromhex(envelope_id)])
    opened = open_stored(link.envelope, receiver, load_keys(owner, mandate.case))
    if not isinstance(opened, OpenedRead):
        why = "it is a tombstone and holds no read" if opened is None else f"it is one of those {opened}"
        raise OpenError(f"envelope {envelope_id[:16]}: {why}")
    files, missing = _contents(opened, link, receiver, receipt_keys)
    files[SUMS] = "".join(f"{cbor.sha256(data).hex()}  {name}\n" for name, data in files.items()).encode()
    make_folder(out)
    for name, data in files.items():
        write_new_file(out / name, data, PRIVATE_MODE)
    return Exported(out, tuple(files), tuple(missing), tuple(doubts(receiver, opened)))


def _contents(
    opened: OpenedRead, link: _Link, receiver: ReceiverView, receipt_keys: Mapping[bytes, Ed25519PublicKey]
) -> tuple[dict[str, bytes], list[str]]:
    envelope = opened.envelope
    device_key = receiver.device_key(envelope.device_kid)
    assert device_key is not None  # its signature was just verified with it
    files: dict[str, bytes] = {
        ENVELOPE: link.envelope,
        DEVICE_PUBLIC: public_pem(device_key),
        CONTENT_KEY: opened.content_key.hex().encode() + b"\n",
        READ: json.dumps(read_as_json(opened.envelope, opened.read), indent=1, ensure_ascii=False).encode() + b"\n",
    }
    if opened.read.crop:
        files[CROP] = opened.read.crop
    missing = []
    for name, data, what in (
        (PREVIOUS, link.previous, "the message before it"),
        (NEXT, link.following, "the message after it"),
    ):
        if data is not None:
            files[name] = data
        else:
            missing.append(_why_no_neighbour(envelope, name, what))
    receipt = _receipt(envelope, receiver, receipt_keys)
    if isinstance(receipt, str):
        missing.append(f"the receipt: {receipt}")
    else:
        files |= {RECEIPT: receipt[0], RECEIPT_PUBLIC: public_pem(receipt[1])}
    files[VERIFY] = verify_text(envelope, files=frozenset(files), missing=missing).encode()
    return files, missing


def _why_no_neighbour(envelope: Envelope, name: str, what: str) -> str:
    if name == PREVIOUS and envelope.position.seq == 0:
        return (
            f"{what}: the envelope is the first of its chain, and none of an earlier chain of this key is in the store"
        )
    return f"{what}: it is not in the store"


def read_as_json(envelope: Envelope, read: Plaintext) -> dict[str, object]:
    """Return an opened read under its JSON keys, without the crop; `seen` and `format` only where it has `seen`."""
    return {
        "envelope": envelope.envelope_id,
        "device_key": envelope.device_kid.hex(),
        "chain": envelope.position.chain.hex(),
        "seq": envelope.position.seq,
        "camera": read.camera,
        "site": read.site,
        "position": None if read.position is None else [degrees / 1_000_000 for degrees in read.position],
        "captured_at": iso(read.captured_at),
        "clock": str(read.clock),
        "text": read.text,
        **({} if read.seen is None else {"seen": read.seen, "format": read.format}),
        "confidences": [share / 1000 for share in read.confidences],
        "votes": list(read.votes),
        "region": read.region,
        "detector_confidence": read.detector_confidence / 1000,
        "box": list(read.box),
        "frame": read.frame_sequence,
        "frame_wh": list(read.frame_wh),
        "first_seen": iso(read.first_seen),
        "last_seen": iso(read.last_seen),
        "direction": str(read.direction),
        "lane": read.lane,
        "crop_bytes": len(read.crop),
        "detector_sha256": read.detector_digest.hex(),
        "reader_sha256": read.reader_digest.hex(),
        "agent_version": read.agent_version,
    }


def iso(moment: datetime) -> str:
    """Write an aware time as ISO 8601 in UTC, milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _receipt(
    envelope: Envelope, receiver: ReceiverView, keys: Mapping[bytes, Ed25519PublicKey]
) -> tuple[bytes, Ed25519PublicKey] | str:
    """Return the receipt that the receiver signed when it stored the envelope, and the key that signed it.

    Returns:
        Instead, a line that says why there is none to hand out.
    """
    entry = receiver.entry_of(envelope)
    receipt = None if entry is None else entry.receipt
    if receipt is None:
        return "the store keeps none; a store of version 1 did not, and one that is signed today would prove nothing"
    if not keys:
        return "the receiver's public receipt key (receipt.pub) cannot be read from here, so nothing says who signed it"
    try:
        verified = verify_receipt(receipt, envelope, keys)
    except (FormatError, VerificationError) as error:
        return f"the one in the store does not hold: {error}"
    return receipt, keys[verified.receiver_kid]


def _find(receiver: ReceiverView, envelope_id: str) -> _Link:
    """Look through the store for an envelope and its neighbours in the chain."""
    wanted = _stored(receiver, envelope_id)
    envelope = parse_envelope(wanted)
    before = envelope.position.before
    previous = following = None
    for data in receiver.envelopes():
        other = _neighbour(data, envelope)
        if other is None:
            continue
        if other.digest == before:
            previous = data
        elif other.position.before == envelope.digest:
            following = data
    return _Link(envelope=wanted, previous=previous, following=following)


def _stored(receiver: ReceiverView, envelope_id: str) -> bytes:
    for data in receiver.envelopes():
        if cbor.sha256(data).hex() == envelope_id:
            return data
    raise UsageError(f"--id {envelope_id[:80]}: no such envelope in the store")


def _neighbour(data: bytes, envelope: Envelope) -> Envelope | None:
    """Parse stored bytes, a read or a tombstone, if the same device key signed them."""
    if envelope.device_kid not in data:
        return None
    try:
        other = parse_envelope(data)
    except FormatError:
        return None
    return other if other.device_kid == envelope.device_kid else None


def _check_empty(out: Path) -> None:
    try:
        occupied = out.exists() and any(out.iterdir())
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror or error}") from None
    if occupied:
        raise UsageError(f"--out {out}: not empty; a new or empty folder is needed")
