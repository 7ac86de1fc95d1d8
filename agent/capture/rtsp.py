"""A network camera, through PyAV: opening its stream, why that fails, and its frames.

Owns: time limits, the transport, and what FFmpeg's errors mean for whoever set the camera up. Leaves to others: when a
frame was taken and when a camera counts as lost (`connection`), decoding (`decoder`). FFmpeg's messages hold the URL
with user and password: none of them is passed on, nor chained to what is raised.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.error import (
    ExitError,
    FFmpegError,
    HTTPError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
    InvalidDataError,
)
from av.video.stream import VideoStream

from agent.capture.camera_tls import tls_options
from agent.capture.decoder import Decoded, Decoder
from agent.capture.ffmpeg import AnyPacket
from agent.config.models import SourceConfig
from agent.errors import SourceLostError, SourceRefusedError
from agent.ports import Times
from agent.records import Picture

OPEN_TIMEOUT_S: Final = 10.0
"""How long connecting may take: longer than a camera's encoder needs to start, shorter than a person's patience."""
OPTIONS: Final = {"rtsp_flags": "prefer_tcp"}
"""TCP loses nothing. A camera that offers UDP alone is taken as it is. No variable of the environment changes that."""
PROTOCOLS: Final = "rtp,rtsp,rtsps,srtp,tcp,tls,udp"
"""What a camera's description may lead FFmpeg to: no file, and no other kind of server."""
UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})


WALL_CLOCK: Final = struct.Struct("=q")
"""How FFmpeg's `AVProducerReferenceTime` begins: microseconds since 1970, by the clock of the camera's last sender
report (RTCP), carried on to this packet by its RTP time stamp."""


class RtspStream:
    """An open network camera."""

    def __init__(self, url: str, config: SourceConfig, *, name: str, clock: Times) -> None:
        """Connect.

        Args:
            url: With user and password.
            config: Its time limits and threads.
            name: What the camera is called in messages, without secrets.
            clock: For how long nothing could be decoded.

        Raises:
            SourceRefusedError: The camera refuses the login.
            SourceLostError: It cannot be opened; the message says why.
        """
        self._name = name
        self._stall_s = config.stall_s
        self._clock = clock
        self._ready: deque[Decoded] = deque()
        self._newest: Decoded | None = None
        self._wall_at_0_s: float | None = None
        self._container = _open(url, config, name=name, now=clock.now())
        try:
            self._stream = _video_of(self._container, name=name)
        except SourceLostError:
            self._container.close()
            raise
        self._decoder = Decoder(self._stream, where=name, threads=config.decode_threads)
        # Of all streams: a read that waited for video alone would wait for ever where sound goes on.
        self._packets: Iterator[AnyPacket] = self._container.demux()

    @property
    def lost(self) -> int:
        """Frames that came and could not be decoded."""
        return self._decoder.lost

    @property
    def wall_s(self) -> float | None:
        """What the camera's clock showed at the frame that was grabbed last, seconds since 1970; None: not known."""
        if self._wall_at_0_s is None or self._newest is None or self._newest.pts_s is None:
            return None
        return self._wall_at_0_s + self._newest.pts_s

    def grab(self) -> float | None:
        """Wait for the next frame and return its time in the stream, seconds; None if it has none.

        Raises:
            SourceLostError: The camera stopped delivering, or nothing of what it delivers can be decoded.
            SourceError: A frame has an absurd size.
        """
        since_s, has_video = None, False
        while not self._ready:
            packet = self._next_packet()
            if packet is not None and packet.stream_index == self._stream.index:
                has_video = True
                self._note_wall_clock(packet)
                self._ready.extend(self._decoder.decode(packet))
            if self._ready:
                break  # most packets are a frame
            since_s = self._clock.monotonic_s() if since_s is None else since_s
            if self._clock.monotonic_s() - since_s > self._stall_s:
                what = "video comes, and none of it can be decoded" if has_video else "sound comes, and no video"
                raise SourceLostError(f"{self._name}: {what}")
        self._newest = self._ready.popleft()
        return self._newest.pts_s

    def picture(self) -> Picture:
        """Return the frame that was grabbed last."""
        assert self._newest is not None, "a frame is grabbed before its picture is taken"
        return self._newest.picture

    def close(self) -> None:
        """Let the camera go."""
        self._container.close()

    def _note_wall_clock(self, packet: AnyPacket) -> None:
        """Note what the camera's clock shows, if the camera has said it, against the time in the stream."""
        if packet.pts is not None and packet.has_sidedata("prft"):
            (wall_us,) = WALL_CLOCK.unpack_from(memoryview(packet.get_sidedata("prft")))
            self._wall_at_0_s = wall_us / 1e6 - float(packet.pts * packet.time_base)

    def _next_packet(self) -> AnyPacket | None:
        """Wait for a packet; None where what came could not be read."""
        try:
            packet = next(self._packets)
        except InvalidDataError:
            self._packets = self._container.demux()
            return None
        except ExitError:
            raise SourceLostError(f"{self._name}: no frame for {self._stall_s:.0f} s") from None
        except (FFmpegError, StopIteration):
            packet = None
        if packet is None or not packet.size:
            raise SourceLostError(f"{self._name}: the camera stopped delivering")
        return packet


def _open(url: str, config: SourceConfig, *, name: str, now: datetime) -> InputContainer:
    _resolve(url, name=name)
    try:
        with tls_options(url, config, name=name, now=now) as options:
            return av.open(
                url,
                mode="r",
                container_options={**OPTIONS, "protocol_whitelist": PROTOCOLS, **options},
                timeout=(OPEN_TIMEOUT_S, config.stall_s),
            )
    except (HTTPUnauthorizedError, HTTPForbiddenError):
        has_login = "@" in urlsplit(url).netloc
        what = "refuses this user or password" if has_login else "wants a user and password: set source.credential"
        raise SourceRefusedError(f"{name}: the camera {what}") from None
    except (FFmpegError, OSError) as error:
        reason = _reason(error)
    raise SourceLostError(f"{name}: the camera cannot be opened: {reason}")


def _resolve(url: str, *, name: str) -> None:
    """Look the host up: FFmpeg tells an unknown one from nothing else."""
    host = urlsplit(url).hostname
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        raise SourceLostError(f"{name}: the camera cannot be opened: no host of this name is known") from None


def _reason(error: FFmpegError | OSError) -> str:
    if isinstance(error, HTTPNotFoundError):
        return "it has no stream at this path"
    if isinstance(error, HTTPError):
        return "it answers with an error"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at this port"
    if isinstance(error, InvalidDataError):
        return "what answers is no RTSP camera, or sends nothing that can be understood"
    if isinstance(error, (ExitError, TimeoutError)) or error.errno == errno.ETIMEDOUT:
        return f"no answer within {OPEN_TIMEOUT_S:.0f} s"
    return "there is no way to it in the network" if error.errno in UNREACHABLE else "the connection fails"


def _video_of(container: InputContainer, *, name: str) -> VideoStream:
    videos = container.streams.video
    if not videos:
        raise SourceLostError(f"{name}: the camera sends no video")
    if videos[0].codec_context is None:
        raise SourceLostError(
            f"{name}: the camera's codec is none that this FFmpeg can decode; set it to H.264 or H.265"
        )
    return videos[0]
