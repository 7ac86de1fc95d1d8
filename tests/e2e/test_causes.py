"""Why nothing is delivered, in the unit's words: certificates that a real receiver refuses, and the other way round."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from agent.errors import TransportError
from agent.keys.certificate import certificate_words
from agent.receiver.admission.pki import enrol, init_receiver
from agent.unit.process.clock import SystemClock
from agent.upload.tls import HttpsTransport, client_context
from tests.e2e.test_receiver_tls import running
from tests.fakes.clock import FakeClock
from tests.fakes.pki import Bench, BenchDevice, add_device, make_bench
from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.e2e

LONG_AGO = datetime.now(UTC) - timedelta(days=1200)
SOON = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One receiver's folder for this module."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def port(bench: Bench) -> Iterator[int]:
    """Run one receiver."""
    with running(bench) as (_, port):
        yield port


def cause(
    port: int,
    context: ssl.SSLContext,
    *,
    host: str = "localhost",
    now: datetime | None = None,
    own: Callable[[], str] = lambda: "",
) -> str:
    """Return what a unit says that cannot deliver."""
    transport = HttpsTransport(
        f"https://{host}:{port}",
        context=context,
        clock=SystemClock() if now is None else FakeClock(now),
        connect_timeout_s=WITHIN_S,
        reply_timeout_s=WITHIN_S,
        own=own,
    )
    try:
        with pytest.raises(TransportError) as raised:
            transport.send([b"x"])
    finally:
        transport.close()
    return str(raised.value)


def device_with(bench: Bench, root: Path, name: str, now: datetime) -> BenchDevice:
    """Return a device whose certificate was issued at another time."""
    device = add_device(bench.receiver, root / name, name=name)
    issued = enrol(bench.receiver.directory, device.directory / "enrolment.json", now=now)
    device.certificate.write_bytes(issued.pem)
    return device


def refused(bench: Bench, port: int, device: BenchDevice) -> str:
    """Return what a unit says whose certificate is refused."""

    def own() -> str:
        return certificate_words(device.certificate, bench.receiver.ca, datetime.now(UTC))

    return cause(port, bench.client_context(device), own=own)


def test_a_certificate_that_has_expired(bench: Bench, port: int, tmp_path: Path) -> None:
    """The unit says when, and what its own clock shows."""
    said = refused(bench, port, device_with(bench, tmp_path, "cam-old", LONG_AGO))
    assert (
        "the receiver refuses this unit's certificate: it has expired, by the receiver's clock: it has expired" in said
    )
    assert f"this unit's clock shows {datetime.now(UTC):%Y-}" in said


def test_a_certificate_that_is_not_valid_yet(bench: Bench, port: int, tmp_path: Path) -> None:
    """The same."""
    said = refused(bench, port, device_with(bench, tmp_path, "cam-new", SOON))
    assert "it is not valid yet, by the receiver's clock, or is damaged: it is not valid before 20" in said


def test_a_certificate_of_another_ca(bench: Bench, port: int, tmp_path: Path) -> None:
    """A unit of another receiver, pointed at this one."""
    stranger = make_bench(tmp_path).device
    said = refused(bench, port, stranger)
    assert "refuses this unit's certificate: it is " in said


def test_no_certificate(bench: Bench, port: int) -> None:
    """A context without one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bench.receiver.ca)
    assert "the receiver refuses this unit's certificate" in cause(port, context)


def test_a_connection_that_ends_without_a_word(bench: Bench) -> None:
    """Nobody has refused anything: a slow handshake, or something between, looks the same. Both are named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bench.receiver.server_certificate, bench.receiver.server_key)

    def end_each(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with plain, context.wrap_socket(plain, server_side=True):
                    pass

    with socket.create_server(("localhost", 0)) as listener:
        threading.Thread(target=end_each, args=(listener,), daemon=True).start()
        said = cause(listener.getsockname()[1], bench.client_context(bench.device), own=lambda: "it is good until then")
        listener.shutdown(socket.SHUT_RDWR)
    assert "the connection ends without a word: the line is too slow for a handshake" in said
    assert "certificate: it is good until then" in said


def test_a_receiver_of_another_ca(bench: Bench, port: int, tmp_path: Path) -> None:
    """The pinned CA is another receiver's."""
    stranger = make_bench(tmp_path)
    context = client_context(ca=stranger.receiver.ca, certificate=bench.device.certificate, key=bench.device.tls_key)
    assert "the receiver's certificate is by another CA than the one pinned here" in cause(port, context)


def test_a_receiver_under_another_name(tmp_path: Path) -> None:
    """Its certificate is for another name than the one that the unit calls."""
    receiver = init_receiver(tmp_path / "receiver", hosts=["receiver.example"])
    bench = Bench(tmp_path, receiver, add_device(receiver, tmp_path / "device", name="cam-1"))
    with running(bench) as (_, port):
        assert "the receiver's certificate is for another name" in cause(port, bench.client_context())


@pytest.mark.parametrize(("made_at", "expected"), [(SOON, "is not valid yet"), (LONG_AGO, "has expired")])
def test_a_receivers_certificate_that_does_not_fit_the_time(tmp_path: Path, made_at: datetime, expected: str) -> None:
    """The unit's own time is told: it is most often the unit's clock that is wrong."""
    receiver = init_receiver(tmp_path / "receiver", now=made_at)
    bench = Bench(tmp_path, receiver, add_device(receiver, tmp_path / "device", name="cam-1"))
    with running(bench) as (_, port):
        said = cause(port, bench.client_context(), now=datetime(2027, 3, 1, 8, 30, tzinfo=UTC))
    assert f"the receiver's certificate {expected}, by this unit's clock, which shows 2027-03-01 08:30 UTC" in said


def test_a_page_in_the_receivers_place() -> None:
    """A captive portal or a proxy answers 200 with its own page."""
    portal = httpx.MockTransport(
        lambda _: httpx.Response(
            200, stream=httpx.ByteStream(b"<html>Please log in</html>"), headers={"content-type": "text/html"}
        )
    )
    transport = HttpsTransport(
        "https://receiver.test",
        context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        clock=FakeClock(),
        connect_timeout_s=WITHIN_S,
        reply_timeout_s=WITHIN_S,
    )
    transport._client._transport = portal
    with pytest.raises(TransportError, match="answered 200 with text/html, so something answers in its place"):
        transport.send([b"x"])
