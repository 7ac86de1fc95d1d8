"""Campaigns that find out whether the promises hold: `make torture` runs all of them in full.

    python -m tests.torture [ROW...] [--reduced] [--resume] [--json FILE]

A row that has ended is kept in `build/torture/results.json`, so a campaign that was cut off goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.torture.report import Result, keep_result, load_results, print_table

ROWS: Final = (
    "fuzz",
    "memory",
    "crash_states",
    "mutation",
    "receipts",
    "corruption",
    "quota",
    "forensics",
    "proxy",
    "kills",
    "backlog",
    "put",
    "drain",
    "bundles",
    "soak",
)
"""Modules of this package, each with `run(full, say) -> Result`; short ones first."""
KEPT: Final = Path("build/torture/results.json")


def main() -> int:
    """Run the rows that were asked for, print the table, and return 1 if a row does not hold."""
    options = _options()
    logging.getLogger("agent").addHandler(logging.NullHandler())  # the rows say what matters
    size = "reduced" if options.reduced else "full"
    results: list[Result] = []
    for row in options.rows or ROWS:
        kept = load_results(options.kept).get(f"{row} {size}") if options.resume else None
        if kept is None or not kept.holds:
            kept = run_row(row, full=not options.reduced, say=_sayer(row))
            keep_result(options.kept, f"{row} {size}", kept)
        results.append(kept)
    print_table(results)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return int(not all(result.holds for result in results))


def run_row(row: str, *, full: bool, say: Callable[[str], None]) -> Result:
    """Run one row; a row that breaks off is a row that does not hold."""
    began_s = time.monotonic()
    say("begins")
    try:
        result: Result = importlib.import_module(f"tests.torture.{row}").run(full=full, say=say)
    except Exception as error:  # noqa: BLE001  the other rows still have their turn
        traceback.print_exc()
        result = Result(row, "", f"broke off: {type(error).__name__}: {error}", False, time.monotonic() - began_s)
    say(f"{'holds' if result.holds else 'DOES NOT HOLD'}: {result.figures}")
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW", help=f"any of: {', '.join(ROWS)}")
    parser.add_argument("--reduced", action="store_true", help="the counts that `make test` runs")
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
