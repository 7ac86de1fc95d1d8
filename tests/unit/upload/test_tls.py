"""The HTTPS transport: every status, every broken reply, every bad file."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from agent.errors import BatchTooLargeError, BrokenTransferError, KeyFileError, RejectedError, TransportError
from agent.upload.body import FINISH_WITHIN_S, IN_FLIGHT_BYTES, STEP_BYTES, Body, allowed_s, reply_within_s
from agent.upload.tls import HttpsTransport, client_context
from agent.wire import protocol as reply
from agent.wire.protocol import Refused, encode_reply
from tests.fakes.clock import FakeClock
from tests.fakes.pki import make_bench


def transport_to(handler: httpx.MockTransport) -> HttpsTransport:
    """Return a transport whose network is `handler`."""
    transport = HttpsTransport(
        "https://receiver.test:8443",
        context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        clock=FakeClock(),
        connect_timeout_s=1,
        reply_timeout_s=1,
    )
    transport._client._transport = handler
    return transport


def answering(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> HttpsTransport:
    """Return a transport to a receiver that always answers the same."""
    return transport_to(
        httpx.MockTransport(lambda _: httpx.Response(status, stream=httpx.ByteStream(body), headers=headers))
    )


def test_an_agreed_reply_is_returned_in_order() -> None:
    """One answer per envelope; the request is the agreed one."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(encode_reply([Refused("a"), Refused("b")])))

    answers = transport_to(httpx.MockTransport(handle)).send([b"one", b"two"])
    assert answers == [Refused("a"), Refused("b")]
    assert str(seen[0].url) == "https://receiver.test:8443/v1/envelopes"
    assert seen[0].headers["content-type"] == "application/cbor-seq"
    assert reply.parse_request(seen[0].content) == [b"one", b"two"]


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", encode_reply([Refused("a")] * 2), b"\x82\x00"])
def test_a_200_without_an_agreed_reply_is_a_failure(body: bytes) -> None:
    """Empty, a captive portal's page, too many answers, cut off."""
    with pytest.raises(TransportError, match="no agreed reply"):
        answering(200, body).send([b"one"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (201, RejectedError),
        (204, RejectedError),
        (301, RejectedError),
        (307, RejectedError),
        (400, RejectedError),
        (401, RejectedError),
        (403, RejectedError),
        (404, RejectedError),
        (408, BrokenTransferError),
        (413, BatchTooLargeError),
        (415, RejectedError),
        (425, TransportError),
        (429, TransportError),
        (500, TransportError),
        (502, TransportError),
        (503, TransportError),
    ],
)
def test_every_other_status_is_an_error_of_its_class(status: int, kind: type[TransportError]) -> None:
    """A valid body does not excuse another status; redirects are not followed."""
    with pytest.raises(TransportError) as caught:
        answering(status, encode_reply([Refused("a")]), {"Location": "https://elsewhere.test/"}).send([b"one"])
    assert type(caught.value) is kind
    assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("999999999999999999", 3600.0),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Mon, 01 Mar 2037 11:00:00 GMT", 3600.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_within_limits(value: str, seconds: float | None) -> None:
    """Seconds and dates; nonsense is no wait, a mistyped one is at most an hour."""
    clock = FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    transport = answering(503, headers={})
    transport._clock = clock
    response = httpx.Response(503, headers=[(b"Retry-After", value.encode())])
    transport._client._transport = httpx.MockTransport(lambda _: response)
    with pytest.raises(TransportError) as caught:
        transport.send([b"one"])
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), TransportError),
        (httpx.ConnectTimeout("slow"), TransportError),
        (httpx.ReadTimeout("slow"), BrokenTransferError),
        (httpx.WriteTimeout("slow"), BrokenTransferError),
        (httpx.WriteError("reset"), BrokenTransferError),
        (httpx.ReadError("reset"), BrokenTransferError),
        (httpx.RemoteProtocolError("garbage"), BrokenTransferError),
    ],
)
def test_every_network_failure_is_translated(error: httpx.HTTPError, kind: type[TransportError]) -> None:
    """No httpx error leaves the transport; only one after the connection stood says something of the batch's size."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(TransportError, match=type(error).__name__) as caught:
        transport_to(httpx.MockTransport(fail)).send([b"one"])
    assert type(caught.value) is kind


def test_a_reply_that_is_too_long_is_cut_off() -> None:
    """The limit holds before anything is parsed."""
    with pytest.raises(TransportError, match="longer than"):
        answering(200, bytes(reply.MAX_REPLY_BYTES + 1)).send([b"one"])


def test_a_reply_that_trickles_is_given_up() -> None:
    """The deadline is for the whole reply, not for each byte."""

    class Trickle(httpx.SyncByteStream):
        def __init__(self, clock: FakeClock) -> None:
            self._clock = clock

        def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204
            while True:
                self._clock.advance(0.6)
                yield b"\x00"

    clock = FakeClock()
    transport = transport_to(httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle(clock))))
    transport._clock = clock
    with pytest.raises(BrokenTransferError, match="took longer than 1 s"):
        transport.send([b"one"])


def test_a_certificate_for_another_name_is_told_with_its_mend() -> None:
    """As when it has a common name only: OpenSSL's words do not say where the name must stand."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(
            "certificate verify failed: Hostname mismatch, certificate is not valid for 'a.example'."
        )

    asks: list[Callable[[HttpsTransport], object]] = [
        lambda each: each.send([b"one"]),
        lambda each: each.report(b"x"),
        lambda each: each.renew(b"x"),
    ]
    for ask in asks:
        transport = transport_to(httpx.MockTransport(refuse))
        with pytest.raises(TransportError, match=r"in its subjectAltName$"):
            ask(transport)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"PEM", b"PEM"),
        (202, b"", None),
        (403, b"", RejectedError),
        (404, b"", RejectedError),
        (503, b"", TransportError),
    ],
)
def test_a_request_for_a_certificate_is_answered(status: int, body: bytes, expected: object) -> None:
    """With one, with a wait, or with a refusal, also by a receiver that knows of no renewals."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, stream=httpx.ByteStream(body))

    transport = transport_to(httpx.MockTransport(handle))
    if isinstance(expected, type):
        with pytest.raises(expected, match=f"answered {status}"):
            transport.renew(b"signed")
    else:
        assert transport.renew(b"signed") == expected
    assert (str(seen[0].url), seen[0].content) == ("https://receiver.test:8443/v1/renewal", b"signed")
    assert seen[0].headers["content-type"] == "application/cose"


def test_a_certificate_without_end_is_not_collected() -> None:
    """More than any chain has is a failure, not memory."""
    endless = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"x" * 70_000)))
    with pytest.raises(TransportError, match="longer than 65536 bytes"):
        transport_to(endless).renew(b"signed")


def test_closing_twice_is_fine() -> None:
    """Idempotent, as the port says; and then it is closed."""
    transport = answering(200)
    transport.close()
    transport.close()
    with pytest.raises(RuntimeError):
        transport.send([b"one"])


def test_the_context_is_tls_1_3_with_host_names_checked(tmp_path: Path) -> None:
    """What the promises rest on is set, whatever the Python version's defaults."""
    bench = make_bench(tmp_path)
    context = client_context(ca=bench.receiver.ca, certificate=bench.device.certificate, key=bench.device.tls_key)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


def test_wrong_files_are_named(tmp_path: Path) -> None:
    """Missing, not PEM, and a key of another certificate: one line with the path."""
    bench = make_bench(tmp_path)
    ca, certificate, key = bench.receiver.ca, bench.device.certificate, bench.device.tls_key
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("hello")
    for wrong in (
        {"ca": tmp_path / "missing", "certificate": certificate, "key": key},
        {"ca": garbage, "certificate": certificate, "key": key},
        {"ca": ca, "certificate": garbage, "key": key},
        {"ca": ca, "certificate": certificate, "key": bench.receiver.server_key},
    ):
        with pytest.raises(KeyFileError, match=str(tmp_path)) as caught:
            client_context(**wrong)
        assert "\n" not in str(caught.value)


def test_a_report_goes_to_the_health_path_and_needs_a_204() -> None:
    """Beside the envelopes' path, with its own media type; whatever else comes is a failure of this report."""
    seen: list[tuple[str, str, str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.headers["content-type"], request.read()))
        return httpx.Response(204)

    transport = transport_to(httpx.MockTransport(answer))
    transport.report(b"report")
    assert seen == [("POST", "/v1/health", "application/cbor", b"report")]
    for status in (200, 400, 403, 404, 503):
        with pytest.raises(TransportError, match=f"answered {status}"):
            answering(status).report(b"report")
    transport.close()
    with pytest.raises(TransportError, match="RuntimeError"):
        transport.report(b"report")


def test_the_receiver_is_asked_without_a_change() -> None:
    """The status is the answer, whatever it is; only silence is a failure."""
    assert [answering(status).ask() for status in (204, 403, 404)] == [204, 403, 404]

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(TransportError, match="ConnectError: refused"):
        transport_to(httpx.MockTransport(refuse)).ask()


def test_a_body_goes_out_in_steps_with_its_length() -> None:
    """So that a slow line is told from a dead one; no more is asked for than has gone."""
    seen: list[tuple[str, list[int]]] = []

    class Steps(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.SyncByteStream)
            seen.append((request.headers["content-length"], [len(step) for step in request.stream]))
            assert "transfer-encoding" not in request.headers
            assert request.extensions["timeout"]["write"] == 3
            assert request.extensions["timeout"]["read"] == reply_within_s(seen[-1][1][0] * 2 + 1, 1)
            return httpx.Response(200, stream=httpx.ByteStream(encode_reply([Refused("a")])))

    transport = answering(200)
    transport._client._transport = Steps()
    transport.send([bytes(2 * STEP_BYTES + 1 - 3)])
    assert seen == [(str(2 * STEP_BYTES + 1), [STEP_BYTES, STEP_BYTES, 1])]


def test_the_time_for_a_reply_follows_what_may_still_be_under_way() -> None:
    """One timeout for the receiver's work, and one for each step that the kernel may hold; never more of them."""
    assert reply_within_s(0, 60) == 60
    assert reply_within_s(STEP_BYTES, 60) == 120
    assert reply_within_s(1 << 23, 60) == reply_within_s(IN_FLIGHT_BYTES, 60) == allowed_s(IN_FLIGHT_BYTES, 60)


def test_a_broken_transfer_says_how_far_it_came() -> None:
    """Bytes and speed for a person, and for the size of the next batch; a timeout is told from a reset."""
    clock = FakeClock()

    class Breaks(httpx.BaseTransport):
        def __init__(self, error: httpx.HTTPError) -> None:
            self._error = error

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.SyncByteStream)
            for number, _ in enumerate(request.stream):
                clock.advance(20)
                if number == 2:
                    raise self._error
            raise AssertionError

    for error, is_timeout in ((httpx.WriteTimeout("slow"), True), (httpx.WriteError("reset"), False)):
        transport = answering(200)
        transport._clock = clock
        transport._client._transport = Breaks(error)
        with pytest.raises(
            BrokenTransferError, match=r"; 16384 of 100005 bytes had gone out in 60 s, 273 bytes/s$"
        ) as caught:
            transport.send([bytes(100_000)])
        assert (caught.value.sent_bytes, caught.value.timed_out) == (2 * STEP_BYTES, is_timeout)


def test_a_long_request_is_broken_off_when_the_daemon_ends() -> None:
    """Not a short one, which is worth finishing."""
    clock = FakeClock()
    for took_s, steps in ((FINISH_WITHIN_S, 3), (FINISH_WITHIN_S + 1, 1)):
        body, sent = Body(bytes(3 * STEP_BYTES), clock, is_stopped=lambda: True), 0
        with suppress(httpx.WriteError):
            for _ in body.steps():
                sent += 1
                clock.advance(took_s if sent == 1 else 0)
        assert sent == steps
