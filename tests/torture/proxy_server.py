"""What stands between unit and receiver: TLS with the receiver's certificate, its real intake and store, and faults.

Owns: the faults, each of them something that a network, a proxy or a failing server may do to one request. It never
forges an answer of the protocol: what reaches the unit as a receipt was signed by the receiver, for some request.
"""

from __future__ import annotations

import os
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from agent.keys import keyfiles
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.server_tls import tls_context
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.protocol import MAX_REPLY_BYTES, MEDIA_TYPE, encode_reply, parse_request

STATUSES: Final = (401, 403, 408, 413, 429, 500, 503)
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends a reset."""
_CONNECTION_TIMEOUT_S: Final = 20


class Front:
    """The receiver as a unit sees it through a bad network."""

    def __init__(self, layout: ReceiverLayout, store: SqliteStore, *, fault_share: float, timeout_s: float) -> None:
        """Stand in front of a receiver.

        Args:
            layout: The receiver's folder.
            store: Its store.
            fault_share: 0..1, how many requests meet a fault.
            timeout_s: What the units wait for a reply; delays go beyond it.
        """
        self.faults: Counter[str] = Counter()
        self.honest = 0
        self.fault_share = fault_share
        self.is_down = False
        self.timeout_s = timeout_s
        self.intake = Intake(
            devices=DeviceBook(layout.devices),
            store=store,
            receipt_key=keyfiles.load_ed25519_private(layout.receipt_key),
        )
        self.last_reply: dict[str, bytes] = {}
        self._deck: list[str] = []
        self._lock = threading.Lock()

    @property
    def faulted(self) -> int:
        """Requests that met a fault so far."""
        return self.faults.total()

    def pick(self) -> str | None:
        """Return the name of the next request's fault, and count it; None for none."""
        with self._lock:
            if random.random() >= self.fault_share:
                self.honest += 1
                return None
            if not self._deck:
                self._deck = random.sample(list(FAULTS), len(FAULTS))
            name = self._deck.pop()
            self.faults[name] += 1
            return name


class _Handler(BaseHTTPRequestHandler):
    """One connection of a unit."""

    protocol_version = "HTTP/1.1"
    timeout = _CONNECTION_TIMEOUT_S
    front: Front

    def handle(self) -> None:
        """Answer requests until the connection ends, however it ends."""
        with suppress(OSError):
            if not self.front.is_down:
                super().handle()

    def do_POST(self) -> None:
        """Answer one request, or do to it what its fault says."""
        name = None if self.front.is_down else self.front.pick()
        if self.front.is_down:
            self.cut()
        elif name is None:
            self.reply(200, self.take(self.read_body()))
        else:
            FAULTS[name](self)

    def read_body(self, share: float = 1.0) -> list[bytes]:
        """Read the request's body and return its envelopes; none if only a share of it was read."""
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(int(length * share))
        return parse_request(body) if len(body) == length else []

    def take(self, batch: list[bytes]) -> bytes:
        """Have the receiver take a batch, and return its reply's body."""
        connection = self.connection
        assert isinstance(connection, ssl.SSLSocket)
        sender = self.front.intake.sender(connection.getpeercert(binary_form=True) or b"")
        assert sender is not None
        body = encode_reply(self.front.intake.take(batch, sender))
        self.stale = self.front.last_reply.get(sender.name, body)
        self.front.last_reply[sender.name] = body
        return body

    def reply(
        self, status: int, body: bytes, *, announce: int | None = None, headers: tuple[str, str] | None = None
    ) -> None:
        """Send a reply; `announce` is its Content-Length where that is not true."""
        self.send_response(status)
        self.send_header("Content-Type", MEDIA_TYPE)
        self.send_header("Content-Length", str(len(body) if announce is None else announce))
        if headers is not None:
            self.send_header(*headers)
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        """End the connection, every other time with a reset."""
        self.close_connection = True
        if random.random() < 0.5:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _cut_before_body(to: _Handler) -> None:
    to.cut()


def _cut_in_body(to: _Handler) -> None:
    to.read_body(random.random())
    to.cut()


def _cut_before_commit(to: _Handler) -> None:
    to.read_body()
    to.cut()


def _cut_during_commit(to: _Handler) -> None:
    batch = to.read_body()
    commit = threading.Thread(target=to.take, args=(batch,))
    commit.start()
    time.sleep(random.random() * 0.005)
    to.close_connection = True
    try:
        socket.socket.shutdown(to.connection, socket.SHUT_RDWR)
    finally:
        commit.join()


def _cut_after_commit(to: _Handler) -> None:
    to.take(to.read_body())
    to.cut()


def _cut_in_reply(to: _Handler) -> None:
    body = to.take(to.read_body())
    to.reply(200, body[: random.randrange(len(body))], announce=len(body))
    to.cut()


def _request_twice(to: _Handler) -> None:
    batch = to.read_body()
    twin = threading.Thread(target=to.take, args=(batch,))
    twin.start()
    body = to.take(batch)
    twin.join()
    to.reply(200, body)


def _reply_twice(to: _Handler) -> None:
    body = to.take(to.read_body())
    to.reply(200, body)
    to.reply(200, body)


def _reply_of_another(to: _Handler) -> None:
    to.take(to.read_body())
    to.reply(200, to.stale)


def _answers_reordered(to: _Handler) -> None:
    batch = to.read_body()
    to.reply(200, to.take(random.sample(batch, len(batch))))


def _reply_delayed(to: _Handler) -> None:
    body = to.take(to.read_body())
    time.sleep(to.front.timeout_s * random.uniform(0.5, 1.5))
    to.reply(200, body)


def _reply_dripping(to: _Handler) -> None:
    body = to.take(to.read_body())
    to.reply(200, body[:1], announce=len(body))
    for at in range(1, len(body)):
        time.sleep(to.front.timeout_s / 10)
        to.wfile.write(body[at : at + 1])


def _reply_truncated(to: _Handler) -> None:
    body = to.take(to.read_body())
    to.reply(200, body[: random.randrange(len(body))])


def _reply_too_long(to: _Handler) -> None:
    body = to.take(to.read_body())
    to.reply(200, body + bytes(MAX_REPLY_BYTES))


def _reply_garbage(to: _Handler) -> None:
    if random.random() < 0.5:
        to.take(to.read_body())
    else:
        to.read_body()
    to.reply(200, os.urandom(random.randrange(200)))


def _reply_not_http(to: _Handler) -> None:
    to.read_body()
    to.wfile.write(os.urandom(100) + b"\r\n\r\n")
    to.cut()


def _status(status: int) -> Callable[[_Handler], None]:
    def answer(to: _Handler) -> None:
        batch = to.read_body()
        if status == 413 and len(batch) == 1:
            return to.reply(500, b"")  # for one envelope 413 is an answer for good, not a fault
        if random.random() < 0.5:
            to.take(batch)  # stored, and then something between receiver and unit failed
        past = format_datetime(datetime.now(UTC) - timedelta(minutes=1))
        after = random.choice([None, None, "0", past, "soon", "-1"])
        return to.reply(status, b"no\n", headers=None if after is None else ("Retry-After", after))

    return answer


FAULTS: Final[dict[str, Callable[[_Handler], None]]] = {
    "cut before the body": _cut_before_body,
    "cut in the body": _cut_in_body,
    "cut before the commit": _cut_before_commit,
    "cut during the commit": _cut_during_commit,
    "cut after the commit": _cut_after_commit,
    "cut in the reply": _cut_in_reply,
    "request sent twice": _request_twice,
    "reply sent twice": _reply_twice,
    "reply of another request": _reply_of_another,
    "answers reordered": _answers_reordered,
    "reply delayed": _reply_delayed,
    "reply dripping": _reply_dripping,
    "reply truncated": _reply_truncated,
    "reply too long": _reply_too_long,
    "reply is garbage": _reply_garbage,
    "reply is no HTTP": _reply_not_http,
    **{f"status {status}": _status(status) for status in STATUSES},
}


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that end in the handshake."""


@contextmanager
def standing(front: Front, layout: ReceiverLayout) -> Iterator[int]:
    """Serve on loopback, and give the port."""
    handler = type("Handler", (_Handler,), {"front": front})
    server = _Server(("127.0.0.1", 0), handler)
    server.socket = tls_context(layout).wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
