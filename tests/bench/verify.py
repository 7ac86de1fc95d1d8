"""What a second `receiver verify` costs after 1 % more envelopes, against the first one, as users run it.

Processor time is the kernel's figure of the process: the start of the interpreter counts. Memory is looked at while it
runs: what `wait4` says of it is that of the process that started it. A run on a store of a tenth shows whether memory
grows with the number of envelopes.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from agent.receiver.stores.opening import open_store
from agent.unit.process.child import own_module
from agent.wire.envelope import Envelope
from tests.fakes.envelopes import first_position, make_envelope, next_position
from tests.fakes.pki import Bench, add_device, make_bench
from tests.torture.campaign import Say
from tests.torture.hostile import memory_mb
from tests.torture.places import disk_folder
from tests.torture.report import Result

ROWS: Final = 100_000
REDUCED_ROWS: Final = 600
UNITS: Final = 10
BATCH: Final = 50
CROP_BYTES: Final = 12_000
MORE: Final = 100
"""One envelope more for so many."""
COST_SHARE: Final = 0.03
MEMORY_SHARE: Final = 1.1
_LOOK_EVERY_S: Final = 0.02
_AT: Final = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """One verification.

    Attributes:
        code: Its exit code.
        said: The JSON that it printed.
        cpu_s: Processor time, seconds.
        rss_mb: The most memory it had resident, megabytes.
    """

    code: int
    said: dict[str, object]
    cpu_s: float
    rss_mb: float


class Store:
    """A receiver whose units deliver in turn, each its own chain, three batches of each an hour."""

    def __init__(self, root: Path) -> None:
        """Make receiver and units."""
        self.bench: Bench = make_bench(root)
        others = [add_device(self.bench.receiver, root / f"unit-{n}", name=f"unit-{n}") for n in range(1, UNITS)]
        self._keys = [device.signing_key for device in (self.bench.device, *others)]
        self._last: dict[int, Envelope] = {}
        self._batches = 0
        self._state = root / "verified.state"

    def deliver(self, rows: int, say: Say) -> None:
        """Store so many envelopes."""
        body, key = os.urandom(CROP_BYTES), self.bench.receipt_key
        with open_store(self.bench.receiver.store) as store:
            for done in range(0, rows, BATCH):
                at = _AT + timedelta(minutes=2 * self._batches)
                outcomes = store.store_batch(self._batch(min(BATCH, rows - done), body), at, key)
                assert all(isinstance(outcome, bytes) for outcome in outcomes)
                if done % (BATCH * 400) == 0:
                    say(f"storing: {done:,} of {rows:,}")

    def _batch(self, count: int, body: bytes) -> list[Envelope]:
        unit = self._batches = self._batches + 1
        unit %= UNITS
        envelopes = []
        for _ in range(count):
            last = self._last.get(unit)
            position = first_position(run=0) if last is None else next_position(last)
            self._last[unit] = make_envelope(self._keys[unit], position, body)
            envelopes.append(self._last[unit])
        return envelopes

    def verify(self, *more: str) -> Run:
        """Run the command in a process of its own."""
        command = ("receiver", "verify", str(self.bench.receiver.directory), "--state", str(self._state), "--json")
        with TemporaryFile() as said:
            process = subprocess.Popen(own_module("agent.cli.main", *command, *more), stdout=said)
            ended, rss_mb = 0, 0.0
            while not ended:
                time.sleep(_LOOK_EVERY_S)
                with suppress(KeyError):  # it has ended, and nobody has waited for it yet
                    rss_mb = max(rss_mb, memory_mb(process.pid, "VmHWM"))
                ended, status, used = os.wait4(process.pid, os.WNOHANG)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            return Run(process.returncode, json.load(said), used.ru_utime + used.ru_stime, rss_mb)


def run(*, full: bool, say: Say) -> Result:
    """Verify, store 1 % more, verify again. Reduced, what is said is judged, and not what it costs."""
    began_s, rows = time.monotonic(), ROWS if full else REDUCED_ROWS
    with disk_folder("verify") as folder:
        for name in ("all", "tenth"):
            (Path(folder) / name).mkdir()
        store, tenth = Store(Path(folder) / "all"), Store(Path(folder) / "tenth")
        tenth.deliver(rows // 10, say)
        small = tenth.verify()
        store.deliver(rows, say)
        first = store.verify()
        store.deliver(rows // MORE, say)
        second, whole = store.verify(), store.verify("--full")
    cost, memory = second.cpu_s / first.cpu_s, first.rss_mb / small.rss_mb
    is_same = (second.said["chains"], second.said["units"]) == (whole.said["chains"], whole.said["units"])
    is_right = is_same and [each.code for each in (small, first, second, whole)] == [0] * 4
    since = second.said["since"]
    is_right = is_right and isinstance(since, dict) and (since["log"], since["new"]) == (rows, rows // MORE)
    figures = (
        f"{rows:,} envelopes: {first.cpu_s:.1f} s of processor time, {rows // MORE:,} more: {second.cpu_s:.2f} s "
        f"({cost:.1%}); {'the same reports as' if is_same else 'OTHER REPORTS THAN'} a full run; memory "
        f"{first.rss_mb:.0f} and {second.rss_mb:.0f} MB, {small.rss_mb:.0f} MB with a tenth of them"
    )
    say(figures)
    holds = is_right and (not full or (cost <= COST_SHARE and memory <= MEMORY_SHARE))
    target = (
        f"a second verify after 1 % more takes at most {COST_SHARE:.0%} of the first one's processor time and says "
        f"what a full one says; memory at most {MEMORY_SHARE:g} times that with a tenth of the envelopes"
    )
    return Result("verify", target, figures, holds, time.monotonic() - began_s)
