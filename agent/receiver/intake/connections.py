"""The receiver's live connections: whose certificate is at the other end, and how long the peer may take.

Owns: the peer's certificate, which it gives to the application with each request, how many connections there may be,
and the two deadlines of each. Leaves to others: TLS (`server`), HTTP (uvicorn), what a request means (`service`).

It stands on both sides of uvicorn and knows only what is public there. Below, it is an asyncio protocol that hands
everything on to uvicorn's own. Above, it is an ASGI application that hands everything on to ours. A request belongs to
the connection with the same two addresses, which is one alone while it lasts: TCP has no second one.

Invariants: no connection lasts longer without a request than `IDLE_DEADLINE_S`, none is in a request longer than
`REQUEST_DEADLINE_S` without a step of progress (`service.BODY_STEP_BYTES`), whatever it sends. A certificate has at
most `MAX_OF_A_CERTIFICATE` of them: the newest, for of a unit whose line broke the older ones are dead. A request
whose connection is not known has no certificate.

Whoever is in stays in, and is answered, however many come. Where there is no room, the certificate that has the most
connections gives its oldest up to one that has fewer. Where nobody has more, the newcomer's first request is answered
503 with Retry-After; of such newcomers there are at most `SURPLUS`, and each must ask within `SURPLUS_DEADLINE_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.receiver.intake.notices import Pace
from agent.receiver.intake.refusals import Refusal, RefusedError
from agent.receiver.intake.service import BODY_STEP_BYTES, PEER_CERTIFICATE

IDLE_DEADLINE_S: Final = 90.0
"""From the handshake, or the last reply, to the end of the next request's head. A quiet unit reports once a minute."""
REQUEST_DEADLINE_S: Final = 300.0
"""From the end of a request's head, or a step of its body, to the next step or the end of the reply: waiting for a
turn, 180 s for a step, storing, replying."""
MAX_OF_A_CERTIFICATE: Final = 8
"""A unit has one connection, for moments two; a browser opens six."""
DEFAULT_CONNECTIONS: Final = 8192
"""5,000 units with one connection each, and half as many again whose old one is not known to be dead yet."""
SURPLUS: Final = 256
"""Connections beyond the bound, which are told to come later."""
SURPLUS_DEADLINE_S: Final = 10.0
RETRY_AFTER_S: Final = 60
"""By then dead connections have ended, if that is what fills the room."""

_FULL: Final = Refusal(RefusedError(503, "all connections are taken", retry_after_s=RETRY_AFTER_S))
_log = logging.getLogger(__name__)

_Addresses = tuple[tuple[str, int], tuple[str, int]]
"""Host and port of the peer, then ours: what tells one live TCP connection from every other."""


class Connections:
    """The connections of one server, each from its handshake to its end."""

    def __init__(
        self, vouch: Callable[[tuple[str, int]], None] = lambda _: None, *, most: int = DEFAULT_CONNECTIONS
    ) -> None:
        """Begin with none.

        Args:
            vouch: Told the peer of each connection whose first request is answered well: address and port.
            most: How many there may be.
        """
        self._vouch = vouch
        self._most = most
        self._pace = Pace()
        self._live: dict[_Addresses, _Connection] = {}
        self._by_certificate: defaultdict[bytes | None, list[_Connection]] = defaultdict(list)
        self._surplus: set[_Connection] = set()

    def below(self, http: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """Return a factory of protocols that note their connection and leave the rest to one of `http`."""
        return lambda *args, **kwargs: _Connection(http(*args, **kwargs), self)

    def begin(self, connection: _Connection) -> None:
        """Take a connection in; the oldest one of its certificate goes where there are too many."""
        if connection.addresses is not None:  # None: the peer has gone again
            self._live[connection.addresses] = connection
        theirs = self._by_certificate[connection.certificate]
        theirs.append(connection)
        for old in theirs[:-MAX_OF_A_CERTIFICATE]:
            self._put_out(old)
        if len(self._live) - len(self._surplus) > self._most:
            self._make_room(connection)

    def _make_room(self, newcomer: _Connection) -> None:
        """Put out a connection of whoever has the most; where nobody has more than the newcomer, have that one wait."""
        theirs = self._by_certificate[newcomer.certificate]
        most = max(self._by_certificate.values(), key=len)
        if len(most) > len(theirs):
            self._put_out(most[0])
        elif len(theirs) > 1:
            self._put_out(theirs[0])
        elif len(self._surplus) < SURPLUS:
            self._surplus.add(newcomer)
            newcomer.hurry()
        else:
            self._put_out(newcomer)
        if (left_out := self._pace.turn("full")) is not None:
            more = f"; {left_out} more like this since the last line" if left_out else ""
            _log.warning("all %d connections are taken (--connections)%s", self._most, more)

    def _put_out(self, connection: _Connection) -> None:
        connection.abort()
        self.end(connection)  # asyncio says so later; until then it would count

    def end(self, connection: _Connection) -> None:
        """Forget a connection. Idempotent."""
        self._surplus.discard(connection)
        if connection.addresses is not None and self._live.get(connection.addresses) is connection:
            del self._live[connection.addresses]
        theirs = self._by_certificate[connection.certificate]
        if connection in theirs:
            theirs.remove(connection)
        if not theirs:
            del self._by_certificate[connection.certificate]

    def above(self, app: ASGIApp) -> ASGIApp:
        """Return `app`, with the peer's certificate in the state of each request, under `PEER_CERTIFICATE`."""

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            addresses = _addresses(scope.get("client"), scope.get("server"))
            connection = None if addresses is None else self._live.get(addresses)
            if addresses is None or connection is None:  # it has ended meanwhile, and nobody waits for the refusal
                await app(scope, receive, send)
                return
            if connection in self._surplus:
                await _FULL(scope, receive, send)
                return
            scope.setdefault("state", {})[PEER_CERTIFICATE] = connection.certificate

            async def vouching(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] < 400 and connection.is_new:
                    connection.is_new = False
                    self._vouch(addresses[0])
                await send(message)

            with connection.in_request():
                await app(scope, receive, vouching)

        return with_peer


class _Connection(asyncio.Protocol):
    """A protocol around another: it knows the peer's certificate, and a deadline for the peer."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self.certificate: bytes | None = None
        self.addresses: _Addresses | None = None
        self.is_new = True
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_request = False
        self._step_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the verified certificate where every request of this connection finds it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("ssl_object")
        self.certificate = None if peer is None else peer.getpeercert(binary_form=True)
        self.addresses = _addresses(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        self._set_deadline(IDLE_DEADLINE_S)
        self._inner.connection_made(transport)
        self._connections.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and stop the clock."""
        self._clear_deadline()
        self._transport = None
        self._connections.end(self)
        self._inner.connection_lost(exc)

    def hurry(self) -> None:
        """Give the peer less time for its first request."""
        self._set_deadline(SURPLUS_DEADLINE_S)

    def abort(self) -> None:
        """End the connection at once, whatever it does."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand the event on to uvicorn's protocol; in a request, each step of its body sets the deadline anew."""
        self._step_bytes += len(data)
        if self._is_in_request and self._step_bytes >= BODY_STEP_BYTES:
            self._step_bytes = 0
            self._set_deadline(REQUEST_DEADLINE_S)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand the event on to uvicorn's protocol."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand the event on to uvicorn's protocol."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand the event on to uvicorn's protocol."""
        self._inner.resume_writing()

    @contextmanager
    def in_request(self) -> Iterator[None]:
        """Hold the peer to the deadline of a request, then to that of the wait for the next one."""
        self._is_in_request, self._step_bytes = True, 0
        self._set_deadline(REQUEST_DEADLINE_S)
        try:
            yield
        finally:
            self._is_in_request = False
            self._set_deadline(IDLE_DEADLINE_S)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        if self._transport is not None:
            self._deadline = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _addresses(peer: Sequence[Any] | None, own: Sequence[Any] | None) -> _Addresses | None:
    """Return host and port of both ends, if both are known.

    asyncio tells two more numbers of an IPv6 address; ASGI leaves them out.
    """
    if peer is None or own is None:
        return None
    return (peer[0], peer[1]), (own[0], own[1])
