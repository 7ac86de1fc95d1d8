"""Units that are connected and say nothing: what they cost those that ask, and how much memory they take."""

from __future__ import annotations

import ssl
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from socket import create_connection
from tempfile import TemporaryDirectory
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent.bench.demo import LOOPBACK, await_port, start_receiver
from agent.keys import keyfiles
from agent.receiver.admission.certificates import issue_client
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import load_issuer
from agent.receiver.intake.descriptors import allow_descriptors
from agent.unit.process.run import stop_daemon
from agent.wire.cose import ed25519_kid
from agent.wire.health import HEALTH_PATH
from tests.fakes.pki import Bench, make_bench
from tests.fakes.waiting import WITHIN_S
from tests.torture.campaign import Say
from tests.torture.report import Result

UNITS: Final = 5000
REDUCED_UNITS: Final = 300
ROUNDS: Final = 5
REQUESTS: Final = 500
REDUCED_REQUESTS: Final = 50
QUIET_S: Final = 60.0
"""The receiver's deadline for a connection without a request is 90 s."""
MOST_RATIO: Final = 2.0
MOST_BYTES: Final = 100_000
"""Memory of the receiver for a connection: half a gigabyte for 5,000."""
_REQUEST: Final = f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class _Running:
    """A receiver: its process and port."""

    pid: int
    port: int

    def memory_bytes(self) -> int:
        """Return how much of it is resident."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4096


@dataclass(slots=True)
class _Unit:
    """A connected unit, and when it asked last."""

    line: ssl.SSLSocket
    asked_s: float

    def is_answered(self) -> bool:
        """Ask for something, and say whether the answer is the right one."""
        self.asked_s = time.monotonic()
        return _ask(self.line) == 204


def run(*, full: bool, say: Say) -> Result:
    """Ask without and with so many others connected; reduced, only that they all stay connected is judged."""
    began_s = time.monotonic()
    count, requests = (UNITS, REQUESTS) if full else (REDUCED_UNITS, REDUCED_REQUESTS)
    allow_descriptors(count + 256)
    with TemporaryDirectory(prefix="plateseal-idle-") as folder, ExitStack() as open_ones:
        bench = make_bench(Path(folder))
        contexts = list(_enrol(bench, count, Path(folder)))
        say(f"{count} units are enrolled")
        receiver = open_ones.enter_context(_running(bench))
        with _connected(receiver, bench.client_context()) as asker:
            alone_s = _slow_ones(asker, requests, deque())
        before_bytes = receiver.memory_bytes()
        units: deque[_Unit] = deque()
        for context in contexts:
            units.append(_Unit(open_ones.enter_context(_connected(receiver, context)), time.monotonic()))
            _keep_alive(units)
        each_bytes = (receiver.memory_bytes() - before_bytes) / count
        say(f"{count} units are connected, {each_bytes / 1000:.0f} kB each")
        with _connected(receiver, bench.client_context()) as asker:
            among_s = _slow_ones(asker, requests, units)
        answered = sum(unit.is_answered() for unit in units)
    ratio = among_s / alone_s
    figures = (
        f"{answered:,} of {count:,} units still connected, {each_bytes / 1000:.0f} kB of memory each; "
        f"the 99th percentile of a request {among_s * 1000:.2f} ms, {alone_s * 1000:.2f} ms with none of them: "
        f"{ratio:.2f} times"
    )
    holds = answered == count and (not full or (ratio <= MOST_RATIO and each_bytes <= MOST_BYTES))
    target = f"{UNITS:,} idle units stay connected, 99th percentile of a request at most {MOST_RATIO:g} times"
    return Result("idle", target, figures, holds, time.monotonic() - began_s)


def _keep_alive(units: deque[_Unit]) -> None:
    """Have those ask that have not for a minute, as units report once a minute; who asked last stands last."""
    while units and time.monotonic() - units[0].asked_s > QUIET_S:
        units[0].is_answered()
        units.rotate(-1)


def _enrol(bench: Bench, count: int, folder: Path) -> Iterator[ssl.SSLContext]:
    """Enrol units, each with a key and a certificate of its own; they share a TLS key."""
    book, issuer = DeviceBook(bench.receiver.devices), load_issuer(bench.receiver)
    (pattern,) = book.all()
    receipt_key, tls_key = bench.receipt_key, ec.generate_private_key(ec.SECP256R1())
    key_file, file = folder / "tls.key", folder / "tls.pem"
    keyfiles.write_private(key_file, keyfiles.private_pem(tls_key))
    now = datetime.now(UTC)
    for number in range(count):
        name, key = f"idle-{number}", Ed25519PrivateKey.generate().public_key()
        certificate = issue_client(issuer, name, ed25519_kid(key), tls_key.public_key(), now)
        device = replace(
            pattern,
            name=name,
            key_id=ed25519_kid(key),
            signing_key=key,
            fingerprints=(certificate.fingerprint(hashes.SHA256()).hex(),),
        )
        book.save(device, receipt_key)
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(bench.receiver.ca)
        context.load_cert_chain(file, key_file)
        yield context


@contextmanager
def _running(bench: Bench) -> Iterator[_Running]:
    log_path, port_file = bench.root / "log", bench.root / "port"
    with log_path.open("ab") as log:
        process = start_receiver(bench.receiver.directory, port_file, log=log)
    try:
        yield _Running(process.pid, await_port(port_file, process, log_path))
    finally:
        stop_daemon(process)


@contextmanager
def _connected(receiver: _Running, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Connect, and ask once, as a unit does; an address that is answered well may have its next handshake at once."""
    plain = create_connection((LOOPBACK, receiver.port), timeout=WITHIN_S)
    with context.wrap_socket(plain, server_hostname=LOOPBACK) as line:
        assert _ask(line) == 204
        yield line


def _ask(line: ssl.SSLSocket) -> int:
    """Send a request over a kept connection and return its status; 0 where the connection has ended."""
    try:
        line.sendall(_REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = line.recv(4096)
            if not more:
                return 0
            head += more
    except OSError:
        return 0
    return int(head.split()[1])


def _slow_ones(line: ssl.SSLSocket, requests: int, units: deque[_Unit]) -> float:
    """Return the 99th percentile of a request, seconds: the median of some rounds, which bears a busy machine."""
    slow_s = []
    for _ in range(ROUNDS):
        _keep_alive(units)
        slow_s.append(_slow_one(line, requests))
    return statistics.median(slow_s)


def _slow_one(line: ssl.SSLSocket, requests: int) -> float:
    took_s = []
    for _ in range(requests):
        began_s = time.perf_counter()
        assert _ask(line) == 204
        took_s.append(time.perf_counter() - began_s)
    return statistics.quantiles(took_s, n=100)[-1]
