"""What one hostile unit and a crowd of silent connections do to the requests of a good unit.

The hostile unit is enrolled. It begins bodies and dribbles them, sends envelopes of the tiniest CBOR items, the largest
batches of good envelopes, and batches of the fullest tombstones, all at once and without a rest. Strangers open 200
connections, say nothing, and come again as soon as they are closed. Meanwhile ten good units send two reads a second
each, every one in a request of its own. These are timed alone and beside all that in turns, so that a busy machine is
busy for both.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Stored, encode_request, parse_reply
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, add_device
from tests.fakes.waiting import WITHIN_S
from tests.torture.capture_process import Load
from tests.torture.fleet import RECEIVER, Fleet, running
from tests.torture.hostile_unit import Target, at_work, be_hostile, be_silent
from tests.torture.places import disk_folder
from tests.torture.put import BODY_BYTES
from tests.torture.report import Result

MOST_RATIO: Final = 1.5
SILENT: Final = 200
TARGET: Final = (
    f"with one hostile enrolled unit and {SILENT} silent connections: 99th percentile of a good unit's request at most "
    f"{MOST_RATIO} times what it is alone in the same run; every read stored"
)
ROUNDS: Final = 12
REDUCED_ROUNDS: Final = 1
REQUESTS: Final = 200
"""In each half of a round."""
REDUCED_REQUESTS: Final = 10
GOOD: Final = 10
EVERY_S: Final = 0.05
"""From one request to the next, of one good unit after the other."""
SETTLE_S: Final = 1.0
"""Until the attack is under way, and until its last requests are over."""


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Take turns; a reduced run does not judge the ratio."""
    began_s = time.monotonic()
    rounds, count = (ROUNDS, REQUESTS) if full else (REDUCED_ROUNDS, REDUCED_REQUESTS)
    alone_ms: list[float] = []
    beside_ms: list[float] = []
    with disk_folder("hostile") as folder, running(Fleet(Path(folder), Load())) as fleet:
        layout = fleet.set_up_receiver()
        good = [add_device(layout, fleet.root / f"good-{number}", name=f"good-{number}") for number in range(GOOD)]
        bad = add_device(layout, fleet.root / "bad", name="bad")
        fleet.start(RECEIVER)
        each = (2 * rounds + 1) * count // GOOD
        chains = [make_chain(unit.signing_key, each, body=bytes(BODY_BYTES)) for unit in good]
        reads = [read for together in zip(*chains, strict=True) for read in together]
        target = Target(Bench(fleet.root, layout, bad), fleet.port)
        with (
            ExitStack() as stack,
            at_work(be_hostile, target) as hostile,
            at_work(be_silent, fleet.port, SILENT) as silent,
        ):
            lines = [stack.enter_context(client(Bench(fleet.root, layout, unit), fleet.port)) for unit in good]
            sent = zip(itertools.cycle(lines), reads, strict=False)
            timed_ms(sent, count)
            for number in range(rounds):
                alone_ms += timed_ms(sent, count)
                for go in (hostile, silent):
                    go.set()
                time.sleep(SETTLE_S)
                beside_ms += timed_ms(sent, count)
                for go in (hostile, silent):
                    go.clear()
                time.sleep(SETTLE_S)
                say(f"{number + 1} of {rounds} rounds: {_told(alone_ms)} alone, {_told(beside_ms)} beside")
        peak_mb = memory_mb(fleet.processes[RECEIVER].pid, "VmHWM")
        fleet.stop(RECEIVER)
        lost, others = _lost(layout, reads)
    ratio = float(np.percentile(beside_ms, 99) / np.percentile(alone_ms, 99))
    figures = (
        f"{len(beside_ms)} requests: {_told(alone_ms)} alone, {_told(beside_ms)} beside, ratio {ratio:.2f}; "
        f"{lost} reads lost; {others} envelopes of the hostile unit stored; at most {peak_mb:.0f} MB resident"
    )
    return Result(
        "hostile", TARGET, figures, lost == 0 and (not full or ratio <= MOST_RATIO), time.monotonic() - began_s
    )


def timed_ms(sent: Iterator[tuple[httpx.Client, Envelope]], count: int) -> list[float]:
    """Send the next reads, each in a request of its own, and return how long each took, milliseconds."""
    found = []
    for http, read in itertools.islice(sent, count):
        body = encode_request([read.data])
        began_s = time.perf_counter()
        reply = http.post(ENVELOPES_PATH, content=body, headers={"content-type": MEDIA_TYPE})
        found.append(1000 * (time.perf_counter() - began_s))
        time.sleep(max(0.0, began_s + EVERY_S - time.perf_counter()))
        (answer,) = parse_reply(reply.content, expected=1)
        assert isinstance(answer, Stored), answer
    return found


def client(bench: Bench, port: int) -> httpx.Client:
    """Return a client with a unit's certificate."""
    return httpx.Client(
        verify=bench.client_context(), base_url=f"https://localhost:{port}", trust_env=False, timeout=WITHIN_S
    )


def _told(times_ms: list[float]) -> str:
    half, most = np.percentile(times_ms, [50, 99])
    return f"{half:.1f} ms, 99th {most:.1f} ms"


def memory_mb(process: int | None, name: str) -> float:
    """Return a figure of `/proc/PID/status`: `VmRSS` is what is resident, `VmHWM` the most that ever was, MB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024 / 1e6


def _lost(layout: ReceiverLayout, reads: list[Envelope]) -> tuple[int, int]:
    """Return how many reads are not in the store, and how many other envelopes are."""
    with SqliteStore.open_read_only(layout.store) as store:
        lost = sum(store.get(read.digest) is None for read in reads)
        return lost, store.totals().envelopes - len(reads) + lost
