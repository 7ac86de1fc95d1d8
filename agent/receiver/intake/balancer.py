"""Whose connection a TCP load balancer passes on: the PROXY protocol's header, version 2, before the TLS handshake.

Behind a balancer every unit would come from one address, and what is limited by address would be limited for all of
them together. So a balancer says who is at its other end, and the receiver believes that of the balancers that it was
told of (`receiver serve --balancer`), and of nobody else.

Owns: the header's form, and how much of it is read. Leaves to others: how long it may take, and what an address may do
(`door`).

Source: "The PROXY protocol", versions 1 and 2, by HAProxy, section 2.2.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import Final

from agent.errors import UsageError

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_REST_BYTES: Final = 1024
"""Behind the first 16 bytes: addresses, 36 bytes at most, and what else a balancer says, which is passed over."""
_FIRST: Final = struct.Struct(">12sBBH")
_LOCAL: Final = 0x20
"""The balancer's own connection: it looks whether the receiver lives."""
_PROXY: Final = 0x21
_TCP: Final = {0x11: (4, ipaddress.IPv4Address), 0x21: (16, ipaddress.IPv6Address)}
"""By family and protocol: how many bytes an address has, and which kind it is."""

Addresses = frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]


class NoHeaderError(Exception):
    """What came first is no header of version 2. Never leaves this package."""


def parse_balancers(texts: Iterable[str]) -> Addresses:
    """Return addresses that somebody typed.

    Raises:
        UsageError: One of them is none.
    """
    found = set()
    for text in texts:
        try:
            found.add(ipaddress.ip_address(text))
        except ValueError:
            raise UsageError(f"--balancer {text!r}: an IP address is needed, as in 192.0.2.7 or 2001:db8::7") from None
    return frozenset(found)


def is_among(host: str, balancers: Addresses) -> bool:
    """Whether an address of a connection is one of these; an IPv4 address may stand in an IPv6 one."""
    if not balancers:
        return False
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address) in balancers


async def read_header(plain: socket.socket) -> str | None:
    """Read the header of a connection, and not one byte more.

    Args:
        plain: The connection, not blocking, of which nothing has been read.

    Returns:
        The address that the balancer passes on; None where it speaks for itself, or knows no address.

    Raises:
        NoHeaderError: There is none, or it ends in the middle.
        OSError: The connection broke.
    """
    signature, command, family, length = _FIRST.unpack(await _exactly(plain, _FIRST.size))
    if signature != SIGNATURE or command not in (_LOCAL, _PROXY) or length > MAX_REST_BYTES:
        raise NoHeaderError
    rest = await _exactly(plain, length)
    if command == _LOCAL or family not in _TCP:
        return None
    size, kind = _TCP[family]
    if length < 2 * size + 4:  # two addresses and two ports
        raise NoHeaderError
    return str(kind(rest[:size]))


async def _exactly(plain: socket.socket, length: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < length:
        more = await loop.sock_recv(plain, length - len(data))
        if not more:
            raise NoHeaderError
        data += more
    return data


__all__ = ["Addresses", "NoHeaderError", "is_among", "parse_balancers", "read_header"]
