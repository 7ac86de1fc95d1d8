"""How a receiver's store grows and lets go: inserts into a large one against an empty one, and the drop of an epoch.

Both stores take their batches in turn, so whatever else the machine does meets both: on the disk, where a receiver
waits for it, and in memory, where work alone counts. The large one is filled in memory and copied.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.stores.opening import Store, create_store, open_store
from agent.wire import cose
from agent.wire.envelope import Envelope
from tests.fakes.envelopes import first_position, make_envelope, next_position
from tests.fakes.receipts import RECEIVER
from tests.torture.campaign import Say
from tests.torture.places import disk_folder, quick_folder
from tests.torture.report import Result

ROWS: Final = 1_000_000
REDUCED_ROWS: Final = 2_000
EPOCH_ROWS: Final = 100_000
"""Reads in each epoch of the large store."""
DROPPED: Final = 300_000
REDUCED_DROPPED: Final = 1_500
PAIRS: Final = 150
REDUCED_PAIRS: Final = 3
BATCH: Final = 64
UNITS: Final = 300
CROP_BYTES: Final = 12_000
RATE_SHARE: Final = 0.9
BACK_SHARE: Final = 0.95
DROP_WITHIN_S: Final = 1.0
_AT: Final = datetime(2026, 3, 1, tzinfo=UTC)


class Fleet:
    """Units that deliver in turn, each its own chain of version 2."""

    def __init__(self) -> None:
        """Make their keys."""
        self._units = [Ed25519PrivateKey.generate() for _ in range(UNITS)]
        self._last: dict[int, Envelope] = {}
        self._turn = 0

    def batch(self, kid: bytes, body: bytes) -> list[Envelope]:
        """Return the next batch of the next unit, sealed to a key that nobody has."""
        unit = self._turn = (self._turn + 1) % UNITS
        envelopes = []
        for _ in range(BATCH):
            last = self._last.get(unit)
            position = first_position(run=0) if last is None else next_position(last)
            self._last[unit] = make_envelope(self._units[unit], position, body, kids=[kid])
            envelopes.append(self._last[unit])
        return envelopes


def run(*, full: bool, say: Say) -> Result:
    """Grow a store and measure; then drop an epoch of another one, on the disk. Reduced, no time is judged."""
    began_s = time.monotonic()
    rate, said_rate = _rate(ROWS if full else REDUCED_ROWS, PAIRS if full else REDUCED_PAIRS, say)
    took_s, back, said_drop = _drop(DROPPED if full else REDUCED_DROPPED, say)
    holds = back >= BACK_SHARE and (not full or (rate >= RATE_SHARE and took_s <= DROP_WITHIN_S))
    target = (
        f"insert rate at {ROWS:,} rows at least {RATE_SHARE:g} of an empty store; an epoch of {DROPPED:,} reads "
        f"dropped in {DROP_WITHIN_S:g} s, {BACK_SHARE:.0%} of its disk back"
    )
    return Result("growth", target, f"{said_rate}; {said_drop}", holds, time.monotonic() - began_s)


def _rate(rows: int, pairs: int, say: Say) -> tuple[float, str]:
    """Return the rate of inserts into a store of so many rows as a share of that into an empty one, on the disk."""
    fleet = Fleet()
    with quick_folder("growth") as memory, disk_folder("growth") as disk:
        create_store(_path(memory, "large"))
        with open_store(_path(memory, "large")) as large:
            _fill(large, fleet, rows, say)
        shutil.copytree(Path(memory) / "large", Path(disk) / "large")
        on_disk, said_on_disk = _share(disk, fleet, rows, pairs)
        _, said_in_memory = _share(memory, fleet, rows, pairs)
    figures = f"at {rows:,} rows, {said_on_disk} on the disk; {said_in_memory} in memory"
    say(figures)
    return on_disk, figures


def _share(folder: str, fleet: Fleet, rows: int, pairs: int) -> tuple[float, str]:
    """Insert into the large store and into an empty one in turn."""
    create_store(_path(folder, "small"))
    others, body = Fleet(), os.urandom(CROP_BYTES)
    with open_store(_path(folder, "large")) as large, open_store(_path(folder, "small")) as small:
        times = [
            (_timed(large, fleet.batch(_kid(rows), body)), _timed(small, others.batch(_kid(rows), body)))
            for _ in range(pairs)
        ]
    large_s, small_s = (statistics.median(each) for each in zip(*times, strict=True))
    share = small_s / large_s
    return share, f"{BATCH / large_s:,.0f} inserts a second, {BATCH / small_s:,.0f} into an empty store ({share:.2f})"


def _path(folder: str, name: str) -> Path:
    path = Path(folder) / name / "envelopes.db"
    path.parent.mkdir(exist_ok=True)
    return path


def _drop(reads: int, say: Say) -> tuple[float, float, str]:
    """Return how long the drop of an epoch took, in seconds, and which share of its disk came back."""
    fleet, body = Fleet(), os.urandom(CROP_BYTES)
    with disk_folder("growth") as folder:
        path = Path(folder) / "envelopes.db"
        create_store(path)
        with open_store(path) as store:
            for _ in range(4):
                store.store_batch(fleet.batch(_kid(0), body), _AT, RECEIVER)
        before = _on_disk(path.parent)
        with open_store(path) as store:
            for done in range(0, reads, BATCH):
                store.store_batch(fleet.batch(_kid(EPOCH_ROWS), body), _AT, RECEIVER)
                _tell(say, "to be dropped", done, reads)
        grown = _on_disk(path.parent)
        with open_store(path) as store:
            began_s = time.perf_counter()
            (epoch,) = store.drop_epochs([_kid(EPOCH_ROWS)], _AT).epochs
            took_s = time.perf_counter() - began_s
        left = _on_disk(path.parent)
    back = (grown - left) / (grown - before)
    entry = (left - before) / epoch.reads
    figures = (
        f"{epoch.reads:,} reads of {epoch.length / epoch.reads / 1000:.1f} kB dropped in {took_s:.2f} s, "
        f"{back:.1%} of {(grown - before) / 1e6:,.0f} MB back, {entry:.0f} bytes a read stay"
    )
    say(figures)
    return took_s, back, figures


def _fill(store: Store, fleet: Fleet, rows: int, say: Say) -> None:
    """Store so many reads without a picture: a row is as long as any other."""
    for done in range(0, rows, BATCH):
        store.store_batch(fleet.batch(_kid(done), b""), _AT, RECEIVER)
        _tell(say, "filling", done, rows)


def _timed(store: Store, batch: list[Envelope]) -> float:
    began_s = time.perf_counter()
    outcomes = store.store_batch(batch, _AT, RECEIVER)
    took_s = time.perf_counter() - began_s
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    return took_s


def _kid(row: int) -> bytes:
    """Return the id of the key of the epoch that a row belongs to."""
    return (row // EPOCH_ROWS + 1).to_bytes(cose.KID_BYTES)


def _on_disk(folder: Path) -> int:
    """Return how many bytes the files of a closed store take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _tell(say: Say, what: str, done: int, total: int) -> None:
    if done % (BATCH * 1000) == 0:
        say(f"{what}: {done:,} of {total:,}")
