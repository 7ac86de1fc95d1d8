"""A TLS server that reads bodies and answers with as many bytes as a receiver does: what TLS and HTTP cost alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from agent.receiver.layout import ReceiverLayout

ANSWER_BYTES = 64 * 300
"""Receipts for a full batch."""


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body of a request, and answer it."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-length", str(ANSWER_BYTES).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(ANSWER_BYTES)})


def main(directory: Path, port_file: Path) -> None:
    """Serve with the certificates of a receiver's folder until a signal; `port_file` gets the port."""
    layout = ReceiverLayout(directory)
    config = uvicorn.Config(
        answer,
        http="h11",
        loop="asyncio",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=600,
        ssl_keyfile=str(layout.server_key),
        ssl_certfile=str(layout.server_certificate),
        ssl_ca_certs=str(layout.ca),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port_file.write_text(f"{listener.getsockname()[1]}\n")
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
