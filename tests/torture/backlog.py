"""A backlog of 100,000 envelopes, delivered by the real daemon to the real receiver: soon begun, small, in order."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.keys.identity import SIGNING_KEY_NAME
from agent.keys.keyfiles import load_ed25519_private
from agent.keys.known_keys import KnownKeys
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.spool.spool import FileSpool
from agent.unit.process.run import start_daemon
from tests.fakes.envelopes import first_position, make_envelope, next_position
from tests.torture.capture_process import Load
from tests.torture.fleet import RECEIVER, Fleet, Unit, running
from tests.torture.places import disk_folder
from tests.torture.report import Result

TARGET: Final = "backlog of 100,000 envelopes drained: start at most 5 s, resident memory at most 150 MB, in order"
ENVELOPES: Final = 100_000
REDUCED_ENVELOPES: Final = 500
MOST_START_S: Final = 5.0
MOST_RESIDENT_MB: Final = 150.0
OLDEST_AGE_S: Final = 86_400
LOOK_EVERY_S: Final = 0.1
STALL_S: Final = 120.0


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Fill a spool, start the daemon, and watch; a reduced run judges neither time nor memory."""
    began_s = time.monotonic()
    count = ENVELOPES if full else REDUCED_ENVELOPES
    with disk_folder("backlog") as folder, running(Fleet(Path(folder), Load())) as fleet:
        layout = fleet.set_up_receiver()
        fleet.start(RECEIVER)
        fleet.add_units(1, settings="fresh_share = 0.0\n")  # its order is what is looked at
        unit = fleet.units[0]
        ids = fill(unit, count, say)
        start_s, drain_s, resident_mb = drain(unit, layout, count, say)
        fleet.stop(RECEIVER)
        in_order = fleet.stored() == ids
        whole = all(chain.is_continuous for chain in fleet.chains()) and unit.left() == unit.set_aside() == 0
    figures = (
        f"{count} envelopes: the first stored {start_s:.1f} s after the start, all in {drain_s:.0f} s "
        f"({count / drain_s:.0f}/s), at most {resident_mb:.0f} MB, {'in order' if in_order else 'OUT OF ORDER'}"
    )
    quick = not full or (start_s <= MOST_START_S and resident_mb <= MOST_RESIDENT_MB)
    return Result("backlog", TARGET, figures, in_order and whole and quick, time.monotonic() - began_s)


def fill(unit: Unit, count: int, say: Callable[[str], None]) -> list[str]:
    """Lay a chain of envelopes into a unit's spool, a second or less apart; return their ids, oldest first."""
    key = load_ed25519_private(unit.directory / "identity" / SIGNING_KEY_NAME)
    (unit.disk / "state").mkdir(mode=0o700)
    KnownKeys(unit.disk / "state").record(key.public_key())
    FileSpool(unit.spool, max_bytes=1 << 30, files=LocalFiles())
    step_s, time_s, ids = OLDEST_AGE_S / count, time.time() - OLDEST_AGE_S, []
    for envelope_id, data in _chain(key, count):
        path = unit.spool / "pending" / envelope_id
        path.write_bytes(data)
        path.chmod(0o600)
        time_s += step_s
        os.utime(path, (time_s, time_s))
        ids.append(envelope_id)
        if len(ids) % 20_000 == 0:
            say(f"{len(ids)} of {count} envelopes laid out")
    os.sync()
    return ids


def drain(unit: Unit, layout: ReceiverLayout, count: int, say: Callable[[str], None]) -> tuple[float, float, float]:
    """Run `plateseal upload --drain`; return seconds to the first stored envelope and to the end, and its peak, MB."""
    with SqliteStore.open_read_only(layout.store) as store, (unit.disk / "upload.log").open("ab") as log:
        began_s = moved_s = time.monotonic()
        process = start_daemon("upload", unit.config, "--drain", log=log)
        start_s, resident_mb, stored = 0.0, 0.0, 0
        try:
            while process.poll() is None:
                resident_mb = max(resident_mb, _peak_mb(process))
                before, stored = stored, store.totals().envelopes
                now_s = time.monotonic()
                if stored and not start_s:
                    start_s = now_s - began_s
                if stored // 20_000 != before // 20_000:
                    say(f"{stored} of {count} delivered after {now_s - began_s:.0f} s, {resident_mb:.0f} MB")
                moved_s = now_s if stored != before else moved_s
                assert now_s - moved_s < STALL_S, "nothing moves any more"
                time.sleep(LOOK_EVERY_S)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, (unit.disk / "upload.log").read_text()[-1000:]
    return start_s, time.monotonic() - began_s, resident_mb


def _chain(key: Ed25519PrivateKey, count: int) -> Iterator[tuple[str, bytes]]:
    position = first_position()
    for _ in range(count):
        envelope = make_envelope(key, position)
        position = next_position(envelope)
        yield envelope.envelope_id, envelope.data


def _peak_mb(process: subprocess.Popen[bytes]) -> float:
    """Return the most memory that a process ever had resident; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), default=0.0)
