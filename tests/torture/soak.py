"""Twenty minutes of work with faults: the memory and the descriptors of capture and upload do not grow.

    python -m tests.torture soak

Both run as processes of their own, through the proxy, which faults requests and goes away now and then. They are
looked at every two seconds; a straight line through the second half must be flat.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from agent.receiver.stores.sqlite import SqliteStore
from agent.unit.process.run import start_daemon, stop_daemon
from tests.fakes.waiting import wait_until
from tests.torture.capture_process import Load, accepted_ids
from tests.torture.fleet import Fleet, Unit
from tests.torture.kills import count_up
from tests.torture.places import quick_folder
from tests.torture.proxy_server import Front, standing
from tests.torture.report import Result

MOST_GROWTH_MB: Final = 2.0
MOST_GROWTH_DESCRIPTORS: Final = 1.0
TARGET: Final = (
    f"memory and descriptors over a 20-minute soak with faults: flat (the fitted line of the second half rises by less "
    f"than {MOST_GROWTH_MB:g} MB and {MOST_GROWTH_DESCRIPTORS:g} descriptor)"
)
DURATION_S: Final = 1200.0
REDUCED_DURATION_S: Final = 5.0
SAMPLE_EVERY_S: Final = 2.0
REDUCED_SAMPLE_EVERY_S: Final = 0.25
FAULT_SHARE: Final = 0.3
TIMEOUT_S: Final = 2.0
MEAN_UP_S: Final = 20.0
MEAN_DOWN_S: Final = 4.0
SETTINGS: Final = f"reply_timeout_s = {TIMEOUT_S}\nretry_first_s = 0.05\nretry_most_s = 1.0\n"


@dataclass(slots=True)
class Track:
    """What was seen of one process: seconds, megabytes resident, open descriptors."""

    process: subprocess.Popen[bytes]
    seconds: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    def look(self, now_s: float) -> None:
        """Take a sample."""
        assert self.process.poll() is None, f"a process ended by itself with {self.process.returncode}"
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        self.seconds.append(now_s)
        self.resident_mb.append(int(status["VmRSS"].split()[0]) / 1024)
        self.descriptors.append(len(list((proc / "fd").iterdir())))


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Let a unit work and watch it; a reduced run is all warm-up, and judges only that nothing is lost."""
    began_s = time.monotonic()
    with quick_folder("soak") as folder:
        fleet = Fleet(Path(folder), Load())
        layout = fleet.set_up_receiver()
        with SqliteStore.open(layout.store) as store:
            front = Front(layout, store, fault_share=FAULT_SHARE, timeout_s=TIMEOUT_S)
            with standing(front, layout) as fleet.port:
                fleet.add_units(1, settings=SETTINGS)
                tracks = _watch(fleet.units[0], front, say, full=full)
        counted, whole = count_up(fleet)
    growths = {name: (growth(t.seconds, t.resident_mb), growth(t.seconds, t.descriptors)) for name, t in tracks.items()}
    grown = "; ".join(
        f"{name} {tracks[name].resident_mb[-1]:.0f} MB {megabytes:+.2f} MB, "
        f"{tracks[name].descriptors[-1]:.0f} descriptors {descriptors:+.2f}"
        for name, (megabytes, descriptors) in growths.items()
    )
    flat = all(mb < MOST_GROWTH_MB and fds < MOST_GROWTH_DESCRIPTORS for mb, fds in growths.values())
    figures = f"{grown}; {front.faulted} faulted requests, {front.honest} honest ones; {counted}"
    return Result("soak", TARGET, figures, whole and (flat or not full), time.monotonic() - began_s)


def growth(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much a straight line through the second half of some samples rises over it."""
    half = len(seconds) // 2
    slope, _ = np.polyfit(seconds[half:], values[half:], 1)
    return float(slope * (seconds[-1] - seconds[half]))


def _watch(unit: Unit, front: Front, say: Callable[[str], None], *, full: bool) -> dict[str, Track]:
    duration_s, every_s = (DURATION_S, SAMPLE_EVERY_S) if full else (REDUCED_DURATION_S, REDUCED_SAMPLE_EVERY_S)
    command = [sys.executable, "-m", "tests.torture.capture_process", str(unit.config), str(unit.accepted)]
    with (unit.disk / "capture.log").open("ab") as capture_log, (unit.disk / "upload.log").open("ab") as upload_log:
        capture = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=capture_log, stderr=capture_log)
        upload = start_daemon("upload", unit.config, log=upload_log)
        tracks = {"capture": Track(capture), "upload": Track(upload)}
        try:
            wait_until(lambda: accepted_ids(unit.accepted), otherwise="nothing is captured")
            began_s = switch_s = told_s = time.monotonic()
            while (now_s := time.monotonic()) < began_s + duration_s:
                if now_s >= switch_s:
                    front.is_down = not front.is_down and now_s > began_s + every_s
                    switch_s = now_s + random.expovariate(1 / (MEAN_DOWN_S if front.is_down else MEAN_UP_S))
                for track in tracks.values():
                    track.look(now_s - began_s)
                if now_s > told_s + 60:
                    told_s = now_s
                    sizes = ", ".join(f"{name} {track.resident_mb[-1]:.1f} MB" for name, track in tracks.items())
                    say(f"{now_s - began_s:.0f} of {duration_s:.0f} s, {sizes}, {front.faulted} faults")
                time.sleep(every_s)
            front.is_down, front.fault_share = False, 0.0
            stop_daemon(capture)
            wait_until(lambda: not unit.left(), otherwise="the spool does not drain")
        finally:
            stop_daemon(capture)
            stop_daemon(upload)
    return tracks
