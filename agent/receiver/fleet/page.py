"""The fleet as a page of HTML: whole in itself, no script, readable on a phone.

Owns: the markup (`page.html`, `page.css`) and what goes into it. Leaves to others: what is wrong with a unit
(`agent.health.assess`). Everything that comes from a unit is escaped; the page's own policy lets the browser load and
run nothing. Many units make several pages (`agent.receiver.fleet.view`), each whole in itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.health.assess import Finding, Level, camera_clock_words, span
from agent.receiver.fleet.overview import UnitState
from agent.receiver.fleet.view import View, shown, unit_query
from agent.wire.health import HealthReport

REFRESH_S: Final = 60
KEPT_S: Final = 5
"""A page is sent again for so long. It says so."""

_HERE: Final = Path(__file__).parent
_PAGE: Final = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
).get_template("page.html")
STYLE: Final = (_HERE / "page.css").read_text(encoding="utf-8")
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
_MARKS: Final = {
    Level.TROUBLE: ("t", "trouble", "in trouble"),
    Level.LOOK: ("l", "look", "to look at"),
    Level.FINE: ("f", "fine", "fine"),
}
"""By level: the CSS class, the word for one unit, and the words for several."""


FIRST: Final = View()


@dataclass(frozen=True, slots=True)
class _Row:
    """One unit in the template's words; texts are empty and there are no facts where it has not reported.

    Attributes:
        name: The unit.
        mark, word: CSS class and word of its level.
        findings: CSS class, text and mend of each.
        waiting, seen: What waits on it, and how long ago it last reported.
        facts: Names and values of everything else.
    """

    name: str
    mark: str
    word: str
    findings: list[tuple[str, str, str]]
    waiting: str = ""
    seen: str = ""
    facts: tuple[tuple[str, str], ...] = ()


def render_fleet(
    units: Sequence[UnitState], now: datetime, *, own: Iterable[Finding] = (), view: View = FIRST
) -> bytes:
    """Return a page.

    Args:
        units: The whole fleet, worst first.
        now: Aware time of the receiver.
        own: What is to be looked at on the receiver itself.
        view: Which of them the page shows.
    """
    part = shown(view, units)
    counts = Counter(unit.level for unit in units)
    return _PAGE.render(
        refresh_s=REFRESH_S,
        style=STYLE,
        in_trouble=counts[Level.TROUBLE],
        heading=_count(len(units), "unit"),
        summary=[(mark, counts[level], words) for level, (mark, _, words) in _MARKS.items() if counts[level]],
        now=f"{now:%Y-%m-%d %H:%M:%S}",
        kept_s=KEPT_S,
        own=[(_MARKS[each.level][0], each.text) for each in own],
        links=part.links,
        is_one=view.unit is not None,
        is_empty=not units,
        names=[(*_MARKS[unit.level][:2], unit.name, unit_query(unit.name)) for unit in part.units if view.is_names],
        rows=[_row(unit, now) for unit in part.units if not view.is_names],
    ).encode()


def _row(unit: UnitState, now: datetime) -> _Row:
    mark, word, _ = _MARKS[unit.level]
    findings = [(_MARKS[each.level][0], each.text, each.mend) for each in unit.findings]
    if unit.reported is None:
        return _Row(unit.name, mark, word, findings)
    report = unit.reported.report
    waiting, seen = _waiting(report), f"{span(now - unit.reported.received_at)} ago"
    facts = (("last report", seen), ("waiting", waiting), *_facts(report))
    return _Row(unit.name, mark, word, findings, waiting, seen, facts)


def _waiting(report: HealthReport) -> str:
    backlog = report.backlog
    if not backlog.count:
        return "nothing"
    since = "" if backlog.oldest_s is None else f", oldest {span(timedelta(seconds=backlog.oldest_s))}"
    return f"{_count(backlog.count, 'read')}, {size(backlog.size_bytes)}{since}"


def _facts(report: HealthReport) -> Iterator[tuple[str, str]]:
    for camera in report.cameras:
        state = {True: "delivers", False: "gives no picture", None: "recording"}[camera.is_up]
        yield f"camera {camera.name}", "refuses the login" if camera.refuses_login else state
        if camera.clock is not None:
            yield "its clock", camera_clock_words(camera.clock)
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
