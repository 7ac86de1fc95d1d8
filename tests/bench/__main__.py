"""What plateseal promises about speed, memory and accuracy, measured: `make bench` runs all of it.

    python -m tests.bench [ROW...] [--reduced] [--resume] [--json FILE]

A row that has ended is kept in `build/bench/results.json`, so that a bench that was cut off goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from agent.bench import sealing
from agent.envelope import suites
from tests.bench import live, memory, quiet_road, vehicles
from tests.bench.clips import BUILD
from tests.bench.playing import MODELS
from tests.torture.report import Result, keep_result, load_results, print_table

SEEDS: Final = (1, 2, 3)
MOST_OVERHEAD_BYTES: Final = 1600
KEPT: Final = BUILD / "results.json"


def seal(*, full: bool, say: Callable[[str], None]) -> Result:
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


ROWS: Final[dict[str, Callable[..., Result]]] = {
    "sealing": seal,
    "live": live.run,
    "car-park": quiet_road.run_car_park,
    "empty": quiet_road.run_empty,
    **{f"{models}-{seed}": partial(vehicles.run, models, seed) for models in MODELS for seed in SEEDS},
    "memory": memory.run,
}
"""Each is called with `full` and `say`; short ones first."""


def main() -> int:
    """Run the rows that were asked for, print the table, and return 1 if a row does not hold."""
    options = _options()
    logging.getLogger("agent").addHandler(logging.NullHandler())
    size = "reduced" if options.reduced else "full"
    results: list[Result] = []
    for row in options.rows or ROWS:
        kept = load_results(options.kept).get(f"{row} {size}") if options.resume else None
        if kept is None or not kept.holds:
            kept = run_row(row, full=not options.reduced, say=_sayer(row))
            keep_result(options.kept, f"{row} {size}", kept)
        results.append(kept)
    print_table(results, title="bench")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return int(not all(result.holds for result in results))


def run_row(row: str, *, full: bool, say: Callable[[str], None]) -> Result:
    """Run one row; a row that breaks off is a row that does not hold."""
    began_s = time.monotonic()
    say("begins")
    try:
        result = ROWS[row](full=full, say=say)
    except Exception as error:  # noqa: BLE001  the other rows still have their turn
        traceback.print_exc()
        result = Result(row, "", f"broke off: {type(error).__name__}: {error}", False, time.monotonic() - began_s)
    say(f"{'holds' if result.holds else 'DOES NOT HOLD'}: {result.figures}")
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW", help=f"any of: {', '.join(ROWS)}")
    parser.add_argument("--reduced", action="store_true", help="short, and judged by counts and not by the clock")
    parser.add_argument("--resume", action="store_true", help="leave out rows that are kept and hold")
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FILE", help=f"where rows are kept ({KEPT})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets the table as JSON")
    return parser.parse_args()


def _sayer(row: str) -> Callable[[str], None]:
    def say(line: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {row}: {line}\n")
        sys.stderr.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
