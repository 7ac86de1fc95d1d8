"""Whose certificate a request has, told by asyncio below the HTTP server and by ASGI above it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from agent.receiver.intake.connections import (
    IDLE_DEADLINE_S,
    MAX_OF_A_CERTIFICATE,
    REQUEST_DEADLINE_S,
    RETRY_AFTER_S,
    SURPLUS,
    SURPLUS_DEADLINE_S,
    Connections,
)
from agent.receiver.intake.service import BODY_STEP_BYTES, PEER_CERTIFICATE

SERVER = ("192.0.2.1", 8443)


class _Peer:
    """What an SSL transport tells of the other end."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def getpeercert(self, *, binary_form: bool) -> bytes:
        """Return the certificate."""
        assert binary_form
        return self._certificate


class _Transport(asyncio.Transport):
    """A connection that is there by name only."""

    def __init__(self, client: tuple[Any, ...] | None, certificate: bytes, *, server: tuple[Any, ...] = SERVER) -> None:
        super().__init__({"peername": client, "sockname": server, "ssl_object": _Peer(certificate)})
        self.is_aborted = False

    def abort(self) -> None:
        """Note it."""
        self.is_aborted = True


class _Http(asyncio.Protocol):
    """An HTTP server that only notes what reaches it."""

    def __init__(self, *, name: str) -> None:
        self.calls: list[str] = [name]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note it."""
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        """Note it."""
        self.calls.append(f"data {data!r}")

    def eof_received(self) -> bool:
        """Note it, and keep the connection half open."""
        self.calls.append("eof")
        return True

    def pause_writing(self) -> None:
        """Note it."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.calls.append("lost")


def connect(connections: Connections, transport: _Transport) -> asyncio.Protocol:
    """Make a protocol as an HTTP server does, and connect it."""
    protocol = connections.below(_Http)(name="h")
    protocol.connection_made(transport)
    return protocol


async def certificate_seen(connections: Connections, **scope: Any) -> object:
    """Return the certificate that the application finds for a request, or "none" where it finds no word of one."""
    seen: list[object] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope.get("state", {}).get(PEER_CERTIFICATE, "none"))

    await connections.above(app)({"type": "http", "server": SERVER, **scope}, _nothing, _nowhere)
    (certificate,) = seen
    return certificate


async def _nothing() -> Message:
    raise AssertionError


async def _nowhere(message: Message) -> None:
    raise AssertionError(message)


def in_loop(check: Callable[[Connections], Any], *, most: int = 1000) -> None:
    """Run a check in an event loop."""
    asyncio.run(check(Connections(most=most)))


def test_each_request_has_the_certificate_of_its_own_connection() -> None:
    """Two units at a time; one address of the server's or one port of the unit's more is another connection."""

    async def check(connections: Connections) -> None:
        connect(connections, _Transport(("192.0.2.7", 40000), b"first"))
        connect(connections, _Transport(("192.0.2.7", 40001), b"second"))
        connect(connections, _Transport(("192.0.2.7", 40000), b"third", server=("192.0.2.2", 8443)))
        connect(connections, _Transport(("2001:db8::7", 40000, 0, 0), b"sixth", server=("2001:db8::1", 8443, 0, 0)))
        assert await certificate_seen(connections, client=("192.0.2.7", 40000)) == b"first"
        assert await certificate_seen(connections, client=["192.0.2.7", 40001]) == b"second"
        assert await certificate_seen(connections, client=("192.0.2.7", 40000), server=("192.0.2.2", 8443)) == b"third"
        assert (
            await certificate_seen(connections, client=("2001:db8::7", 40000), server=("2001:db8::1", 8443)) == b"sixth"
        )

    in_loop(check)


def test_a_request_without_a_live_connection_has_no_certificate() -> None:
    """Of an unknown peer, of one that has left, of one without an address."""

    async def check(connections: Connections) -> None:
        left = connect(connections, _Transport(("192.0.2.7", 40000), b"left"))
        connect(connections, _Transport(None, b"gone before it was looked at"))
        left.connection_lost(None)
        for client in (("192.0.2.7", 40000), ("192.0.2.9", 1), None):
            assert await certificate_seen(connections, client=client) == "none"

    in_loop(check)


def test_everything_reaches_the_http_server() -> None:
    """All six calls of asyncio, in order, and its answer to the end of the stream."""

    async def check(connections: Connections) -> None:
        https: list[_Http] = []

        def http(**arguments: str) -> _Http:
            https.append(_Http(**arguments))
            return https[-1]

        protocol = connections.below(http)(name="h")
        protocol.connection_made(_Transport(("192.0.2.7", 40000), b""))
        protocol.data_received(b"x")
        protocol.pause_writing()
        protocol.resume_writing()
        assert protocol.eof_received() is True
        protocol.connection_lost(None)
        assert https[0].calls == ["h", "made", "data b'x'", "pause", "resume", "eof", "lost"]

    in_loop(check)


def test_a_request_that_outlives_its_connection_sets_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left in the loop's clock for a connection that has ended."""

    async def check(connections: Connections) -> None:
        loop = asyncio.get_running_loop()
        protocol = connect(connections, _Transport(("192.0.2.7", 40000), b""))
        waits: list[asyncio.TimerHandle] = []
        call_later = loop.call_later

        def noted(*args: Any) -> asyncio.TimerHandle:
            waits.append(call_later(*args))
            return waits[-1]

        monkeypatch.setattr(loop, "call_later", noted)

        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            protocol.connection_lost(None)

        scope = {"type": "http", "client": ("192.0.2.7", 40000), "server": SERVER}
        await connections.above(app)(scope, _nothing, _nowhere)
        assert len(waits) == 1  # that of the request
        assert waits[0].cancelled()

    in_loop(check)


def test_a_step_of_a_body_sets_the_deadline_of_its_request_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a step does not, and outside of a request nothing does."""
    set_s: list[float] = []

    async def check(connections: Connections) -> None:
        loop, client = asyncio.get_running_loop(), ("192.0.2.9", 4000)
        call_later = loop.call_later

        def noted(seconds: float, act: Callable[..., object]) -> asyncio.TimerHandle:
            set_s.append(seconds)
            return call_later(seconds, act)

        monkeypatch.setattr(loop, "call_later", noted)
        connection = connect(connections, _Transport(client, b"der"))
        connection.data_received(bytes(BODY_STEP_BYTES))

        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            connection.data_received(bytes(BODY_STEP_BYTES - 1))
            assert set_s == [IDLE_DEADLINE_S, REQUEST_DEADLINE_S]
            connection.data_received(b"1")
            connection.data_received(bytes(3 * BODY_STEP_BYTES))

        await connections.above(app)({"type": "http", "client": client, "server": SERVER}, _nothing, _nowhere)
        connection.connection_lost(None)

    in_loop(check)
    assert set_s == [IDLE_DEADLINE_S, *[REQUEST_DEADLINE_S] * 3, IDLE_DEADLINE_S]


class _Line:
    """A connection of somebody, from a port of its own."""

    def __init__(self, connections: Connections, port: int, certificate: bytes) -> None:
        self._connections = connections
        self._client = ("192.0.2.7", port)
        self.transport = _Transport(self._client, certificate)
        self.protocol = connect(connections, self.transport)

    @property
    def is_out(self) -> bool:
        """Whether the receiver has ended it."""
        return self.transport.is_aborted

    async def status(self) -> int:
        """Return the status of a request's answer; 204 is the application's."""
        return int((await self.answer())["status"])

    async def answer(self) -> dict[str, Any]:
        """Return the head of a request's answer."""
        sent: list[Any] = []

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "client": self._client, "server": SERVER}
        await self._connections.above(app)(scope, receive, send)
        return dict(sent[0])


def test_who_is_in_stays_in_however_many_come() -> None:
    """A newcomer is told when to come again, and comes in once there is room."""

    async def check(connections: Connections) -> None:
        within = [_Line(connections, number, b"unit %d" % number) for number in range(3)]
        late = _Line(connections, 100, b"late")
        answer = await late.answer()
        assert answer["status"] == 503
        assert (b"retry-after", str(RETRY_AFTER_S).encode()) in answer["headers"]
        assert [await line.status() for line in within] == [204] * 3
        late.protocol.connection_lost(None)
        within[0].protocol.connection_lost(None)
        assert await _Line(connections, 101, b"late").status() == 204
        assert not any(line.is_out for line in within)

    in_loop(check, most=3)


def test_who_has_many_makes_room_for_who_has_few() -> None:
    """The oldest of the largest crowd goes, also of the newcomer's own; one certificate never fills the receiver."""

    async def check(connections: Connections) -> None:
        crowd = [_Line(connections, number, b"crowd") for number in range(3)]
        single = _Line(connections, 10, b"single")
        new = _Line(connections, 11, b"new")
        assert [line.is_out for line in crowd] == [True, False, False]
        again = _Line(connections, 12, b"new")
        assert [line.is_out for line in (*crowd[1:], single, new, again)] == [False, False, False, True, False]
        third = _Line(connections, 13, b"third")
        assert [line.is_out for line in (*crowd[1:], single, again, third)] == [True, False, False, False, False]
        assert [await line.status() for line in (crowd[2], single, again, third)] == [204] * 4

    in_loop(check, most=4)


def test_newcomers_without_room_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number, and in how long they may take to ask; those that are in are not touched."""
    set_s: list[float] = []

    async def check(connections: Connections) -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def noted(seconds: float, act: Callable[..., object]) -> asyncio.TimerHandle:
            set_s.append(seconds)
            return call_later(seconds, act)

        within = _Line(connections, 1, b"within")
        monkeypatch.setattr(loop, "call_later", noted)
        late = [_Line(connections, 1000 + number, b"late %d" % number) for number in range(SURPLUS + 1)]
        assert [line.is_out for line in late] == [False] * SURPLUS + [True]
        assert SURPLUS_DEADLINE_S in set_s
        late[0].protocol.connection_lost(None)
        assert not _Line(connections, 5000, b"later").is_out
        assert await within.status() == 204

    in_loop(check, most=1)


def test_a_certificate_has_its_newest_connections() -> None:
    """Of a unit whose line broke the older ones are dead."""

    async def check(connections: Connections) -> None:
        lines = [_Line(connections, number, b"unit") for number in range(MAX_OF_A_CERTIFICATE + 2)]
        assert [line.is_out for line in lines] == [True] * 2 + [False] * MAX_OF_A_CERTIFICATE

    in_loop(check)
