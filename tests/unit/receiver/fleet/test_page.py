"""The fleet page in a real browser: nothing off the screen, what needs attention on top, nothing executed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.health.assess import Level
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.operators import OperatorBook
from agent.receiver.admission.pki import issue_operator
from agent.receiver.fleet.overview import assess_fleet
from agent.receiver.fleet.page import render_fleet
from agent.receiver.fleet.store import FleetStore, Reported
from agent.receiver.fleet.view import NAMES, ROWS, View, view_of
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.service import PEER_CERTIFICATE, build_service
from agent.receiver.stores.sqlite import SqliteStore
from tests.fakes.chromium import Page, browser
from tests.fakes.health import NOW, make_fleet, make_report, troubled
from tests.fakes.pki import make_bench
from tests.fakes.waiting import wait_until

pytestmark = pytest.mark.needs("chromium")

PICTURES = os.environ.get("PLATESEAL_PICTURES")
"""A folder for a person who wants to look at the pages."""


class Site:
    """The real application on loopback, without TLS: its certificate is put where the TLS layer puts it."""

    def __init__(self, app: ASGIApp, certificate: bytes) -> None:
        """Wrap `app`."""
        self._app = app
        self._certificate = certificate
        self._server = uvicorn.Server(
            uvicorn.Config(self._call, port=0, log_config=None, lifespan="off", ws="none", interface="asgi3")
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()))

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {PEER_CERTIFICATE: self._certificate}
        await self._app(scope, receive, send)

    def __enter__(self) -> str:
        """Start, and return the page's address."""
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/fleet"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return a browser's tab."""
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def picture(page: Page, name: str) -> None:
    """Keep a picture for whoever asked for it."""
    if PICTURES:
        page.picture(Path(PICTURES) / f"{name}.png")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("count", [0, 8, 3000])
def test_the_page_fits_the_screen_and_shows_every_unit(page: Page, tmp_path: Path, count: int, width: int) -> None:
    """On a desk and on a phone, with no unit, a few, and a page of a fleet: no sideways scrolling, trouble first."""
    names, reports = make_fleet(count)
    units = assess_fleet(names, reports, NOW)
    file = tmp_path / "fleet.html"
    file.write_bytes(render_fleet(units, NOW))
    page.show(file.as_uri(), width=width)
    picture(page, f"fleet-{count}-{width}")
    assert page.ask("document.documentElement.scrollWidth") <= width
    names_shown = page.ask("[...document.querySelectorAll('.name')].map(e => e.textContent)")
    assert names_shown == [unit.name for unit in units[:ROWS]]
    states = page.ask("[...document.querySelectorAll('.state')].map(e => e.textContent)")
    ranks = [("fine", "look", "trouble").index(state) for state in states]
    assert ranks == sorted(ranks, reverse=True)
    assert page.ask(
        "[...document.querySelectorAll('.name,.state')].every(e => e.getBoundingClientRect().right <= innerWidth)"
    )
    if width == 390 and count:
        assert page.ask("parseFloat(getComputedStyle(document.querySelector('.name')).fontSize)") >= 14


@pytest.mark.parametrize("width", [1280, 390])
def test_a_unit_of_many_is_found_by_its_name(page: Page, tmp_path: Path, width: int) -> None:
    """The names fit the screen, and each leads to its unit, which is shown with everything there is of it."""
    names, reports = make_fleet(3000)
    units = assess_fleet(names, reports, NOW)
    file = tmp_path / "fleet.html"
    file.write_bytes(render_fleet(units, NOW, view=View(is_names=True)))
    page.show(file.as_uri(), width=width)
    picture(page, f"fleet-names-{width}")
    assert page.ask("document.documentElement.scrollWidth") <= width
    found = page.ask("[...document.querySelectorAll('.names a')].map(e => [e.textContent, e.search])")
    assert [name for name, _ in found] == sorted(names)[:NAMES]
    name, query = found[700]
    view = view_of(dict(parse_qsl(query.removeprefix("?"))))
    file.write_bytes(render_fleet(units, NOW, view=view))
    page.show(file.as_uri(), width=width)
    picture(page, f"fleet-one-{width}")
    assert page.ask("[...document.querySelectorAll('.name')].map(e => e.textContent)") == [name]
    assert page.ask("document.querySelector('details').open")


def test_the_served_page_keeps_its_own_policy(page: Page, tmp_path: Path) -> None:
    """The real application answers an operator; the browser applies the style and refuses all else."""
    bench = make_bench(tmp_path)
    issued = issue_operator(bench.receiver.directory, "anna", passphrase="only for this test")
    _, certificate, _ = load_key_and_certificates(issued.pkcs12, b"only for this test")
    assert certificate is not None
    with SqliteStore.open(bench.receiver.store) as store, FleetStore(bench.receiver.fleet) as fleet:
        devices = DeviceBook(bench.receiver.devices)
        intake = Intake(devices=devices, store=store, receipt_key=bench.device.signing_key)
        evil = troubled(9, make_report(datetime.now(UTC)))
        assert evil.error is not None
        hostile = replace(evil.error, line="<script>document.title='owned'</script><img src=x onerror=alert(1)>")
        fleet.keep(bench.device.name, replace(evil, error=hostile), datetime.now(UTC))
        app = build_service(intake, fleet=fleet, devices=devices, operators=OperatorBook(bench.receiver.operators))
        with Site(app, certificate.public_bytes(Encoding.DER)) as url:
            page.console.clear()
            page.show(url, width=1280)
            assert page.ask("document.querySelector('.name').textContent") == bench.device.name
            assert page.ask("document.querySelector('details dd:last-child').textContent").endswith(hostile.line)
            assert page.ask("getComputedStyle(document.querySelector('.state')).borderRadius") == "999px"
            assert page.ask("document.scripts.length + document.images.length") == 0
            assert page.ask("document.title") == "1 in trouble - fleet"
            assert [line for line in page.console if "favicon" not in line] == []
            page.ask("document.body.setAttribute('style', 'display:none')")
            assert page.ask("getComputedStyle(document.body).display") == "block"


def test_a_unit_in_every_kind_of_trouble_is_named(page: Page, tmp_path: Path) -> None:
    """Each of the ten troubles has its words on the page."""
    units = assess_fleet(*_each_trouble(), NOW)
    file = tmp_path / "fleet.html"
    file.write_bytes(render_fleet(units, NOW))
    page.show(file.as_uri(), width=390)
    picture(page, "fleet-troubles-390")
    text = page.ask("document.body.innerText")
    for words in ("gives no picture", "capture does not run", "oldest read waits for 2 d 4 h", "keyring ends in 5 days",
                  "certificate ended", "GB free (0%)", "clock is not synchronised", "temperature is 83.2 °C",
                  "capture config was refused; serial 7 is in use", "aside", "forced out",
                  "spool is 99% full"):  # fmt: skip
        assert words in text, words
    assert all(unit.level is not Level.FINE for unit in units)


def _each_trouble() -> tuple[list[str], dict[str, Reported]]:
    names = [f"unit-{number}" for number in range(10)]
    return names, {name: Reported(NOW, troubled(number, make_report())) for number, name in enumerate(names)}
