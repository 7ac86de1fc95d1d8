"""What the receiver knows of one enrolled key, as a file: version 2, signed, and version 1 of an earlier plateseal.

Owns: the layout of a device's record and its signature. Leaves to others: where the files lie and who is looked up
(`devices`), and when an event is added (`pki`, `revoke`).

```
{"v": 2, "name": text, "key_id": hex, "public_key": base64, "certificate_sha256": [1 to 2 hex],
 "history": [1 to 64 events, oldest first],
 "receiver": hex, "signature": base64}
event = {"event": "enrolled" | "renewed", "at": time, "log": uint}
      / {"event": "rotated", "at": time, "log": uint, "to": hex, "certificates_until": time}
      / {"event": "revoked", "at": time, "log": uint, "after": uint, "reason": text}
```

`log` is the end of the receiver's log when it happened. `at` and `log` are null where a record of version 1 says none.
`signature` is the receipt key's (`receiver` is its id) over the deterministic CBOR of
["plateseal device record 2", the object without `signature`].

Invariant: a `Device` that was parsed from version 2 is what the receiver signed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BeforeValidator, Field, model_validator

from agent.errors import FormatError, UsageError
from agent.keys.identity import check_device_name
from agent.receiver.admission import strictjson
from agent.wire import cbor, cose
from agent.wire.header import MAX_SEQ

RECORD_VERSION: Final = 2
MAX_CERTIFICATES: Final = 2
"""A renewed device goes on with its old certificate until it has been given the new one."""
MAX_EVENTS: Final = 64
"""Renewals beyond this many are left out, oldest first: once a year, a unit does not live so long."""
MAX_REASON_CHARS: Final = 200
MAX_RECORD_BYTES: Final = 256 << 10
"""A record with one event has about 600 bytes, one with `MAX_EVENTS` and long reasons in escaped letters 160 kB."""

_CONTEXT: Final = "plateseal device record 2"
_PUBLIC_KEY_BYTES: Final = 32
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Log = Annotated[int, Field(ge=0, le=MAX_SEQ)]
_ROTATED_1: Final = frozenset({"rotated_to", "certificates_until"})
"""In a record of version 1 of a key that another one has followed; both or none."""


class EventKind(StrEnum):
    """What happened to a key."""

    ENROLLED = "enrolled"
    RENEWED = "renewed"
    ROTATED = "rotated"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an enrolled key.

    Attributes:
        kind: What.
        at: Aware UTC time, whole seconds; None where a record of version 1 did not say.
        log: The highest index of the receiver's log at that time; None in the same case.
        to: Rotated: 32 bytes, id of the key that followed.
        until: Rotated: aware UTC time after which the old key's certificates no longer connect.
        after: Revoked: index of the last entry of the log that still counts as the device's.
        reason: Revoked: why, 1 to 200 characters.
    """

    kind: EventKind
    at: datetime | None
    log: int | None
    to: bytes | None = None
    until: datetime | None = None
    after: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What followed a key.

    Attributes:
        to: 32 bytes, id of the key that followed.
        certificates_until: Aware UTC time after which the old key's certificates no longer connect.
        log: The end of the receiver's log at the rotation; None where a record of version 1 did not say.
    """

    to: bytes
    certificates_until: datetime
    log: int | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """The end of a key.

    Attributes:
        after: The last entry of the log that is still the device's.
        reason: Why, for a person.
    """

    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class Device:
    """One enrolled key of one device.

    Attributes:
        name: The device.
        key_id: 32 bytes, id of the signing key.
        signing_key: Its public half.
        fingerprints: SHA-256 of the TLS certificates it may come with, lower-case hex, newest first; 1 or 2.
        history: What happened to it, oldest first.
    """

    name: str
    key_id: bytes
    signing_key: Ed25519PublicKey = field(repr=False)
    fingerprints: tuple[str, ...]
    history: tuple[Event, ...]

    @property
    def enrolled_at(self) -> datetime | None:
        """Aware UTC time of the newest certificate."""
        issued = [each.at for each in self.history if each.kind in (EventKind.ENROLLED, EventKind.RENEWED)]
        return issued[-1] if issued else None

    @property
    def rotated(self) -> Rotated | None:
        """What followed this key, if one has."""
        for each in self.history:
            if each.to is not None and each.until is not None:
                return Rotated(each.to, each.until, each.log)
        return None

    @property
    def revoked(self) -> Revoked | None:
        """The end of this key; None if it was not revoked. Of several ends the earliest one counts."""
        ends = [Revoked(each.after, each.reason) for each in self.history if each.after is not None]
        return min(ends, key=lambda end: end.after, default=None)


def _name(found: object) -> object:
    if isinstance(found, str):
        try:
            check_device_name(found)
        except UsageError as error:
            raise ValueError(f"is no {error}") from None
    return found


class _EventForm(strictjson.Document):
    event: EventKind = Field(strict=False)
    at: strictjson.Moment | None
    log: _Log | None
    to: _Sha256 | None = None
    certificates_until: strictjson.Moment | None = None
    after: _Log | None = None
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed = {
            EventKind.ROTATED: {"to", "certificates_until"},
            EventKind.REVOKED: {"after", "reason"},
        }.get(self.event, set())
        there = {"to", "certificates_until", "after", "reason"} & self.model_fields_set
        if there != needed or any(getattr(self, name) is None for name in needed):
            raise ValueError(f"an event {self.event} has {' and '.join(sorted(needed)) or 'a time and a place'}")
        return self


class _Record(strictjson.Document):
    v: Annotated[int, strictjson.version(RECORD_VERSION)]
    name: Annotated[str, BeforeValidator(_name)]
    key_id: str
    public_key: Annotated[bytes, strictjson.base64_of(_PUBLIC_KEY_BYTES)]
    certificate_sha256: Annotated[list[_Sha256], Field(min_length=1, max_length=MAX_CERTIFICATES)]
    history: Annotated[list[_EventForm], Field(min_length=1, max_length=MAX_EVENTS)]
    receiver: _Sha256
    signature: Annotated[bytes, strictjson.base64_of(cose.SIGNATURE_BYTES)]


class _Record1(strictjson.Document):
    v: Annotated[int, strictjson.version(1)]
    name: Annotated[str, BeforeValidator(_name)]
    key_id: str
    public_key: Annotated[bytes, strictjson.base64_of(_PUBLIC_KEY_BYTES)]
    certificate_sha256: Annotated[list[_Sha256], Field(min_length=1, max_length=MAX_CERTIFICATES)]
    enrolled_at: strictjson.Moment
    rotated_to: _Sha256 | None = None
    certificates_until: strictjson.Moment | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        there = _ROTATED_1 & self.model_fields_set
        if there and (there != _ROTATED_1 or self.rotated_to is None or self.certificates_until is None):
            raise ValueError("'rotated_to' and 'certificates_until' belong together")
        return self


class _Version(strictjson.Document):
    model_config = strictjson.Document.model_config | {"extra": "ignore"}

    v: Annotated[object, BeforeValidator(lambda found: found)] = None


def encode_record(device: Device, key: Ed25519PrivateKey) -> bytes:
    """Return a device's record of version 2, signed by the receiver's receipt key."""
    value = _value(device, cose.ed25519_kid(key.public_key()))
    signature = base64.b64encode(key.sign(_signed(value))).decode("ascii")
    return json.dumps({**value, "signature": signature}, indent=1, ensure_ascii=True).encode("ascii") + b"\n"


def parse_record(data: bytes, receipt_keys: Mapping[bytes, Ed25519PublicKey], *, what: str) -> Device:
    """Parse a device's record of version 1 or 2; the signature of version 2 is checked.

    Args:
        data: The file.
        receipt_keys: The receiver's public receipt keys by key id, earlier ones too; none where they are not at hand.
        what: The file's name, for messages.

    Raises:
        FormatError: No such record, another key than its id says, or a signature that does not hold.
    """
    if strictjson.parse_document(data, _Version, what=what, max_bytes=MAX_RECORD_BYTES).v == 1:
        return _parse_1(data, what)
    record = strictjson.parse_document(data, _Record, what=what, max_bytes=MAX_RECORD_BYTES)
    device = Device(
        name=record.name,
        key_id=bytes.fromhex(_checked_id(record.key_id, record.public_key, what)),
        signing_key=Ed25519PublicKey.from_public_bytes(record.public_key),
        fingerprints=tuple(record.certificate_sha256),
        history=tuple(_event(each) for each in record.history),
    )
    if not receipt_keys:
        raise FormatError(f"{what}: its signature cannot be checked without the receiver's receipt.pub")
    receipt_key = receipt_keys.get(bytes.fromhex(record.receiver))
    if receipt_key is None:
        raise FormatError(f"{what}: signed by receipt key {record.receiver[:16]}, which is not this receiver's")
    try:
        receipt_key.verify(record.signature, _signed(_value(device, bytes.fromhex(record.receiver))))
    except InvalidSignature:
        raise FormatError(f"{what}: the receiver's signature of this record is wrong") from None
    return device


def _parse_1(data: bytes, what: str) -> Device:
    record = strictjson.parse_document(data, _Record1, what=what, max_bytes=MAX_RECORD_BYTES)
    history = [Event(EventKind.ENROLLED, record.enrolled_at, None)]
    if record.rotated_to is not None:
        to = bytes.fromhex(record.rotated_to)
        history.append(Event(EventKind.ROTATED, None, None, to=to, until=record.certificates_until))
    return Device(
        name=record.name,
        key_id=bytes.fromhex(_checked_id(record.key_id, record.public_key, what)),
        signing_key=Ed25519PublicKey.from_public_bytes(record.public_key),
        fingerprints=tuple(record.certificate_sha256),
        history=tuple(history),
    )


def _checked_id(key_id: str, public_key: bytes, what: str) -> str:
    if key_id != cose.ed25519_kid(Ed25519PublicKey.from_public_bytes(public_key)).hex():
        raise FormatError(f"{what}: holds another key than its id says")
    return key_id


def _event(form: _EventForm) -> Event:
    return Event(
        kind=form.event,
        at=form.at,
        log=form.log,
        to=None if form.to is None else bytes.fromhex(form.to),
        until=form.certificates_until,
        after=form.after,
        reason=form.reason or "",
    )


def _value(device: Device, receiver_kid: bytes) -> dict[str, object]:
    return {
        "v": RECORD_VERSION,
        "name": device.name,
        "key_id": device.key_id.hex(),
        "public_key": base64.b64encode(device.signing_key.public_bytes_raw()).decode("ascii"),
        "certificate_sha256": list(device.fingerprints),
        "history": [_event_value(each) for each in device.history],
        "receiver": receiver_kid.hex(),
    }


def _event_value(event: Event) -> dict[str, object]:
    value: dict[str, object] = {"event": str(event.kind), "at": _text_of(event.at), "log": event.log}
    if event.to is not None:
        value |= {"to": event.to.hex(), "certificates_until": _text_of(event.until)}
    if event.after is not None:
        value |= {"after": event.after, "reason": event.reason}
    return value


def _signed(value: dict[str, object]) -> bytes:
    return cbor.encode([_CONTEXT, value])


def _text_of(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
