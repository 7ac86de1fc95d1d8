"""A request's body on its way: in steps, so that a slow line is told from a dead one.

Owns: the rule of progress. `n` bytes may take one `reply_timeout_s`, and one more for each `STEP_BYTES` of them. So a
line that carries 137 bytes a second (at the default of 60 s) has the time it needs, however long the body is, and on a
line that stands still a request ends after three such times: TCP on a line that loses packets stands still for a
minute or two now and then, waiting longer and longer for one of them.

The kernel may hold up to `IN_FLIGHT_BYTES` that it took from us and that the peer has not confirmed, so the wait for
the reply is longer by the time that these may take.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Final

import httpx

from agent.ports import Clock

STEP_BYTES: Final = 8 << 10
"""Half a TLS record. Smaller steps would cost a fast line time, larger ones would take a slow line for a dead one."""
IN_FLIGHT_BYTES: Final = 64 << 10
"""What a receiver's window usually allows on a slow line: it grows with the line's speed."""
FINISH_WITHIN_S: Final = 20.0
"""A request that has lasted longer than this is broken off when the daemon is told to stop: it may take hours more."""
SOCKET_OPTIONS: Final = ((socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), STEP_BYTES),)
"""The kernel takes no more from us than it can send, beyond one step; 25 is the option's number on Linux (tcp.h)."""


def allowed_s(size_bytes: int, reply_timeout_s: float) -> float:
    """Return how long `size_bytes` may take on the slowest line that is not called dead."""
    return reply_timeout_s * (1 + size_bytes / STEP_BYTES)


def reply_within_s(size_bytes: int, reply_timeout_s: float) -> float:
    """Return how long to wait for the first byte of a reply to a body of `size_bytes`."""
    return allowed_s(min(size_bytes, IN_FLIGHT_BYTES), reply_timeout_s)


class Body:
    """The bytes of one request, handed to the HTTP library in steps; knows how far it has come."""

    def __init__(self, data: bytes, clock: Clock, *, is_stopped: Callable[[], bool]) -> None:
        """Begin now; `is_stopped` says whether the daemon is to end."""
        self.sent_bytes = 0
        self._data = data
        self._clock = clock
        self._is_stopped = is_stopped
        self._began_s = clock.monotonic_s()

    def __len__(self) -> int:
        """Return its length, bytes."""
        return len(self._data)

    def steps(self) -> Iterator[bytes]:
        """Yield the body piece by piece; each is asked for when the kernel has taken the one before.

        Raises:
            httpx.WriteError: The daemon is to end, and this takes too long.
        """
        view = memoryview(self._data)
        while self.sent_bytes < len(self._data):
            if self._is_stopped() and self.took_s > FINISH_WITHIN_S:
                raise httpx.WriteError("broken off, for this daemon ends")
            step = bytes(view[self.sent_bytes : self.sent_bytes + STEP_BYTES])
            yield step
            self.sent_bytes += len(step)

    @property
    def took_s(self) -> float:
        """Seconds since it began."""
        return self._clock.monotonic_s() - self._began_s

    def progress(self) -> str:
        """Say how far it has come, for a person."""
        took_s = self.took_s
        rate = f", {self.sent_bytes / took_s:.0f} bytes/s" if took_s > 0 else ""
        return f"{self.sent_bytes} of {len(self)} bytes had gone out in {took_s:.0f} s{rate}"
