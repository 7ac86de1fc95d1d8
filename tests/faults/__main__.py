"""Plants every fault of the table, and prints what was said and whether its mend mended it: `python -m tests.faults`.

    python -m tests.faults [WORDS]

With words, only the faults whose name has them. Exits with 1 if one was not named, or not mended.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.planted.campaign import FAULTS, Row, play


def main() -> int:
    """Play the faults, print the table, and return the exit code."""
    words = " ".join(sys.argv[1:])
    table = Table("", "fault", "command", "what it said", "mend", title="Planted faults", show_lines=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(play([fault for fault in FAULTS if words in fault.name], Path(folder)))
    for row in rows:
        table.add_row(row.state, row.fault.name, row.command, row.verdict.said, row.mend)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)
    console.print(summary(rows))
    return int(any(row.verdict.trouble for row in rows))


def summary(rows: list[Row]) -> str:
    """Return how many were named and mended."""
    good = sum(row.state == "ok" for row in rows)
    skipped = sum(row.state == "skip" for row in rows)
    return f"{good} of {len(rows)} named and mended" + (f", {skipped} not tried: a need is missing" if skipped else "")


if __name__ == "__main__":
    sys.exit(main())
