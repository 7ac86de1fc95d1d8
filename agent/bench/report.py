"""The report of a bench: one HTML file that needs nothing else, no script and no network.

It shows plate texts and crops, because whoever wants to know what was misread must see them; so the command writes it
only where it is asked to, for the user's eyes only. Pure: figures in, text out. The markup is `report.html`, the style
`report.css`; every text from outside is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.bench import charts
from agent.bench.charts import Mark, Series, Span
from agent.bench.match import Run
from agent.bench.measured import SeenPassage
from agent.bench.outcome import MIB, Outcome, percentile
from agent.bench.truth import Judged, TruthPass, Verdict

ROW_S: Final = 60.0
"""Seconds of the clip that a row of the timeline shows, at least."""
MOST_ROWS: Final = 30
"""A longer clip gets longer rows."""
MOST_CARDS: Final = 400
"""Cards in one gallery; a report that a browser opens in a moment."""
LATENCY_BINS_MS: Final = (0, 50, 100, 200, 300, 400, 600, 1000, 2000, 5000)
"""Lower edges. 400 ms is what is promised at the median."""

_HERE: Final = Path(__file__).parent
_PAGE: Final = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
).get_template("report.html")
_STYLE: Final = (_HERE / "report.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Card:
    """One plate in a gallery.

    Attributes:
        crop: JPEG in base64; empty where there is none.
        text: The plate's text, or an empty one.
        verdict: What the badge says; empty for no badge.
        detail: The small print.
    """

    crop: str
    text: str
    verdict: str
    detail: str


def render_report(outcome: Outcome, *, clip: str) -> str:
    """Write the report.

    Args:
        outcome: What was played and counted.
        clip: What the clip is called.
    """
    run, played = outcome.run, outcome.run.played
    width, height = played.frame_wh
    contestants, comparison, notes = _comparison(outcome)
    row_s = max(ROW_S, math.ceil(played.stream_s / MOST_ROWS / 10) * 10)
    return _PAGE.render(
        clip=clip,
        style=_STYLE,
        most_cards=MOST_CARDS,
        about_clip=f"{run.frames:,} frames of {width}x{height} pixels, {_clock(played.stream_s)} of road.",
        models=", ".join(played.models),
        tiles=_tiles(outcome),
        contestants=contestants,
        comparison=comparison,
        notes=notes,
        timeline_key=_timeline_key(outcome),
        timeline=_timeline(outcome, row_s),
        row_s=row_s,
        frame_times_key=[(css, name) for css, name, _ in _compared(outcome)],
        frame_times=_frame_times(outcome),
        latencies=_latencies(outcome),
        stages=_stages(outcome),
        stages_told=(
            f"Something moved on {played.frames_moving:,} of {run.frames:,} frames, the detector ran on "
            f"{played.frames_searched:,}, {played.looks:,} looks were read."
        ),
        passages=_passages(outcome),
        rejected=[(_reason(name), count) for name, count in _by_count(played.rejected) if count],
        rejections=[
            _card(one.crop, one.text, "rejected", f"{_reason(one.reason)}; sure {one.confidence:.2f}")
            for one in played.rejections
            if one.frame is not None
        ],
    )


def _tiles(outcome: Outcome) -> list[tuple[str, str]]:
    result, run = outcome.score, outcome.run
    tiles: list[tuple[str, str]] = []
    if result is None:
        tiles.append((f"{len(run.played.passages)}", "passages; no truth to hold them against"))
    else:
        tiles += [
            (f"{result.exact} of {result.vehicles}", f"vehicles read exactly{_percent(result.exact, result.vehicles)}"),
            (f"{result.missed}", "missed"),
            (f"{result.misread}", "misread"),
            (f"{result.spurious} + {result.duplicates}", "spurious + duplicate passages"),
        ]
    times = "" if outcome.speedup is None else f", {outcome.speedup:.1f} times the plain loop"
    share = "" if outcome.cpu_share is None else f"; {outcome.cpu_share:.2f} of the plain loop's"
    median, rare = (percentile(outcome.latencies_ms, one) for one in (0.5, 0.99))
    tiles += [
        (f"{run.fps:,.0f}", f"frames a second{times}"),
        (f"{run.cpu_seconds:,.1f} s", f"processor time{share}; {outcome.cpu_over_decoding:.2f} times decoding alone"),
        (f"{run.played.peak_rss_bytes / MIB:,.0f} MB", "resident memory at most"),
    ]
    if median is not None and rare is not None:
        tiles.append((f"{median:,.0f} ms", f"from last look to passage at the median; {rare:,.0f} ms at 99 %"))
    return tiles


def _comparison(outcome: Outcome) -> tuple[list[str], list[tuple[str, list[str]]], str]:
    """Return the contestants' names, the rows of figures, and what has to be said about them."""
    columns = [("plateseal", outcome.run, outcome.score), ("decoding alone", outcome.decoding, None)]
    if outcome.loop is not None:
        columns.insert(1, ("fast-alpr loop", outcome.loop, outcome.loop_score))
    rows = [
        ("frames a second", [f"{run.fps:,.1f}" for _, run, _ in columns]),
        ("seconds", [f"{run.seconds:,.1f}" for _, run, _ in columns]),
        ("processor seconds", [f"{run.cpu_seconds:,.1f}" for _, run, _ in columns]),
        ("memory at most, MB", [f"{run.played.peak_rss_bytes / MIB:,.0f}" for _, run, _ in columns]),
    ]
    if outcome.score is not None:
        rows += [
            (name, ["" if result is None else str(getattr(result, name)) for _, _, result in columns])
            for name in ("exact", "misread", "missed", "spurious", "duplicates")
        ]
    notes = [f"{name}: {run.played.note}." for name, run, _ in columns if run.played.note]
    return [name for name, _, _ in columns], rows, " ".join(notes)


def _timeline(outcome: Outcome, row_s: float) -> str:
    played = outcome.run.played
    frame_s = played.stream_s / max(outcome.run.frames - 1, 1)
    found = {one.vehicle for one in outcome.judged}
    vehicles = () if outcome.truth is None else outcome.truth.passes
    spans = [
        Span(
            "idle" if index in found else "bad",
            vehicle.first * frame_s,
            vehicle.last * frame_s,
            f"{vehicle.text} in view from {_clock(vehicle.first * frame_s)}{'' if index in found else ', missed'}",
        )
        for index, vehicle in enumerate(vehicles)
        if vehicle.first is not None and vehicle.last is not None
    ]
    marks = [
        _passage_mark(passage, judged, vehicles, frame_s)
        for passage, judged in zip(played.passages, _judged(outcome), strict=True)
    ] + [
        Mark("soft-mark", one.frame * frame_s, "tick", f"{_reason(one.reason)} at {_clock(one.frame * frame_s)}")
        for one in played.rejections
        if one.frame is not None
    ]
    return charts.timeline(spans, marks, length_s=played.stream_s, row_s=row_s)


def _timeline_key(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Return the CSS class, the shape and the meaning of each kind of mark."""
    tick = ("soft-mark", "tick", "track without a passage")
    if outcome.truth is None or not outcome.truth.passes:
        return [("good", "dot", "passage"), tick]
    return [
        ("good", "dot", "read exactly"),
        tick,
        ("bad", "cross", "misread"),
        ("warn", "cross", "spurious or duplicate"),
        ("idle", "bar", "plate in view"),
        ("bad", "bar", "missed"),
    ]


def _passage_mark(passage: SeenPassage, judged: Judged | None, vehicles: Sequence[TruthPass], frame_s: float) -> Mark:
    at_s = passage.frame * frame_s
    title = f"{passage.text} at {_clock(at_s)}"
    if judged is None or judged.verdict is Verdict.EXACT:
        return Mark("good", at_s, "dot", title)
    was = f", was {vehicles[judged.vehicle].text}" if judged.vehicle is not None else ""
    css = "bad" if judged.verdict is Verdict.MISREAD else "warn"
    return Mark(css, at_s, "cross", f"{title}: {judged.verdict}{was}")


def _compared(outcome: Outcome) -> list[tuple[str, str, Run]]:
    """Return the CSS class, the name and the run of each contestant that looks at frames."""
    runs = [("ours", "plateseal", outcome.run)]
    return runs if outcome.loop is None else [*runs, ("theirs", "fast-alpr loop", outcome.loop)]


def _frame_times(outcome: Outcome) -> str:
    runs = _compared(outcome)
    logs = [[_log_bin(ms) for ms in run.played.frame_ms] for _, _, run in runs]
    low, high = min((min(one) for one in logs if one), default=0), max((max(one) for one in logs if one), default=0)
    series = [
        Series(css, [one.count(bin_) for bin_ in range(low, high + 1)])
        for (css, _, _), one in zip(runs, logs, strict=True)
    ]
    return charts.histogram(series, [_rate_label(bin_) for bin_ in range(low, high + 1)])


def _log_bin(ms: float) -> int:
    """Return the power of two below the rate; a faster frame has a higher bin."""
    return math.floor(math.log2(1000 / max(ms, 0.02)))


def _rate_label(bin_: int) -> str:
    low, high = (f"{rate:,.0f}" if rate >= 1 else f"{rate:.2g}" for rate in (2.0**bin_, 2.0 ** (bin_ + 1)))
    return f"{low} to {high}"


def _latencies(outcome: Outcome) -> str:
    latencies = outcome.latencies_ms
    if not latencies:
        return ""
    edges = (*LATENCY_BINS_MS, math.inf)
    counts = [sum(low <= one < high for one in latencies) for low, high in pairwise(edges)]
    labels = [f"{low:,} to {high:,} ms" if high < math.inf else f"{low:,} ms and more" for low, high in pairwise(edges)]
    return charts.histogram([Series("ours", counts)], labels)


def _stages(outcome: Outcome) -> str:
    run, stages = outcome.run, outcome.run.played.stages_s
    rest_s = max(run.seconds - outcome.decoding.seconds - sum(stages.values()), 0.0)
    rows = [("decoding", outcome.decoding.seconds), *stages.items(), ("the rest", rest_s)]
    most = max(seconds for _, seconds in rows) or 1.0
    bars = [
        (name, [("ours", seconds / most, f"{seconds / max(run.frames, 1) * 1000:.2f} ms a frame")])
        for name, seconds in rows
    ]
    return charts.bars(bars)


def _passages(outcome: Outcome) -> list[_Card]:
    vehicles = () if outcome.truth is None else outcome.truth.passes
    found = {one.vehicle for one in outcome.judged}
    cards = [
        _passage_card(passage, judged, vehicles)
        for passage, judged in zip(outcome.run.played.passages, _judged(outcome), strict=True)
    ]
    # What went wrong first: that is what a report is opened for.
    cards.sort(key=lambda card: card[0])
    missed = [
        _card(b"", vehicle.text, "missed", "in view" if vehicle.first is not None else "never wholly in view")
        for index, vehicle in enumerate(vehicles)
        if index not in found
    ]
    return [*missed, *(card for _, card in cards)]


def _passage_card(passage: SeenPassage, judged: Judged | None, vehicles: Sequence[TruthPass]) -> tuple[bool, _Card]:
    verdict = "" if judged is None else str(judged.verdict)
    wrong = judged is not None and judged.verdict is not Verdict.EXACT
    truth = "" if judged is None or judged.vehicle is None else vehicles[judged.vehicle].text
    was = f"was {truth}; " if wrong and truth else ""
    saw = f"seen {passage.seen}; " if passage.seen not in (None, passage.text) else ""
    form = f", {passage.format}" if passage.format is not None else ""
    detail = (
        f"{was}{saw}sure {passage.confidence:.2f}, {passage.votes} of {passage.looks} looks, {passage.direction}, "
        f"{_clock(passage.first_s)}{form}"
    )
    return not wrong, _card(passage.crop, passage.text, verdict, detail)


def _by_count(rejected: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(rejected.items(), key=lambda pair: -pair[1])


def _card(crop: bytes, text: str, verdict: str, detail: str) -> _Card:
    return _Card(base64.b64encode(crop).decode(), text, verdict, detail)


def _judged(outcome: Outcome) -> Sequence[Judged | None]:
    return outcome.judged or [None] * len(outcome.run.played.passages)


def _reason(name: str) -> str:
    return name.replace("_", " ")


def _percent(count: int, of: int) -> str:
    return f" ({count / of:.1%})" if of else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes)}:{rest:04.1f}"
