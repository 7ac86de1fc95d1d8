"""The fleet page of many units: how long it takes to make, and how much goes over the wire."""

from __future__ import annotations

import asyncio
import gzip
import statistics
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from starlette.applications import Starlette
from starlette.types import Message

from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.operators import OperatorBook
from agent.receiver.admission.pki import issue_operator
from agent.receiver.fleet.own import own_findings
from agent.receiver.fleet.page import KEPT_S
from agent.receiver.fleet.store import FleetStore, Reported
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.service import PEER_CERTIFICATE, build_service
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.cose import ed25519_kid
from tests.fakes.health import NOW, make_fleet
from tests.fakes.pki import Bench, make_bench
from tests.torture.campaign import Say
from tests.torture.report import Result

UNITS: Final = 3000
REDUCED_UNITS: Final = 250
LOOKS: Final = 20
REDUCED_LOOKS: Final = 2
WITHIN_S: Final = 0.1
MOST_BYTES: Final = 40_000
_PASSPHRASE: Final = "only for this bench"


@dataclass(frozen=True, slots=True)
class _Answer:
    """How long one answer took, seconds, and how long it is, head and body."""

    seconds: float
    size_bytes: int


def run(*, full: bool, say: Say) -> Result:
    """Look at the page again and again, each time after every unit has reported; reduced, only sizes are judged."""
    began_s = time.monotonic()
    count, looks = (UNITS, LOOKS) if full else (REDUCED_UNITS, REDUCED_LOOKS)
    with TemporaryDirectory(prefix="plateseal-fleet-page-") as folder:
        bench = make_bench(Path(folder))
        names, reports = make_fleet(count, NOW)
        _enrol(bench, names)
        say(f"{count} units are enrolled")
        first, made, kept, others = _look(bench, reports, looks)
    largest = max(answer.size_bytes for answer in (first, *made, *kept, *others))
    typical_s = statistics.median(answer.seconds for answer in made)
    figures = (
        f"{count:,} units: {typical_s * 1000:.0f} ms at the median of {looks} after all have reported "
        f"({max(answer.seconds for answer in made) * 1000:.0f} ms the slowest), "
        f"{statistics.median(answer.seconds for answer in kept) * 1000:.1f} ms within {KEPT_S} s of that, "
        f"{first.seconds * 1000:.0f} ms the first after a start; {largest / 1000:.1f} kB on the wire at most"
    )
    holds = largest <= MOST_BYTES and (not full or typical_s <= WITHIN_S)
    target = f"{UNITS:,} units in {WITHIN_S * 1000:.0f} ms and {MOST_BYTES // 1000} kB"
    return Result("fleet page", target, figures, holds, time.monotonic() - began_s)


def _enrol(bench: Bench, names: list[str]) -> None:
    """Write a record for each unit, as `receiver enrol` does, without a certificate of its own."""
    book = DeviceBook(bench.receiver.devices)
    (pattern,) = book.all()
    receipt_key = bench.receipt_key
    for name in names:
        key = Ed25519PrivateKey.generate().public_key()
        book.save(replace(pattern, name=name, key_id=ed25519_kid(key), signing_key=key), receipt_key)


def _look(
    bench: Bench, reports: dict[str, Reported], looks: int
) -> tuple[_Answer, list[_Answer], list[_Answer], list[_Answer]]:
    """Return the first answer, those made anew, those that were kept, and those of the other pages."""
    clock = [NOW]
    with FleetStore(bench.receiver.fleet) as before:
        _report(before, reports, clock[0])
    with SqliteStore.open(bench.receiver.store) as store, FleetStore(bench.receiver.fleet) as fleet:
        app, operator = _application(bench, store, fleet, clock), _operator(bench)
        first = _ask(app, operator)
        made, kept = [], []
        for _ in range(looks):
            clock[0] += timedelta(seconds=60)
            _report(fleet, reports, clock[0])
            made.append(_ask(app, operator))
            kept.append(_ask(app, operator))
        queries = ("names=1", f"unit={next(iter(reports))}", "page=2")
        return first, made, kept, [_ask(app, operator, query) for query in queries]


def _report(fleet: FleetStore, reports: dict[str, Reported], at: datetime) -> None:
    """Have every unit report, as late as it did when the fleet was made."""
    for name, reported in reports.items():
        fleet.keep(name, replace(reported.report, at=at), at - (NOW - reported.received_at))


def _application(bench: Bench, store: SqliteStore, fleet: FleetStore, clock: list[datetime]) -> Starlette:
    devices = DeviceBook(bench.receiver.devices)
    return build_service(
        Intake(devices=devices, store=store, receipt_key=bench.receipt_key),
        fleet=fleet,
        devices=devices,
        operators=OperatorBook(bench.receiver.operators),
        own=lambda now: own_findings(bench.receiver, now),
        now=lambda: clock[0],
    )


def _operator(bench: Bench) -> bytes:
    issued = issue_operator(bench.receiver.directory, "anna", passphrase=_PASSPHRASE)
    _, certificate, _ = load_key_and_certificates(issued.pkcs12, _PASSPHRASE.encode())
    assert certificate is not None
    return certificate.public_bytes(Encoding.DER)


def _ask(app: Starlette, operator: bytes, query: str = "") -> _Answer:
    """Ask for the page as a browser does, and see that the answer is one."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/fleet",
        "query_string": query.encode(),
        "headers": [(b"accept-encoding", b"gzip, deflate, br")],
        "state": {PEER_CERTIFICATE: operator},
    }

    async def exchange() -> float:
        began_s = time.perf_counter()
        await app(scope, receive, send)
        return time.perf_counter() - began_s

    seconds = asyncio.run(exchange())
    head, *bodies = sent
    body = b"".join(part["body"] for part in bodies)
    assert head["status"] == 200
    assert gzip.decompress(body).endswith(b"</html>")
    return _Answer(seconds, len(body) + sum(len(name) + len(value) + 4 for name, value in head["headers"]))
