"""The fleet as one page of HTML: whole in itself, no script, readable on a phone.

Owns: the markup and its style. Leaves to others: what is wrong with a unit (`agent.health.assess`). Everything that
comes from a unit is escaped; the page's own policy lets the browser load and run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Final

from agent.health.assess import Level, span
from agent.receiver.fleet.overview import UnitState
from agent.wire.health import HealthReport

REFRESH_S: Final = 60

STYLE: Final = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16181d;--dim:#5c6370;--line:#d9dde4;--bad:#b3261e;
--look:#8a5a00;--fine:#1d6b3a;--badbg:#fdeceb;--lookbg:#fff4dc;--finebg:#e8f5ec}
@media (prefers-color-scheme:dark){:root{--bg:#111318;--card:#1a1d24;--ink:#e8eaef;--dim:#9aa3b2;--line:#2d323d;
--bad:#ff8a80;--look:#ffca66;--fine:#7fd99b;--badbg:#3b1a19;--lookbg:#362a10;--finebg:#16301f}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main{max-width:1240px;margin:0 auto;padding:16px 20px}
header{padding-bottom:0}
h1{font-size:22px;margin:0}
.sum{display:flex;flex-wrap:wrap;gap:8px;margin:10px 0 0;padding:0;list-style:none}
.sum li,.state{border-radius:999px;padding:2px 10px;font-weight:600;font-size:13px;white-space:nowrap}
.t{color:var(--bad);background:var(--badbg)}.l{color:var(--look);background:var(--lookbg)}
.f{color:var(--fine);background:var(--finebg)}
.dim,header p{color:var(--dim);font-size:13px}
header p{margin:8px 0 0}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);border-radius:8px}
th,td{text-align:left;vertical-align:top;padding:8px 10px;border-top:1px solid var(--line)}
thead th{border-top:0;font-size:12px;color:var(--dim);font-weight:600}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.name{font-weight:600;overflow-wrap:anywhere}
ul.why{margin:0;padding:0;list-style:none}
ul.why .t,ul.why .l{background:none}
details{font-size:13px}summary{cursor:pointer;color:var(--dim)}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 10px;margin:6px 0 0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.none{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:24px;text-align:center}
@media (max-width:760px){
header,main{padding-left:12px;padding-right:12px}
table,tbody{display:block;border:0;background:none}thead{display:none}
tr{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:4px 10px;background:var(--card);margin:0 0 10px;
border:1px solid var(--line);border-left:4px solid var(--line);border-radius:8px;padding:10px 12px}
tr.rt{border-left-color:var(--bad)}tr.rl{border-left-color:var(--look)}tr.rf{border-left-color:var(--fine)}
td,tbody th{padding:0;border:0}
td.s{grid-area:1/2}tbody th{grid-area:1/1}
td.w,td.n,td.d{grid-column:1/-1;white-space:normal}
tr.rf td.n{display:none}
td.n::before{content:attr(data-label) ": ";color:var(--dim)}
td:empty{display:none}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
PAGE_HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_MARKS: Final = {Level.TROUBLE: ("t", "trouble"), Level.LOOK: ("l", "look"), Level.FINE: ("f", "fine")}


def render_fleet(units: Sequence[UnitState], now: datetime) -> bytes:
    """Return the page.

    Args:
        units: In the order in which they are shown.
        now: Aware time of the receiver.
    """
    return "".join(_page(units, now)).encode()


def _page(units: Sequence[UnitState], now: datetime) -> Iterator[str]:
    in_trouble = sum(unit.level is Level.TROUBLE for unit in units)
    title = f"{in_trouble} in trouble - fleet" if in_trouble else "Fleet"
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f'<meta http-equiv="refresh" content="{REFRESH_S}">'
    yield f"<title>{title}</title><style>{STYLE}</style></head><body>"
    yield f'<header><h1>{_count(len(units), "unit")}</h1><ul class="sum">{"".join(_summary(units))}</ul>'
    yield f"<p>{now:%Y-%m-%d %H:%M:%S} UTC; this page loads itself anew every minute.</p></header><main>"
    if units:
        yield "<table><thead><tr><th>Unit<th>State<th>What to look at<th>Waiting<th>Last report<th>More</tr></thead>"
        yield "<tbody>"
        yield from (_row(unit, now) for unit in units)
        yield "</tbody></table>"
    else:
        yield '<p class="none">No unit is enrolled yet. <code>plateseal receiver enrol</code> adds one.</p>'
    yield "</main></body></html>\n"


def _summary(units: Sequence[UnitState]) -> Iterator[str]:
    for level, (mark, word) in _MARKS.items():
        count = sum(unit.level is level for unit in units)
        if count:
            words = {"trouble": "in trouble", "look": "to look at", "fine": "fine"}[word]
            yield f'<li class="{mark}">{count} {words}</li>'


def _row(unit: UnitState, now: datetime) -> str:
    mark, word = _MARKS[unit.level]
    why = "".join(f'<li class="{_MARKS[each.level][0]}">{escape(each.text)}</li>' for each in unit.findings)
    waiting = seen = details = ""
    if unit.reported is not None:
        report = unit.reported.report
        waiting = _waiting(report)
        seen = f"{span(now - unit.reported.received_at)} ago"
        told = (("last report", seen), ("waiting", waiting), *_facts(report))
        facts = "".join(f"<dt>{escape(name)}<dd>{escape(value)}" for name, value in told)
        details = f"<details><summary>details</summary><dl>{facts}</dl></details>"
    return (
        f'<tr class="r{mark}"><th class="name" scope="row">{escape(unit.name)}'
        f'<td class="s"><span class="state {mark}">{word}</span>'
        f'<td class="w">{f"<ul class=why>{why}</ul>" if why else ""}</td>'
        f'<td class="n" data-label="Waiting">{waiting}</td><td class="n" data-label="Last report">{seen}</td>'
        f'<td class="d">{details}</td></tr>'
    )


def _waiting(report: HealthReport) -> str:
    backlog = report.backlog
    if not backlog.count:
        return "nothing"
    since = "" if backlog.oldest_s is None else f", oldest {span(timedelta(seconds=backlog.oldest_s))}"
    return f"{_count(backlog.count, 'read')}, {size(backlog.size_bytes)}{since}"


def _facts(report: HealthReport) -> Iterator[tuple[str, str]]:
    for camera in report.cameras:
        state = {True: "delivers", False: "gives no picture", None: "recording"}[camera.is_up]
        yield f"camera {camera.name}", state
    reads = report.reads
    yield "sealed", f"{reads.sealed:,} since its start"
    yield "delivered", f"{reads.delivered:,} since its start"
    yield "rejected", f"{_count(reads.rejected, 'passage')} whose looks did not agree"
    if reads.sequence is not None:
        yield "chain", f"next is {reads.sequence:,}"
    yield "disk", f"{size(report.disk_free_bytes)} of {size(report.disk_size_bytes)} free"
    yield "temperature", "no sensor" if report.temperature_mc is None else f"{report.temperature_mc / 1000:.1f} °C"
    yield "clock", str(report.clock)
    yield "certificate", _left(report.certificate_s)
    yield "keyring", _left(report.keyring_s)
    for config in report.configs:
        yield f"{config.daemon} runs on", f"configuration {config.serial}" if config.serial else "the unit's own file"
        if config.rejected is not None:
            yield "refused", config.rejected
    yield from report.versions
    if report.error is not None:
        yield "last error", f"{report.error.at:%Y-%m-%d %H:%M} UTC: {report.error.line}"


def _left(seconds: int | None) -> str:
    if seconds is None:
        return "cannot be read"
    return f"{span(timedelta(seconds=seconds))} left" if seconds > 0 else "ended"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(size_bytes: int) -> str:
    """Write a size as a person does, in powers of ten."""
    amount, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
