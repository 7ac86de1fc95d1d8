"""Backups of a receiver that stores without a pause: each verifies and has what was stored before it, or is none."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.integrity import check_pages
from agent.receiver.stores.sqlite import SqliteStore
from tests.fakes.waiting import WITHIN_S
from tests.torture.capture_process import Load
from tests.torture.fleet import BRISK, RECEIVER, Fleet, running
from tests.torture.kills import count_up
from tests.torture.places import quick_folder
from tests.torture.report import Result

TARGET: Final = (
    "40 backups of a receiver under load, each third one killed, the receiver killed now and then: each is whole, "
    "verifies and has what was stored before it, or has no store; nothing is lost at the receiver"
)
BACKUPS: Final = 40
REDUCED: Final = 6
KILLED: Final = 3
"""Of so many backups one is killed."""
RECEIVER_KILLED: Final = 8
"""Of so many backups one begins right after the receiver was killed and started again."""
LONGEST_S: Final = 1.0
"""A killed backup dies within this time: it takes half a second, most of it Python's start."""
UNITS: Final = 2
LOAD: Final = Load(reads_per_s=20.0)
SEED: Final = 11


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Back up again and again while units deliver, and look at every copy."""
    began_s = time.monotonic()
    wanted, rng, seen = BACKUPS if full else REDUCED, random.Random(SEED), Counter[str]()
    with quick_folder("backup") as folder, running(Fleet(Path(folder), LOAD)) as fleet:
        fleet.set_up_receiver()
        fleet.start(RECEIVER)
        fleet.add_units(UNITS, settings=BRISK)
        for part in fleet.parts():
            fleet.start(part)
        for number in range(wanted):
            if full and number % RECEIVER_KILLED == RECEIVER_KILLED - 1:
                fleet.kill(RECEIVER)
                fleet.start(RECEIVER)
            before = fleet.progress()[1]
            fleet.wait_until(lambda: fleet.progress()[1] > before)  # noqa: B023  used at once
            seen[back_up_once(fleet, rng if number % KILLED == KILLED - 1 else None)] += 1
            say(f"{number + 1} of {wanted}: {dict(seen)}")
        fleet.settle()
        figures, holds = count_up(fleet)
    told = ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))
    holds = holds and not seen.keys() - {"whole", "none"} and seen["whole"] >= wanted - wanted // KILLED
    return Result("backup", TARGET, f"{wanted} backups: {told}; {figures}", holds, time.monotonic() - began_s)


def back_up_once(fleet: Fleet, killer: random.Random | None) -> str:
    """Make one backup in a process of its own, kill it if asked, and say what came of it."""
    with quick_folder("copy") as folder:
        out = ReceiverLayout(Path(folder) / "out")
        stored = set(fleet.stored())
        command = [
            sys.executable,
            "-m",
            "agent.cli.main",
            "receiver",
            "backup",
            str(fleet.receiver),
            str(out.directory),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if killer is not None:
            time.sleep(killer.uniform(0.0, LONGEST_S))
            process.kill()
        _, said = process.communicate(timeout=WITHIN_S)
        if process.returncode and killer is None:
            return f"failed: {said.decode()[-200:]}"
        return judge(out, stored) if out.store.exists() else "none"


def judge(out: ReceiverLayout, stored: set[str]) -> str:
    """Return what is wrong with a backup, or `whole`."""
    if damage := check_pages(out.store, within_s=None).damage:
        return f"damaged: {damage[0]}"
    with SqliteStore.open_read_only(out.store) as store:
        if not stored <= {row.id.hex() for row in store.chain_rows()}:
            return "without what was stored before it"
        reports = verify_store(store, DeviceBook(out.devices))
    broken = [finding for report in reports for finding in report.findings]
    return f"not continuous: {broken[0].kind}" if broken else "whole"
