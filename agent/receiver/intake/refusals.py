"""How the receiver refuses a request as a whole, so that the sender gets to see it.

Owns: the line of text, and reading on for a moment. Leaves to others: what is refused, and why (`service`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from agent.wire.protocol import MAX_BATCH_BYTES

DRAIN_BYTES: Final = 2 * MAX_BATCH_BYTES
DRAIN_DEADLINE_S: Final = 5.0
"""How much more of a refused body is read, and for how long, so that the sender gets to see the refusal."""


class RefusedError(Exception):
    """The request as a whole is not taken."""

    def __init__(self, status: int, line: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.line = line
        self.retry_after_s = retry_after_s


class Refusal(PlainTextResponse):
    """One line of text that ends the connection, after letting the sender finish what it is sending.

    Closing at once would reset the connection under the sender's writes, and it might never read the status.
    """

    def __init__(self, error: RefusedError) -> None:
        headers = {"connection": "close"}
        if error.retry_after_s is not None:
            headers["retry-after"] = str(error.retry_after_s)
        super().__init__(f"{error.line}\n", status_code=error.status, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and read on for a moment; Starlette calls this."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):  # the sender had its time
            async with asyncio.timeout(DRAIN_DEADLINE_S):
                await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < DRAIN_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
