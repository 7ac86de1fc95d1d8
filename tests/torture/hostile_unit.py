"""What wants to hurt a receiver: an enrolled unit with bad intent, and strangers who connect and say nothing.

Each runs in a process of its own and works while an event is set.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Final

import cbor2

from agent.wire import cose
from agent.wire.envelope import MAX_ENVELOPE_BYTES, sign_tombstone
from agent.wire.header import CONTENT_TYPE, TOMBSTONE_TYPE, Header, encode_header
from agent.wire.protocol import ENVELOPES_PATH, MAX_BATCH_ENVELOPES, MEDIA_TYPE, encode_request
from agent.wire.tombstone import MAX_GONE, Gone, LossReason, Tombstone
from tests.fakes.envelopes import first_position, make_envelope, next_position
from tests.fakes.pki import Bench
from tests.fakes.reads import NOON
from tests.torture.fleet import WARM

DRIBBLES: Final = 16
LARGE_BYTES: Final = MAX_ENVELOPE_BYTES - 4096
PIECE_S: Final = 0.1
"""Between two bytes of a dribbled body, and between two looks at whether a silent connection still stands."""
TURN_S: Final = 3.0

_HEAD: Final = f"POST {ENVELOPES_PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: "


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to hurt, and as whom.

    Attributes:
        bench: The receiver's folder, with the hostile unit as its device.
        port: Where the receiver listens.
    """

    bench: Bench
    port: int

    def connect(self) -> ssl.SSLSocket:
        """Open a connection with the unit's certificate."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=90)
        return self.bench.client_context().wrap_socket(plain, server_hostname="localhost")

    def post(self, line: ssl.SSLSocket, body: bytes) -> bytes:
        """Send a request, and return the beginning of the answer."""
        line.sendall(f"{_HEAD}{len(body)}\r\n\r\n".encode() + body)
        return line.recv(1 << 16)


@contextmanager
def at_work(target: Callable[..., None], *args: object) -> Iterator[Event]:
    """Run `target` with an event and `args` in a process of its own until the block ends."""
    go = WARM.Event()
    process = WARM.Process(target=target, args=(go, *args), daemon=True)
    process.start()
    try:
        yield go
    finally:
        process.kill()
        process.join()
        process.close()


def be_hostile(go: Event, target: Target) -> None:
    """Do everything at once while the event is set."""
    few = [_dribble, _dribble, _send_tiny_items, _send_large_batches, _send_full_tombstones]
    works = [*few, *[_dribble_in_turns] * DRIBBLES]
    threads = [threading.Thread(target=_again_and_again, args=(go, target, work), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def be_silent(go: Event, port: int, count: int) -> None:
    """Hold connections open that say nothing, and open them anew when they are closed, while the event is set."""
    while go.wait():
        lines: list[socket.socket] = []
        while go.is_set():
            while len(lines) < count:
                lines.append(socket.create_connection(("127.0.0.1", port), timeout=90))
                lines[-1].setblocking(False)
            time.sleep(PIECE_S)
            lines = [line for line in lines if not _is_closed(line)]
        for line in lines:
            line.close()


def _is_closed(line: socket.socket) -> bool:
    try:
        line.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        pass
    line.close()
    return True


def _again_and_again(go: Event, target: Target, work: Callable[[Event, Target, ssl.SSLSocket], None]) -> None:
    while go.wait():
        with suppress(OSError), target.connect() as line:
            work(go, target, line)


def _dribble(go: Event, target: Target, line: ssl.SSLSocket) -> None:
    """Announce the largest body, and send it byte by byte."""
    line.sendall(f"{_HEAD}{8 << 20}\r\n\r\n".encode())
    line.settimeout(PIECE_S)
    while go.is_set():
        line.sendall(b"x")
        with suppress(TimeoutError):
            line.recv(1)
            return  # it was refused


def _dribble_in_turns(go: Event, target: Target, line: ssl.SSLSocket) -> None:
    """Dribble every other while: more connections than a unit may have end those that do the other harm."""
    line.close()
    while go.is_set() and time.monotonic() % (2 * TURN_S) < TURN_S:
        time.sleep(PIECE_S)
    if go.is_set():
        with target.connect() as new:
            _dribble(go, target, new)


def _send_tiny_items(go: Event, target: Target, line: ssl.SSLSocket) -> None:
    """Send envelopes whose content is a heap of one-byte items."""
    key = target.bench.device.signing_key
    heap = cbor2.dumps([0] * (LARGE_BYTES - 16))
    kid = cose.ed25519_kid(key.public_key())
    some = [
        cose.sign1(
            encode_header(kid, Header(first_position(run=0), commitment=commitment), content_type=kind), heap, key
        )
        for kind, commitment in ((CONTENT_TYPE, bytes(32)), (TOMBSTONE_TYPE, None))
    ]
    _post_until(go, target, line, lambda: encode_request(some * 3))


def _send_large_batches(go: Event, target: Target, line: ssl.SSLSocket) -> None:
    """Send as many bytes as a batch may have, good envelopes that are all stored."""
    key = target.bench.device.signing_key
    position = first_position()
    body = bytes(LARGE_BYTES)

    def batch() -> bytes:
        nonlocal position
        some = []
        for _ in range(7):
            envelope = make_envelope(key, position, body)
            some.append(envelope.data)
            position = next_position(envelope)
        return encode_request(some)

    _post_until(go, target, line, batch)


def _send_full_tombstones(go: Event, target: Target, line: ssl.SSLSocket) -> None:
    """Send the tombstones that take longest to take apart, the same ones each time."""
    key = target.bench.device.signing_key
    gone = tuple(Gone(bytes(16), 2 * place, 2 * place, bytes(32)) for place in range(MAX_GONE))
    tombstone = sign_tombstone(Tombstone(LossReason.EVICTED, MAX_GONE, NOON, NOON, gone), key, first_position())
    body = encode_request([tombstone.data] * MAX_BATCH_ENVELOPES)
    _post_until(go, target, line, lambda: body)


def _post_until(go: Event, target: Target, line: ssl.SSLSocket, make: Callable[[], bytes]) -> None:
    while go.is_set() and target.post(line, make()).startswith(b"HTTP/1.1 200"):
        pass
