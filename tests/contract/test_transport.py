"""What every transport promises: the HTTPS one against a real receiver, and the simulator."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.bench.demo import await_port, start_receiver
from agent.errors import TransportError
from agent.ports import Transport
from agent.unit.process.clock import SystemClock
from agent.unit.process.run import stop_daemon
from agent.upload.tls import HttpsTransport, client_context
from agent.wire.protocol import MAX_BATCH_ENVELOPES, Stored
from agent.wire.receipt import verify_receipt
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.pki import make_bench
from tests.fakes.receipts import PINNED
from tests.fakes.receiver import ReceiverSimulator
from tests.fakes.waiting import WITHIN_S


@dataclass
class Line:
    """A transport with what belongs to its far end."""

    transport: Transport
    device_key: Ed25519PrivateKey
    receiver_keys: Mapping[bytes, Ed25519PublicKey]


def real_line(root: Path) -> tuple[Line, subprocess.Popen[bytes]]:
    """Start a receiver process and connect to it."""
    bench = make_bench(root)
    log_path = root / "receiver.log"
    with log_path.open("wb") as log:
        process = start_receiver(bench.receiver.directory, root / "port", log=log)
    port = await_port(root / "port", process, log_path)
    context = client_context(ca=bench.receiver.ca, certificate=bench.device.certificate, key=bench.device.tls_key)
    transport = HttpsTransport(
        f"https://localhost:{port}",
        context=context,
        clock=SystemClock(),
        connect_timeout_s=WITHIN_S,
        reply_timeout_s=WITHIN_S,
    )
    return Line(transport, bench.device.signing_key, bench.receiver_keys), process


@pytest.fixture(scope="module", params=["https", "simulator"])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Return each transport in turn; one receiver process serves all tests here."""
    if request.param == "simulator":
        yield Line(ReceiverSimulator(), Ed25519PrivateKey.generate(), PINNED)
        return
    real, process = real_line(tmp_path_factory.mktemp("line"))
    yield real
    real.transport.close()
    stop_daemon(process)


@pytest.mark.parametrize("count", [1, 3, MAX_BATCH_ENVELOPES])
def test_every_envelope_gets_its_own_receipt_in_order(line: Line, count: int) -> None:
    """One answer each, and each receipt proves its envelope."""
    envelopes = make_chain(line.device_key, count)
    answers = line.transport.send([envelope.data for envelope in envelopes])
    assert len(answers) == count
    for envelope, answer in zip(envelopes, answers, strict=True):
        assert isinstance(answer, Stored)
        assert verify_receipt(answer.receipt, envelope, line.receiver_keys).envelope_id == envelope.envelope_id


def test_an_envelope_sent_again_gets_its_receipt_again(line: Line) -> None:
    """Stored once, acknowledged as often as asked, with the same bytes."""
    (envelope,) = make_chain(line.device_key, 1)
    assert line.transport.send([envelope.data]) == line.transport.send([envelope.data])


def test_a_closed_transport_may_be_closed_again(line: Line) -> None:
    """Idempotent, and nothing can be sent any more; on a transport of its own."""
    other = type(line.transport)
    if other is ReceiverSimulator:
        transport: Transport = ReceiverSimulator()
    else:
        transport = unreachable()
    transport.close()
    transport.close()
    with pytest.raises(RuntimeError):  # a defect of the caller's, not of the line
        transport.send([make_envelope(line.device_key).data])


def unreachable() -> HttpsTransport:
    """Return a transport to a port where nobody listens."""
    import ssl

    return HttpsTransport(
        "https://localhost:9",
        context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        clock=SystemClock(),
        connect_timeout_s=WITHIN_S,
        reply_timeout_s=WITHIN_S,
    )


def test_an_unreachable_receiver_is_a_transport_error(line: Line) -> None:
    """Both report it the same way."""
    (envelope,) = make_chain(line.device_key, 1)
    if isinstance(line.transport, ReceiverSimulator):
        line.transport.script.append(TransportError("nobody listens"))
        transport: Transport = line.transport
    else:
        transport = unreachable()
    with pytest.raises(TransportError):
        transport.send([envelope.data])
