"""A receiver behind a TCP load balancer: each unit keeps its own address, and its own limits."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.receiver.intake.balancer import MAX_REST_BYTES, SIGNATURE, parse_balancers
from agent.wire.health import HEALTH_PATH
from tests.e2e.test_receiver_door import anybody, assert_told
from tests.e2e.test_receiver_tls import check_receipts, client, post, running
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, make_bench
from tests.fakes.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.e2e

BALANCER = ("--balancer", "127.0.0.1")
CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
NO_HEADER = r"no connection for 127\.0\.0\.1: it is a --balancer and does not say whose connection it passes on"


def header(host: str, *, command: int = 0x21, more: bytes = b"") -> bytes:
    """Return what a balancer says before the connection of a host, which it was given on port 8443 of 192.0.2.1."""
    address = ipaddress.ip_address(host)
    ours = ipaddress.ip_address("192.0.2.1" if address.version == 4 else "2001:db8::1")
    rest = address.packed + ours.packed + struct.pack(">HH", 4000, 8443) + more
    return SIGNATURE + struct.pack(">BBH", command, 0x11 if address.version == 4 else 0x21, len(rest)) + rest


@contextmanager
def passed_on(port: int, said: bytes, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Connect as a balancer that says something first, and speak TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as plain:
        plain.sendall(said)
        with context.wrap_socket(plain, server_hostname="localhost") as line:
            yield line


def ask(line: ssl.SSLSocket) -> bytes:
    """Ask for what every unit may have, and return what comes back."""
    line.sendall(f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return line.recv(1024)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One receiver's folder for this module."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def port(bench: Bench) -> Iterator[int]:
    """Run one receiver behind a balancer on this machine."""
    with running(bench, options=BALANCER) as (_, port):
        yield port


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("198.51.100.7", b""),
        ("2001:db8:1:2::3", b""),
        ("198.51.100.8", b"\x04\x00\x02hi"),
        ("198.51.100.9", bytes(900)),
    ],
)
def test_a_unit_keeps_its_address(bench: Bench, port: int, host: str, more: bytes) -> None:
    """Whoever has no certificate is refused by the name that the balancer gives; whoever has one is answered."""
    with suppress(OSError), passed_on(port, header(host, more=more), anybody(bench)) as line:
        ask(line)
    assert_told(bench, f"no connection for {re.escape(host)}: it showed no certificate")
    with passed_on(port, header(host, more=more), bench.client_context()) as line:
        assert ask(line).startswith(b"HTTP/1.1 204")


def test_a_balancer_may_speak_for_itself(bench: Bench, port: int) -> None:
    """Then its own address counts; what it says of others in such a header is passed over."""
    with passed_on(port, header("198.51.100.10", command=0x20), bench.client_context()) as line:
        assert ask(line).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03" + bytes(30),
        b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 8443\r\n",
        header("198.51.100.7")[:20],
        header("198.51.100.7", more=bytes(MAX_REST_BYTES)),
        header("198.51.100.7", command=0x22),
        header("198.51.100.7", command=0x11),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 4) + bytes(4),
        b"",
    ],
    ids=["tls", "version 1", "cut off", "too long", "another command", "version 1 in binary", "too short", "nothing"],
)
def test_a_balancer_that_does_not_say_whose_it_is_gets_nowhere(tmp_path: Path, said: bytes) -> None:
    """No address is guessed: the limits of all units together would be those of one."""
    bench = make_bench(tmp_path)
    with running(bench, options=BALANCER) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as plain, suppress(OSError):
            plain.sendall(said)
            plain.shutdown(socket.SHUT_WR)
            assert plain.recv(1024) == b""
        assert_told(bench, NO_HEADER)


def test_a_stranger_names_nobody(tmp_path: Path) -> None:
    """Only of an address that was named is a header believed."""
    bench = make_bench(tmp_path)
    with running(bench, options=["--balancer", "192.0.2.9"]) as (_, port):
        with suppress(OSError), passed_on(port, header("198.51.100.7"), bench.client_context()) as line:
            ask(line)
        assert_told(bench, r"no connection for 127\.0\.0\.1: what it sent is no TLS")
        with client(bench, port) as http:
            assert http.get(HEALTH_PATH).status_code == 204


def test_each_address_behind_a_balancer_has_limits_of_its_own(tmp_path: Path) -> None:
    """Twenty silent units of twenty addresses stay where four of one would be the most, and another one comes in."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.SILENCE_DEADLINE_S = 3600.0; door.MAX_OF_AN_ADDRESS = 4;"
    with running(bench, patch=patch, options=BALANCER) as (_, port), ExitStack() as silent:
        lines = [
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)) for _ in range(26)
        ]
        for number, line in enumerate(lines):
            line.sendall(header(f"198.51.100.{number if number < 20 else 200}"))
        assert [line.recv(1) for line in lines[20:22]] == [b"", b""]
        with passed_on(port, header("198.51.100.99"), bench.client_context()) as unit:
            assert ask(unit).startswith(b"HTTP/1.1 204")
        for line in [*lines[:20], *lines[22:]]:
            line.setblocking(False)
            with pytest.raises(BlockingIOError):
                line.recv(1)
    assert_told(bench, r"no connection for 198\.51\.100\.200: its address has too many connections under way")


def test_good_units_spend_nothing_of_their_address(tmp_path: Path) -> None:
    """Each gives back its own handshake to the address that the balancer named, and not to the balancer's."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.CREDITS = 1; door.CREDITS_A_SECOND = 1e-9;"
    with running(bench, patch=patch, options=BALANCER) as (_, port):
        answers = []
        for _ in range(5):
            with passed_on(port, header("198.51.100.7"), bench.client_context()) as line:
                answers.append(ask(line)[:12])
    assert answers == [b"HTTP/1.1 204"] * 5


@pytest.mark.parametrize("given", ["receiver.example.org", "192.0.2.0/24", ""])
def test_a_balancer_is_an_address(given: str) -> None:
    """A name may come to mean another machine; the one line says what is needed."""
    with pytest.raises(UsageError, match=r"--balancer '.*': an IP address is needed, as in 192\.0\.2\.7"):
        parse_balancers([given])


@contextmanager
def balancing(folder: Path, *receivers: int) -> Iterator[int]:
    """Run HAProxy with the configuration that comes along, with other ports; yield its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (
        CONFIG.read_text().replace("bind :::8443 v4v6", f"bind 127.0.0.1:{port}").replace("maxconn 8192", "maxconn 64")
    )
    for number, receiver in enumerate(receivers, 1):
        text = text.replace(f"192.0.2.1{number}:8443", f"127.0.0.1:{receiver}")
    path = folder / "haproxy.cfg"
    path.write_text(text)
    log = folder / "haproxy.log"
    with log.open("wb") as said, subprocess.Popen(["haproxy", "-W", "-db", "-f", path], stderr=said) as process:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", port), WITHIN_S, source_address=("127.0.0.4", 0)),
            ):
                return True
            return False

        try:
            wait_until(listens, otherwise=log.read_text)
            yield port
        finally:
            process.terminate()


@pytest.mark.needs("haproxy")
def test_haproxy_passes_tls_through_and_tells_who_comes(tmp_path: Path) -> None:
    """With the configuration of `deploy`: receipts come back, a unit's own address shows, its looks leave no line."""
    bench = make_bench(tmp_path)
    with running(bench, options=BALANCER) as (_, receiver), balancing(tmp_path, receiver, receiver) as port:
        envelopes = make_chain(bench.device.signing_key, 2)
        with client(bench, port) as http:
            check_receipts(bench, envelopes, post(http, envelopes))
        with socket.create_connection(("127.0.0.1", port), WITHIN_S, source_address=("127.0.0.3", 0)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                assert plain.recv(1024)[:1] != b"H"
        assert_told(bench, r"no connection for 127\.0\.0\.3: what it sent is no TLS")
        assert "no connection for 127.0.0.1" not in (bench.root / "receiver.log").read_text()


@pytest.mark.needs("haproxy")
def test_haproxy_goes_on_with_the_receiver_that_is_left(tmp_path: Path) -> None:
    """Where one of two does not answer, every unit is answered by the other one."""
    bench = make_bench(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = gone.getsockname()[1]
    with running(bench, options=BALANCER) as (_, receiver), balancing(tmp_path, nobody, receiver) as port:
        answers = []
        for _ in range(4):
            with client(bench, port) as http:
                answers.append(http.get(HEALTH_PATH).status_code)
    assert answers == [204] * 4
