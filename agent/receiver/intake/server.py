"""The receiver's network: TLS 1.3 with client certificates, limits, a clean stop.

Owns: the server's limits, the port file, signals. Leaves to others: TLS and its files (`server_tls`), accepting and
the handshake (`door`), deadlines for slow peers (`connections`), what a request means (`service`).

Invariant: nobody without a certificate of the receiver's CA reaches the HTTP parser.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette

from agent.errors import KeyFileError, ReceiverError, UsageError
from agent.keys import keyfiles
from agent.receiver.admission.completeness import missing_end
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.operators import OperatorBook
from agent.receiver.admission.renewals import RenewalBook
from agent.receiver.fleet.own import own_findings
from agent.receiver.fleet.shared import open_fleet
from agent.receiver.intake import connections
from agent.receiver.intake.balancer import parse_balancers
from agent.receiver.intake.counts import Counts
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.descriptors import allow_descriptors
from agent.receiver.intake.door import MAX_HANDSHAKES, Door
from agent.receiver.intake.server_tls import ServerTls
from agent.receiver.intake.service import build_service
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import open_store, store_of

MAX_HEAD_BYTES: Final = 16 << 10
"""Of a request whose head is not complete; one that arrives in a single read may be as long as that read."""
MOST_CONNECTIONS: Final = 100_000
"""What may be asked for; each takes 75 kB of memory."""
OTHER_DESCRIPTORS: Final = 512
"""Of the store, certificates, metrics, and whatever else is open."""
TICKS_PER_PULSE: Final = 10
"""uvicorn's main loop comes round ten times a second."""
SWITCH_EVERY_S: Final = 0.001
"""How long a thread that calculates keeps the event loop waiting, each time that it has something to do; else 5 ms."""
STOP_DEADLINE_S: Final = 3
"""Requests that are under way get this long after SIGTERM. Whatever is cut off will be sent again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeHooks:
    """What a service manager wants to know.

    Attributes:
        ready: Called once the receiver listens, with what it does, in one line.
        alive: Called about once a second by the event loop itself.
    """

    ready: Callable[[str], None] = lambda _: None
    alive: Callable[[], None] = lambda: None


class _Server(uvicorn.Server):
    """uvicorn's server behind our own door, which tells when it listens and that it lives."""

    def __init__(
        self,
        config: uvicorn.Config,
        door: Door,
        listener: socket.socket,
        *,
        port_file: Path | None,
        hooks: ServeHooks | None,
        look: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._each_second = look
        self._hooks = hooks or ServeHooks()
        self._door = door
        self._listener = listener
        self._address, self._port = listener.getsockname()[:2]
        self._port_file = port_file
        self._accepting: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then write the port file. uvicorn is given no socket: it has no limit for a handshake."""
        await super().startup(sockets=[])
        self._accepting = asyncio.create_task(self._door.stand(self._listener, self._protocol))
        await asyncio.sleep(0)  # it listens now
        _log.info("listening on %s port %d", self._address, self._port)
        if self._port_file is not None:
            keyfiles.replace_file(self._port_file, f"{self._port}\n".encode("ascii"), keyfiles.PUBLIC_MODE)
        self._hooks.ready(f"listening on {self._address} port {self._port}")

    async def on_tick(self, counter: int) -> bool:
        """Do what is done ten times a second, and whether to stop; `counter` goes from 0 to 863,999."""
        if self._accepting is not None and self._accepting.done():
            self._accepting.result()  # whatever ended it ends the receiver, which is started again
        if counter % TICKS_PER_PULSE == 0:
            self._hooks.alive()
            self._each_second()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody more, and let the requests that are under way come to their end."""
        if self._accepting is not None:
            self._accepting.cancel()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """Make the protocol of a connection, as uvicorn does."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # it is one of several classes
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Stop soon: for a signal that comes before uvicorn listens to signals, or again after its stop."""
        self.should_exit = True


def serve(
    directory: Path,
    *,
    host: str,
    port: int,
    port_file: Path | None = None,
    hooks: ServeHooks | None = None,
    counts: Counts | None = None,
    connections_most: int = connections.DEFAULT_CONNECTIONS,
    balancers: Collection[str] = (),
) -> None:
    """Run the receiver until SIGTERM or SIGINT.

    Args:
        directory: Made by `init_receiver`.
        host: Address or name to listen on.
        port: TCP port; 0 picks a free one.
        port_file: Gets the port, as text and a newline, once the receiver listens. One from an earlier run is
            removed first.
        hooks: What a service manager wants to know.
        counts: Where it counts what it does, for whoever shows that.
        connections_most: How many connections there may be; fewer where the system allows too few descriptors.
        balancers: Addresses of TCP load balancers, whose connections begin with a PROXY header (`balancer`).

    Raises:
        KeyFileError: A key or certificate is missing, unreadable, unsafe or of another kind; or the
            port file cannot be written.
        UsageError: No such port, no such number of connections, or a balancer that is no address.
        ReceiverError: The store cannot be used, or the address cannot be listened on.
    """
    trusted, most, layout = parse_balancers(balancers), _possible(connections_most), ReceiverLayout(directory)
    tls, counts = ServerTls(layout), counts or Counts()
    receipt_key = _load_receipt_key(layout)
    devices = DeviceBook(layout.devices)
    _log.info("%d device keys are enrolled", len(devices.all()))
    _remove(port_file)
    with (
        open_store(store_of(layout)) as store,
        open_fleet(layout) as fleet,
        _listen(host, port) as listener,
        _taking_over(layout),
    ):
        _log.info("%d envelopes are stored", store.totals().envelopes)
        for sign in missing_end(store, devices):
            _log.warning("the store is not whole: %s", sign)
        intake = Intake(devices=devices, store=store, receipt_key=receipt_key, counts=counts, keep_fork=fleet.keep_fork)
        app = build_service(
            intake,
            fleet=fleet,
            devices=devices,
            operators=OperatorBook(layout.operators),
            counts=counts,
            own=lambda now: own_findings(layout, now),
            renewals=RenewalBook(layout),
        )
        door = Door(tls.context, counts, balancers=trusted)
        server = _Server(_config(app, door, most), door, listener, port_file=port_file, hooks=hooks, look=tls.look)
        counts.gauge("connections", lambda: len(server.server_state.connections))
        _run(server, listener)
        _log.info("stopped, %d envelopes are stored", store.totals().envelopes)


@contextmanager
def _taking_over(layout: ReceiverLayout) -> Iterator[None]:
    """Bring what an earlier plateseal stored to where this one keeps it, beside the block, and stop at its end."""
    ended = threading.Event()
    worker = threading.Thread(target=_take_over, args=(layout, ended), name="taking-over")
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()


def _take_over(layout: ReceiverLayout, ended: threading.Event) -> None:
    try:
        with open_store(store_of(layout)) as store:
            moved = store.take_over(may_go_on=lambda: not ended.is_set())
    except ReceiverError as error:
        _log.error("the store of an earlier plateseal is not taken over yet; the next start goes on: %s", error)
        return
    if moved:
        _log.info("%d entries and receipts of the store of an earlier plateseal have been taken over", moved)


def _load_receipt_key(layout: ReceiverLayout) -> Ed25519PrivateKey:
    """Load the key that signs receipts, and see that units and auditors have its other half.

    Raises:
        KeyFileError: It cannot be read, or `receipt.pub` is another key's: units would refuse every receipt.
    """
    key = keyfiles.load_ed25519_private(layout.receipt_key)
    if keyfiles.load_ed25519_public(layout.receipt_public) != key.public_key():
        mend = "put back the one of the two that was replaced"
        if layout.receipt_next_key.exists():
            mend = f"a change was cut off, finish it: plateseal receiver receipt-key {layout.directory} --take"
        raise KeyFileError(
            f"{layout.receipt_key}: is not the key of {layout.receipt_public.name}, which units check receipts with; "
            f"{mend}"
        )
    return key


def _possible(most: int) -> int:
    """Return how many connections there can be, and have the system allow the descriptors for them.

    Raises:
        UsageError: No such number.
    """
    if not 1 <= most <= MOST_CONNECTIONS:
        raise UsageError(f"--connections {most}: 1 to {MOST_CONNECTIONS:,} is allowed")
    others = OTHER_DESCRIPTORS + connections.SURPLUS + 2 * MAX_HANDSHAKES
    allowed = allow_descriptors(most + others)
    if allowed >= most + others:
        return most
    possible = max(1, min(most, allowed - others), allowed // 4)
    _log.warning(
        "%d connections at most, for the system allows this process %d descriptors; %d would take %d",
        possible, allowed, most, most + others,
    )  # fmt: skip
    return possible


def _config(app: Starlette, door: Door, most: int) -> uvicorn.Config:
    live = connections.Connections(door.vouch, most=most)
    config = uvicorn.Config(
        live.above(app),
        http="h11",
        interface="asgi3",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,  # a request's addresses are those of its connection, whatever its head says
        server_header=False,
        timeout_keep_alive=int(connections.IDLE_DEADLINE_S),
        timeout_graceful_shutdown=STOP_DEADLINE_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    config.load()
    config.http_protocol_class = live.below(config.http_protocol_class)  # type: ignore[assignment]  # uvicorn only calls it
    return config


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: 0 to 65535 is allowed, 0 picks a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ReceiverError(f"{host} port {port}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ReceiverError(f"{host} port {port}: cannot listen there: {error.strerror}{_way_out(error)}") from None
    return listener


def _way_out(error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return ""
    return "; end the program that listens there (ss -ltnp names it), or give another --port"


def _remove(port_file: Path | None) -> None:
    if port_file is None:
        return
    try:
        port_file.unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileError(f"{port_file}: cannot be removed: {error.strerror}") from None


def _run(server: _Server, listener: socket.socket) -> None:
    """Run until a signal, and come back: uvicorn raises the signal again after its clean stop."""
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, server.stop)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_EVERY_S)
    try:
        server.run(sockets=[listener])
    finally:
        sys.setswitchinterval(interval_s)
        for number, handler in before.items():
            signal.signal(number, handler)
