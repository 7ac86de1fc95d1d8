"""`Transport` over HTTPS: TLS 1.3 only, a private CA, a client certificate.

Owns: the one `ssl.SSLContext`, the request, and the translation of every HTTP and network failure into
`TransportError`. No proxy from the environment, no redirect, no default trust store.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from agent.errors import (
    BatchTooLargeError,
    BrokenTransferError,
    FormatError,
    KeyFileError,
    RejectedError,
    TransportError,
)
from agent.keys.keyfiles import read_public_file
from agent.ports import Clock
from agent.upload.body import SOCKET_OPTIONS, STEP_BYTES, Body, allowed_s, reply_within_s
from agent.upload.causes import WITHOUT_A_WORD, why_refused, words_for
from agent.wire import protocol as reply
from agent.wire.health import HEALTH_MEDIA_TYPE, HEALTH_PATH, one_line
from agent.wire.probe import MAX_PROBE_BYTES, PROBE_MEDIA_TYPE, PROBE_PATH
from agent.wire.renewal import CERTIFICATE_MEDIA_TYPE, MAX_CHAIN_BYTES, RENEWAL_MEDIA_TYPE, RENEWAL_PATH

MAX_RETRY_AFTER_S: Final = 3600.0
"""A receiver's `Retry-After` is honoured up to an hour; a mistyped one must not silence a unit for days."""

KEEP_ALIVE_S: Final = 80.0
"""A quiet unit sends a health report once a minute; a new handshake each time would be most of its traffic."""

MAX_CAUSE_CHARS: Final = 400
_TRY_AGAIN: Final = frozenset({HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_NOT_CONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout)
"""Nothing was sent, so the batch's size is not to blame."""
_ENDED: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""The connection ended under a request: also what a refused client certificate looks like."""


def client_context(*, ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Build the context of a client that trusts one CA and shows one certificate.

    Raises:
        KeyFileError: A file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the certificate and the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False  # a name counts in subjectAltName only (RFC 9525, 6.3)
    # Python 3.13 sets both by default; 3.11 and 3.12 do not.
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    for path in (ca, certificate, key):
        read_public_file(path)  # of a missing one OpenSSL names neither
    try:
        context.load_verify_locations(cafile=ca)
    except OSError as error:
        raise KeyFileError(f"{ca}: not a readable PEM certificate of a CA ({_why(error)})") from None
    try:
        context.load_cert_chain(certificate, key, password=b"")
    except OSError as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise KeyFileError(f"{certificate} and {key} do not belong together: it is another key's") from None
        raise KeyFileError(
            f"{certificate} with {key}: not a PEM certificate and its unencrypted private key ({_why(error)})"
        ) from None
    return context


class HttpsTransport:
    """Sends batches to one receiver over one kept-alive connection."""

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext,
        clock: Clock,
        connect_timeout_s: float,
        reply_timeout_s: float,
        renewed: Callable[[], ssl.SSLContext | None] = lambda: None,
        own: Callable[[], str] = lambda: "the receiver's log says why",
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the connection; nothing is sent yet.

        Args:
            url: `https://host:port` of the receiver.
            context: From `client_context`.
            clock: For the deadline of a whole reply.
            connect_timeout_s: For the TCP and TLS handshakes.
            reply_timeout_s: For each step of a batch and of its reply (`agent.upload.body`), and the
                receiver's work.
            renewed: Asked before each batch; a context it returns is used from then on, over a new connection.
            own: Says what is known here of this unit's certificate, for when the receiver refuses it without a word.
            is_stopped: Whether the daemon is to end: a batch that takes long is broken off then.
        """
        self._url = url + reply.ENVELOPES_PATH
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._renewed = renewed
        self._own = own
        self._context = context
        self._is_answered = False
        self._is_stopped = is_stopped
        self._client = self._new_client(context)

    def send(self, envelopes: Sequence[bytes]) -> list[reply.Answer]:
        """Send one batch and return one answer per envelope, in order.

        Raises:
            BatchTooLargeError: 413.
            RejectedError: 401, 403 and other answers that only a person can change.
            BrokenTransferError: Connected, but the time was up or the connection broke before the whole reply was
                here; 408.
            TransportError: Everything else that is not an agreed answer.
        """
        context = self._renewed()
        if context is not None:
            self._client.close()
            self._context = context
            self._client = self._new_client(context)
        body = Body(reply.encode_request(envelopes), self._clock, is_stopped=self._is_stopped)
        try:
            answer, media_type = self._exchange(body)
        except httpx.HTTPError as error:
            what = f"{self._url}: {self._cause(error)}"[:MAX_CAUSE_CHARS]
            if isinstance(error, _NOT_CONNECTED):
                raise TransportError(what) from None
            raise _broken(what, body, timed_out=isinstance(error, httpx.TimeoutException)) from None
        try:
            return reply.parse_reply(answer, expected=len(envelopes))
        except FormatError as error:
            raise TransportError(f"{self._url}: {_no_reply(media_type, error)}") from None

    def _exchange(self, body: Body) -> tuple[bytes, str]:
        """Return the reply's body and its media type."""
        timeout = httpx.Timeout(
            self._reply_timeout_s,
            connect=self._connect_timeout_s,
            write=allowed_s(2 * STEP_BYTES, self._reply_timeout_s),
            read=reply_within_s(len(body), self._reply_timeout_s),
        )
        headers = {"Content-Length": str(len(body))}
        with self._client.stream("POST", self._url, content=body.steps(), headers=headers, timeout=timeout) as response:
            self._is_answered = True
            _raise_for_status(response, self._clock.now(), body)
            return self._read_body(response, body), _media_type(response)

    def report(self, body: bytes) -> None:
        """Send a health report, on any thread, over the connection that is there or one more.

        Raises:
            TransportError: It did not arrive, or the receiver does not take it.
        """
        url = self._url.removesuffix(reply.ENVELOPES_PATH) + HEALTH_PATH
        try:
            with self._client.stream("POST", url, content=body, headers={"Content-Type": HEALTH_MEDIA_TYPE}) as answer:
                status = answer.status_code
                if status == HTTPStatus.NO_CONTENT:
                    answer.read()  # nothing, by definition; the connection is kept
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed meanwhile, because TLS files changed
            raise TransportError(f"{url}: {self._cause(error)}"[:MAX_CAUSE_CHARS]) from None
        if status != HTTPStatus.NO_CONTENT:
            raise TransportError(f"{url}: answered {status}")

    def ask(self) -> int:
        """Ask the receiver, on any thread, whether this unit may send; return its status, 204 if so (docs/HEALTH.md).

        Raises:
            TransportError: No answer came.
        """
        url = self._url.removesuffix(reply.ENVELOPES_PATH) + HEALTH_PATH
        try:
            with self._client.stream("GET", url) as answer:
                return answer.status_code
        except (httpx.HTTPError, RuntimeError) as error:  # as in `report`
            raise TransportError(f"{url}: {self._cause(error)}"[:MAX_CAUSE_CHARS]) from None

    def prove(self, probe: bytes) -> tuple[int, bytes]:
        """Send a probe; return the status and the beginning of the body: the answer if it is 200, else a line of text.

        Raises:
            TransportError: No answer came.
        """
        url = self._url.removesuffix(reply.ENVELOPES_PATH) + PROBE_PATH
        try:
            with self._client.stream("POST", url, content=probe, headers={"Content-Type": PROBE_MEDIA_TYPE}) as answer:
                body = b""
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > MAX_PROBE_BYTES:
                        break
        except (httpx.HTTPError, RuntimeError) as error:  # as in `report`
            raise TransportError(f"{url}: {self._cause(error)}"[:MAX_CAUSE_CHARS]) from None
        if answer.status_code == HTTPStatus.OK and _media_type(answer) != PROBE_MEDIA_TYPE:
            raise TransportError(f"{url}: {_in_its_place(_media_type(answer))}")
        return answer.status_code, body[:MAX_PROBE_BYTES]

    def _cause(self, error: Exception) -> str:
        """Return why no answer came. Where connections end before any answer, the receiver is asked once more."""
        was_answered, self._is_answered = self._is_answered, False
        if isinstance(error, _ENDED) and not was_answered:
            refusal = why_refused(self._url, self._context, timeout_s=self._connect_timeout_s)
            if refusal is not None:
                refusal = refusal or WITHOUT_A_WORD
                return f"{refusal}: {self._own()}"
        return words_for(error, self._clock.now())

    def renew(self, request: bytes) -> bytes | None:
        """Ask the receiver, on any thread, for a new certificate; return it (PEM), or None while the request waits.

        Raises:
            RejectedError: The receiver gives none, or knows of no renewals.
            TransportError: No answer came, or none that was agreed.
        """
        url = self._url.removesuffix(reply.ENVELOPES_PATH) + RENEWAL_PATH
        headers = {"Content-Type": RENEWAL_MEDIA_TYPE, "Accept": CERTIFICATE_MEDIA_TYPE}
        try:
            with self._client.stream("POST", url, content=request, headers=headers) as answer:
                status = answer.status_code
                body = _read_certificate(answer) if status == HTTPStatus.OK else b""
        except (httpx.HTTPError, RuntimeError) as error:  # as in `report`
            raise TransportError(f"{url}: {self._cause(error)}"[:MAX_CAUSE_CHARS]) from None
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return body or None
        kind = RejectedError if status < HTTPStatus.INTERNAL_SERVER_ERROR else TransportError
        raise kind(f"{url}: answered {status}")

    def close(self) -> None:
        """Drop the connection. Idempotent."""
        self._client.close()

    def _new_client(self, context: ssl.SSLContext) -> httpx.Client:
        transport = httpx.HTTPTransport(
            verify=context,
            trust_env=False,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_S),
            socket_options=SOCKET_OPTIONS,
        )
        return httpx.Client(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self._reply_timeout_s, connect=self._connect_timeout_s),
            headers={"Content-Type": reply.MEDIA_TYPE, "Accept": reply.MEDIA_TYPE, "Accept-Encoding": "identity"},
        )

    def _read_body(self, response: httpx.Response, sent: Body) -> bytes:
        body = bytearray()
        began_s = self._clock.monotonic_s()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > reply.MAX_REPLY_BYTES:
                raise TransportError(f"{self._url}: the reply is longer than {reply.MAX_REPLY_BYTES} bytes")
            most_s = allowed_s(len(body), self._reply_timeout_s)
            if self._clock.monotonic_s() - began_s > most_s:
                raise _broken(f"{self._url}: the reply took longer than {most_s:.0f} s", sent, timed_out=True)
        return bytes(body)


def _raise_for_status(response: httpx.Response, now: datetime, body: Body) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    what = f"{response.request.url}: answered {status}"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise BatchTooLargeError(what)
    if status == HTTPStatus.REQUEST_TIMEOUT:
        after_s = _retry_after_s(response.headers.get("Retry-After"), now)
        raise _broken(what, body, timed_out=True, retry_after_s=after_s)
    if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransportError(what, retry_after_s=_retry_after_s(response.headers.get("Retry-After"), now))
    raise RejectedError(what)


def _media_type(answer: httpx.Response) -> str:
    named: str = answer.headers.get("Content-Type", "")
    return named.partition(";")[0].strip().lower()


def _no_reply(media_type: str, error: FormatError) -> str:
    if media_type in ("", reply.MEDIA_TYPE):
        return f"answered 200 with no agreed reply: {error}"
    return _in_its_place(media_type)


def _in_its_place(media_type: str) -> str:
    found = one_line(media_type, max_chars=60) or "no media type"
    return f"answered 200 with {found}, so something answers in its place, as a captive portal or a proxy does"


def _broken(what: str, body: Body, *, timed_out: bool, retry_after_s: float | None = None) -> BrokenTransferError:
    return BrokenTransferError(
        f"{what}; {body.progress()}", retry_after_s=retry_after_s, sent_bytes=body.sent_bytes, timed_out=timed_out
    )


def _retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the wait that `Retry-After` (RFC 9110, 10.2.3: seconds or a date) asks for, within our limits."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), MAX_RETRY_AFTER_S)
    try:
        wait_s = (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def _read_certificate(answer: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > MAX_CHAIN_BYTES:
            raise TransportError(f"{answer.request.url}: the certificate is longer than {MAX_CHAIN_BYTES} bytes")
    return bytes(body)


def _why(error: OSError) -> str:
    return error.strerror or getattr(error, "reason", "") or type(error).__name__
