"""Tables that read well both on a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

Figures = dict[str, float | int]
"""Counts and shares by name, as `measure.Tally.figures` gives them."""

COLUMNS = {
    "pictures": "pictures",
    "plates": "plates",
    "texts": "with a text",
    "recall": "recall",
    "false_per_picture": "false/picture",
    "unlabelled_per_picture": "unlabelled/picture",
    "exact": "exact",
    "exact_true_box": "exact, true box",
}
"""Figures in the order in which they are shown, and what they are called."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of even width; columns of numbers are flush right.

    Args:
        header: Names of the columns.
        rows: Cells, as many as the header has.
    """
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    right = [all(not row[i] or row[i][0] in "-0123456789" for row in rows) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)]) + "\n"


def number(value: float | None) -> str:
    """A count as it is, a share with three places, nothing for what was not measured."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def figure_table(groups: dict[str, Figures], *, first: str = "group") -> str:
    """One row a group, one column a figure; columns that no group has are left out."""
    shown = [name for name in COLUMNS if any(name in figures for figures in groups.values())]
    rows = [[group, *(number(figures.get(name)) for name in shown)] for group, figures in groups.items()]
    return table([first, *(COLUMNS[name] for name in shown)], rows)


def _has(groups: dict[str, Figures], name: str) -> bool:
    return any(name in figures for figures in groups.values())


def compared_table(models: dict[str, dict[str, Figures]], figures: Sequence[str]) -> str:
    """One row a group with its counts, and of every model some figures side by side.

    Args:
        models: By model, by group; all on the same pictures, so that the counts of one are those of all.
        figures: Which; groups that have none of them are left out.
    """
    first = next(iter(models.values()))
    groups = [group for group, row in first.items() if any(name in row for name in figures)]
    counted = [name for name in ("pictures", "plates", "texts") if name != "texts" or _has(first, name)]
    header = [
        "group",
        *(COLUMNS[name] for name in counted),
        *(f"{model}: {COLUMNS[name]}" for model in models for name in figures),
    ]
    rows = []
    for group in groups:
        counts = [number(first[group].get(name)) for name in counted]
        shares = [number(by_group[group].get(name)) for by_group in models.values() for name in figures]
        rows.append([group, *counts, *shares])
    return table(header, rows)
