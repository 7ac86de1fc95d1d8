"""The receiver's memory while many units send the largest requests at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from agent.receiver.intake.bodies import MAX_BYTES
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Stored, encode_request, parse_reply
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, BenchDevice, add_device
from tests.torture.capture_process import Load
from tests.torture.fleet import RECEIVER, Fleet, running
from tests.torture.hostile import client, memory_mb
from tests.torture.hostile_unit import LARGE_BYTES
from tests.torture.places import quick_folder
from tests.torture.report import Result

UNITS: Final = 24
REDUCED_UNITS: Final = 3
ENVELOPES: Final = 7
MOST_MB: Final = MAX_BYTES / 1e6 + 130
TARGET: Final = (
    f"{UNITS} units send 7 envelopes of 1 MiB in one request each, all at once: all are stored, and the receiver takes "
    f"at most {MOST_MB:.0f} MB more than before"
)


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Send all at once; a reduced run does not judge the memory."""
    began_s = time.monotonic()
    count = UNITS if full else REDUCED_UNITS
    with quick_folder("bodies") as folder, running(Fleet(Path(folder), Load())) as fleet:
        layout = fleet.set_up_receiver()
        units = [add_device(layout, fleet.root / f"unit-{number}", name=f"unit-{number}") for number in range(count)]
        fleet.start(RECEIVER)
        process = fleet.processes[RECEIVER].pid

        def send(unit: BenchDevice) -> int:
            body = encode_request(
                [each.data for each in make_chain(unit.signing_key, ENVELOPES, body=bytes(LARGE_BYTES))]
            )
            with client(Bench(fleet.root, layout, unit), fleet.port) as http:
                reply = http.post(ENVELOPES_PATH, content=body, headers={"content-type": MEDIA_TYPE})
            return sum(isinstance(answer, Stored) for answer in parse_reply(reply.content, expected=ENVELOPES))

        send(units[0])
        before_mb = memory_mb(process, "VmRSS")
        say(f"{before_mb:.0f} MB before")
        with ThreadPoolExecutor(count) as threads:
            stored = sum(threads.map(send, units))
        most_mb = memory_mb(process, "VmHWM") - before_mb
        fleet.stop(RECEIVER)
    figures = (
        f"{count} requests of {ENVELOPES} MiB: {stored} of {count * ENVELOPES} envelopes stored; at most "
        f"{most_mb:.0f} MB more than the {before_mb:.0f} MB before"
    )
    holds = stored == count * ENVELOPES and (not full or most_mb <= MOST_MB)
    return Result("bodies", TARGET, figures, holds, time.monotonic() - began_s)
