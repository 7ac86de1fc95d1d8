"""How fast the spool drains over loopback TLS, beside a bare upload of the same bytes over the same kind of line.

The drain reads and checks every file, sends it, has the real receiver check, commit and sign, checks each receipt, and
erases every file durably. The bare upload holds the same bytes in memory and posts them with the same client library,
one request for each read as the bare loop of `put` writes one file for each, to a server that answers as many bytes as
the receiver does and keeps nothing. The same bytes in the drain's own batches are printed beside it and not judged:
that is what TLS itself can carry, and four signatures for each read cannot come near it.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.config.load import load_config
from agent.disk.files import LocalFiles
from agent.keys.identity import SIGNING_KEY_NAME
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public
from agent.receiver.intake.server_tls import tls_context
from agent.receiver.layout import ReceiverLayout
from agent.spool.spool import FileSpool
from agent.unit.process.clock import SystemClock
from agent.unit.upload.daemon import ERASERS
from agent.upload.tls import HttpsTransport, client_context
from agent.upload.worker import UploadWorker
from agent.wire.cose import ed25519_kid
from agent.wire.envelope import Envelope
from agent.wire.protocol import ENVELOPES_PATH, MAX_BATCH_ENVELOPES, encode_request
from tests.fakes.envelopes import make_chain
from tests.torture.capture_process import Load
from tests.torture.fleet import RECEIVER, WARM, Fleet, running
from tests.torture.places import disk_folder
from tests.torture.put import BODY_BYTES
from tests.torture.report import Result

TARGET: Final = (
    "drain over loopback TLS, against a bare TLS upload of the same bytes in the same run: at least 0.4 of its rate"
)
LEAST_RATIO: Final = 0.4
BLOCKS: Final = 12
REDUCED_BLOCKS: Final = 1
PER_BLOCK: Final = 8 * MAX_BATCH_ENVELOPES
"""Enough batches that the first and the last, beside which nothing is done, weigh little, as in any backlog."""
REDUCED_PER_BLOCK: Final = 2 * MAX_BATCH_ENVELOPES
REPLY_BYTES: Final = 270
"""Per envelope, as in the receiver's replies."""
TIMEOUT_S: Final = 60.0


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Take turns, block by block; a reduced run does not judge the ratio."""
    began_s = time.monotonic()
    blocks, per_block = (BLOCKS, PER_BLOCK) if full else (REDUCED_BLOCKS, REDUCED_PER_BLOCK)
    drain_s = single_s = batch_s = 0.0
    with (
        disk_folder("drain") as folder,
        running(Fleet(Path(folder), Load())) as fleet,
    ):
        layout = fleet.set_up_receiver()
        fleet.start(RECEIVER)
        fleet.add_units(1)
        key = load_ed25519_private(fleet.units[0].directory / "identity" / SIGNING_KEY_NAME)
        envelopes = make_chain(key, per_block * (blocks + 1), body=bytes(BODY_BYTES))
        with _worker(fleet, key.public_key()) as (spool, worker), _bare(fleet, layout) as post:
            for block in range(blocks + 1):
                some = envelopes[block * per_block : (block + 1) * per_block]
                for envelope in some:
                    spool.put(envelope)
                began_drain_s = time.perf_counter()
                worker.run(drain=True)
                now_drain_s = time.perf_counter() - began_drain_s
                now_batch_s = post(_together(some, MAX_BATCH_ENVELOPES))
                now_single_s = post(_together(some, 1))
                if block == 0:
                    continue  # connections are made, code is loaded
                drain_s, single_s, batch_s = drain_s + now_drain_s, single_s + now_single_s, batch_s + now_batch_s
                say(f"{block} of {blocks} blocks, {single_s / drain_s:.2f} so far")
        fleet.stop(RECEIVER)
        ids = {envelope.envelope_id for envelope in envelopes}
        whole = set(fleet.stored()) == ids and fleet.units[0].left() == 0
    count = blocks * per_block
    figures = (
        f"{count} reads of {BODY_BYTES} bytes: {count / drain_s:.0f}/s against {count / single_s:.0f}/s bare, "
        f"{single_s / drain_s:.2f} of its rate; {count / batch_s:.0f}/s bare in batches, "
        f"{batch_s / drain_s:.2f} of that"
    )
    holds = whole and (not full or single_s / drain_s >= LEAST_RATIO)
    return Result("drain", TARGET, figures, holds, time.monotonic() - began_s)


@contextmanager
def _worker(fleet: Fleet, key: Ed25519PublicKey) -> Iterator[tuple[FileSpool, UploadWorker]]:
    """Wire up what the upload daemon of the first unit would."""
    unit = fleet.units[0]
    settings, clock = load_config(unit.config).upload, SystemClock()
    receiver_key = load_ed25519_public(settings.receiver_key)
    spool = FileSpool(unit.spool, max_bytes=1 << 30, files=LocalFiles(), erasers=ERASERS)
    transport = HttpsTransport(
        settings.url,
        context=client_context(ca=settings.ca, certificate=settings.certificate, key=settings.key),
        clock=clock,
        connect_timeout_s=TIMEOUT_S,
        reply_timeout_s=TIMEOUT_S,
    )
    worker = UploadWorker(
        spool=spool,
        transport=transport,
        receiver_keys={ed25519_kid(receiver_key): receiver_key},
        device_key={ed25519_kid(key): key}.get,
        settings=settings,
        clock=clock,
        stop=threading.Event(),
    )
    try:
        yield spool, worker
    finally:
        transport.close()


@contextmanager
def _bare(fleet: Fleet, layout: ReceiverLayout) -> Iterator[Callable[[Sequence[bytes]], float]]:
    """Start the server that keeps nothing, and give a function that posts bodies to it and returns the seconds."""
    settings = load_config(fleet.units[0].config).upload
    ours, theirs = WARM.Pipe()
    process = WARM.Process(target=_keep_nothing, args=(layout.directory, theirs), daemon=True)
    process.start()
    context = client_context(ca=settings.ca, certificate=settings.certificate, key=settings.key)
    try:
        url = f"https://localhost:{ours.recv()}{ENVELOPES_PATH}"
        kept_alive = httpx.Limits(max_connections=1, keepalive_expiry=None)
        with httpx.Client(verify=context, trust_env=False, timeout=TIMEOUT_S, limits=kept_alive) as client:

            def post(bodies: Sequence[bytes]) -> float:
                began_s = time.perf_counter()
                for body in bodies:
                    client.post(url, content=body).raise_for_status()
                return time.perf_counter() - began_s

            yield post
    finally:
        process.kill()
        process.join()
        process.close()


def _keep_nothing(receiver: Path, port: Connection) -> None:
    """Read requests of one connection, and answer each with as many bytes as the receiver would."""
    context = tls_context(ReceiverLayout(receiver))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port.send(listener.getsockname()[1])
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := _until(connection, b"\r\n\r\n"):
                head, _, body = head.partition(b"\r\n\r\n")
                left = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) - len(body)
                count = max(1, (left + len(body)) // BODY_BYTES)
                while left > 0:
                    left -= len(connection.recv(1 << 16))
                answer = bytes(count * REPLY_BYTES)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


def _until(connection: ssl.SSLSocket, end: bytes) -> bytes:
    head = b""
    while end not in head:
        more = connection.recv(1 << 16)
        if not more:
            return b""
        head += more
    return head


def _together(envelopes: Sequence[Envelope], count: int) -> list[bytes]:
    data = [envelope.data for envelope in envelopes]
    return [encode_request(data[at : at + count]) for at in range(0, len(data), count)]
