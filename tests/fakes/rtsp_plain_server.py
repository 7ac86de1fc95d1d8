"""A camera for tests that needs nothing but this project: Motion JPEG over RTSP, on the connection itself.

RTSP 1.0 (RFC 2326) with interleaved RTP, as FFmpeg asks for; JPEG in RTP as RFC 2435 has it; with `--clock`, sender
reports of RTCP (RFC 3550, section 6.4.1), which say what its clock shows. What it does not have is what an H.264
encoder does to a live picture: key frames, frames that a decoder holds back, a frozen picture that is refined. For that
there is GStreamer's server (`tests/e2e/rtsp_server.py`).
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Final

import cv2
import numpy as np

from tests.fakes.rtsp_scene import Mode, Pictures, Scene, options, pictures, say_ready

TRACK: Final = "track"
SESSION: Final = "1"
METHODS: Final = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
RTP_CLOCK_HZ: Final = 90_000
PAYLOAD_JPEG: Final = 26
"""RFC 3551, section 6: JPEG, with the clock above."""
MARKER: Final = 0x80
"""On the last packet of a picture."""
TYPE_420: Final = 1
"""RFC 2435, section 4.1: every second colour pixel in each direction, as the encoder below writes."""
Q_IN_BAND: Final = 255
"""RFC 2435, section 4.2: the quantization tables come with each picture."""
PACKET_BYTES: Final = 1400
SOUND_LINES: Final = ("m=audio 0 RTP/AVP 0", "a=control:sound")
"""RFC 3551, section 6: PCM by the mu law, 8000 samples a second."""
SOUND_HZ: Final = 8000
SILENCE: Final = b"\xff"
SENDER_REPORT: Final = 200
SSRC: Final = 1
NTP_TO_1970_S: Final = 2_208_988_800
REPORT_EVERY_S: Final = 0.5
"""Ten times as often as cameras do, so that tests wait less."""
DQT, SOS = 0xDB, 0xDA
"""JPEG's markers of a quantization table and of the picture's data."""


def main() -> None:
    """Serve until standard input ends."""
    parser = options()
    parser.add_argument("--tls", nargs="*", default=[], metavar="PEM", help="key and certificate, one a connection")
    parser.add_argument("--clock", type=float, metavar="SECONDS", help="show a clock that is so far ahead")
    parser.add_argument("--clip", metavar="FILE", help="show this recording once, of the size and at the rate given")
    parser.add_argument("--sound", action="store_true", help="send silence beside the video")
    arguments = parser.parse_args()
    mode = Mode(arguments.clock)
    listener = socket.create_server(("127.0.0.1", arguments.port), reuse_port=False)
    threading.Thread(target=_accept, args=(listener, arguments, mode), daemon=True).start()
    say_ready()
    mode.obey()
    os._exit(0)  # threads that wait for a client are not waited for


def _accept(listener: socket.socket, arguments: argparse.Namespace, mode: Mode) -> None:
    for number in itertools.count():
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection, number, arguments, mode), daemon=True).start()


def _serve(connection: socket.socket, number: int, arguments: argparse.Namespace, mode: Mode) -> None:
    if not arguments.tls:
        Client(connection, arguments, mode).serve()
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.tls[min(number, len(arguments.tls) - 1)])
    with suppress(OSError):
        Client(context.wrap_socket(connection, server_side=True), arguments, mode).serve()


class Client:
    """One viewer, with a stream of its own."""

    def __init__(self, connection: socket.socket, arguments: argparse.Namespace, mode: Mode) -> None:
        """Keep the connection; nothing is sent before it is asked for."""
        self._connection = connection
        self._arguments = arguments
        self._mode = mode
        self._sending = threading.Lock()

    def serve(self) -> None:
        """Answer requests until the viewer goes."""
        with suppress(OSError), self._connection, self._connection.makefile("rb") as stream:
            while head := _read_head(stream):
                self._answer(head)

    def _answer(self, head: list[str]) -> None:
        method, url, _ = head[0].split(" ", 2)
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        status, more, body = self._reply(method, url, fields)
        lines = [f"RTSP/1.0 {status}", f"CSeq: {fields['cseq']}", *more, f"Content-Length: {len(body)}", "", body]
        self._send("\r\n".join(lines).encode())
        if method == "PLAY":
            threading.Thread(target=self._feed, daemon=True).start()

    def _reply(self, method: str, url: str, fields: dict[str, str]) -> tuple[str, list[str], str]:
        """Return status, further fields and body."""
        if method != "OPTIONS" and not self._is_welcome(fields.get("authorization", "")):
            return "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"'], ""
        if method == "DESCRIBE":
            description = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "t=0 0",
                           f"m=video 0 RTP/AVP {PAYLOAD_JPEG}", f"a=control:{TRACK}",
                           *SOUND_LINES * self._arguments.sound, "")  # fmt: skip
            return "200 OK", ["Content-Type: application/sdp", f"Content-Base: {url}/"], "\r\n".join(description)
        if method == "SETUP" and "TCP" not in fields["transport"]:
            return "461 Unsupported Transport", [], ""
        transport = [f"Transport: {fields['transport']}"] if method == "SETUP" else []
        return "200 OK", [f"Session: {SESSION}", f"Public: {METHODS}", *transport], ""

    def _is_welcome(self, authorization: str) -> bool:
        wanted = f"{self._arguments.user}:{self._arguments.password}".encode()
        return not self._arguments.user or authorization == f"Basic {base64.b64encode(wanted).decode()}"

    def _feed(self) -> None:
        """Send the pictures of this moment, or those of the clip, at the rate, until the viewer goes or they end."""
        width, height, rate = self._arguments.width, self._arguments.height, self._arguments.rate
        sequence, next_report_s = 0, 0.0
        with suppress(OSError):
            clip = self._arguments.clip
            scene: Pictures = Scene(width, height) if clip is None else Clip(clip)
            for picture, since_start_s in pictures(scene, self._mode, rate):
                stamp = int(since_start_s * RTP_CLOCK_HZ)
                if self._mode.clock_s is not None and since_start_s >= next_report_s:
                    next_report_s = since_start_s + REPORT_EVERY_S
                    self._send_part(1, _report(time.time() + self._mode.clock_s, stamp, sequence))
                if self._arguments.sound:
                    self._send_silence(since_start_s, rate)
                for part, is_last in _payloads(_jpeg(picture, width, height), width, height):
                    head = 0x80, PAYLOAD_JPEG | MARKER * is_last, sequence & 0xFFFF, stamp & 0xFFFFFFFF, SSRC
                    self._send_part(0, struct.pack("!BBHII", *head) + part)
                    sequence += 1
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send_silence(self, since_start_s: float, rate: int) -> None:
        """Send the sound of one picture."""
        number, stamp = round(since_start_s * rate), int(since_start_s * SOUND_HZ)
        head = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, stamp & 0xFFFFFFFF, SSRC + 1)
        self._send_part(2, head + SILENCE * (SOUND_HZ // rate))

    def _send_part(self, channel: int, packet: bytes) -> None:
        self._send(struct.pack("!cBH", b"$", channel, len(packet)) + packet)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._connection.sendall(data)


class Clip:
    """A recording, picture by picture. At its end the viewer is let go."""

    def __init__(self, path: str) -> None:
        """Open it."""
        self._video = cv2.VideoCapture(path)

    def picture(self) -> bytes:
        """Return the next picture, I420.

        Raises:
            ConnectionError: There is none.
        """
        done, image = self._video.read()
        if not done:
            raise ConnectionError("the recording is at its end")
        return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).tobytes()


def _report(shows_s: float, stamp: int, packets: int) -> bytes:
    """Return a sender report of a clock that shows so many seconds since 1970 at a picture's RTP time."""
    ntp = int((shows_s + NTP_TO_1970_S) * 2**32) & 0xFFFFFFFF_FFFFFFFF
    return struct.pack("!BBHIQIII", 0x80, SENDER_REPORT, 6, SSRC, ntp, stamp & 0xFFFFFFFF, packets, 0)


def _read_head(stream: BinaryIO) -> list[str]:
    """Return the lines of the next request, without the empty one; none at the end. What RTCP says is passed over."""
    lines: list[str] = []
    while first := stream.read(1):
        if first == b"$":
            _, length = struct.unpack("!BH", stream.read(3))
            stream.read(length)
            continue
        line = (first + stream.readline()).decode().rstrip("\r\n")
        if not line:
            return lines
        lines.append(line)
    return []


def _jpeg(picture: bytes, width: int, height: int) -> bytes:
    planes = np.frombuffer(picture, np.uint8).reshape(height * 3 // 2, width)
    settings = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), settings)
    assert done
    return jpeg.tobytes()


def _payloads(jpeg: bytes, width: int, height: int) -> Iterator[tuple[bytes, bool]]:
    """Yield RTP payloads of one picture, and whether each is the last."""
    tables, data = _split(jpeg)
    for start in range(0, len(data), PACKET_BYTES):
        head = struct.pack("!II", start, TYPE_420 << 24 | Q_IN_BAND << 16 | (width // 8) << 8 | height // 8)
        if start == 0:
            head += struct.pack("!BBH", 0, 0, len(tables)) + tables
        yield head + data[start : start + PACKET_BYTES], start + PACKET_BYTES >= len(data)


def _split(jpeg: bytes) -> tuple[bytes, bytes]:
    """Return the quantization tables, 64 bytes each, and the compressed data of a baseline JPEG."""
    tables, place = b"", 2
    while True:
        marker, length = struct.unpack_from("!xBH", jpeg, place)
        segment, place = jpeg[place + 4 : place + 2 + length], place + 2 + length
        if marker == DQT:
            tables += b"".join(segment[start + 1 : start + 65] for start in range(0, len(segment), 65))
        if marker == SOS:
            return tables, jpeg[place:]


if __name__ == "__main__":
    main()
