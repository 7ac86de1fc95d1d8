"""An HTTPS server with the receiver's real certificate that answers whatever a test tells it to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from agent.wire.envelope import Envelope, parse_envelope
from agent.wire.protocol import parse_request
from tests.fakes.pki import Bench
from tests.fakes.waiting import WITHIN_S

Lie = Callable[[list[Envelope]], tuple[int, bytes]]
"""From the envelopes that came to (status, body)."""


@contextmanager
def serve_lies(bench: Bench, lie: Lie) -> Iterator[str]:
    """Serve on loopback with mutual TLS 1.3, and give the URL."""

    class Handler(BaseHTTPRequestHandler):
        timeout = WITHIN_S
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = lie([parse_envelope(data) for data in parse_request(body)])
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(bench.receiver.server_certificate, bench.receiver.server_key)
    context.load_verify_locations(bench.receiver.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
