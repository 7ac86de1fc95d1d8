"""Rows of a table that take long: run those that were asked for, keep what has ended, print the table.

Owns: the options, the progress lines and what a row that breaks off counts as. Leaves to others: the rows.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from tests.torture.report import Result, keep_result, load_results, print_table

Say = Callable[[str], None]


class Row(Protocol):
    """Something that is measured or tried."""

    def __call__(self, *, full: bool, say: Say) -> Result:
        """Return what came of it; `full`, or with the reduced counts of `make test`."""
        ...


def main(rows: Mapping[str, Row], *, title: str, summary: str, kept: Path) -> int:
    """Run the rows that the command line asks for, print the table, and return 1 if a row does not hold.

    Args:
        rows: By name; short ones first.
        title: The table's, and the package's name below `tests`.
        summary: What `--help` begins with.
        kept: Where the results of rows that have ended are kept, unless the command line says otherwise.
    """
    options = _options(rows, title, summary, kept)
    logging.getLogger("agent").addHandler(logging.NullHandler())  # the rows say what matters
    size = "reduced" if options.reduced else "full"
    results: list[Result] = []
    for name in options.rows or rows:
        result = load_results(options.kept).get(f"{name} {size}") if options.resume else None
        if result is None or not result.holds:
            result = run_row(name, rows[name], full=not options.reduced, say=_sayer(name))
            keep_result(options.kept, f"{name} {size}", result)
        results.append(result)
    print_table(results, title=title)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return int(not all(result.holds for result in results))


def run_row(name: str, row: Row, *, full: bool, say: Say) -> Result:
    """Run one row; a row that breaks off is a row that does not hold."""
    began_s = time.monotonic()
    say("begins")
    try:
        result = row(full=full, say=say)
    except Exception as error:  # noqa: BLE001  the other rows still have their turn
        traceback.print_exc()
        result = Result(name, "", f"broke off: {type(error).__name__}: {error}", False, time.monotonic() - began_s)
    say(f"{'holds' if result.holds else 'DOES NOT HOLD'}: {result.figures}")
    return result


def _options(rows: Mapping[str, Row], title: str, summary: str, kept: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m tests.{title}", description=summary)
    parser.add_argument("rows", nargs="*", choices=[*rows, []], metavar="ROW", help=f"any of: {', '.join(rows)}")
    parser.add_argument("--reduced", action="store_true", help="the counts that `make test` runs")
    parser.add_argument("--resume", action="store_true", help="leave out rows that are kept and hold")
    parser.add_argument("--kept", type=Path, default=kept, metavar="FILE", help=f"where rows are kept ({kept})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets the table as JSON")
    return parser.parse_args()


def _sayer(name: str) -> Say:
    def say(line: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {name}: {line}\n")
        sys.stderr.flush()

    return say
