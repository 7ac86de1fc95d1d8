"""The upload protocol's status codes and limits, without a network."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Scope

from agent.keys import keyfiles
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake import refusals, service
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.service import PEER_CERTIFICATE, build_service
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import MAX_ENVELOPE_BYTES
from agent.wire.protocol import (
    ENVELOPES_PATH,
    MAX_BATCH_BYTES,
    MAX_BATCH_ENVELOPES,
    MEDIA_TYPE,
    Stored,
    encode_request,
    parse_reply,
)
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.pki import Bench, make_bench


@dataclass
class Exchange:
    """One request, chunk by chunk, and what the application answered."""

    chunks: list[bytes]
    hangs: bool = False
    disconnects: bool = False
    taken: int = 0
    sent: list[Message] = field(default_factory=list)

    async def receive(self) -> Message:
        """Give the next chunk; at the end, finish, hang or disconnect."""
        if self.taken < len(self.chunks):
            self.taken += 1
            last = self.taken == len(self.chunks) and not self.hangs and not self.disconnects
            return {"type": "http.request", "body": self.chunks[self.taken - 1], "more_body": not last}
        if self.hangs:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Keep what is sent."""
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The reply's status."""
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The reply's headers."""
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """The reply's body."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def _run(app: ASGIApp, scope: Scope, exchange: Exchange) -> None:
    await app(scope, exchange.receive, exchange.send)


@dataclass
class Door:
    """An application over a bench."""

    bench: Bench
    app: ASGIApp
    store: SqliteStore

    def ask(self, exchange: Exchange, *, certificate: bytes | None = None, **headers: str) -> Exchange:
        """Run one exchange; by default with the bench's device's certificate and the right media type."""
        asyncio.run(_run(self.app, self.scope(certificate=certificate, **headers), exchange))
        return exchange

    def scope(self, *, certificate: bytes | None = None, **headers: str) -> dict[str, Any]:
        """Return a request's head."""
        pairs = {"content_type": MEDIA_TYPE, **headers}
        return {
            "type": "http",
            "method": "POST",
            "path": ENVELOPES_PATH,
            "query_string": b"",
            "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in pairs.items()],
            "state": {PEER_CERTIFICATE: certificate or self.certificate},
        }

    @property
    def certificate(self) -> bytes:
        """The bench's device's certificate, DER."""
        return ssl.PEM_cert_to_DER_cert(self.bench.device.certificate.read_text())


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """Return an application with one enrolled device."""
    bench = make_bench(tmp_path)
    with SqliteStore.open(bench.receiver.store) as store:
        intake = Intake(
            devices=DeviceBook(bench.receiver.devices),
            store=store,
            receipt_key=keyfiles.load_ed25519_private(bench.receiver.receipt_key),
        )
        yield Door(bench, build_service(intake), store)


def test_batch_is_answered_in_order(door: Door) -> None:
    """A full batch in small chunks gets 200 and one receipt per envelope."""
    envelopes = make_chain(door.bench.device.signing_key, MAX_BATCH_ENVELOPES)
    body = encode_request([envelope.data for envelope in envelopes])
    done = door.ask(Exchange([body[i : i + 1000] for i in range(0, len(body), 1000)]))
    assert (done.status, done.headers[b"content-type"]) == (200, MEDIA_TYPE.encode())
    answers = parse_reply(done.body, expected=MAX_BATCH_ENVELOPES)
    assert all(isinstance(answer, Stored) for answer in answers)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", b"request: no envelope"),
        (b"\xff", b"request: not "),
        (b"hello", b"request:"),
        (b"\x01", b"request: expected a byte string"),
        (encode_request([b"a"])[:-1], b"request: not CBOR"),
        (encode_request([b"x"] * (MAX_BATCH_ENVELOPES + 1)), b"request: more than 64 items"),
        (encode_request([bytes(MAX_ENVELOPE_BYTES + 1)]), b"request: an envelope of 1048577 bytes"),
        (b"\x5f\x41a\xff", b"request: not deterministic CBOR"),
        (b"\x58\x01a", b"request: item 0 is not deterministic"),
    ],
)
def test_body_that_is_no_sequence_gets_400_and_one_line(door: Door, body: bytes, expected: bytes) -> None:
    """What is no sequence of byte strings is answered by one short line, and nothing is stored."""
    done = door.ask(Exchange([body]))
    assert done.status == 400
    assert done.body.startswith(expected)
    assert done.body.count(b"\n") == 1
    assert door.store.totals().envelopes == 0


@pytest.mark.parametrize("media_type", ["", "application/cbor", "text/plain", "application/cbor-seqx"])
def test_another_media_type_gets_415(door: Door, media_type: str) -> None:
    """Only application/cbor-seq is looked at."""
    done = door.ask(Exchange([encode_request([b"x"])]), content_type=media_type)
    assert done.status == 415


@pytest.mark.parametrize("media_type", ["Application/CBOR-Seq", "application/cbor-seq ; charset=binary"])
def test_media_type_is_compared_as_one(door: Door, media_type: str) -> None:
    """Case and parameters of the media type do not matter."""
    assert door.ask(Exchange([encode_request([b"x"])]), content_type=media_type).status == 200


@pytest.mark.parametrize("length", [str(MAX_BATCH_BYTES + 1), "9" * 30, "-1", "x"])
def test_announced_length_over_the_limit_gets_413_before_the_body(door: Door, length: str) -> None:
    """An announced length that is too long, or none, is refused whatever comes."""
    done = door.ask(Exchange([b"x"]), content_length=length)
    assert (done.status, done.headers[b"connection"]) == (413, b"close")


def test_stream_over_the_limit_gets_413_before_its_end(door: Door) -> None:
    """The status is sent when the limit is passed; the rest is read and thrown away, within bounds."""
    chunk = bytes(1 << 20)
    exchange = Exchange([chunk] * 100)
    assert door.ask(exchange).status == 413
    assert exchange.taken <= 9 + refusals.DRAIN_BYTES // len(chunk)
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_body_at_the_limit_is_read(door: Door) -> None:
    """Exactly 8 MiB are taken, and then judged as a sequence."""
    assert door.ask(Exchange([bytes(MAX_BATCH_BYTES)])).status == 400


def test_trickling_body_gets_408(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not end is given up at its deadline, and nothing of it is stored."""
    monkeypatch.setattr(service, "BODY_DEADLINE_S", 0.05)
    monkeypatch.setattr(refusals, "DRAIN_DEADLINE_S", 0.05)
    body = encode_request([make_envelope(door.bench.device.signing_key).data])
    assert door.ask(Exchange([body], hangs=True)).status == 408
    assert door.store.totals().envelopes == 0


class TurnedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock the test turns."""

    ahead_s = 0.0

    def time(self) -> float:
        """Return the time, further on than it is."""
        return super().time() + self.ahead_s


@pytest.mark.parametrize(("step_s", "status"), [(0.9, 200), (1.1, 408)])
def test_a_slow_body_has_the_time_it_needs_as_long_as_it_comes_on(door: Door, step_s: float, status: int) -> None:
    """Each step within its deadline, all of them together far beyond it; one that is late ends it."""
    loop, body = TurnedLoop(), encode_request([make_envelope(door.bench.device.signing_key, body=bytes(100_000)).data])

    class Slow(Exchange):
        async def receive(self) -> Message:
            """Take its time for the next step."""
            if self.taken:
                loop.ahead_s += step_s * service.BODY_DEADLINE_S
                await asyncio.to_thread(int)  # meanwhile a deadline that is over takes effect
            return await super().receive()

    pieces = range(0, len(body), service.BODY_STEP_BYTES)
    exchange = Slow([body[at : at + service.BODY_STEP_BYTES] for at in pieces])
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_run(door.app, door.scope(), exchange))
    assert exchange.status == status
    assert door.store.totals().envelopes == (status == 200)


def test_broken_connection_stores_nothing(door: Door) -> None:
    """A body that is cut off is not taken for a whole one, even where it is a whole sequence so far."""
    body = encode_request([make_envelope(door.bench.device.signing_key).data])
    door.ask(Exchange([body], disconnects=True))
    assert door.store.totals().envelopes == 0


def test_no_certificate_gets_401(door: Door) -> None:
    """Without a client certificate in the connection's state, nothing is read."""
    exchange = Exchange([b"x"])
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": ENVELOPES_PATH,
        "headers": [],
        "query_string": b"",
    }
    asyncio.run(_run(door.app, scope, exchange))
    assert exchange.status == 401


def test_strange_certificate_gets_403(door: Door, tmp_path: Path) -> None:
    """A certificate that is not that of an enrolled device is refused before the body is read."""
    (tmp_path / "elsewhere").mkdir()
    stranger = make_bench(tmp_path / "elsewhere").device.certificate.read_text()
    body = encode_request([make_envelope(door.bench.device.signing_key).data])
    assert door.ask(Exchange([body]), certificate=ssl.PEM_cert_to_DER_cert(stranger)).status == 403
    assert door.store.totals().envelopes == 0


def test_damaged_device_file_gets_503_and_a_wait(door: Door) -> None:
    """When the sender cannot be looked up, it is asked to come again."""
    path = door.bench.receiver.devices / f"{door.bench.device.key_id.hex()}.json"
    path.write_text("?")
    done = door.ask(Exchange([b"x"]))
    assert done.status == 503
    assert int(done.headers[b"retry-after"]) > 0


def test_refused_certificate_is_logged_when_it_begins_and_when_it_ends(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """A device that knocks again and again makes one line; once it is enrolled, one more."""
    caplog.set_level(logging.INFO)
    path = door.bench.receiver.devices / f"{door.bench.device.key_id.hex()}.json"
    content = path.read_bytes()
    path.unlink()
    assert [door.ask(Exchange([b"x"])).status for _ in range(3)] == [403] * 3
    path.write_bytes(content)
    assert door.ask(Exchange([encode_request([b"x"])])).status == 200
    lines = [record.message for record in caplog.records if record.name.endswith("service")]
    assert [line.split()[0] for line in lines] == ["403", "certificate"]
