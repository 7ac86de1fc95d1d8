"""The upload protocol as an ASGI application: `POST /v1/envelopes`.

Owns: status codes, limits on the body, and which thread works. Leaves to others: TLS (`server`), which puts the peer's
certificate into the connection's state under `PEER_CERTIFICATE`; what becomes of an envelope (`intake`).

| status | when | what is stored |
|---|---|---|
| 200 | one answer per envelope | what the answers say |
| 400 | the body is no sequence of 1 to 64 byte strings | nothing |
| 401, 403 | no client certificate; not that of an enrolled device | nothing |
| 408 | the body took longer than `BODY_DEADLINE_S` | nothing |
| 413 | the body is longer than 8 MiB | nothing |
| 415 | another media type | nothing |
| 503 | a device's file cannot be read | nothing |

Logs carry device names, ids and sizes; never what is in an envelope.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.envelope.reply import ENVELOPES_PATH, MAX_BATCH_BYTES, MEDIA_TYPE, encode_reply, parse_request
from agent.errors import FormatError, ReceiverError
from agent.receiver.devices import Device
from agent.receiver.intake import STORE_WAIT_S, Intake
from agent.receiver.notices import Notices

PEER_CERTIFICATE: Final = "peer_certificate"
"""Key in the connection's state: the verified client certificate (DER bytes), if there is one."""
BODY_DEADLINE_S: Final = 60.0
"""8 MiB at 140 kB/s, an LTE uplink at the edge of its cell. A slower link sends smaller batches."""
MAX_BODIES: Final = 16
"""Requests whose bodies are in memory at a time: at most 128 MiB. Others wait for their turn."""
DRAIN_BYTES: Final = 2 * MAX_BATCH_BYTES
DRAIN_DEADLINE_S: Final = 5.0
"""How much more of a refused body is read, and for how long, so that the sender gets to see the refusal."""

_log = logging.getLogger(__name__)


class _RefusedError(Exception):
    """The request as a whole is not taken."""

    def __init__(self, status: int, line: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.line = line
        self.retry_after_s = retry_after_s


class _Refusal(PlainTextResponse):
    """One line of text that ends the connection, after letting the sender finish what it is sending.

    Closing at once would reset the connection under the sender's writes, and it might never read the status.
    """

    def __init__(self, error: _RefusedError) -> None:
        headers = {"connection": "close"}
        if error.retry_after_s is not None:
            headers["retry-after"] = str(error.retry_after_s)
        super().__init__(f"{error.line}\n", status_code=error.status, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(DRAIN_DEADLINE_S):
                await _drain(receive)
        except TimeoutError:
            pass  # the sender had its time
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < DRAIN_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


class _Envelopes:
    """The one endpoint."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._bodies = asyncio.Semaphore(MAX_BODIES)
        self._notices = Notices()

    async def post(self, request: Request) -> Response:
        """Answer a batch."""
        try:
            sender = await self._sender(request)
            try:
                _check_media_type(request)
                async with self._bodies:
                    return await self._answer(await _read_body(request), sender)
            except _RefusedError as error:
                _log.warning("%d for a request of %s: %s", error.status, sender.name, error.line)
                return _Refusal(error)
        except _RefusedError as error:
            return _Refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody: the connection is gone, and nothing was stored

    async def _sender(self, request: Request) -> Device:
        certificate = request.scope.get("state", {}).get(PEER_CERTIFICATE)
        if not isinstance(certificate, bytes):
            raise _RefusedError(401, "a client certificate is needed")
        subject = f"certificate {hashlib.sha256(certificate).hexdigest()[:16]}"
        try:
            device = await asyncio.to_thread(self._intake.sender, certificate)
        except ReceiverError as error:
            if self._notices.begins(subject):
                _log.error("503 for %s: %s", subject, error)
            raise _RefusedError(503, "not able to look up devices", retry_after_s=STORE_WAIT_S) from None
        if device is None:
            if self._notices.begins(subject):
                _log.warning("403 for %s: it is not that of an enrolled device", subject)
            raise _RefusedError(403, "the client certificate is not that of an enrolled device")
        if self._notices.ends(subject):
            _log.info("%s is that of %s now", subject, device.name)
        return device

    async def _answer(self, body: bytes, sender: Device) -> Response:
        try:
            batch = parse_request(body)
        except FormatError as error:
            raise _RefusedError(400, str(error)) from None
        answers = await asyncio.to_thread(self._intake.take, batch, sender)
        return Response(encode_reply(answers), media_type=MEDIA_TYPE)


def build_service(intake: Intake) -> Starlette:
    """Return the ASGI application around an intake."""
    return Starlette(routes=[Route(ENVELOPES_PATH, _Envelopes(intake).post, methods=["POST"])])


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise _RefusedError(415, f"the body must be {MEDIA_TYPE}")


async def _read_body(request: Request) -> bytes:
    """Read the body within its limits of size and time."""
    too_long = _RefusedError(413, f"the body is longer than {MAX_BATCH_BYTES} bytes")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > MAX_BATCH_BYTES:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BATCH_BYTES:
                    raise too_long
    except TimeoutError:
        raise _RefusedError(408, f"the body took longer than {BODY_DEADLINE_S:.0f} s") from None
    return bytes(body)
