"""The end of a device's key: what was logged before stays the device's, what comes after is refused and shown.

Owns: what a revocation may say. Leaves to others: the record (`records`), and what follows from it (`intake`, custody).

A revocation cannot be undone: a unit that is found again makes a new identity. A second revocation may only name an
earlier point, for when it turns out that the key was in other hands earlier than thought.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from agent.errors import UsageError
from agent.keys import keyfiles
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.admission.records import MAX_EVENTS, MAX_REASON_CHARS
from agent.receiver.layout import ReceiverLayout
from agent.receiver.ports import StoreLog
from agent.receiver.stores.opening import open_store, store_of


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was ended.

    Attributes:
        device: The device's name.
        key_ids: 32 bytes each, its keys that were ended now.
        after: The last entry of the log that is still the device's.
        log_end: The end of the log now.
    """

    device: str
    key_ids: tuple[bytes, ...]
    after: int
    log_end: int


def revoke(
    directory: Path,
    name: str,
    *,
    reason: str,
    at: int | datetime | None = None,
    key_id: str | None = None,
    now: datetime | None = None,
) -> Revocation:
    """End the keys of a device.

    Args:
        directory: The receiver's.
        name: The device's.
        reason: Why, 1 to 200 printable characters.
        at: The last entry of the log that is still the device's, or the aware time at which its envelopes stop being
            its own; the end of the log if left out.
        key_id: Only the key whose id, in hex, begins so; all keys of the device if left out.
        now: Aware time; the clock's if left out.

    Raises:
        UsageError: No such device or key, no such point, one that is later than the end before, or no reason.
        KeyFileError: The receipt key cannot be read, or the disk refused.
        ReceiverError: The folder of devices or the store cannot be read.
    """
    if not 1 <= len(reason) <= MAX_REASON_CHARS or not reason.strip() or not reason.isprintable():
        raise UsageError(f"--reason: 1 to {MAX_REASON_CHARS} characters of one line are needed")
    layout, moment = ReceiverLayout(directory), now or datetime.now(UTC)
    receipt_key = keyfiles.load_ed25519_private(layout.receipt_key)
    book = DeviceBook(layout.devices)
    devices = _chosen(book, name, key_id)
    with open_store(store_of(layout), read_only=True) as store:
        log_end = store.totals().log_end
        after = _point(store, at, log_end, moment)
    ending = [each for each in devices if each.revoked is None or after < each.revoked.after]
    if not ending:
        ends = ", ".join(str(each.revoked.after) for each in devices if each.revoked is not None)
        raise UsageError(f"{name}: was revoked after log {ends} already; only an earlier point can follow (--at)")
    event = Event(EventKind.REVOKED, moment, log_end, after=after, reason=reason)
    for device in ending:
        book.save(replace(device, history=_with(device.history, event)), receipt_key)
    return Revocation(name, tuple(each.key_id for each in ending), after, log_end)


def _chosen(book: DeviceBook, name: str, key_id: str | None) -> list[Device]:
    devices = book.named(name)
    if not devices:
        raise UsageError(f"{name}: no device of this name is enrolled")
    if key_id is None:
        return devices
    chosen = [each for each in devices if key_id and each.key_id.hex().startswith(key_id.lower())]
    if len(chosen) != 1:
        found = "no key" if not chosen else f"{len(chosen)} keys"
        raise UsageError(f"--key {key_id[:64]}: {found} of {name}; it has {_ids(devices)}")
    return chosen


def _ids(devices: list[Device]) -> str:
    return ", ".join(each.key_id.hex()[:16] for each in devices)


def _point(store: StoreLog, at: int | datetime | None, log_end: int, now: datetime) -> int:
    if at is None:
        return log_end
    if isinstance(at, datetime):
        if at > now:
            raise UsageError(f"--at {at:%Y-%m-%dT%H:%M:%SZ}: is still to come")
        return store.last_before(at)
    if not 0 <= at <= log_end:
        raise UsageError(f"--at {at}: the log has entries up to {log_end}")
    return at


def _with(history: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    """Add an end. The record has room for many: each one is earlier than the one before, and that one can go."""
    if len(history) < MAX_EVENTS:
        return (*history, event)
    return (*(each for each in history if each.kind is not EventKind.REVOKED), event)[-MAX_EVENTS:]
