"""Requests that meet a fault between unit and receiver: whatever happens to them, nothing is lost or stored twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.receiver.stores.sqlite import SqliteStore
from tests.torture.capture_process import Load
from tests.torture.fleet import Fleet, running
from tests.torture.kills import count_up
from tests.torture.places import quick_folder
from tests.torture.proxy_server import FAULTS, Front, standing
from tests.torture.report import Result

TARGET: Final = "at least 10,000 faulted requests through the proxy; 0 lost, 0 stored twice"
FAULTED: Final = 10_000
REDUCED_FAULTED: Final = 70
UNITS: Final = 4
LOAD: Final = Load(reads_per_s=8.0)
"""Of each unit: what gets through between the faults keeps up with it."""
FAULT_SHARE: Final = 0.75
TIMEOUT_S: Final = 0.5
SETTINGS: Final = (
    f"reply_timeout_s = {TIMEOUT_S}\nretry_first_s = 0.005\nretry_most_s = 0.05\nbatch_envelopes = 8\n"  # quick retries
)


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Send through the proxy until enough requests have met a fault, then without, and count."""
    began_s = time.monotonic()
    wanted = FAULTED if full else REDUCED_FAULTED
    with quick_folder("proxy") as folder, running(Fleet(Path(folder), LOAD)) as fleet:
        layout = fleet.set_up_receiver()
        with SqliteStore.open(layout.store) as store:
            front = Front(layout, store, fault_share=FAULT_SHARE, timeout_s=TIMEOUT_S)
            with standing(front, layout) as fleet.port:
                fleet.add_units(UNITS, settings=SETTINGS)
                for part in fleet.parts():
                    fleet.start(part)
                while front.faulted < wanted:
                    before = front.faulted
                    fleet.wait_until(lambda: front.faulted >= min(before + 500, wanted))  # noqa: B023  used at once
                    say(f"{front.faulted} of {wanted} requests faulted, {front.honest} honest")
                front.fault_share = 0.0
                fleet.settle()
        figures, holds = count_up(fleet)
    met = len(front.faults)
    figures = f"{front.faulted} faulted requests of {met} kinds and {front.honest} honest ones; {figures}"
    return Result("proxy", TARGET, figures, holds and met == len(FAULTS), time.monotonic() - began_s)
