"""A new TLS context under a running transport."""

from __future__ import annotations

import ssl

import httpx
import pytest

from agent.upload.tls import HttpsTransport
from agent.wire.protocol import Refused, encode_reply
from tests.fakes.clock import FakeClock


class Connections:
    """Stands in for the network: remembers which context each request went out with."""

    def __init__(self) -> None:
        self.used: list[ssl.SSLContext] = []
        self.clients: list[httpx.Client] = []

    def new_client(self, context: ssl.SSLContext) -> httpx.Client:
        """Return a client whose every request is answered."""

        def handle(_: httpx.Request) -> httpx.Response:
            self.used.append(context)
            return httpx.Response(200, stream=httpx.ByteStream(encode_reply([Refused("no")])))

        self.clients.append(httpx.Client(transport=httpx.MockTransport(handle)))
        return self.clients[-1]


def test_a_new_context_is_used_from_the_next_batch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a new connection; the old one is closed, and without a new context nothing is opened anew."""
    first, second = (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2))
    offers = iter([None, None, second, None])
    connections = Connections()
    monkeypatch.setattr(HttpsTransport, "_new_client", lambda _, context: connections.new_client(context))
    transport = HttpsTransport(
        "https://receiver.test:8443",
        context=first,
        clock=FakeClock(),
        connect_timeout_s=1,
        reply_timeout_s=1,
        renewed=lambda: next(offers),
    )
    for _ in range(4):
        transport.send([b"one"])
    transport.close()
    assert connections.used == [first, first, second, second]
    assert [client.is_closed for client in connections.clients] == [True, True]
