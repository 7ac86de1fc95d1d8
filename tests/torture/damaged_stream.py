"""A camera whose stream is damaged on its way: an RTSP proxy that spoils the payload of some RTP packets.

    python -m tests.torture damaged_stream

GStreamer's server encodes pictures of now; the proxy passes on both directions of each connection, over TCP with RTP
between the replies (RFC 2326, section 10.12), and overwrites some payloads with other bytes. It notes each frame by its
RTP time, and whether all of it went through unharmed. What the product says that it saw has the same times.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from agent.capture.live import LiveCamera, LiveHooks, LiveStats
from agent.capture.rtsp import RtspStream
from agent.config.models import SourceConfig
from agent.unit.process.clock import SystemClock
from tests.fakes.rtsp import RtspServer
from tests.fakes.waiting import patiently
from tests.torture.campaign import Say
from tests.torture.report import Result

FRAMES: Final = 750
"""Thirty seconds."""
REDUCED_FRAMES: Final = 100
UNHARMED_FRAMES: Final = 25
"""At the beginning, from which FFmpeg learns what comes."""
DAMAGED_SHARE: Final = 0.02
"""Of the packets with video. A frame has one to some dozen of them."""
SPARED_BYTES: Final = 2
"""Of a payload, from its beginning: of which kind it is, and which part (RFC 6184, section 5.8). Damage to those is the
loss of a packet."""
LEAST_SEEN: Final = 0.95
CLOCK_HZ: Final = 90_000
RTP_HEAD_BYTES: Final = 12
VIDEO_CHANNEL: Final = 0
TARGET: Final = (
    f"one packet in {1 / DAMAGED_SHARE:.0f} damaged: {LEAST_SEEN:.0%} of the frames that were sent whole are seen, "
    "over one connection, and losses are counted"
)


@dataclass(slots=True)
class Passed:
    """What went through the proxy.

    Attributes:
        connections: That were made.
        packets: With video.
        harmed: Whether a frame was damaged, by its RTP time, in the order of coming.
    """

    connections: int = 0
    packets: int = 0
    harmed: dict[int, bool] = field(default_factory=dict)


class NotingStream(RtspStream):
    """The product's stream; notes the time of each frame that it hands out, in ticks of the RTP clock."""

    ticks: list[int]

    def grab(self) -> float | None:
        """As the product's."""
        pts_s = super().grab()
        if pts_s is not None:
            self.ticks.append(round(pts_s * CLOCK_HZ))
        return pts_s


def run(*, full: bool, say: Say) -> Result:
    """Watch a damaged camera until so many frames have passed."""
    began_s, passed, stats = time.monotonic(), Passed(), LiveStats()
    with RtspServer() as server, _proxy(server.port, passed) as port:
        ticks = _watch(port, passed, stats, FRAMES if full else REDUCED_FRAMES)
    say(f"{passed.packets} packets, {stats.frames_received} frames came")
    sent = _as_seen(passed.harmed, ticks)
    whole, harmed = ({tick for tick, is_harmed in sent.items() if is_harmed is so} for so in (False, True))
    seen = len(whole & set(ticks))
    figures = (
        f"{seen} of {len(whole)} frames that were sent whole were seen, {100 * seen / max(len(whole), 1):.1f} %; "
        f"{len(harmed)} were damaged, {len(harmed & set(ticks))} of them were seen all the same, {stats.frames_lost} "
        f"were counted as lost; connections: {passed.connections}"
    )
    holds = seen >= LEAST_SEEN * len(whole) > 0 and passed.connections == 1 and stats.frames_lost > 0 < len(harmed)
    return Result("damaged live stream", TARGET, figures, holds, time.monotonic() - began_s)


def _watch(port: int, passed: Passed, stats: LiveStats, frames: int) -> list[int]:
    """Watch the camera as capture does; return the times of the frames that came, ticks."""
    config, clock, ticks = SourceConfig(uri=f"rtsp://127.0.0.1:{port}/cam"), SystemClock(), list[int]()

    def connect() -> RtspStream:
        stream = NotingStream(config.uri, config, name="the camera", clock=clock)
        stream.ticks = ticks
        return stream

    hooks = LiveHooks(stats=stats)
    with closing(LiveCamera(connect, config, name="the camera", camera_id="a", clock=clock, hooks=hooks)) as camera:
        for _ in patiently(camera.frames(), otherwise="frames stay away"):
            if len(passed.harmed) >= frames:
                return ticks
    raise AssertionError("the camera ended")


def _as_seen(harmed: dict[int, bool], ticks: list[int]) -> dict[int, bool]:
    """Return the frames that passed, by the times at which FFmpeg saw them, from the first harm to the last that came.

    FFmpeg counts from a frame of its choice: the difference is the one under which most frames have their times.
    """
    shifts = Counter(tick - sent for tick in ticks[:UNHARMED_FRAMES] for sent in [*harmed][: 2 * UNHARMED_FRAMES])
    ((shift, _),) = shifts.most_common(1)
    sent = {tick + shift: is_harmed for tick, is_harmed in harmed.items() if tick + shift <= max(ticks)}
    return dict([*sent.items()][UNHARMED_FRAMES:])


@contextmanager
def _proxy(server_port: int, passed: Passed) -> Iterator[int]:
    """Serve whoever comes from the server at that port, with damage; yield the port of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, server_port, passed), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, server_port: int, passed: Passed) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            passed.connections += 1
            server = socket.create_connection(("127.0.0.1", server_port))
            for work in (_ask, _answer):
                threading.Thread(target=work, args=(client, server, passed), daemon=True).start()


def _ask(client: socket.socket, server: socket.socket, _passed: Passed) -> None:
    with suppress(OSError):
        while asked := client.recv(1 << 16):
            server.sendall(asked)
    server.close()


def _answer(client: socket.socket, server: socket.socket, passed: Passed) -> None:
    rng = random.Random(16)
    with suppress(OSError), client, server.makefile("rb") as stream:
        while part := _next_part(stream):
            client.sendall(_spoilt(part, passed, rng) if part[:2] == bytes([*b"$", VIDEO_CHANNEL]) else part)


def _next_part(stream: BinaryIO) -> bytes:
    """Return the next packet with its head (RFC 2326, section 10.12), or line of an answer; nothing at the end."""
    first = stream.read(1)
    if first != b"$":
        return first + stream.readline()
    head = stream.read(3)
    return first + head + stream.read(int.from_bytes(head[1:], "big"))


def _spoilt(part: bytes, passed: Passed, rng: random.Random) -> bytes:
    """Note a packet with video, and return it, or other bytes in place of some of its payload."""
    head_bytes = 4 + RTP_HEAD_BYTES + SPARED_BYTES
    tick = int.from_bytes(part[8:12], "big")
    passed.packets += 1
    is_harmed = len(passed.harmed) > UNHARMED_FRAMES and len(part) > head_bytes and rng.random() < DAMAGED_SHARE
    passed.harmed[tick] = passed.harmed.get(tick, False) or is_harmed
    if not is_harmed:
        return part
    begin = rng.randrange(head_bytes, len(part))
    return part[:begin] + rng.randbytes(len(part) - begin)
