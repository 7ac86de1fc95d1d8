"""The receiver's door: who gets from a TCP connection to a TLS connection, and why somebody does not.

Owns: accepting, the deadline of a handshake, how many may be under way, and that every refusal is counted and told with
its reason and address. Leaves to others: what TLS asks for (`server`), and everything after the handshake
(`connections`).

asyncio ends a connection whose handshake has failed without a word, and its own servers keep the reason to themselves.
Here the peer gets the alert that OpenSSL has made for it ("certificate expired", "unknown CA"), so a unit can say why.

Invariants: no connection says nothing for longer than `SILENCE_DEADLINE_S`, and one that has begun to speak has a
verified certificate within `HANDSHAKE_DEADLINE_S` of its turn. An address (in IPv6 a /64, which is one customer's) has
at most `MAX_OF_AN_ADDRESS` without one. Where there are too many, the oldest one goes: whoever holds connections open
and says nothing keeps nobody out, and takes one descriptor and no time. A handshake takes some milliseconds of
everybody's time, so an address has `CREDITS` of them at once; one comes back each second, and with each connection
whose first request is answered well. A connection that a known balancer passes on is one of the address that it names
(`balancer`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
import time
from asyncio import sslproto
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from agent.receiver.intake.balancer import Addresses, NoHeaderError, is_among, read_header
from agent.receiver.intake.counts import Counts
from agent.receiver.intake.notices import Pace

SILENCE_DEADLINE_S: Final = 5.0
"""From the connection to its first byte. A client speaks first, at once: it takes more than three lost packets."""
HANDSHAKE_DEADLINE_S: Final = 30.0
"""From the first byte to the end. At 650 bytes a second, with every fifth packet lost, eight took from 3 to 16.5 s:
each lost packet costs a wait of TCP's, which doubles."""
MAX_OF_AN_ADDRESS: Final = 256
"""A provider may put a whole fleet behind one address."""
MAX_HANDSHAKES: Final = 1024
"""In all, each with one descriptor, and with two once it has said something."""
CREDITS: Final = 64
CREDITS_A_SECOND: Final = 1.0
CROWD_S: Final = 0.01
"""Between two connections while somebody has too many: opening them costs more than closing them."""
BACKLOG: Final = 512
ACCEPT_AGAIN_S: Final = 0.5
"""After the system has refused a connection, as it does when there are no descriptors left."""
FAREWELL_S: Final = 1.0
FAREWELL_BYTES: Final = 64 << 10
"""How long, and how much more, is read from a refused peer, so that the alert reaches it before the connection ends."""
MAX_ADDRESSES: Final = 4096
_READ_BYTES: Final = 16 << 10
_TLS_BUFFER_BYTES: Final = 32 << 10
"""What asyncio keeps for each TLS connection as long as it lasts: two records. Its own 256 KiB are most of a gigabyte
for 3,000 units."""

_log = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why a handshake did not come to its end."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_CERTIFICATE = "bad-certificate"
    NO_CERTIFICATE = "no-certificate"
    OLD_TLS = "old-tls"
    NOT_TLS = "not-tls"
    NO_HEADER = "no-proxy-header"
    NOT_TRUSTED = "not-trusted"
    SILENT = "silent"
    SLOW = "slow"
    CROWDED = "crowded"
    BROKEN_OFF = "broken-off"
    OTHER = "other"


_WORDS: Final = {
    Reason.EXPIRED: "its certificate has expired, by this machine's clock",
    Reason.NOT_YET_VALID: "its certificate is not yet valid, by this machine's clock",
    Reason.UNKNOWN_ISSUER: "its certificate is by another CA, or the certificate of an intermediate CA is missing",
    Reason.BAD_CERTIFICATE: "its certificate does not hold",
    Reason.NO_CERTIFICATE: "it showed no certificate",
    Reason.OLD_TLS: "it does not speak TLS 1.3",
    Reason.NOT_TLS: "what it sent is no TLS",
    Reason.NO_HEADER: "it is a --balancer and does not say whose connection it passes on (PROXY protocol, version 2)",
    Reason.NOT_TRUSTED: "it does not trust the receiver's certificate, or refuses its own end",
    Reason.SILENT: f"it said nothing for {SILENCE_DEADLINE_S:.0f} s",
    Reason.SLOW: f"it did not finish the handshake within {HANDSHAKE_DEADLINE_S:.0f} s",
    Reason.CROWDED: "its address has too many connections under way",
    Reason.BROKEN_OFF: "it broke the handshake off",
    Reason.OTHER: "the handshake failed",
}
_DATED: Final = (Reason.EXPIRED, Reason.NOT_YET_VALID)
_BY_VERIFY_CODE: Final = {
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    2: Reason.UNKNOWN_ISSUER,
    7: Reason.UNKNOWN_ISSUER,
    18: Reason.UNKNOWN_ISSUER,
    19: Reason.UNKNOWN_ISSUER,
    20: Reason.UNKNOWN_ISSUER,
    21: Reason.UNKNOWN_ISSUER,
}
"""X509_V_ERR_* of OpenSSL's x509_vfy.h."""
_BY_NAME: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.NO_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": Reason.OLD_TLS,
    "HTTP_REQUEST": Reason.NOT_TLS,
    "HTTPS_PROXY_REQUEST": Reason.NOT_TLS,
    "WRONG_VERSION_NUMBER": Reason.NOT_TLS,
    "RECORD_LAYER_FAILURE": Reason.NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": Reason.NOT_TLS,
    "BAD_RECORD_TYPE": Reason.NOT_TLS,
}
"""By the name of OpenSSL's reason. That of an alert from the peer has "ALERT" in it."""


class _Handshake(ssl.SSLObject):
    """One side of TLS, which puts OpenSSL's last words for the peer into the error of a handshake that fails."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            ssl.SSLError: It wants more, or has failed.
        """
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.alert = self.outgoing.read()  # type: ignore[attr-defined]  # ours, read in `_alert`
            raise


class TlsContext(ssl.SSLContext):
    """A server's TLS context that tells a refused peer why."""

    sslobject_class = _Handshake

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return the object of one connection; asyncio calls this."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, _Handshake)
        made.outgoing = outgoing
        return made


class Door:
    """Accepts connections until it is cancelled. Everything happens in one event loop."""

    def __init__(self, context: ssl.SSLContext, counts: Counts, *, balancers: Addresses = frozenset()) -> None:
        """Take over what TLS asks for, where refusals are counted, and who passes connections of others on."""
        self._context = context
        self._counts = counts
        self._balancers = balancers
        self._passed_on: dict[tuple[str, int], str] = {}
        self._pace = Pace()
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._credits: dict[str, tuple[float, float]] = {}

    async def stand(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Let in whoever finishes a handshake, each with a protocol of its own."""
        sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
        listener.setblocking(False)
        listener.listen(BACKLOG)
        loop = asyncio.get_running_loop()
        while True:
            try:
                plain, peer = await loop.sock_accept(listener)
            except OSError as error:
                if (left_out := self._pace.turn("accept")) is not None:
                    _log.error("a connection cannot be accepted: %s%s", error.strerror, _and_more(left_out))
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            is_crowd = self._begin(plain, peer, protocol)
            await asyncio.sleep(CROWD_S if is_crowd else 0)  # a crowd keeps nobody waiting who is in

    def vouch(self, peer: tuple[str, int]) -> None:
        """Give a credit back: who came from this address and port is good."""
        self._spend(neighbourhood(self._passed_on.pop(peer, peer[0])), -1.0)

    def _begin(self, plain: socket.socket, peer: Sequence[Any], protocol: Callable[[], asyncio.Protocol]) -> bool:
        """Begin with a connection, and end the oldest ones where there are too many; return whether there were."""
        host, port = str(peer[0]), int(peer[1])
        task = asyncio.create_task(self._handshake(plain, (host, port), protocol))
        task.add_done_callback(lambda done: self._under_way.pop(done, None))
        is_for_another = is_among(host, self._balancers)
        return self._count(task, f"{host} port {port}" if is_for_another else neighbourhood(host))

    def _count(self, task: asyncio.Task[None], host: str) -> bool:
        """Count a connection for an address, and end the oldest ones where there are too many."""
        self._under_way[task] = host
        theirs = [each for each, other in self._under_way.items() if other == host]
        too_many = [*theirs[:-MAX_OF_AN_ADDRESS], *list(self._under_way)[:-MAX_HANDSHAKES]]
        for old in too_many:
            address = self._under_way.pop(old, None)
            if address is not None:
                old.cancel()
                self._tell(address, Reason.CROWDED, "")
        return bool(too_many)

    async def _handshake(
        self, plain: socket.socket, peer: tuple[str, int], protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        host = peer[0]
        try:
            with plain:
                plain.setblocking(False)
                named = await self._named(plain, peer) if is_among(host, self._balancers) else host
                host = named or host
                async with asyncio.timeout(SILENCE_DEADLINE_S):
                    await _first_bytes(plain)
                if named is None and _has_ended(plain):
                    return  # a balancer has looked whether somebody listens
                await self._take_credit(neighbourhood(host))
                await self._speak_tls(plain, plain.dup(), host, protocol)  # asyncio closes its own at once
        except NoHeaderError:
            self._tell(host, Reason.NO_HEADER, "")
        except TimeoutError:
            self._tell(host, Reason.SILENT, "")
        except OSError as error:
            self._tell(host, Reason.OTHER, f" ({error.strerror})")

    async def _named(self, plain: socket.socket, balancer: tuple[str, int]) -> str | None:
        """Return the address whose connection a balancer passes on, counted for that one now; None for its own."""
        try:
            async with asyncio.timeout(SILENCE_DEADLINE_S):
                host = await read_header(plain)
        except ConnectionResetError:
            return None  # as some end a look
        self._passed_on[balancer] = host or balancer[0]  # of each port the newest: there are 65,535
        task = asyncio.current_task()
        if host is not None and task in self._under_way:
            self._count(task, neighbourhood(host))
        return host

    async def _speak_tls(
        self, line: socket.socket, theirs: socket.socket, host: str, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                protocol, theirs, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_DEADLINE_S
            )
        except OSError as error:  # TLS errors are of this kind too
            self._tell(host, reason_of(error), _detail(error))
            await _say_goodbye(line, getattr(error, "alert", b""))

    async def _take_credit(self, host: str) -> None:
        """Wait until an address may have a handshake."""
        while (left := self._left(host)) < 1:
            await asyncio.sleep((1 - left) / CREDITS_A_SECOND)
        self._spend(host, 1.0)

    def _left(self, host: str) -> float:
        left, at_s = self._credits.get(host, (float(CREDITS), 0.0))
        return min(float(CREDITS), left + CREDITS_A_SECOND * (time.monotonic() - at_s))

    def _spend(self, host: str, amount: float) -> None:
        if len(self._credits) >= MAX_ADDRESSES and host not in self._credits:
            self._credits = {each: had for each, had in self._credits.items() if self._left(each) < CREDITS}
        self._credits[host] = (min(float(CREDITS), self._left(host) - amount), time.monotonic())

    def _tell(self, host: str, reason: Reason, detail: str) -> None:
        self._counts.add("handshakes_refused", reason)
        left_out = self._pace.turn(f"{host} {reason}")
        if left_out is not None:
            when = f" ({datetime.now(UTC):%Y-%m-%d %H:%M} UTC)" if reason in _DATED else ""
            _log.warning("no connection for %s: %s%s%s%s", host, _WORDS[reason], when, detail, _and_more(left_out))


def reason_of(error: OSError) -> Reason:
    """Return why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Reason.BAD_CERTIFICATE)
    if isinstance(error, ssl.SSLEOFError):
        return Reason.BROKEN_OFF
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        return Reason.NOT_TRUSTED if "ALERT" in name else _BY_NAME.get(name, Reason.OTHER)
    return Reason.SLOW if isinstance(error, ConnectionAbortedError) else Reason.BROKEN_OFF


def neighbourhood(host: str) -> str:
    """Return what counts as one address: of IPv6 the first 64 bits, with which a customer does as he likes."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def _detail(error: OSError) -> str:
    """Return OpenSSL's own words, where it has some."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f" ({error.verify_message})"
    return f" ({error.reason})" if isinstance(error, ssl.SSLError) and error.reason else ""


def _and_more(left_out: int) -> str:
    return f"; {left_out} more like this since the last line" if left_out else ""


async def _first_bytes(plain: socket.socket) -> None:
    """Wait until the peer has said something, or has gone."""
    loop, said = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(plain, said.set)
    try:
        await said.wait()
    finally:
        loop.remove_reader(plain)


def _has_ended(plain: socket.socket) -> bool:
    """Whether the peer has said all that it will, and nothing is left of it."""
    try:
        return not plain.recv(1, socket.MSG_PEEK)
    except ConnectionResetError:
        return True


async def _say_goodbye(line: socket.socket, alert: bytes) -> None:
    """Send the alert, and read what is still coming: unread bytes would reset the connection under the alert."""
    loop, read_bytes = asyncio.get_running_loop(), 0
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            if not alert:
                return
            await loop.sock_sendall(line, alert)
            line.shutdown(socket.SHUT_WR)
            while (more := await loop.sock_recv(line, _READ_BYTES)) and read_bytes < FAREWELL_BYTES:
                read_bytes += len(more)
