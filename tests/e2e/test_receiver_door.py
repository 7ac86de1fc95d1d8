"""Whom the receiver lets in, what it writes of those that it does not, and what they are told."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agent.keys import keyfiles
from agent.receiver.admission.certificates import Issuer, issue_person, make_ca
from agent.wire.health import HEALTH_PATH
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE
from tests.e2e.test_receiver_tls import client, post, running
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, add_device, make_bench
from tests.fakes.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.e2e

YEARS: Final = timedelta(days=800)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One receiver's folder for this module."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def port(bench: Bench) -> Iterator[int]:
    """Run one receiver for this module."""
    with running(bench) as (_, port):
        yield port


def own_ca(bench: Bench) -> Issuer:
    """Return the receiver's own CA."""
    certificate = x509.load_pem_x509_certificate(bench.receiver.ca.read_bytes())
    return Issuer(certificate, keyfiles.load_p256_private(bench.receiver.ca_key))


def context_of(bench: Bench, folder: Path, issuer: Issuer, moment: datetime, *, chain: bytes = b"") -> ssl.SSLContext:
    """Return a client's context with a certificate that `issuer` has issued at a time, followed by `chain`."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "key").write_bytes(keyfiles.private_pem(key))
    certificate = issue_person(issuer, "somebody", key.public_key(), moment)
    (folder / "pem").write_bytes(certificate.public_bytes(Encoding.PEM) + chain)
    context = anybody(bench)
    context.load_cert_chain(folder / "pem", folder / "key")
    return context


def anybody(bench: Bench) -> ssl.SSLContext:
    """Return the context of a client without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bench.receiver.ca)
    return context


def _expired(bench: Bench, folder: Path) -> ssl.SSLContext:
    return context_of(bench, folder, own_ca(bench), datetime.now(UTC) - YEARS)


def _not_yet_valid(bench: Bench, folder: Path) -> ssl.SSLContext:
    return context_of(bench, folder, own_ca(bench), datetime.now(UTC) + YEARS)


def _by_another_ca(bench: Bench, folder: Path) -> ssl.SSLContext:
    return context_of(bench, folder, make_ca(datetime.now(UTC)), datetime.now(UTC))


def _by_another_ca_that_comes_along(bench: Bench, folder: Path) -> ssl.SSLContext:
    other = make_ca(datetime.now(UTC))
    chain = other.certificate.public_bytes(Encoding.PEM)
    return context_of(bench, folder, other, datetime.now(UTC), chain=chain)


def _without_its_intermediate(bench: Bench, folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    between = issue_person(own_ca(bench), "a CA between", key.public_key(), datetime.now(UTC))
    return context_of(bench, folder, Issuer(between, key), datetime.now(UTC))


def _without_any(bench: Bench, folder: Path) -> ssl.SSLContext:
    return anybody(bench)


@pytest.mark.parametrize(
    ("context", "words", "alert"),
    [
        (_expired, r"its certificate has expired, by this machine's clock \(20..-..-.. ..:.. UTC\)", "EXPIRED"),
        (_not_yet_valid, r"its certificate is not yet valid, by this machine's clock \(20", "BAD_CERTIFICATE"),
        (_by_another_ca, "by another CA, or the certificate of an intermediate CA is missing", "UNKNOWN_CA"),
        (_by_another_ca_that_comes_along, "by another CA", "UNKNOWN_CA"),
        (_without_its_intermediate, "the certificate of an intermediate CA is missing", "UNKNOWN_CA"),
        (_without_any, "it showed no certificate", "CERTIFICATE_REQUIRED"),
    ],
)
def test_a_refused_certificate_is_told_to_both_sides(
    tmp_path: Path, context: Callable[[Bench, Path], ssl.SSLContext], words: str, alert: str
) -> None:
    """The receiver's log has the reason and the address; the peer gets TLS's own word for it."""
    bench = make_bench(tmp_path)
    with running(bench) as (_, port), pytest.raises(ssl.SSLError, match=alert):
        say_hello(port, context(bench, tmp_path))
    assert_told(bench, f"no connection for 127.0.0.1: .*{words}")


def say_hello(port: int, context: ssl.SSLContext) -> bytes:
    """Send the beginning of a request over TLS, and return what comes back."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        line.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        return line.recv(1024)


def test_attempts_are_counted_for_prometheus(tmp_path: Path) -> None:
    """Refused connections by their reason, refused requests by their status, envelopes by their answer."""
    bench = make_bench(tmp_path)
    prom = tmp_path / "metrics" / "receiver.prom"
    with running(bench, options=["--metrics-dir", str(prom.parent)]) as (_, port):
        with suppress(OSError):
            say_hello(port, anybody(bench))
        with client(bench, port) as http:
            assert http.post(ENVELOPES_PATH, content=b"?", headers={"content-type": MEDIA_TYPE}).status_code == 400
            post(http, make_chain(bench.device.signing_key, 2))
            wait_until(lambda: "receiver_envelopes" in prom.read_text(), otherwise=prom.read_text)
            text = prom.read_text()
    for line in (
        'plateseal_receiver_handshakes_refused_total{reason="no-certificate"} 1.0',
        'plateseal_receiver_requests_refused_total{status="400"} 1.0',
        'plateseal_receiver_envelopes_total{answer="stored"} 2.0',
        "plateseal_receiver_connections 1.0",
        "plateseal_receiver_bodies_bytes 0.0",
    ):
        assert line in text.splitlines()


def assert_told(bench: Bench, pattern: str) -> None:
    """The receiver's log has a line of this pattern, sooner or later, and nothing of a traceback."""
    log = bench.root / "receiver.log"
    wait_until(lambda: re.search(pattern, log.read_text()), otherwise=log.read_text)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "what it sent is no TLS"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "the handshake failed"),
        (b"", "it broke the handshake off"),
    ],
    ids=["http", "half a greeting", "nothing"],
)
def test_a_stranger_at_the_door_is_told(bench: Bench, port: int, first: bytes, words: str) -> None:
    """Whatever comes instead of TLS leaves one line with its reason and address."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as plain, suppress(ConnectionError):
        plain.sendall(first)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(1024):
            pass
    assert_told(bench, f"no connection for 127.0.0.1: {words}")


def test_a_client_that_does_not_trust_the_receiver_is_told(bench: Bench, port: int) -> None:
    """The unit's own refusal shows at the receiver too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLCertVerificationError):
        say_hello(port, context)
    assert_told(bench, "it does not trust the receiver's certificate, or refuses its own end")


def test_the_same_attempt_again_and_again_is_one_line(tmp_path: Path) -> None:
    """A stranger cannot fill the log; another reason is another line."""
    bench = make_bench(tmp_path)
    with running(bench) as (_, port):
        for _ in range(20):
            with suppress(OSError):
                say_hello(port, anybody(bench))
        with suppress(OSError):
            say_hello(port, _expired(bench, tmp_path))
        assert_told(bench, "has expired")
    lines = (bench.root / "receiver.log").read_text().splitlines()
    assert sum("no connection for" in line for line in lines) == 2


def descriptors(process: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208  names only


def test_silent_connections_give_their_descriptors_back_and_keep_nobody_out(tmp_path: Path) -> None:
    """Two hundred connections that say nothing go when the limit of silence is over; a unit comes in meanwhile."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.SILENCE_DEADLINE_S = 0.5;"
    with running(bench, patch=patch) as (process, port), ExitStack() as silent:
        before = descriptors(process.pid)
        for _ in range(200):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S))
        with client(bench, port) as http:
            assert http.get(HEALTH_PATH).status_code == 204
        wait_until(lambda: descriptors(process.pid) <= before)
    assert "it said nothing for" in (bench.root / "receiver.log").read_text()


class Pieces:
    """A client's TLS over a line on which the test says when bytes go."""

    def __init__(self, bench: Bench, port: int) -> None:
        """Connect, and have the first words ready."""
        self.line = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = bench.client_context().wrap_bio(self._incoming, self.outgoing, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()

    def until(self, act: Callable[[], bytes | None]) -> bytes | None:
        """Do something, with as many messages each way as it takes."""
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                self.line.sendall(self.outgoing.read())
                self._incoming.write(self.line.recv(1 << 16))
            else:
                self.line.sendall(self.outgoing.read())
                return done


def test_a_slow_handshake_comes_to_its_end_when_silent_connections_are_gone(tmp_path: Path) -> None:
    """One byte of a greeting is enough to have the longer limit: its rest comes when the limit of silence is over."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.SILENCE_DEADLINE_S = 0.5;"
    with running(bench, patch=patch) as (_, port):
        slow = Pieces(bench, port)
        with slow.line:
            hello = slow.outgoing.read()
            slow.line.sendall(hello[:1])
            with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as silent:
                assert silent.recv(1) == b""  # it came later, and has been ended
            for byte in hello[1:]:
                slow.line.sendall(bytes([byte]))
            slow.until(slow.tls.do_handshake)
            slow.tls.write(f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            said = slow.until(lambda: slow.tls.read(1024))
    assert said is not None
    assert said.startswith(b"HTTP/1.1 204")


def test_a_handshake_that_never_ends_is_ended(tmp_path: Path) -> None:
    """A byte, and then nothing: the longer limit holds for whoever has begun."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.HANDSHAKE_DEADLINE_S = 0.5; door.SILENCE_DEADLINE_S = 3600.0;"
    with (
        running(bench, patch=patch) as (_, port),
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as line,
    ):
        line.sendall(b"\x16")
        with suppress(ConnectionError):
            assert line.recv(1) == b""
        assert_told(bench, "it did not finish the handshake within 30 s")


def test_an_address_has_few_handshakes_under_way(tmp_path: Path) -> None:
    """Without any deadline: of twenty silent connections, those beyond the limit are closed, the oldest first."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.SILENCE_DEADLINE_S = 3600.0; door.MAX_OF_AN_ADDRESS = 4;"
    with running(bench, patch=patch) as (_, port), ExitStack() as silent:
        lines = [
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)) for _ in range(20)
        ]
        assert [line.recv(1) for line in lines[:16]] == [b""] * 16
        with client(bench, port) as http:
            assert http.get(HEALTH_PATH).status_code == 204
        for line in lines[-3:]:
            line.setblocking(False)
            with pytest.raises(BlockingIOError):
                line.recv(1)
    assert "its address has too many connections under way" in (bench.root / "receiver.log").read_text()


def test_good_units_behind_one_address_spend_nothing_of_it(tmp_path: Path) -> None:
    """With one handshake for the address and none growing back, unit after unit comes in: each gives its own back."""
    bench = make_bench(tmp_path)
    patch = "from agent.receiver.intake import door; door.CREDITS = 1; door.CREDITS_A_SECOND = 1e-9;"
    with running(bench, patch=patch) as (_, port):
        for _ in range(5):
            with client(bench, port) as http:
                assert http.get(HEALTH_PATH).status_code == 204


def test_a_certificate_has_few_connections(tmp_path: Path) -> None:
    """The newest ones: a unit that opens one after the other keeps nobody out but itself."""
    bench = make_bench(tmp_path)
    with running(bench) as (_, port), ExitStack() as open_ones:
        context = bench.client_context()
        lines = []
        for _ in range(12):
            plain = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
            lines.append(open_ones.enter_context(context.wrap_socket(plain, server_hostname="localhost")))
            lines[-1].sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert lines[-1].recv(1024).startswith(b"HTTP/1.1 204")
        for line in lines[:4]:
            with suppress(ConnectionError, ssl.SSLError):
                assert line.recv(1024) == b""
        lines[-1].sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert lines[-1].recv(1024).startswith(b"HTTP/1.1 204")


def test_a_full_receiver_serves_who_is_in_and_tells_others_when_to_come(tmp_path: Path) -> None:
    """One place: a second unit is told, and comes in after the first has left; a second connection of its own works."""
    bench = make_bench(tmp_path)
    other = bench.client_context(add_device(bench.receiver, tmp_path / "other", name="other"))
    with running(bench, options=["--connections", "1"]) as (_, port):
        with client(bench, port) as first:
            assert first.get(HEALTH_PATH).status_code == 204
            with client(bench, port, other) as second:
                refused = second.get(HEALTH_PATH)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert first.get(HEALTH_PATH).status_code == 204
        with client(bench, port) as again:
            assert again.get(HEALTH_PATH).status_code == 204
        wait_until(lambda: _status_of(bench, port, other) == 204)


def _status_of(bench: Bench, port: int, context: ssl.SSLContext) -> int:
    with client(bench, port, context) as http:
        return http.get(HEALTH_PATH).status_code
