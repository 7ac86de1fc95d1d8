"""Every crash state of the spool that the model in `tests/faults` yields, recovered from and checked.

python -m tests.torture.crash_states
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.faults.crash_model import Census
from tests.faults.crash_scenarios import scenarios, share
from tests.torture.report import Result

AT_LEAST: Final = 100_000
SAY_EVERY: Final = 5_000
READS: Final = 6
"""Reads in the scenarios of several; each more makes about four times as many states."""


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Enumerate all of it with several reads, or a share of it with one."""
    began_s = time.monotonic()
    census = Census()
    told = 0
    for scenario in scenarios(READS) if full else share():
        census.run(scenario)
        if census.states >= told + SAY_EVERY:
            told = census.states
            say(f"crash_states: {census.states} distinct states, {len(census.violations)} violations")
    for violation in list(census.violations.values())[:20]:
        say(f"crash_states: {violation.kind}: {violation.where}: {violation.what}")
    kinds = Counter(violation.kind for violation in census.violations.values())
    figures = (
        f"{census.states} distinct states after {census.steps} steps, up to {census.deepest} power cuts in a row; "
        + (", ".join(f"{kinds[kind]} {kind}" for kind in ("lost", "false accept", "stuck", "not erased", "unnamed")))
    )
    enough = census.states >= AT_LEAST or not full
    return Result(
        "crash states enumerated by the model",
        f"at least {AT_LEAST:,} distinct, 0 lost, 0 false accepts, 0 stuck, 0 without a name for the last one",
        figures,
        enough and not census.violations,
        time.monotonic() - began_s,
    )


if __name__ == "__main__":
    row = run(full="--reduced" not in sys.argv, say=lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    sys.stdout.write(f"{row.figures}, {row.seconds:.0f} s\n")
    sys.exit(not row.holds)
