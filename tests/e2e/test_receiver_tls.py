"""The receiver as its own process, over real TLS on loopback."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.admission.pki import enrol
from agent.receiver.stores.sqlite import SqliteStore
from agent.unit.process.child import own_module
from agent.wire.envelope import Envelope
from agent.wire.health import HEALTH_PATH
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Answer, Later, Stored, encode_request, parse_reply
from agent.wire.receipt import verify_receipt
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.pki import Bench, BenchDevice, add_device, make_bench
from tests.fakes.stored import bodies
from tests.fakes.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.e2e

_SERVE = "import sys; from agent.cli.receiver import app; app(['serve', *sys.argv[1:]])"


@contextmanager
def running(
    bench: Bench, *, patch: str = "", options: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the receiver until the block ends, with `patch` executed first; yields its process and port."""
    port_file = bench.root / "port"
    port_file.unlink(missing_ok=True)
    serve = [sys.executable, "-c", patch + _SERVE] if patch else own_module("agent.cli.main", "receiver", "serve")
    command = [
        *serve,
        str(bench.receiver.directory),
        "--port",
        "0",
        "--port-file",
        str(port_file),
        *options,
    ]

    def require_running() -> None:
        assert process.poll() is None, (bench.root / "receiver.log").read_text()

    with (bench.root / "receiver.log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_until(port_file.exists, meanwhile=require_running, otherwise="the receiver does not listen")
            yield process, int(port_file.read_text())
        finally:
            process.kill()


def client(bench: Bench, port: int, context: ssl.SSLContext | None = None) -> httpx.Client:
    """Return a client with the device's certificate, or with another context."""
    context = context or bench.client_context()
    return httpx.Client(verify=context, base_url=f"https://localhost:{port}", trust_env=False, timeout=WITHIN_S)


def post(http: httpx.Client, envelopes: list[Envelope]) -> list[Answer]:
    """Send one batch and return the answers."""
    body = encode_request([envelope.data for envelope in envelopes])
    reply = http.post(ENVELOPES_PATH, content=body, headers={"content-type": MEDIA_TYPE})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == MEDIA_TYPE
    return parse_reply(reply.content, expected=len(envelopes))


def check_receipts(bench: Bench, envelopes: list[Envelope], answers: list[Answer]) -> None:
    """Verify a receipt for every envelope."""
    for envelope, answer in zip(envelopes, answers, strict=True):
        assert isinstance(answer, Stored)
        assert verify_receipt(answer.receipt, envelope, bench.receiver_keys).envelope_id == envelope.envelope_id


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One receiver's folder for this module."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def port(bench: Bench) -> Iterator[int]:
    """Run one receiver for the tests that leave it running."""
    with running(bench) as (_, port):
        yield port


def anonymous_context(bench: Bench) -> ssl.SSLContext:
    """Return a context that trusts the receiver and shows no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bench.receiver.ca)
    return context


def test_good_device_gets_verifiable_receipts_and_a_duplicate_the_same_one(bench: Bench, port: int) -> None:
    """An envelope sent twice is stored once and gets the identical receipt."""
    envelopes = make_chain(bench.device.signing_key, 3)
    with SqliteStore.open_read_only(bench.receiver.store) as store, client(bench, port) as http:
        before = store.totals().envelopes
        first = post(http, envelopes)
        check_receipts(bench, envelopes, first)
        assert post(http, envelopes) == first
        assert store.totals().envelopes == before + 3


def test_no_client_certificate_is_refused_by_tls(bench: Bench, port: int) -> None:
    """Without a client certificate no HTTP reply comes."""
    with client(bench, port, anonymous_context(bench)) as http, pytest.raises(httpx.TransportError):
        http.post(ENVELOPES_PATH, content=b"x", headers={"content-type": MEDIA_TYPE})


def test_tls_1_2_is_refused(bench: Bench, port: int) -> None:
    """A client that offers TLS 1.2 at most gets no connection."""
    context = anonymous_context(bench)
    context.load_cert_chain(bench.device.certificate, bench.device.tls_key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(bench, port, context) as http, pytest.raises(httpx.ConnectError):
        http.post(ENVELOPES_PATH, content=b"x")


def test_certificate_of_another_ca_is_refused(bench: Bench, port: int, tmp_path: Path) -> None:
    """A device of another receiver gets no HTTP reply."""
    stranger = make_bench(tmp_path).device
    context = bench.client_context(stranger)
    with client(bench, port, context) as http, pytest.raises(httpx.TransportError):
        http.post(ENVELOPES_PATH, content=b"x", headers={"content-type": MEDIA_TYPE})


def test_removed_device_is_refused_at_once_and_its_envelopes_are_put_off(bench: Bench, port: int) -> None:
    """Removing a device's file ends its right to send; another's envelope of that key is not refused for good."""
    other = add_device(bench.receiver, bench.root / "removed", name="cam-removed")
    envelope = make_envelope(other.signing_key)
    (bench.receiver.devices / f"{other.key_id.hex()}.json").unlink()
    body = encode_request([envelope.data])
    with client(bench, port, bench.client_context(other)) as http:
        assert http.post(ENVELOPES_PATH, content=body, headers={"content-type": MEDIA_TYPE}).status_code == 403
    with client(bench, port) as http:
        assert isinstance(post(http, [envelope])[0], Later)


def test_renewed_certificate_and_the_one_before_it_both_work(bench: Bench, port: int) -> None:
    """After a renewal the device can go on until it has its new certificate; an older one stops."""
    device = add_device(bench.receiver, bench.root / "renewed", name="cam-renewed")
    oldest = device.certificate.read_bytes()
    statuses: list[tuple[int, int]] = []
    for _ in range(2):
        renewed = enrol(bench.receiver.directory, device.directory / "enrolment.json").pem
        statuses.append((_status(bench, port, device, oldest), _status(bench, port, device, renewed)))
    assert statuses == [(200, 200), (403, 200)]


def _status(bench: Bench, port: int, device: BenchDevice, certificate: bytes) -> int:
    device.certificate.write_bytes(certificate)
    body = encode_request([make_envelope(device.signing_key).data])
    with client(bench, port, bench.client_context(device)) as http:
        return http.post(ENVELOPES_PATH, content=body, headers={"content-type": MEDIA_TYPE}).status_code


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), (ENVELOPES_PATH, "GET", 405)])
def test_other_paths_and_methods_are_refused(bench: Bench, port: int, path: str, method: str, status: int) -> None:
    """Nothing but POST of envelopes is answered."""
    with client(bench, port) as http:
        assert http.request(method, path).status_code == status


def test_body_over_the_limit_gets_413_although_it_is_still_sending(bench: Bench, port: int) -> None:
    """The sender sees 413 for an announced length and for a chunked stream that runs over."""

    def chunks() -> Iterator[bytes]:
        for _ in range(9 << 4):
            yield bytes(1 << 16)

    headers = {"content-type": MEDIA_TYPE}
    with client(bench, port) as http:
        assert http.post(ENVELOPES_PATH, content=bytes((8 << 20) + 1), headers=headers).status_code == 413
        assert http.post(ENVELOPES_PATH, content=chunks(), headers=headers).status_code == 413


def test_everything_receipted_survives_sigkill(tmp_path: Path) -> None:
    """After SIGKILL each receipted envelope is in the store, for a reader and for the next receiver."""
    bench = make_bench(tmp_path)
    envelopes = make_chain(bench.device.signing_key, 40)
    with running(bench) as (process, port), client(bench, port) as http:
        answers = [answer for envelope in envelopes for answer in post(http, [envelope])]
        process.send_signal(signal.SIGKILL)
        process.wait()
    check_receipts(bench, envelopes, answers)
    with SqliteStore.open_read_only(bench.receiver.store) as store:
        assert bodies(store) == [envelope.data for envelope in envelopes]
    with running(bench) as (process, port), client(bench, port) as http:
        assert post(http, envelopes) == answers


def _shown_serial(bench: Bench, port: int) -> int:
    """Connect anew, and return the serial number of the certificate that the receiver shows."""
    with (
        socket.create_connection(("localhost", port), timeout=WITHIN_S) as plain,
        bench.client_context().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


def test_a_running_receiver_takes_its_renewed_certificate(tmp_path: Path) -> None:
    """New connections see it without a restart; one that is there goes on."""
    bench = make_bench(tmp_path)
    with running(bench) as (_, port), client(bench, port) as http:
        post(http, make_chain(bench.device.signing_key, 1))
        before = _shown_serial(bench, port)
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli.main", "receiver", "renew", str(bench.receiver.directory)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        wait_until(lambda: _shown_serial(bench, port) != before, otherwise="the old certificate is still shown")
        assert http.get(HEALTH_PATH).status_code == 204


def test_sigterm_stops_cleanly(tmp_path: Path) -> None:
    """SIGTERM ends the receiver with status 0, even with idle connections open, and leaves no WAL behind."""
    bench = make_bench(tmp_path)
    with running(bench) as (process, port), client(bench, port) as http:
        post(http, make_chain(bench.device.signing_key, 1))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=WITHIN_S) == 0
    assert not bench.receiver.store.with_name("envelopes.db-wal").exists()


def test_port_in_use_is_named(bench: Bench, port: int) -> None:
    """A second receiver on the same port says so."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom agent.errors import ReceiverError\n"
        "from agent.receiver.intake.server import serve\n"
        "try:\n    serve(Path(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]))\n"
        "except ReceiverError as error:\n    print(error); sys.exit(error.exit_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bench.receiver.directory), str(port)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (
        11,
        f"127.0.0.1 port {port}: cannot listen there: Address already in use; end the program that listens there "
        "(ss -ltnp names it), or give another --port\n",
    )


def test_plain_http_is_not_answered(bench: Bench, port: int) -> None:
    """Bytes that are no TLS get no HTTP reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not connection.recv(1024).startswith(b"HTTP")


@pytest.mark.needs("openssl")
def test_openssl_accepts_the_chain_strictly(bench: Bench) -> None:
    """`openssl verify -x509_strict -partial_chain` accepts both leaves, each for its own purpose only."""
    ca = str(bench.receiver.ca)
    for leaf, purpose, other in (
        (bench.receiver.server_certificate, "sslserver", "sslclient"),
        (bench.device.certificate, "sslclient", "sslserver"),
    ):
        base = ["openssl", "verify", "-x509_strict", "-partial_chain", "-CAfile", ca]
        assert subprocess.run([*base, "-purpose", purpose, str(leaf)], check=False, capture_output=True).returncode == 0
        assert subprocess.run([*base, "-purpose", other, str(leaf)], check=False, capture_output=True).returncode != 0


def test_server_certificate_names_the_loopback_hosts(bench: Bench) -> None:
    """The default server certificate holds for localhost, 127.0.0.1 and ::1."""
    certificate = x509.load_pem_x509_certificate(bench.receiver.server_certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_request_cannot_speak_for_another_connection(bench: Bench, port: int) -> None:
    """Heads that name the address of another unit's live connection change nothing: each request is its sender's."""
    removed = add_device(bench.receiver, bench.root / "claiming", name="cam-claiming")
    (bench.receiver.devices / f"{removed.key_id.hex()}.json").unlink()
    with client(bench, port) as unit, client(bench, port, bench.client_context(removed)) as other:
        reply = unit.get(HEALTH_PATH)
        host, peer_port = reply.extensions["network_stream"].get_extra_info("client_addr")
        claims = {"x-forwarded-for": host, "x-forwarded-port": str(peer_port), "forwarded": f'for="{host}:{peer_port}"'}
        assert reply.status_code == 204
        assert other.get(HEALTH_PATH, headers=claims).status_code == 403
        assert other.get(HEALTH_PATH, headers={"x-forwarded-for": f"{host}:{peer_port}"}).status_code == 403
        assert unit.get(HEALTH_PATH).status_code == 204


def test_forged_device_key_gets_no_receipt(bench: Bench, port: int) -> None:
    """An enrolled device cannot have envelopes of an unknown key stored."""
    with client(bench, port) as http:
        answers = post(http, [make_envelope(Ed25519PrivateKey.generate())])
    assert not any(isinstance(answer, Stored) for answer in answers)


@pytest.mark.parametrize(
    ("deadline", "first"),
    [
        ("IDLE_DEADLINE_S", b""),
        ("IDLE_DEADLINE_S", b"POST /v1/envel"),
        ("REQUEST_DEADLINE_S", b"POST /v1/envelopes HTTP/1.1\r\nHost: a\r\nContent-Type: application/cbor-seq\r\n"
         b"Content-Length: 100\r\n\r\nx"),
    ],
    ids=["silent", "half a head", "half a body"],
)  # fmt: skip
def test_slow_peer_is_dropped(tmp_path: Path, deadline: str, first: bytes) -> None:
    """A peer that sends nothing, or part of a head or body, loses its connection without an answer."""
    bench = make_bench(tmp_path)
    patch = f"from agent.receiver.intake import connections; connections.{deadline} = 0.5;"
    with (
        running(bench, patch=patch) as (_, port),
        socket.create_connection(("localhost", port), timeout=WITHIN_S) as plain,
        bench.client_context().wrap_socket(plain, server_hostname="localhost") as connection,
        suppress(ConnectionError, ssl.SSLError),  # dropped even before it has sent that
    ):
        connection.sendall(first)
        assert connection.recv(1) == b""


def test_head_over_the_limit_is_refused(bench: Bench, port: int) -> None:
    """A head of two megabytes is not collected."""
    # The error: it was still sending when the connection was closed.
    with client(bench, port) as http, suppress(httpx.TransportError):
        assert http.get("/", headers={"x-long": "a" * 2_000_000}).status_code == 400


def test_log_names_no_content_and_no_certificate(bench: Bench, port: int) -> None:
    """The receiver's log holds no envelope bytes, no PEM and no access lines."""
    with client(bench, port) as http:
        post(http, make_chain(bench.device.signing_key, 1, body=b"PLATE-TEXT-12"))
    log = (bench.root / "receiver.log").read_text()
    assert "listening on 127.0.0.1" in log
    for forbidden in ("PLATE-TEXT", "BEGIN", "POST", "Traceback"):
        assert forbidden not in log
