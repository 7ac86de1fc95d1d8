"""Connections that say nothing: how long they keep descriptors, and whether a unit comes in meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from agent.receiver.intake.door import SILENCE_DEADLINE_S
from agent.wire.health import HEALTH_PATH
from tests.fakes.pki import Bench, add_device
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.torture.capture_process import Load
from tests.torture.fleet import RECEIVER, Fleet, running
from tests.torture.hostile import client
from tests.torture.places import quick_folder
from tests.torture.report import Result

MOST_S: Final = SILENCE_DEADLINE_S + 1
COUNT: Final = 200
REDUCED_COUNT: Final = 20
TARGET: Final = (
    f"{COUNT} connections that say nothing: their descriptors are back within {MOST_S:g} s, and a unit's new "
    f"connection is answered meanwhile"
)


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Connect, say nothing and look; a reduced run does not judge the time."""
    began_s = time.monotonic()
    count = COUNT if full else REDUCED_COUNT
    with quick_folder("silent") as folder, running(Fleet(Path(folder), Load())) as fleet, ExitStack() as silent:
        layout = fleet.set_up_receiver()
        unit = add_device(layout, fleet.root / "unit", name="unit")
        fleet.start(RECEIVER)
        process = fleet.processes[RECEIVER].pid
        before = descriptors(process)
        opened_s = time.monotonic()
        for _ in range(count):
            silent.enter_context(socket.create_connection(("127.0.0.1", fleet.port), timeout=WITHIN_S))
        wait_until(lambda: descriptors(process) >= before + count)
        most = descriptors(process)
        with client(Bench(fleet.root, layout, unit), fleet.port) as http:
            asked_s = time.monotonic()
            status = http.get(HEALTH_PATH).status_code
            answered_s = time.monotonic() - asked_s
        say(f"{most} descriptors; a unit has its answer after {answered_s:.2f} s")
        wait_until(lambda: descriptors(process) <= before)
        took_s = time.monotonic() - opened_s
        fleet.stop(RECEIVER)
    figures = (
        f"{count} connections: {most} descriptors, {before} again after {took_s:.1f} s; a new unit had its answer "
        f"({status}) after {answered_s:.2f} s"
    )
    return Result(
        "silent", TARGET, figures, status == 204 and (not full or took_s <= MOST_S), time.monotonic() - began_s
    )


def descriptors(process: int | None) -> int:
    """Return how many descriptors a process has."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
