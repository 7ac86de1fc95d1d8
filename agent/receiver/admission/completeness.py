"""Signs that a store is not the whole store: a copy without its write-ahead log, or one from an older backup.

Owns: what the receiver's own records know of the log, held against the store. Leaves to others: what the units know
(`intake.verification` finds places that are missing and receipts that are contradicted).

What it cannot show: entries that were lost at the end of the log, where no record was written since and no later entry
of the same chain is there. Nothing in the folder names them.
"""

from __future__ import annotations

from agent.errors import ReceiverError
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.ports import StoreView

CURE = (
    "while a receiver runs, its newest entries are in envelopes.db-wal; `plateseal receiver backup` makes a copy that "
    "has them"
)


def why_empty(store: StoreView, devices: DeviceBook) -> str | None:
    """Return what to think of a store without envelopes whose receiver has enrolled units; None for any other.

    Raises:
        ReceiverError: The store or the folder of devices cannot be read.
    """
    enrolled = len(devices.key_ids())
    totals = store.totals()
    if not enrolled or totals.envelopes or totals.dropped:
        return None
    keys = "1 device key is" if enrolled == 1 else f"{enrolled} device keys are"
    return f"{keys} enrolled and nothing is stored. Unless no unit has delivered yet, this is no whole copy: {CURE}"


def missing_end(store: StoreView, devices: DeviceBook) -> list[str]:
    """Return why entries must be missing at the end of the log, a line each; none where nothing says so.

    Raises:
        ReceiverError: The store or the folder of devices cannot be read.
    """
    totals, found = store.totals(), []
    end, used = totals.log_end, totals.log_used
    named, device = max(((_log_named(each), each) for each in _readable(devices)), key=_first, default=(0, None))
    if device is not None and named > end:
        record = f"the record of {device.name} (key {device.key_id.hex()[:16]})"
        found.append(f"{record} names entry {named} of the log, and the store ends at {end}: {CURE}")
    if used > end:
        found.append(
            f"the log had entries up to {used}, and the store ends at {end}: the newest were removed; "
            "restore the newest backup (docs/BACKUP.md, Restore)"
        )
    return found


def _readable(devices: DeviceBook) -> list[Device]:
    """Return the devices whose records hold; the others are told where envelopes are verified."""
    found = []
    for key_id in devices.key_ids():
        try:
            device = devices.by_key_id(key_id)
        except ReceiverError:
            continue
        if device is not None:
            found.append(device)
    return found


def _log_named(device: Device) -> int:
    """Return the highest entry of the log that a record names; 0 for none."""
    return max((event.log or 0 for event in device.history), default=0)


def _first(pair: tuple[int, Device]) -> int:
    return pair[0]
