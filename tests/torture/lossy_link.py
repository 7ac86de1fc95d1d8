"""A slow and lossy line between two network namespaces: what a modem at the edge of its cell does to IP packets.

Both ends are tunnel devices of the kernel, so TCP on them is the kernel's own, with its retransmissions. This process
carries the packets: at so many bytes a second each way, through a short queue, and loses some of the unit's at random,
as `tc netem` on its interface would. Needs root.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
"""linux/if_tun.h: packets without a head of the device's own."""
_QUEUE_BYTES: Final = 4 << 10
"""A modem holds a few packets; what comes beyond is lost too."""
_DELAY_S: Final = 0.05
_MAX_PACKET_BYTES: Final = 2048
UNIT_ADDRESS: Final = "10.213.7.1"
RECEIVER_ADDRESS: Final = "10.213.7.2"


@dataclass(slots=True)
class Counts:
    """What went over the line, both ways.

    Attributes:
        packets: Packets that came to it.
        lost: Those of them that it lost, at random or for want of room.
    """

    packets: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """The two ends, and what went over it.

    Attributes:
        unit, receiver: Names of the two network namespaces.
        counts: Counted on while the line is there.
    """

    unit: str
    receiver: str
    counts: Counts

    def command(self, end: str, *command: str) -> list[str]:
        """Return the command that runs another one at one of the ends."""
        return ["ip", "netns", "exec", end, *command]


@contextmanager
def lossy_line(*, bytes_per_s: int, loss: float) -> Iterator[Line]:
    """Lay a line between two new namespaces, and take it away at the end."""
    counts = Counts()
    with ExitStack() as stack:
        ends = [_end(stack, side, own, other) for side, own, other in _ADDRESSES]
        for (_, source), (_, target), lost in (
            (ends[0], ends[1], loss),
            (ends[1], ends[0], 0.0),
        ):
            way = _Way(source, target, bytes_per_s=bytes_per_s, loss=lost, counts=counts)
            way.start()
            stack.callback(way.join)
            stack.callback(way.over.set)
        yield Line(ends[0][0], ends[1][0], counts)


_ADDRESSES: Final = (("u", UNIT_ADDRESS, RECEIVER_ADDRESS), ("r", RECEIVER_ADDRESS, UNIT_ADDRESS))


def _end(stack: ExitStack, side: str, own: str, other: str) -> tuple[str, int]:
    name = f"ps{side}{os.getpid()}"
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, device)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
    _ip("link", "set", name, "netns", name)
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "address", "add", own, "peer", other, "dev", name)
    _ip("-n", name, "link", "set", name, "up")
    return name, device


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class _Way(threading.Thread):
    """One direction of a line, until it is told to end."""

    def __init__(self, source: int, target: int, *, bytes_per_s: int, loss: float, counts: Counts) -> None:
        super().__init__()
        self.over = threading.Event()
        self._source = source
        self._target = target
        self._bytes_per_s = bytes_per_s
        self._loss = loss
        self._counts = counts
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._free_at_s = 0.0

    def run(self) -> None:
        """Carry packets."""
        while not self.over.is_set():
            self._deliver()
            left_s = self._waiting[0][0] - time.monotonic() if self._waiting else 1.0
            if select.select([self._source], [], [], min(max(left_s, 0.0), 0.2))[0]:
                self._take(os.read(self._source, _MAX_PACKET_BYTES))

    def _deliver(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            os.write(self._target, self._waiting.popleft()[1])

    def _take(self, packet: bytes) -> None:
        self._counts.packets += 1
        held_bytes = sum(len(each) for _, each in self._waiting)
        if random.random() < self._loss or held_bytes + len(packet) > _QUEUE_BYTES:
            self._counts.lost += 1
            return
        self._free_at_s = max(self._free_at_s, time.monotonic()) + len(packet) / self._bytes_per_s
        self._waiting.append((self._free_at_s + _DELAY_S, packet))
