"""Charts for a page without scripts: inline SVG, and bars as tables. Pure: numbers in, markup out.

Colours are the page's CSS classes, so that one chart serves light and dark; what a mark means is also in its shape and
in its `<title>`. Every text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 960
"""Units of the timeline's width; the page scales it, and scrolls it sideways on a phone."""
LEFT: Final = 76
RIGHT: Final = 16
LANE_HEIGHT: Final = 58


@dataclass(frozen=True, slots=True)
class Span:
    """A vehicle in view: `css` class, begin and end in seconds, and what it says when pointed at."""

    css: str
    begin_s: float
    end_s: float
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: `css` class, seconds, the shape (`dot`, `cross` or `tick`), and what it says when pointed at."""

    css: str
    at_s: float
    shape: str
    title: str


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of one contestant, bin by bin, in the colour of a `css` class."""

    css: str
    counts: Sequence[int]


def timeline(spans: Sequence[Span], marks: Sequence[Mark], *, length_s: float, row_s: float) -> str:
    """Draw a clip's course, row by row: vehicles as bars, passages on them, rejections below.

    Args:
        spans: Vehicles in view.
        marks: Passages and rejections.
        length_s: The clip's length, seconds.
        row_s: Seconds a row shows.
    """
    rows = max(math.ceil(length_s / row_s), 1)
    scale = (WIDTH - LEFT - RIGHT) / row_s
    parts = [_row(row, row_s, scale) for row in range(rows)]
    for span in spans:
        parts += [
            f'<rect class="{span.css}" x="{x:.1f}" y="{y + 14}" width="{max(width, 2):.1f}" height="14" rx="3">'
            f"<title>{escape(span.title)}</title></rect>"
            for x, y, width in _pieces(span, rows, row_s, scale)
        ]
    for mark in marks:
        row = min(int(mark.at_s / row_s), rows - 1)
        x, y = LEFT + (mark.at_s - row * row_s) * scale, row * LANE_HEIGHT
        parts.append(_mark(mark, x, y + (40 if mark.shape == "tick" else 21)))
    return _svg(rows * LANE_HEIGHT + 6, "Course of the clip", parts)


def histogram(series: Sequence[Series], labels: Sequence[str]) -> str:
    """Draw counts by bin, a row each, the bars of each series below one another.

    Args:
        series: At least one, each with one count per label.
        labels: Of the bins, lowest first.
    """
    most = max((count for one in series for count in one.counts), default=0) or 1
    rows = [
        (label, [(one.css, one.counts[bin_] / most, f"{one.counts[bin_]:,}") for one in series])
        for bin_, label in enumerate(labels)
    ]
    return bars(rows)


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]) -> str:
    """Draw bars as a table, which fits a phone, and can be read by whoever cannot see it.

    Args:
        rows: What a row is called, and its bars: CSS class, length 0..1, and what stands behind it.
    """
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{''.join(_bar(*bar) for bar in drawn)}</td></tr>" for name, drawn in rows
    )
    return f'<table class="bars">{body}</table>'


def _bar(css: str, share: float, label: str) -> str:
    # Longest at three quarters of the cell: the rest is the label's.
    width = f"{max(share, 0.0) * 75:.2f}%"
    return f'<div><i class="{css}-bar" style="width:{width}"></i><span>{escape(label)}</span></div>'


def _row(row: int, row_s: float, scale: float) -> str:
    y, begin_s = row * LANE_HEIGHT, row * row_s
    ticks = "".join(
        f'<line class="grid" x1="{LEFT + second * scale:.1f}" x2="{LEFT + second * scale:.1f}" y1="{y + 8}" '
        f'y2="{y + 48}"/>'
        for second in range(0, int(row_s) + 1, 10)
    )
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y + 21}" y2="{y + 21}"/>'
    minutes, seconds = divmod(int(begin_s), 60)
    label = f'<text class="axis" x="{LEFT - 10}" y="{y + 25}" text-anchor="end">{minutes}:{seconds:02}</text>'
    return ticks + line + label


def _pieces(span: Span, rows: int, row_s: float, scale: float) -> list[tuple[float, int, float]]:
    """Cut a span at the ends of rows: (x, y, width) of each piece."""
    first, last = (min(int(edge / row_s), rows - 1) for edge in (span.begin_s, span.end_s))
    pieces = []
    for row in range(first, last + 1):
        begin = max(span.begin_s - row * row_s, 0.0)
        end = min(span.end_s - row * row_s, row_s)
        pieces.append((LEFT + begin * scale, row * LANE_HEIGHT, (end - begin) * scale))
    return pieces


def _mark(mark: Mark, x: float, y: float) -> str:
    title = f"<title>{escape(mark.title)}</title>"
    if mark.shape == "dot":
        return f'<circle class="{mark.css}" cx="{x:.1f}" cy="{y}" r="5">{title}</circle>'
    if mark.shape == "cross":
        path = f"M{x - 5:.1f} {y - 5}l10 10m0 -10l-10 10"
        return f'<path class="{mark.css} stroke" d="{path}">{title}</path>'
    return f'<rect class="{mark.css}" x="{x - 1.5:.1f}" y="{y - 4}" width="3" height="9">{title}</rect>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<div class="wide"><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></div>"
    )
