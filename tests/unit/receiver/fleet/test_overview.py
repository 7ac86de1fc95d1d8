"""Health reports at the receiver: who may send and see them, what is kept, and what an operator is told of them."""

from __future__ import annotations

import asyncio
import gzip
import html
import itertools
import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from starlette.types import ASGIApp

from agent.errors import ReceiverError, UsageError
from agent.health.assess import Level
from agent.keys.identity import create_identity
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.operators import OperatorBook
from agent.receiver.admission.pki import enrol, issue_operator
from agent.receiver.admission.revoke import revoke
from agent.receiver.fleet.overview import assess_fleet, assess_unit
from agent.receiver.fleet.page import KEPT_S, PAGE_HEADERS, render_fleet, size
from agent.receiver.fleet.store import FleetStore, Reported
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.service import PEER_CERTIFICATE, build_service
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.health import (
    HEALTH_MEDIA_TYPE,
    HEALTH_PATH,
    MAX_HEALTH_BYTES,
    CameraClockHealth,
    encode_health,
)
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE
from tests.fakes.health import NOW, make_fleet, make_report, troubled
from tests.fakes.pki import Bench, make_bench
from tests.unit.receiver.intake.test_service import Exchange

PASSPHRASE = "only for this test"


class Receiver:
    """A receiver's application over a bench with one enrolled device."""

    def __init__(self, bench: Bench, store: SqliteStore, fleet: FleetStore) -> None:
        """Build it."""
        self.bench, self.fleet = bench, fleet
        devices = DeviceBook(bench.receiver.devices)
        intake = Intake(devices=devices, store=store, receipt_key=bench.device.signing_key)
        operators = OperatorBook(bench.receiver.operators)
        self._late_s = itertools.count(step=KEPT_S)
        self.app: ASGIApp = build_service(intake, fleet=fleet, devices=devices, operators=operators, now=self._later)
        self.unit = ssl.PEM_cert_to_DER_cert(bench.device.certificate.read_text())

    def _later(self) -> datetime:
        """Return a time at which no page is still kept that was made at the one before."""
        return datetime.now(UTC) + timedelta(seconds=next(self._late_s))

    def ask(
        self,
        method: str,
        path: str,
        certificate: bytes | None,
        *,
        body: bytes = b"",
        media_type: str = "",
        accept_encoding: str | None = None,
    ) -> Exchange:
        """Make one request; the path may end with a query."""
        path, _, query = path.partition("?")
        accepts = [] if accept_encoding is None else [(b"accept-encoding", accept_encoding.encode())]
        exchange = Exchange([body])
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"content-type", media_type.encode()), *accepts],
            "state": {PEER_CERTIFICATE: certificate},
        }

        async def run() -> None:
            await self.app(scope, exchange.receive, exchange.send)

        asyncio.run(run())
        return exchange

    def report(self, body: bytes, *, media_type: str = HEALTH_MEDIA_TYPE) -> Exchange:
        """Send a report as the unit."""
        return self.ask("POST", HEALTH_PATH, self.unit, body=body, media_type=media_type)

    def operator(self, name: str = "anna") -> bytes:
        """Issue an operator's certificate, DER."""
        issued = issue_operator(self.bench.receiver.directory, name, passphrase=PASSPHRASE)
        _, certificate, _ = load_key_and_certificates(issued.pkcs12, PASSPHRASE.encode())
        assert certificate is not None
        return certificate.public_bytes(Encoding.DER)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Return a receiver."""
    bench = make_bench(tmp_path)
    with SqliteStore.open(bench.receiver.store) as store, FleetStore(bench.receiver.fleet) as fleet:
        yield Receiver(bench, store, fleet)


def test_the_newest_report_of_a_unit_is_kept(receiver: Receiver, tmp_path: Path) -> None:
    """One per unit, under the certificate's name, also across a restart; the file is its owner's."""
    name = receiver.bench.device.name
    for count in (1, 2):
        report = replace(make_report(), temperature_mc=count)
        assert receiver.report(encode_health(report)).status == 204
    assert receiver.fleet.newest()[name].report.temperature_mc == 2
    with FleetStore(receiver.bench.receiver.fleet) as again:
        assert list(again.newest()) == [name]
    assert receiver.bench.receiver.fleet.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"", HEALTH_MEDIA_TYPE, 400),
        (encode_health(make_report()) + b"\0", HEALTH_MEDIA_TYPE, 400),
        (encode_health(make_report()), MEDIA_TYPE, 415),
        (bytes(MAX_HEALTH_BYTES + 1), HEALTH_MEDIA_TYPE, 413),
    ],
)
def test_what_is_no_report_is_refused(receiver: Receiver, body: bytes, media_type: str, status: int) -> None:
    """With the status that says why, and nothing kept."""
    assert receiver.report(body, media_type=media_type).status == status
    assert receiver.fleet.newest() == {}


def test_only_enrolled_units_report_and_only_operators_look(receiver: Receiver) -> None:
    """A unit does not see the fleet, an operator delivers nothing, nobody without a certificate gets anywhere."""
    report, operator = encode_health(make_report()), receiver.operator()
    assert receiver.ask("GET", "/fleet", receiver.unit).status == 403
    assert receiver.ask("GET", "/fleet", None).status == 401
    assert receiver.ask("POST", HEALTH_PATH, operator, body=report, media_type=HEALTH_MEDIA_TYPE).status == 403
    assert receiver.ask("POST", ENVELOPES_PATH, operator, body=b"@", media_type=MEDIA_TYPE).status == 403
    assert receiver.ask("POST", HEALTH_PATH, None, body=report, media_type=HEALTH_MEDIA_TYPE).status == 401
    assert receiver.ask("GET", "/fleet", operator).status == 200


def test_a_unit_can_ask_whether_it_may_send(receiver: Receiver) -> None:
    """204 for the enrolled, 403 for others, and nothing is changed or logged as a fault."""
    assert receiver.ask("GET", HEALTH_PATH, receiver.unit).status == 204
    assert receiver.ask("GET", HEALTH_PATH, receiver.operator()).status == 403
    assert receiver.fleet.newest() == {}


def test_removing_the_file_ends_an_operator_at_once(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """No restart, no cache; and who looked stands in the log once."""
    caplog.set_level(logging.INFO)
    operator = receiver.operator()
    assert [receiver.ask("GET", "/fleet", operator).status for _ in range(3)] == [200] * 3
    assert [record.message for record in caplog.records if "looks" in record.message] == ["anna looks at the fleet"]
    for file in receiver.bench.receiver.operators.iterdir():
        file.unlink()
    assert receiver.ask("GET", "/fleet", operator).status == 403


@pytest.mark.parametrize("damage", ["{", '{"v": 1}', "same-but-another"])
def test_a_damaged_operator_file_lets_nobody_in(receiver: Receiver, damage: str) -> None:
    """503, like a device's file that cannot be read."""
    operator = receiver.operator()
    (file,) = receiver.bench.receiver.operators.iterdir()
    text = file.read_text()
    file.write_text(text.replace(file.name.split(".")[1], "0" * 64) if damage == "same-but-another" else damage)
    assert receiver.ask("GET", "/fleet", operator).status == 503


def test_the_page_is_whole_in_itself(receiver: Receiver) -> None:
    """Its headers let a browser load and run nothing; what a unit says is escaped."""
    hostile = troubled(9, make_report())
    receiver.fleet.keep(receiver.bench.device.name, hostile, NOW)
    answer = receiver.ask("GET", "/fleet", receiver.operator())
    headers = {key.decode(): value.decode() for key, value in answer.headers.items()}
    assert PAGE_HEADERS.items() <= headers.items()
    assert headers["content-security-policy"].startswith("default-src 'none';")
    assert headers["vary"] == "accept-encoding"
    assert "content-encoding" not in headers
    page = answer.body.decode()
    assert "&lt;b&gt;&amp;&#34;&#39;" in page
    assert not any(word in page for word in ("<script", "<b>", "http://", "https://", "src=", "onerror"))


def test_a_unit_that_is_enrolled_with_two_keys_is_one_row() -> None:
    """And one that is enrolled no more is none, whatever it reported once."""
    _, reports = make_fleet(3)
    names = [*reports, *reports][:4]
    states = assess_fleet(names, {**reports, "gone": Reported(NOW, make_report())}, NOW)
    assert sorted(state.name for state in states) == sorted(set(names))


def test_silence_is_told_from_never_having_been_heard() -> None:
    """The receiver's own clock counts, so a unit with a wrong one is not silent."""
    wrong_clock = make_report(NOW - timedelta(days=4000))
    assert assess_unit("unit", Reported(NOW - timedelta(minutes=3), wrong_clock), NOW).level is Level.FINE
    assert assess_unit("unit", Reported(NOW - timedelta(minutes=4), wrong_clock), NOW).level is Level.TROUBLE
    assert assess_unit("unit", None, NOW).findings[0].text == "unit has not reported yet"


def test_some_other_database_is_not_written_to(tmp_path: Path) -> None:
    """The envelopes' store in its place is refused, and so is a folder."""
    SqliteStore.create(tmp_path / "fleet.db").close()
    for path in (tmp_path / "fleet.db", tmp_path):
        with pytest.raises(ReceiverError, match="not a usable store"):
            FleetStore(path)


def test_a_name_that_no_operator_can_have_is_refused(receiver: Receiver) -> None:
    """It becomes part of a file's name."""
    with pytest.raises(UsageError, match="name"):
        issue_operator(receiver.bench.receiver.directory, "../anna", passphrase=PASSPHRASE)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (10**15, "1000 TB")])
def test_sizes_are_short(count: int, text: str) -> None:
    """Powers of ten, as disks are sold."""
    assert size(count) == text
    assert render_fleet([], NOW).startswith(b"<!doctype html>")


def test_a_key_that_two_machines_use_shows_until_it_is_ended(receiver: Receiver) -> None:
    """Also of a unit that has never reported; a second key of the unit keeps it on the page, without the warning."""
    operator, device = receiver.operator(), receiver.bench.device
    receiver.fleet.keep_fork(device.key_id, "run 7 twice", datetime.now(UTC))
    page = receiver.ask("GET", "/fleet", operator).body
    assert b"shares its key with another machine, seen " in page
    assert b"ago: run 7 twice" in page
    another = create_identity(receiver.bench.root / "another", name=device.name)
    enrol(receiver.bench.receiver.directory, another.enrolment, another_key=True)
    assert b"shares its key" in receiver.ask("GET", "/fleet", operator).body
    revoke(receiver.bench.receiver.directory, device.name, reason="copied", key_id=device.key_id.hex()[:16])
    page = receiver.ask("GET", "/fleet", operator).body
    assert b"shares its key" not in page
    assert device.name.encode() in page


def test_the_page_shows_a_cameras_clock() -> None:
    """Where it shows one: how far it is off, and by its own finding that this is too far."""
    report = make_report()
    shown = [CameraClockHealth(-90, 20, 7200, dates=True), CameraClockHealth(7_200_000, None, 60, dates=False), None]
    reports = {
        f"unit-{number}": Reported(NOW, replace(report, cameras=(replace(report.cameras[0], clock=clock),)))
        for number, clock in enumerate(shown)
    }
    page = html.unescape(render_fleet(assess_fleet(list(reports), reports, NOW), NOW).decode())
    assert "-0.09 s from the unit's, +0.0 s a day, dates its frames" in page
    assert "+7200.00 s from the unit's" in page
    assert "has a clock 2 h 0 min ahead of the unit's" in page
    assert page.count("<dt>its clock<dd>") == 2


def test_the_page_is_compressed_for_whoever_takes_that(receiver: Receiver) -> None:
    """It is the same page, with the same headers besides."""
    operator = receiver.operator()
    plain = receiver.ask("GET", "/fleet", operator)
    packed = receiver.ask("GET", "/fleet", operator, accept_encoding="gzip, br")
    assert packed.headers[b"content-encoding"] == b"gzip"
    assert int(packed.headers[b"content-length"]) == len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body).startswith(plain.body[:2000])
    differing = {b"content-encoding", b"content-length"}
    assert {key: value for key, value in packed.headers.items() if key not in differing} == {
        key: value for key, value in plain.headers.items() if key not in differing
    }


def test_the_page_of_one_unit(receiver: Receiver) -> None:
    """By its name in the query; 404 for any other; only operators see either."""
    operator, name = receiver.operator(), receiver.bench.device.name
    assert receiver.ask("GET", f"/fleet?unit={name}", operator).status == 200
    assert receiver.ask("GET", "/fleet?unit=nobody", operator).status == 404
    assert receiver.ask("GET", "/fleet?unit=nobody", receiver.unit).status == 403
