"""The upload protocol as an ASGI application: `POST` to `/v1/envelopes`, `/v1/health`, `/v1/probe`; the page `/fleet`.

Owns: status codes, limits on the body, and which thread works. Leaves to others: TLS (`server`); the peer's
certificate, which `connections` puts into the request's state under `PEER_CERTIFICATE`; memory (`bodies`) and whose
turn it is (`shares`); what becomes of an envelope (`intake`).

For `POST /v1/envelopes`:

| status | when | what is stored |
|---|---|---|
| 200 | one answer per envelope | what the answers say |
| 400 | the body is no sequence of 1 to 64 byte strings | nothing |
| 401, 403 | no client certificate; not that of an enrolled device | nothing |
| 408 | the body made no step (`BODY_STEP_BYTES`) in `BODY_DEADLINE_S`, or gave way to newer ones | nothing |
| 413 | the body is longer than 8 MiB | nothing |
| 415 | another media type | nothing |
| 503 | a device's file cannot be read | nothing |

`POST /v1/renewal` takes a unit's signed request for a new certificate and answers 200 with it, 202 while nobody has
answered the request yet, 403 where the unit gets none.

`POST /v1/health` takes a unit's report and answers 204, or one of the above; `GET` answers 204 to whoever might send,
and changes nothing. `POST /v1/probe` answers a unit's probe, signed, or 403 with the reason why its reads would not be
taken; nothing is stored. `GET /fleet` is for operators: 401 and 403 as above, for anybody else's certificate, and 404
for a unit that is not enrolled.

Logs carry device names, ids and sizes; never what is in an envelope.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from agent.errors import FormatError, ReceiverError, VerificationError
from agent.health.assess import Finding
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.admission.operators import Operator, OperatorBook
from agent.receiver.admission.renewals import RenewalBook
from agent.receiver.fleet.page import PAGE_HEADERS
from agent.receiver.fleet.pages import FleetPages
from agent.receiver.fleet.shared import Fleet
from agent.receiver.fleet.view import view_of
from agent.receiver.intake.bodies import Bodies, GaveWayError
from agent.receiver.intake.counts import Counts
from agent.receiver.intake.decide import STORE_WAIT_S, Intake
from agent.receiver.intake.notices import Notices, Pace
from agent.receiver.intake.refusals import Refusal, RefusedError
from agent.receiver.intake.shares import SECONDS_PER_BYTE, Shares
from agent.wire.health import HEALTH_MEDIA_TYPE, HEALTH_PATH, MAX_HEALTH_BYTES, parse_health
from agent.wire.probe import MAX_PROBE_BYTES, PROBE_MEDIA_TYPE, PROBE_PATH
from agent.wire.protocol import (
    ENVELOPES_PATH,
    MAX_BATCH_BYTES,
    MEDIA_TYPE,
    Answer,
    encode_reply,
    parse_request,
)
from agent.wire.renewal import CERTIFICATE_MEDIA_TYPE, MAX_RENEWAL_BYTES, RENEWAL_MEDIA_TYPE, RENEWAL_PATH

PEER_CERTIFICATE: Final = "peer_certificate"
"""Key in the request's state: the verified client certificate (DER bytes), if there is one."""
BODY_DEADLINE_S: Final = 180.0
BODY_STEP_BYTES: Final = 4 << 10
"""So much of a body, or all that is left, must come within each `BODY_DEADLINE_S`: 23 bytes a second. On a line that
loses every fifth packet nothing comes for a minute or two now and then: TCP waits longer and longer for one of them."""
SLICE_BYTES: Final = 1 << 20
"""So much of a batch is taken at once of a unit that is over its share while nobody else asks."""
SMALL_SLICE_BYTES: Final = 200_000
"""The same of a unit within its share while others ask: 16 usual reads. Of one that is over it, it is one envelope."""

OwnFindings = Callable[[datetime], Iterable[Finding]]

_log = logging.getLogger(__name__)


class _Units:
    """What units may ask of a receiver: to take envelopes and health reports."""

    def __init__(self, intake: Intake, fleet: Fleet | None, counts: Counts, renewals: RenewalBook | None) -> None:
        self._intake = intake
        self._renewals = renewals
        self._fleet = fleet
        self._counts = counts
        self._batches, self._reports = Bodies(), Bodies()
        self._shares = Shares()
        counts.gauge("bodies_bytes", lambda: self._batches.used_bytes + self._reports.used_bytes)
        self._notices = Notices()
        self._pace = Pace()

    async def post_envelopes(self, request: Request) -> Response:
        """Answer a batch."""
        return await self._take(request, MEDIA_TYPE, MAX_BATCH_BYTES, self._batches, self._answer)

    async def post_health(self, request: Request) -> Response:
        """Keep a report."""
        return await self._take(request, HEALTH_MEDIA_TYPE, MAX_HEALTH_BYTES, self._reports, self._keep_report)

    async def post_renewal(self, request: Request) -> Response:
        """Hand a new certificate out, or keep the request for it."""
        return await self._take(request, RENEWAL_MEDIA_TYPE, MAX_RENEWAL_BYTES, self._reports, self._renew)

    async def get_health(self, request: Request) -> Response:
        """Tell a unit that it may send."""
        try:
            await self._sender(request)
        except RefusedError as error:
            return self._refuse(error)
        return Response(status_code=204)

    async def post_probe(self, request: Request) -> Response:
        """Answer a probe."""
        return await self._take(request, PROBE_MEDIA_TYPE, MAX_PROBE_BYTES, self._reports, self._prove)

    async def _take(
        self,
        request: Request,
        media_type: str,
        max_bytes: int,
        bodies: Bodies,
        answer: Callable[[bytes, Device, bytes], Awaitable[Response]],
    ) -> Response:
        """Read a body of an enrolled device and answer it."""
        try:
            sender = await self._sender(request)
            try:
                _check_media_type(request, media_type)
                most_bytes = _announced_bytes(request, max_bytes)
                async with bodies.taken(
                    sender.key_id, most_bytes, lambda: _read_body(request, max_bytes, self._shares)
                ) as body:
                    return await answer(body, sender, _peer_certificate(request))
            except GaveWayError:
                return self._refuse(RefusedError(408, "newer requests of the same unit took its place"), sender)
            except RefusedError as error:
                return self._refuse(error, sender)
        except RefusedError as error:
            return self._refuse(error)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody: the connection is gone, and nothing was stored

    def _refuse(self, error: RefusedError, sender: Device | None = None) -> Response:
        """Count a refusal; tell of it where the sender is known, and `_sender` has not told already."""
        self._counts.add("requests_refused", str(error.status))
        if sender is not None:
            left_out = self._pace.turn(f"{error.status} {sender.name}")
            if left_out is not None:
                more = f"; {left_out} more like this since the last line" if left_out else ""
                _log.warning("%d for a request of %s: %s%s", error.status, sender.name, error.line, more)
        return Refusal(error)

    async def _sender(self, request: Request) -> Device:
        certificate = _peer_certificate(request)
        subject = f"certificate {hashlib.sha256(certificate).hexdigest()[:16]}"
        try:
            device = await self._shares.do(certificate, self._intake.sender, certificate)
        except ReceiverError as error:
            if self._notices.begins(subject):
                _log.error("503 for %s: %s", subject, error)
            raise RefusedError(503, "not able to look up devices", retry_after_s=STORE_WAIT_S) from None
        if device is None:
            if self._notices.begins(subject):
                _log.warning("403 for %s: it is not that of an enrolled device", subject)
            raise RefusedError(403, "the client certificate is not that of an enrolled device")
        if self._notices.ends(subject):
            _log.info("%s is that of %s now", subject, device.name)
        return device

    async def _answer(self, body: bytes, sender: Device, certificate: bytes) -> Response:
        try:
            batch = await self._shares.do(certificate, parse_request, body)
        except FormatError as error:
            raise RefusedError(400, str(error)) from None
        answers: list[Answer] = []
        while len(answers) < len(batch):
            await self._shares.turn(certificate)
            some = self._at_once(batch[len(answers) :], certificate)
            answers += await self._shares.do(certificate, self._intake.take, some, sender)
        return Response(encode_reply(answers), media_type=MEDIA_TYPE)

    def _at_once(self, batch: list[bytes], certificate: bytes) -> list[bytes]:
        """Return how much of a batch is taken before the others have their turn; at least one envelope."""
        is_over, is_quiet = self._shares.is_over(certificate), self._shares.is_quiet(certificate)
        if is_quiet and not is_over:
            return batch
        most_bytes, most = (SLICE_BYTES, len(batch)) if is_quiet else (0 if is_over else SMALL_SLICE_BYTES, 16)
        sizes = itertools.accumulate(map(len, batch[:most]))
        return batch[: max(1, sum(size <= most_bytes for size in sizes))]

    async def _prove(self, body: bytes, sender: Device, certificate: bytes) -> Response:
        try:
            answer = await self._shares.do(certificate, self._intake.prove, body, sender)
        except ReceiverError as error:
            if self._notices.begins("probe"):
                _log.error("503 for a probe: %s", error)
            raise RefusedError(503, "not able to store envelopes now", retry_after_s=STORE_WAIT_S) from None
        self._notices.ends("probe")
        if isinstance(answer, str):
            raise RefusedError(403, answer)
        return Response(answer, media_type=PROBE_MEDIA_TYPE)

    async def _keep_report(self, body: bytes, sender: Device, certificate: bytes) -> Response:
        try:
            report = parse_health(body)
        except FormatError as error:
            raise RefusedError(400, str(error)) from None
        try:
            if self._fleet is not None:
                await self._shares.do(certificate, self._fleet.keep, sender.name, report, datetime.now(UTC))
        except ReceiverError as error:
            if self._notices.begins("health"):
                _log.error("health reports are not kept: %s", error)
            raise RefusedError(503, "not able to keep reports", retry_after_s=STORE_WAIT_S) from None
        if self._notices.ends("health"):
            _log.info("health reports are kept again")
        return Response(status_code=204)

    async def _renew(self, body: bytes, sender: Device, certificate: bytes) -> Response:
        assert self._renewals is not None  # without it there is no such route
        try:
            is_new = await self._shares.do(certificate, self._renewals.is_new, body)
            answer = await self._shares.do(certificate, self._renewals.ask, body, sender)
        except FormatError as error:
            raise RefusedError(400, str(error)) from None
        except VerificationError as error:
            raise RefusedError(403, str(error)) from None
        except ReceiverError as error:
            if self._notices.begins("renewal"):
                _log.error("requests for certificates are not kept: %s", error)
            raise RefusedError(503, "not able to keep requests", retry_after_s=STORE_WAIT_S) from None
        self._notices.ends("renewal")
        if answer is not None:
            _log.info("%s has been handed its new certificate", sender.name)
            return Response(answer, media_type=CERTIFICATE_MEDIA_TYPE)
        if is_new:
            _log.warning("%s asks for a new certificate: plateseal receiver renew DIR --units", sender.name)
        return Response(status_code=202)


class _Operators:
    """What operators may ask of a receiver: the fleet page."""

    def __init__(self, operators: OperatorBook, pages: FleetPages) -> None:
        self._operators = operators
        self._pages = pages
        self._notices = Notices()

    async def get_fleet(self, request: Request) -> Response:
        """Show the units, compressed for whoever takes that."""
        try:
            await self._operator(request)
            page = await asyncio.to_thread(self._pages.get, view_of(request.query_params))
        except RefusedError as error:
            return Refusal(error)
        except ReceiverError as error:
            _log.error("503 for the fleet page: %s", error)
            return Refusal(RefusedError(503, "not able to read the fleet", retry_after_s=STORE_WAIT_S))
        if page is None:
            return Refusal(RefusedError(404, "no unit of this name is enrolled"))
        headers = {**PAGE_HEADERS, "vary": "accept-encoding"}
        if not takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(page.body, media_type="text/html", headers=headers)
        return Response(page.gzipped, media_type="text/html", headers={**headers, "content-encoding": "gzip"})

    async def _operator(self, request: Request) -> Operator:
        certificate = _peer_certificate(request)
        operator = await asyncio.to_thread(self._operators.by_certificate, certificate)
        if operator is None:
            raise RefusedError(403, "the client certificate is not that of an operator")
        if self._notices.begins(operator.fingerprint):
            _log.info("%s looks at the fleet", operator.name)
        return operator


def build_service(
    intake: Intake,
    *,
    fleet: Fleet | None = None,
    devices: DeviceBook | None = None,
    operators: OperatorBook | None = None,
    counts: Counts | None = None,
    own: OwnFindings = lambda _: (),
    renewals: RenewalBook | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Starlette:
    """Return the ASGI application.

    Args:
        intake: Takes envelopes.
        fleet: Keeps health reports; without it they are checked and forgotten.
        devices: Who is on the fleet page; without these, `fleet` and `operators` there is none.
        operators: Who may see the fleet page.
        counts: Where refusals are counted.
        own: Says at an aware time what is to be looked at on the receiver itself.
        renewals: Keeps requests for certificates; without it none are taken.
        now: The aware UTC time at which the fleet is judged.
    """
    units = _Units(intake, fleet, counts or Counts(), renewals)
    routes = [
        Route(ENVELOPES_PATH, units.post_envelopes, methods=["POST"]),
        Route(HEALTH_PATH, units.post_health, methods=["POST"]),
        Route(HEALTH_PATH, units.get_health, methods=["GET"]),
        Route(PROBE_PATH, units.post_probe, methods=["POST"]),
    ]
    if renewals is not None:
        routes.append(Route(RENEWAL_PATH, units.post_renewal, methods=["POST"]))
    if fleet is not None and devices is not None and operators is not None:
        people = _Operators(operators, FleetPages(devices, fleet, own, now=now))
        routes.append(Route("/fleet", people.get_fleet, methods=["GET"]))
    return Starlette(routes=routes)


def takes_gzip(accept: str) -> bool:
    """Whether the value of an Accept-Encoding header allows gzip: by name, else by `*`, with a weight above 0."""
    weights: dict[str, bool] = {}
    for part in accept.lower().split(","):
        coding, _, weight = (piece.strip() for piece in part.partition(";"))
        weights[coding] = re.fullmatch(r"q\s*=\s*0(\.0*)?", weight) is None
    return weights.get("gzip", weights.get("*", False))


def _peer_certificate(request: Request) -> bytes:
    certificate = request.scope.get("state", {}).get(PEER_CERTIFICATE)
    if not isinstance(certificate, bytes):
        raise RefusedError(401, "a client certificate is needed")
    return certificate


def _check_media_type(request: Request, media_type: str) -> None:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != media_type:
        raise RefusedError(415, f"the body must be {media_type}")


def _announced_bytes(request: Request, max_bytes: int) -> int:
    """Return how long the body is at most."""
    announced = request.headers.get("content-length", str(max_bytes))
    if not announced.isdecimal() or int(announced) > max_bytes:
        raise _too_long(max_bytes)
    return int(announced)


def _too_long(max_bytes: int) -> RefusedError:
    return RefusedError(413, f"the body is longer than {max_bytes} bytes")


async def _read_body(request: Request, max_bytes: int, shares: Shares) -> bytes:
    """Read the body within its limits of size and time, a piece when it is the unit's turn."""
    certificate = _peer_certificate(request)
    body = bytearray()
    step_ends = BODY_STEP_BYTES
    try:
        async with asyncio.timeout(BODY_DEADLINE_S) as deadline:
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise _too_long(max_bytes)
                if len(body) >= step_ends:
                    step_ends = len(body) + BODY_STEP_BYTES
                    deadline.reschedule(asyncio.get_running_loop().time() + BODY_DEADLINE_S)
                shares.charge(certificate, SECONDS_PER_BYTE * len(chunk))
                await shares.turn(certificate)
    except TimeoutError:
        line = f"less than {BODY_STEP_BYTES} bytes of the body came in {BODY_DEADLINE_S:.0f} s, after {len(body)}"
        raise RefusedError(408, line) from None
    return bytes(body)
