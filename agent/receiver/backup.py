"""A backup of a receiver while it runs: its store, who may send, and what units pin.

```
OUT/envelopes.db             the store at one moment, without a write-ahead log
OUT/bodies                   the envelopes' bytes, as many as the store had at that moment
OUT/devices, OUT/operators   the records as they were then
OUT/renewals                 what units have asked for, and new certificates that they have not fetched yet
OUT/ca.pem, server.pem, receipt.pub, receipt-earlier.pub and receipt.pub.next where they are there
OUT/ca.key, server.key, receipt.key   only where they are asked for
```

Owns: that folder, and that it fits together. Leaves to others: the copy of the store (`stores.copying`), and whether
what the store holds is genuine (`intake.verification`, which takes the folder like any receiver's).

Invariants: nothing is overwritten. `envelopes.db` gets its name last, when it has been read back, so a folder without
it is no backup. No record names an entry of the log that the store does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.disk import durable
from agent.errors import FormatError, KeyFileError, ReceiverError, UsageError
from agent.keys import keyfiles
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.records import MAX_RECORD_BYTES, parse_record
from agent.receiver.admission.renewals import RENEWAL_SUFFIXES
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.copying import Snapshot
from agent.receiver.stores.integrity import check_pages, cure
from agent.receiver.stores.opening import open_store
from agent.wire.envelope import parse_envelope
from agent.wire.renewal import MAX_CHAIN_BYTES, MAX_RENEWAL_BYTES

FOLDER_MODE: Final = 0o700
TRIES: Final = 10
"""Records and store are taken again where a record was written in between; that is done by hand, now and then."""

Watch = Callable[[str, int, int], None]
"""Told what is done, how far, and of how much."""
Records = dict[str, bytes]
"""A folder's files by name."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds.

    Attributes:
        envelopes: How many.
        log_end: Index of the newest entry of the log; 0 for an empty one.
        devices, operators: How many records.
        keys: Names of the private keys that were copied.
        left_out: Names of those that were not, of what the receiver's folder has.
        damage: What is wrong with the store, and therefore with its copy; one line each.
    """

    envelopes: int
    log_end: int
    devices: int
    operators: int
    keys: tuple[str, ...]
    left_out: tuple[str, ...]
    damage: tuple[str, ...]


def back_up(directory: Path, out: Path, *, with_keys: bool, watch: Watch) -> BackedUp:
    """Copy a receiver, which may be running, into a new folder, and read the copy back.

    Args:
        directory: The receiver's folder.
        out: A new or empty folder; its parent must exist.
        with_keys: Copy the private keys too: who has them can sign receipts and let units in.
        watch: Told how far the work is.

    Returns:
        What the backup holds. With `damage` the copy is complete, and the store itself is not whole.

    Raises:
        UsageError: `out` holds something, or cannot be made.
        ReceiverError: The receiver cannot be read, the disk refused, or the copy is not what was copied.
        KeyFileError: A key or certificate cannot be read or written.
    """
    layout, copied = ReceiverLayout(directory), ReceiverLayout(out)
    if layout.store_address.exists():
        raise ReceiverError(
            f"{layout.store_address}: the reads are in this database, which has tools of its own for copies "
            "(docs/OPERATE.md, Several receivers on one PostgreSQL)"
        )
    if not layout.store.is_file():
        raise ReceiverError(f"{layout.store}: there is no store to copy")
    _claim(out)
    part = copied.store.with_name(f"{copied.store.name}.part")
    snapshot, devices = _take(layout)
    with snapshot:
        operators = _read_folder(layout.operators) if layout.operators.is_dir() else {}
        _write_folder(copied.devices, devices)
        if layout.operators.is_dir():
            _write_folder(copied.operators, operators)
        if layout.renewals.is_dir():
            _write_folder(copied.renewals, _read_renewals(layout.renewals))
        keys, left_out = _copy_files(layout, copied, with_keys=with_keys)
        snapshot.copy_bodies_to(copied.store, lambda done, total: watch("copying reads", done, total))
        snapshot.copy_to(part, lambda done, total: watch("copying", done, total))
        damage = _read_back(part, layout.store, snapshot, watch)
    try:
        durable.rename_durably(part, copied.store)
    except OSError as error:
        raise ReceiverError(f"{copied.store}: cannot be written: {error.strerror}") from None
    return BackedUp(snapshot.count, snapshot.log_end, len(devices), len(operators), keys, left_out, damage)


def _claim(out: Path) -> None:
    try:
        durable.make_directory(out, mode=FOLDER_MODE)
        occupied = any(out.iterdir())
    except OSError as error:
        raise UsageError(f"{out}: cannot be made or listed: {error.strerror}") from None
    if occupied:
        raise UsageError(f"{out}: not empty; a backup wants a new or empty folder, so that nothing is overwritten")


def _take(layout: ReceiverLayout) -> tuple[Snapshot, Records]:
    """Return a snapshot of the store and the records of devices that belong to it."""
    for _ in range(TRIES):
        snapshot = Snapshot(layout.store)
        try:
            devices = _read_folder(layout.devices)
            if _log_named(devices, layout) <= snapshot.log_end or snapshot.log_end == _log_now(layout):
                return snapshot, devices
        except ReceiverError:
            snapshot.close()
            raise
        snapshot.close()
    raise ReceiverError(f"{layout.devices}: records were written all the time; try again")


def _log_now(layout: ReceiverLayout) -> int:
    with open_store(layout.store, read_only=True) as store:
        return store.totals().log_end


def _log_named(records: Records, layout: ReceiverLayout) -> int:
    """Return the highest entry of the log that the records name; those that do not hold name none."""
    highest, receipt_keys = 0, DeviceBook(layout.devices).receipt_keys()
    for name, data in records.items():
        try:
            history = parse_record(data, receipt_keys, what=name).history
        except FormatError:
            continue
        highest = max(highest, *(event.log or 0 for event in history))
    return highest


def _read_folder(folder: Path) -> Records:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise ReceiverError(f"{folder}: {error.strerror}") from None
    try:
        return {path.name: keyfiles.read_public_file(path, max_bytes=MAX_RECORD_BYTES) for path in paths}
    except KeyFileError as error:
        raise ReceiverError(str(error)) from None


def _read_renewals(folder: Path) -> Records:
    """Return requests and answers; the receiver that runs takes a request away when it is answered."""
    found: Records = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in RENEWAL_SUFFIXES):
        try:
            found[path.name] = keyfiles.read_public_file(path, max_bytes=max(MAX_RENEWAL_BYTES, MAX_CHAIN_BYTES))
        except KeyFileError as error:
            if path.exists():
                raise ReceiverError(str(error)) from None
    return found


def _write_folder(folder: Path, records: Records) -> None:
    try:
        durable.make_directory(folder, mode=FOLDER_MODE)
    except OSError as error:
        raise ReceiverError(f"{folder}: cannot be made: {error.strerror}") from None
    for name, data in records.items():
        keyfiles.write_new_file(folder / name, data, keyfiles.PUBLIC_MODE)


def _copy_files(
    layout: ReceiverLayout, copied: ReceiverLayout, *, with_keys: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy certificates, the public receipt key and, if asked, private keys; return the names of these and of the rest.

    A receiver may have its CA's key elsewhere, or a certificate by another CA: what is not there is not copied.
    """
    for public in ("ca", "server_certificate", "receipt_public", "receipt_earlier", "receipt_next_public"):
        source, target = getattr(layout, public), getattr(copied, public)
        if source.exists():
            keyfiles.write_public(target, keyfiles.read_public_file(source))
    private = [
        name for name in ("ca_key", "server_key", "receipt_key", "receipt_next_key") if getattr(layout, name).exists()
    ]
    names = tuple(getattr(layout, name).name for name in private)
    if not with_keys:
        return (), names
    for name in private:
        keyfiles.write_private(getattr(copied, name), keyfiles.read_private_file(getattr(layout, name)))
    return names, ()


def _read_back(part: Path, source: Path, snapshot: Snapshot, watch: Watch) -> tuple[str, ...]:
    """Compare the copy with what was copied; return what is wrong with both."""
    watch("checking pages", 0, 1)
    found = check_pages(part, within_s=None).damage
    damage = [f"its file is damaged: {line}" for line in found]
    damage += [cure(source, found)] if found else []
    try:
        seen, spoiled, end = _read_envelopes(part, snapshot.count, watch)
    except ReceiverError as error:
        if damage:
            return (*damage, "not all of its entries can be read")
        raise ReceiverError(f"{part}: the copy cannot be read back: {error}") from None
    if (seen, end) != (snapshot.count, snapshot.log_end) and not damage:
        raise ReceiverError(
            f"{part}: has {seen} envelopes up to entry {end}, and there were {snapshot.count} up to {snapshot.log_end}"
        )
    return (*damage, f"{spoiled} of its entries are no envelopes") if spoiled else tuple(damage)


def _read_envelopes(path: Path, total: int, watch: Watch) -> tuple[int, int, int]:
    """Return how many entries there are, how many of them are no envelopes, and the end of the log."""
    seen = spoiled = 0
    with open_store(path, read_only=True) as store:
        for row in store.pages():
            seen += 1
            watch("reading back", seen, total)
            if row.body is None:
                continue
            try:
                parse_envelope(row.body)
            except FormatError:
                spoiled += 1
        return seen, spoiled, store.totals().log_end


__all__ = ["BackedUp", "back_up"]
