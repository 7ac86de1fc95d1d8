"""The upload protocol as an ASGI application: `POST /v1/envelopes`, `/v1/health`, and the page at `/fleet`.

Owns: status codes, limits on the body, and which thread works. Leaves to others: TLS (`server`); the peer's
certificate, which `connections` puts into the request's state under `PEER_CERTIFICATE`; what becomes of an envelope
(`intake`).

For `POST /v1/envelopes`:

| status | when | what is stored |
|---|---|---|
| 200 | one answer per envelope | what the answers say |
| 400 | the body is no sequence of 1 to 64 byte strings | nothing |
| 401, 403 | no client certificate; not that of an enrolled device | nothing |
| 408 | the body made less than `BODY_STEP_BYTES` of progress in `BODY_DEADLINE_S` | nothing |
| 413 | the body is longer than 8 MiB | nothing |
| 415 | another media type | nothing |
| 503 | a device's file cannot be read | nothing |

`POST /v1/health` takes a unit's report and answers 204, or one of the above; `GET` answers 204 to whoever might send,
and changes nothing. `GET /fleet` is for operators: 401 and 403 as above, for anybody else's certificate.

Logs carry device names, ids and sizes; never what is in an envelope.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.errors import FormatError, ReceiverError
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.admission.operators import Operator, OperatorBook
from agent.receiver.fleet.overview import assess_fleet
from agent.receiver.fleet.page import PAGE_HEADERS, render_fleet
from agent.receiver.fleet.store import FleetStore
from agent.receiver.intake.decide import STORE_WAIT_S, Intake
from agent.receiver.intake.notices import Notices
from agent.wire.health import HEALTH_MEDIA_TYPE, HEALTH_PATH, MAX_HEALTH_BYTES, parse_health
from agent.wire.protocol import ENVELOPES_PATH, MAX_BATCH_BYTES, MEDIA_TYPE, encode_reply, parse_request

PEER_CERTIFICATE: Final = "peer_certificate"
"""Key in the request's state: the verified client certificate (DER bytes), if there is one."""
BODY_DEADLINE_S: Final = 180.0
BODY_STEP_BYTES: Final = 4 << 10
"""So much of a body, or all that is left, must come within each `BODY_DEADLINE_S`: 23 bytes a second. On a line that
loses every fifth packet nothing comes for a minute or two now and then: TCP waits longer and longer for one of them."""
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


class _Units:
    """What units may ask of a receiver: to take envelopes and health reports."""

    def __init__(self, intake: Intake, fleet: FleetStore | None) -> None:
        self._intake = intake
        self._fleet = fleet
        self._bodies = asyncio.Semaphore(MAX_BODIES)
        self._notices = Notices()

    async def post_envelopes(self, request: Request) -> Response:
        """Answer a batch."""
        return await self._take(request, MEDIA_TYPE, MAX_BATCH_BYTES, self._answer)

    async def post_health(self, request: Request) -> Response:
        """Keep a report."""
        return await self._take(request, HEALTH_MEDIA_TYPE, MAX_HEALTH_BYTES, self._keep_report)

    async def get_health(self, request: Request) -> Response:
        """Tell a unit that it may send."""
        try:
            await self._sender(request)
        except _RefusedError as error:
            return _Refusal(error)
        return Response(status_code=204)

    async def _take(
        self,
        request: Request,
        media_type: str,
        max_bytes: int,
        answer: Callable[[bytes, Device], Awaitable[Response]],
    ) -> Response:
        """Read a body of an enrolled device and answer it."""
        try:
            sender = await self._sender(request)
            try:
                _check_media_type(request, media_type)
                async with self._bodies:
                    return await answer(await _read_body(request, max_bytes), sender)
            except _RefusedError as error:
                _log.warning("%d for a request of %s: %s", error.status, sender.name, error.line)
                return _Refusal(error)
        except _RefusedError as error:
            return _Refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody: the connection is gone, and nothing was stored

    async def _sender(self, request: Request) -> Device:
        certificate = _peer_certificate(request)
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

    async def _keep_report(self, body: bytes, sender: Device) -> Response:
        try:
            report = parse_health(body)
        except FormatError as error:
            raise _RefusedError(400, str(error)) from None
        try:
            if self._fleet is not None:
                await asyncio.to_thread(self._fleet.keep, sender.name, report, datetime.now(UTC))
        except ReceiverError as error:
            if self._notices.begins("health"):
                _log.error("health reports are not kept: %s", error)
            raise _RefusedError(503, "not able to keep reports", retry_after_s=STORE_WAIT_S) from None
        if self._notices.ends("health"):
            _log.info("health reports are kept again")
        return Response(status_code=204)


class _Operators:
    """What operators may ask of a receiver: the fleet page."""

    def __init__(self, operators: OperatorBook, devices: DeviceBook, fleet: FleetStore) -> None:
        self._operators = operators
        self._devices = devices
        self._fleet = fleet
        self._notices = Notices()

    async def get_fleet(self, request: Request) -> Response:
        """Show every unit."""
        try:
            await self._operator(request)
            page = await asyncio.to_thread(self._page)
        except _RefusedError as error:
            return _Refusal(error)
        except ReceiverError as error:
            _log.error("503 for the fleet page: %s", error)
            return _Refusal(_RefusedError(503, "not able to read the fleet", retry_after_s=STORE_WAIT_S))
        return Response(page, media_type="text/html", headers=PAGE_HEADERS)

    async def _operator(self, request: Request) -> Operator:
        certificate = _peer_certificate(request)
        operator = await asyncio.to_thread(self._operators.by_certificate, certificate)
        if operator is None:
            raise _RefusedError(403, "the client certificate is not that of an operator")
        if self._notices.begins(operator.fingerprint):
            _log.info("%s looks at the fleet", operator.name)
        return operator

    def _page(self) -> bytes:
        now = datetime.now(UTC)
        names = [device.name for device in self._devices.all() if device.revoked is None]
        return render_fleet(assess_fleet(names, self._fleet.newest(), now), now)


def build_service(
    intake: Intake,
    *,
    fleet: FleetStore | None = None,
    devices: DeviceBook | None = None,
    operators: OperatorBook | None = None,
) -> Starlette:
    """Return the ASGI application.

    Args:
        intake: Takes envelopes.
        fleet: Keeps health reports; without it they are checked and forgotten.
        devices: Who is on the fleet page; without these, `fleet` and `operators` there is none.
        operators: Who may see the fleet page.
    """
    units = _Units(intake, fleet)
    routes = [
        Route(ENVELOPES_PATH, units.post_envelopes, methods=["POST"]),
        Route(HEALTH_PATH, units.post_health, methods=["POST"]),
        Route(HEALTH_PATH, units.get_health, methods=["GET"]),
    ]
    if fleet is not None and devices is not None and operators is not None:
        routes.append(Route("/fleet", _Operators(operators, devices, fleet).get_fleet, methods=["GET"]))
    return Starlette(routes=routes)


def _peer_certificate(request: Request) -> bytes:
    certificate = request.scope.get("state", {}).get(PEER_CERTIFICATE)
    if not isinstance(certificate, bytes):
        raise _RefusedError(401, "a client certificate is needed")
    return certificate


def _check_media_type(request: Request, media_type: str) -> None:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != media_type:
        raise _RefusedError(415, f"the body must be {media_type}")


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """Read the body within its limits of size and time."""
    too_long = _RefusedError(413, f"the body is longer than {max_bytes} bytes")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > max_bytes:
        raise too_long
    body = bytearray()
    step_ends = BODY_STEP_BYTES
    try:
        async with asyncio.timeout(BODY_DEADLINE_S) as deadline:
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_long
                if len(body) >= step_ends:
                    step_ends = len(body) + BODY_STEP_BYTES
                    deadline.reschedule(asyncio.get_running_loop().time() + BODY_DEADLINE_S)
    except TimeoutError:
        line = f"less than {BODY_STEP_BYTES} bytes of the body came in {BODY_DEADLINE_S:.0f} s, after {len(body)}"
        raise _RefusedError(408, line) from None
    return bytes(body)
