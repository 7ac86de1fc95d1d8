"""The report of a bench: one HTML file that needs nothing else, no script and no network.

It shows plate texts and crops, because whoever wants to know what was misread must see them; so the command writes it
only where it is asked to, for the user's eyes only. Pure: figures in, text out. Every text from outside is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from agent.bench import charts
from agent.bench.charts import Mark, Series, Span
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

STYLE: Final = """
:root{color-scheme:light dark;--page:#f7f7f5;--card:#fff;--ink:#1c1e21;--soft:#5b6067;--line:#dcdcd8;--ours:#2563a8;
--theirs:#9a6b1f;--good:#1d7a46;--bad:#b3261e;--warn:#a15c00;--idle:#b9bdc4}
@media (prefers-color-scheme:dark){:root{--page:#15171a;--card:#1e2125;--ink:#e8eaed;--soft:#a0a6ae;--line:#343940;
--ours:#6ea8e8;--theirs:#d9a653;--good:#5cc48a;--bad:#f2857c;--warn:#e8ae5a;--idle:#545b64}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:20px 16px 60px}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:34px 0 8px}
p{margin:4px 0 10px;max-width:75ch}.soft,figcaption,small{color:var(--soft)}
.private{border-left:4px solid var(--warn);padding:2px 0 2px 10px;margin:12px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:18px 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.tile b{display:block;font-size:1.45rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile small{display:block;line-height:1.35}
.wide{overflow-x:auto}.wide svg{display:block;width:100%;min-width:640px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;background:var(--card)}
th,td{padding:5px 12px;border:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600}
figure{margin:0}.key{display:flex;flex-wrap:wrap;gap:4px 18px;margin:4px 0;color:var(--soft)}
.key svg{width:14px;height:14px;vertical-align:-2px;margin-right:5px}
.axis{fill:var(--soft);font-size:13px}.grid{stroke:var(--line);stroke-width:1}
.ours{fill:var(--ours)}.theirs{fill:var(--theirs)}.idle{fill:var(--idle)}.good{fill:var(--good)}.bad{fill:var(--bad)}
.warn{fill:var(--warn)}.soft-mark{fill:var(--soft)}
.ours-bar{background:var(--ours)}.theirs-bar{background:var(--theirs)}
.bars{width:100%;max-width:760px;background:none}.bars th,.bars td{border:0;padding:2px 8px 2px 0;font-weight:400}
.bars th{width:1%;color:var(--soft);white-space:nowrap}.bars td{text-align:left}
.bars div{display:flex;align-items:center;gap:7px;height:17px}
.bars i{height:13px;min-width:1px;border-radius:2px}.stroke{fill:none;stroke-width:3}.bad.stroke{stroke:var(--bad)}
.warn.stroke{stroke:var(--warn)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:10px}
.card img,.card .none{display:block;width:100%;height:64px;object-fit:contain;background:#8882;border-radius:4px}
.card .none{line-height:64px;text-align:center;color:var(--soft)}
.plate{font:600 1.05rem/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
.badge{font-size:.8rem;font-weight:600;border:1px solid;border-radius:9px;padding:0 7px}
.is-exact{color:var(--good)}.is-misread,.is-missed{color:var(--bad)}.is-duplicate,.is-spurious{color:var(--warn)}
.is-rejected{color:var(--soft)}
@media (max-width:480px){main{padding:14px 12px 40px}.gallery,.tiles{grid-template-columns:1fr 1fr}
th,td{padding:4px 6px;white-space:normal;font-size:14px}}
"""


def render_report(outcome: Outcome, *, clip: str) -> str:
    """Write the report.

    Args:
        outcome: What was played and counted.
        clip: What the clip is called.
    """
    sections = [
        _head(outcome, clip),
        _tiles(outcome),
        _comparison(outcome),
        _timeline(outcome),
        _frame_times(outcome),
        _latencies(outcome),
        _stages(outcome),
        _passages(outcome),
        _rejections(outcome),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f'<link rel="icon" href="data:,"><title>plateseal bench: {escape(clip)}</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _head(outcome: Outcome, clip: str) -> str:
    played = outcome.run.played
    width, height = played.frame_wh
    return (
        f"<h1>plateseal bench: {escape(clip)}</h1>"
        f'<p class="soft">{outcome.run.frames:,} frames of {width}x{height} pixels, {_clock(played.stream_s)} of road. '
        f"Models: {escape(', '.join(played.models))}.</p>"
        '<p class="private">This file holds plate texts and pictures of plates. Keep it as you keep the clip.</p>'
    )


def _tiles(outcome: Outcome) -> str:
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
    return f'<div class="tiles">{"".join(_tile(*tile) for tile in tiles)}</div>'


def _tile(figure: str, what: str) -> str:
    return f'<div class="tile"><b>{escape(figure)}</b><small>{escape(what)}</small></div>'


def _comparison(outcome: Outcome) -> str:
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
    head = "".join(f"<th>{escape(name)}</th>" for name, _, _ in columns)
    body = "".join(f"<tr><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows)
    notes = [f"{name}: {run.played.note}." for name, run, _ in columns if run.played.note]
    return (
        "<h2>Side by side</h2><p>Each in a process of its own, in turns of a few seconds, so that whatever else the "
        f'machine did met all of them. {escape(" ".join(notes))}</p><div class="wide"><table><tr><th></th>{head}</tr>'
        f"{body}</table></div>"
    )


def _timeline(outcome: Outcome) -> str:
    played = outcome.run.played
    row_s = max(ROW_S, math.ceil(played.stream_s / MOST_ROWS / 10) * 10)
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
    key = [("good", "dot", "read exactly" if vehicles else "passage"), ("soft-mark", "tick", "track without a passage")]
    if vehicles:
        key += [
            ("bad", "cross", "misread"),
            ("warn", "cross", "spurious or duplicate"),
            ("idle", "bar", "plate in view"),
            ("bad", "bar", "missed"),
        ]
    return (
        f'<h2>The clip</h2><figure><div class="key">{"".join(_key(*one) for one in key)}</div>'
        f"{charts.timeline(spans, marks, length_s=played.stream_s, row_s=row_s)}"
        f"<figcaption>{row_s:.0f} seconds a row. A passage stands at its best look.</figcaption></figure>"
    )


def _passage_mark(passage: SeenPassage, judged: Judged | None, vehicles: Sequence[TruthPass], frame_s: float) -> Mark:
    at_s = passage.frame * frame_s
    title = f"{passage.text} at {_clock(at_s)}"
    if judged is None or judged.verdict is Verdict.EXACT:
        return Mark("good", at_s, "dot", title)
    was = f", was {vehicles[judged.vehicle].text}" if judged.vehicle is not None else ""
    css = "bad" if judged.verdict is Verdict.MISREAD else "warn"
    return Mark(css, at_s, "cross", f"{title}: {judged.verdict}{was}")


def _key(css: str, shape: str, name: str) -> str:
    if shape == "bar":
        drawn = f'<rect class="{css}" y="3" width="14" height="8" rx="2"/>'
    elif shape == "tick":
        drawn = f'<rect class="{css}" x="5" y="2" width="3" height="10"/>'
    elif shape == "dot":
        drawn = f'<circle class="{css}" cx="7" cy="7" r="5"/>'
    else:
        drawn = f'<path class="{css} stroke" d="M2 2l10 10m0 -10l-10 10"/>'
    return f'<span><svg viewBox="0 0 14 14" aria-hidden="true">{drawn}</svg>{escape(name)}</span>'


def _frame_times(outcome: Outcome) -> str:
    runs = [("ours", "plateseal", outcome.run)]
    if outcome.loop is not None:
        runs.append(("theirs", "fast-alpr loop", outcome.loop))
    logs = [[_log_bin(ms) for ms in run.played.frame_ms] for _, _, run in runs]
    low, high = min((min(one) for one in logs if one), default=0), max((max(one) for one in logs if one), default=0)
    series = [
        Series(css, [one.count(bin_) for bin_ in range(low, high + 1)])
        for (css, _, _), one in zip(runs, logs, strict=True)
    ]
    labels = [_rate_label(bin_) for bin_ in range(low, high + 1)]
    key = "".join(_key(css, "bar", name) for css, name, _ in runs)
    return (
        f'<h2>Frames a second</h2><figure><div class="key">{key}</div>'
        f"{charts.histogram(series, labels)}"
        "<figcaption>How many frames went at which rate, each by itself and without decoding; 50 a second is 20 ms."
        "</figcaption></figure>"
    )


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
    chart = charts.histogram([Series("ours", counts)], labels)
    return (
        f"<h2>From the last look to the passage</h2><figure>{chart}<figcaption>Passages by milliseconds of stream time "
        "from the last look that counted to the frame after which the passage was reported.</figcaption></figure>"
    )


def _stages(outcome: Outcome) -> str:
    run, stages = outcome.run, outcome.run.played.stages_s
    rest_s = max(run.seconds - outcome.decoding.seconds - sum(stages.values()), 0.0)
    rows = [("decoding", outcome.decoding.seconds), *stages.items(), ("the rest", rest_s)]
    most = max(seconds for _, seconds in rows) or 1.0
    bars = [
        (name, [("ours", seconds / most, f"{seconds / max(run.frames, 1) * 1000:.2f} ms a frame")])
        for name, seconds in rows
    ]
    return (
        f"<h2>Where the time goes</h2><figure>{charts.bars(bars)}<figcaption>Wall time of "
        f"plateseal by stage; decoding is that of the run without anything else. Something moved on "
        f"{run.played.frames_moving:,} of {run.frames:,} frames, the detector ran on {run.played.frames_searched:,}, "
        f"{run.played.looks:,} looks were read."
        "</figcaption></figure>"
    )


def _passages(outcome: Outcome) -> str:
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
    return f"<h2>Passages</h2>{_gallery([*missed, *(markup for _, markup in cards)])}"


def _passage_card(passage: SeenPassage, judged: Judged | None, vehicles: Sequence[TruthPass]) -> tuple[bool, str]:
    verdict = "" if judged is None else str(judged.verdict)
    wrong = judged is not None and judged.verdict is not Verdict.EXACT
    truth = "" if judged is None or judged.vehicle is None else vehicles[judged.vehicle].text
    was = f"was {truth}; " if wrong and truth else ""
    detail = (
        f"{was}sure {passage.confidence:.2f}, {passage.votes} of {passage.looks} looks, {passage.direction}, "
        f"{_clock(passage.first_s)}"
    )
    return not wrong, _card(passage.crop, passage.text, verdict, detail)


def _rejections(outcome: Outcome) -> str:
    played = outcome.run.played
    if not any(played.rejected.values()):
        return "<h2>Rejected</h2><p>No track ended without a passage.</p>"
    rows = "".join(
        f"<tr><td>{escape(_reason(reason))}</td><td>{count}</td></tr>"
        for reason, count in sorted(played.rejected.items(), key=lambda pair: -pair[1])
        if count
    )
    cards = [
        _card(one.crop, one.text, "rejected", f"{_reason(one.reason)}; sure {one.confidence:.2f}")
        for one in played.rejections
        if one.frame is not None
    ]
    return (
        "<h2>Rejected</h2><p>Tracks that ended without a passage, by reason, and the best look of each.</p>"
        f"<table><tr><th>reason</th><th>tracks</th></tr>{rows}</table><br>{_gallery(cards)}"
    )


def _gallery(cards: Iterable[str]) -> str:
    shown = list(cards)
    more = len(shown) - MOST_CARDS
    note = f'<p class="soft">and {more} more</p>' if more > 0 else ""
    return f'<div class="gallery">{"".join(shown[:MOST_CARDS])}</div>{note}'


def _card(crop: bytes, text: str, verdict: str, detail: str) -> str:
    picture = (
        f'<img alt="crop of the plate" loading="lazy" src="data:image/jpeg;base64,{base64.b64encode(crop).decode()}">'
        if crop
        else '<span class="none">no crop</span>'
    )
    badge = f'<span class="badge is-{escape(verdict)}">{escape(verdict)}</span>' if verdict else ""
    return (
        f'<div class="card">{picture}<div class="plate">{escape(text) or "no text"}</div>{badge}'
        f"<small><div>{escape(detail)}</div></small></div>"
    )


def _judged(outcome: Outcome) -> Sequence[Judged | None]:
    return outcome.judged or [None] * len(outcome.run.played.passages)


def _reason(name: str) -> str:
    return name.replace("_", " ")


def _percent(count: int, of: int) -> str:
    return f" ({count / of:.1%})" if of else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes)}:{rest:04.1f}"
