"""What a campaign found: one row of the table, and the file that keeps rows while a long campaign goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    Attributes:
        name: What was done.
        target: What must hold, as the issue says it.
        figures: What was counted.
        holds: Whether it does.
        seconds: Wall time.
    """

    name: str
    target: str
    figures: str
    holds: bool
    seconds: float


def load_results(path: Path) -> dict[str, Result]:
    """Return the kept rows by key; none if there is no file."""
    if not path.exists():
        return {}
    return {key: Result(**row) for key, row in json.loads(path.read_text()).items()}


def keep_result(path: Path, key: str, result: Result) -> None:
    """Write one row among the kept ones, in place of an older one of the same key."""
    rows = {**load_results(path), key: result}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({key: asdict(row) for key, row in rows.items()}, indent=2) + "\n")
    draft.replace(path)


def print_table(results: Sequence[Result], *, title: str) -> None:
    """Print rows as a table, as wide as they need where nobody's terminal sets a width."""
    table = Table(title=title, show_lines=True)
    for heading in ("row", "must hold", "counted", "holds", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for row in results:
        holds = "[green]yes[/green]" if row.holds else "[bold red]NO[/bold red]"
        table.add_row(row.name, row.target, row.figures, holds, f"{row.seconds:.0f}")
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
