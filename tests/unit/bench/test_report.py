"""The report of a bench: whole, self-contained, and harmless whatever it is told."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from agent.bench.match import Run
from agent.bench.measured import Played, SeenPassage, SeenRejection
from agent.bench.outcome import Outcome, make_outcome
from agent.bench.report import MOST_CARDS, render_report
from agent.bench.truth import Truth, TruthPass
from tests.unit.bench.test_outcome import DECODING, LOOP, OURS, TRUTH, passage, run

VOID = {"meta", "link", "img", "br"}
DRAWN = {"rect", "circle", "path", "line"}


class Page(HTMLParser):
    """Checks that what is opened is closed, and notes what the page loads."""

    def __init__(self, text: str) -> None:
        """Parse."""
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As the library."""
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As the library."""
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """As the library."""
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """As the library."""
        if self.open[-1:] != ["style"]:
            self.words += data


def outcome(played: Played = OURS, *, truth: Truth | None = TRUTH, compared: bool = True) -> Outcome:
    """Return a bench's outcome."""
    loop = [run(LOOP, seconds=20.0, cpu_seconds=10.0)] if compared else []
    return make_outcome([run(played), DECODING, *loop], truth)


def test_the_page_is_whole_and_loads_nothing() -> None:
    """Every tag is closed; no script, no address but `data:`; a policy that would stop one."""
    page = Page(render_report(outcome(), clip="road.mp4"))
    assert page.open == []
    assert not {"script", "iframe", "object", "base", "form"} & set(page.tags)
    assert all(one.startswith("data:") for one in page.loads)
    text = render_report(outcome(), clip="road.mp4")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import", text)


def test_it_tells_what_a_person_wants_to_know() -> None:
    """Totals, every passage with its verdict and the truth, the missed vehicle, reasons, ratios."""
    words = Page(render_report(outcome(), clip="road.mp4")).words
    for said in (
        "2 of 4", "10.0 times the plain loop", "0.10 of the plain loop's", "2.00 times decoding alone", "200 MB",
        "was BBB222", "DDD444", "missed", "spurious", "duplicate", "unsure", "fast-alpr loop", "decoding alone",
        "holds plate texts and pictures",
    ):  # fmt: skip
        assert said in words, said


def test_a_clip_without_truth_or_rival_has_a_report_too() -> None:
    """What is not known is left out."""
    page = Page(render_report(outcome(truth=None, compared=False), clip="road.mp4"))
    assert page.open == []
    assert "5passages" in page.words
    assert "missed" not in page.words
    assert "fast-alpr" not in page.words


def test_an_empty_road_has_a_report_too() -> None:
    """No frame, no passage: nothing is divided by."""
    nothing = Run(0, 0.0, 0.0, (), Played(peak_rss_bytes=0))
    page = Page(render_report(make_outcome([nothing, nothing, nothing], Truth(frames=0, passes=())), clip="x"))
    assert page.open == []


def test_text_from_outside_is_text() -> None:
    """A clip, a plate, a reason or a model of any name is no markup."""
    evil = '<script>alert("1")</script>&\'"'
    played = OURS.model_copy(
        update={
            "passages": (passage(evil, 20),),
            "rejections": (SeenRejection(reason=evil, text=evil, frame=3),),
            "rejected": {evil: 1},
            "models": (evil, evil),
            "stages_s": {evil: 1.0},
            "note": evil,
        }
    )
    truth = Truth(frames=150, passes=(TruthPass(text=evil + "2", first=10, last=30),))
    page = Page(render_report(outcome(played, truth=truth), clip=evil))
    assert page.open == []
    assert "script" not in page.tags


def test_crops_are_inside_the_page_and_cards_are_bounded() -> None:
    """As `data:`; a day's worth of passages is still a page that opens."""
    many = tuple(passage(f"AA{number}", number).model_copy(update={"crop": b"\xff\xd8\xff"}) for number in range(600))
    page = Page(render_report(outcome(OURS.model_copy(update={"passages": many}), truth=None), clip="x"))
    assert page.tags.count("img") <= MOST_CARDS
    assert f"and {600 - MOST_CARDS} more" in page.words
    assert "data:image/jpeg;base64,/9j/" in page.loads


@pytest.mark.parametrize("seconds", [0.0, 59.0, 60.0, 61.0, 3600.0, 100_000.0])
def test_a_clip_of_any_length_has_a_timeline(seconds: float) -> None:
    """Vehicles and passages lie inside the drawing, also across the end of a row."""
    at_s = seconds / 2
    found = SeenPassage(
        text="AAA111", confidence=1.0, votes=2, looks=2, frame=75, first_s=at_s, last_s=at_s, reported_s=at_s,
        direction="unknown",
    )  # fmt: skip
    truth = Truth(frames=150, passes=(TruthPass(text="AAA111", first=0, last=149),))
    played = Played(peak_rss_bytes=1, stream_s=seconds, passages=(found,))
    text = render_report(outcome(played, truth=truth), clip="x")
    drawing = text.split("Course of the clip")[1].split("</svg>")[0]
    height = float(re.findall(r'viewBox="0 0 960 ([\d.]+)"', text)[-1])
    across = [float(x) for x in re.findall(r' (?:x|cx)="([\d.]+)"', drawing)]
    down = [float(y) for y in re.findall(r' (?:y|cy)="([\d.]+)"', drawing)]
    assert 0 <= min(across) <= max(across) <= 960
    assert 0 <= min(down) <= max(down) <= height
