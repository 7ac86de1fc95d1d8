"""The fleet's pages: how old one may be, what is read anew, what fits on one, and how it is sent."""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import ReceiverError
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.admission.receipt_change import prepare_change, take_change
from agent.receiver.admission.revoke import revoke
from agent.receiver.fleet.overview import assess_fleet
from agent.receiver.fleet.page import KEPT_S, render_fleet
from agent.receiver.fleet.pages import FleetPages, Page
from agent.receiver.fleet.store import FleetStore
from agent.receiver.fleet.view import NAMES, ROWS, View, view_of
from agent.receiver.intake.service import takes_gzip
from tests.fakes.health import NOW, make_fleet, make_report
from tests.fakes.pki import Bench, add_device, make_bench


class NotedBook(DeviceBook):
    """The real book; notes whose records were read."""

    def __init__(self, directory: Path) -> None:
        """Begin with none."""
        super().__init__(directory)
        self.read: list[bytes] = []

    def by_key_id(self, key_id: bytes) -> Device | None:
        """As the book."""
        self.read.append(key_id)
        return super().by_key_id(key_id)


class Fleet:
    """The pages of a receiver with two units, by a clock that is set."""

    def __init__(self, bench: Bench, store: FleetStore) -> None:
        """Build them."""
        self.bench, self.store, self.at = bench, store, NOW
        self.other = add_device(bench.receiver, bench.root / "other", name="other")
        self.book = NotedBook(bench.receiver.devices)
        self.pages = FleetPages(self.book, store, lambda _: (), now=lambda: self.at)

    def get(self, view: View | None = None) -> str:
        """Return a page."""
        page = self.pages.get(view or View())
        assert isinstance(page, Page)
        assert gzip.decompress(page.gzipped) == page.body
        return html.unescape(page.body.decode())

    def later(self, seconds: float = KEPT_S) -> None:
        """Let time go on."""
        self.at += timedelta(seconds=seconds)

    def report(self, temperature_mc: int, at: datetime | None = None, store: FleetStore | None = None) -> None:
        """Keep a report of the bench's own unit."""
        report = replace(make_report(), temperature_mc=temperature_mc)
        (store or self.store).keep(self.bench.device.name, report, at or self.at)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet."""
    bench = make_bench(tmp_path)
    with FleetStore(bench.receiver.fleet) as store:
        yield Fleet(bench, store)


def test_a_page_is_sent_again_for_seconds_and_says_of_when_it_is(fleet: Fleet) -> None:
    """Then it is made anew; also where the clock was set back."""
    fleet.report(41_000)
    first = fleet.get()
    assert f"As of {NOW:%Y-%m-%d %H:%M:%S} UTC, {KEPT_S} s ago at most" in first
    assert "41.0 °C" in first
    fleet.report(42_000)
    fleet.later(KEPT_S - 1)
    assert fleet.get() == first
    fleet.later(1)
    second = fleet.get()
    assert "42.0 °C" in second
    fleet.later(-3600)
    assert fleet.get() != second


def test_only_changed_records_are_read_again(fleet: Fleet) -> None:
    """A revoked unit leaves the page, and a record that is damaged later is told."""
    fleet.get()
    assert len(fleet.book.read) == 2
    fleet.later()
    fleet.get()
    assert len(fleet.book.read) == 2
    revoke(fleet.bench.receiver.directory, "other", reason="stolen")
    fleet.later()
    assert "other" not in fleet.get()
    assert fleet.book.read[2:] == [fleet.other.key_id]
    (fleet.bench.receiver.devices / f"{fleet.bench.device.key_id.hex()}.json").write_text("{")
    fleet.later()
    with pytest.raises(ReceiverError):
        fleet.pages.get(View())


def test_another_receipt_key_has_every_record_checked_again(fleet: Fleet) -> None:
    """For it is what records are checked with."""
    fleet.get()
    prepare_change(fleet.bench.receiver.directory)
    take_change(fleet.bench.receiver.directory)
    fleet.book.read.clear()
    fleet.later()
    fleet.get()
    assert sorted(fleet.book.read) == sorted([fleet.bench.device.key_id, fleet.other.key_id])


def test_what_another_process_keeps_is_on_the_page(fleet: Fleet) -> None:
    """What is remembered of this process's own reports stands aside for it, and comes back after it."""
    fleet.report(41_000)
    assert "41.0 °C" in fleet.get()
    with FleetStore(fleet.bench.receiver.fleet) as another:
        fleet.report(43_000, fleet.at + timedelta(seconds=1), another)
        fleet.later()
        assert "43.0 °C" in fleet.get()
        fleet.report(44_000, fleet.at + timedelta(seconds=2))
        assert {each.report.temperature_mc for each in another.newest().values()} == {44_000}


def test_a_unit_that_is_not_enrolled_has_no_page(fleet: Fleet) -> None:
    """And one that is has one of its own, whatever else is on the others."""
    assert fleet.pages.get(View(unit="nobody")) is None
    assert fleet.get(View(unit="other")).count('scope="row"') == 1


@pytest.mark.parametrize("count", [0, 1, ROWS, ROWS + 1, 3000])
@pytest.mark.parametrize("is_names", [False, True])
def test_each_unit_is_on_one_page(count: int, is_names: bool) -> None:
    """In the order of the fleet or of the names; a page beyond the last is the last; links lead to each of them."""
    names, reports = make_fleet(count)
    units = assess_fleet(names, reports, NOW)
    pattern = r'<li><a class="." href="\?unit=[^"]*">([^<]*)' if is_names else r'scope="row">([^<]*)'
    most = NAMES if is_names else ROWS
    pages = max(1, -(-count // most))
    made = [
        html.unescape(render_fleet(units, NOW, view=View(number, is_names)).decode()) for number in range(1, pages + 2)
    ]
    assert made[-1] == made[-2]
    found = [re.findall(pattern, page) for page in made[:-1]]
    assert all(len(each) <= most for each in found)
    ordered = sorted(names) if is_names else [unit.name for unit in units]
    assert [name for each in found for name in each] == ordered
    links = {view_of(dict([link.split("=")])) for link in re.findall(r'href="\?((?:names|page)=\d+)"', made[0])}
    assert links >= {View(number, is_names) for number in range(2, pages + 1)}
    assert ("?names=1" in made[0]) is (count > ROWS and not is_names)


@pytest.mark.parametrize(
    ("query", "view"),
    [
        ({}, View()),
        ({"page": "7"}, View(7)),
        ({"page": "0"}, View()),
        ({"page": "-1"}, View()),
        ({"page": "1" * 5000}, View()),
        ({"page": "\N{SUPERSCRIPT TWO}"}, View()),
        ({"names": "2"}, View(2, is_names=True)),
        ({"names": ""}, View(1, is_names=True)),
        ({"unit": "a&b", "page": "2"}, View(unit="a&b")),
        ({"else": "1"}, View()),
    ],
)
def test_a_query_says_which_page(query: dict[str, str], view: View) -> None:
    """And one that makes no sense is the first."""
    assert view_of(query) == view


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("br", False),
        ("x-gzipped", False),
        ("identity, gzip;q=0.001", True),
    ],
)
def test_only_who_takes_it_gets_gzip(accept: str, takes: bool) -> None:
    """By its name, else by the star, with a weight above nothing."""
    assert takes_gzip(accept) is takes
