"""Campaigns that find out whether the promises hold: `make torture` runs all of them in full.

    python -m tests.torture [ROW...] [--reduced] [--resume] [--json FILE]

A row that has ended is kept in `build/torture/results.json`, so a campaign that was cut off goes on with `--resume`.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Final

from tests.torture.campaign import Row, Say, main
from tests.torture.report import Result

NAMES: Final = (
    "fuzz",
    "properties",
    "damaged_stream",
    "recordings",
    "memory",
    "crash_states",
    "mutation",
    "receipts",
    "corruption",
    "quota",
    "forensics",
    "proxy",
    "slow",
    "kills",
    "store-kills",
    "backlog",
    "put",
    "silent",
    "bodies",
    "hostile",
    "drain",
    "custody",
    "backup",
    "bundles",
    "soak",
)
"""Modules of this package, each with `run(full, say) -> Result`; short ones first."""


def _run(name: str, *, full: bool, say: Say) -> Result:
    """Load a row only when its turn comes."""
    result: Result = importlib.import_module(f"tests.torture.{name.replace('-', '_')}").run(full=full, say=say)
    return result


ROWS: Final[dict[str, Row]] = {name: partial(_run, name) for name in NAMES}


if __name__ == "__main__":
    summary = (__doc__ or "").splitlines()[0]
    sys.exit(main(ROWS, title="torture", summary=summary, kept=Path("build/torture/results.json")))
