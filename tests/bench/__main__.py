"""What plateseal promises about speed, memory and accuracy, measured: `make bench` runs all of it.

    python -m tests.bench [ROW...] [--reduced] [--resume] [--json FILE]

A row that has ended is kept in `build/bench/results.json`, so that a bench that was cut off goes on with `--resume`.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Final

from agent.bench import sealing
from agent.wire import suites
from tests.bench import (
    fleet_page,
    growth,
    idle,
    intake,
    live,
    live_cost,
    memory,
    plate_search,
    promises,
    quiet_road,
    receivers,
    search,
    vehicles,
    verify,
)
from tests.bench.clips import BUILD
from tests.bench.playing import MODELS
from tests.torture.campaign import Row, Say, main
from tests.torture.report import Result

SEEDS: Final = (1, 2, 3)
MOST_OVERHEAD_BYTES: Final = 1600


def seal(*, full: bool, say: Say) -> Result:
    """Measure how fast reads are sealed, by recipient key type."""
    began_s = time.monotonic()
    rows = [
        sealing.measure(key_type, suites.ContentCipher.AES_256_GCM, rounds=sealing.ROUNDS if full else 1)
        for key_type in suites.KeyType
    ]
    figures = "; ".join(
        f"{row.key_type}: {row.reads_per_s:.0f} reads/s on one core, {row.overhead_bytes} bytes more" for row in rows
    )
    say(figures)
    holds = all(row.overhead_bytes <= MOST_OVERHEAD_BYTES for row in rows)
    target = f"a sealed read is at most {MOST_OVERHEAD_BYTES:,} bytes longer"
    return Result("sealing", target, figures, holds, time.monotonic() - began_s)


ROWS: Final[dict[str, Row]] = {
    "sealing": seal,
    "fleet": promises.run_fleet,
    "fleet-page": fleet_page.run,
    "idle": idle.run,
    "intake": intake.run,
    "receivers": receivers.run,
    "line": promises.run_line,
    "erasure": promises.run_erasure,
    "open": search.run_open,
    "one-day": search.run_one_day,
    "search": plate_search.run,
    "verify": verify.run,
    "growth": growth.run,
    "live": live.run,
    "live-cost": live_cost.run,
    "frame": quiet_road.run_frame,
    "car-park": quiet_road.run_car_park,
    "empty": quiet_road.run_empty,
    **{f"{models}-{seed}": partial(vehicles.run, models, seed) for models in MODELS for seed in SEEDS},
    "memory-4k": memory.run_4k,
    "memory": memory.run,
}
"""Short ones first."""


if __name__ == "__main__":
    sys.exit(main(ROWS, title="bench", summary=(__doc__ or "").splitlines()[0], kept=BUILD / "results.json"))
