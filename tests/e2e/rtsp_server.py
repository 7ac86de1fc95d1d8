"""A camera for tests: GStreamer's RTSP server, run as a process of its own by the system's Python.

Every picture carries the moment it was made as a row of black and white squares, so that whoever decodes it knows its
age. Commands on standard input, one a line: `freeze` encodes the same picture again and again, `stall` sends nothing
while the connection stays, `live` goes on. Standard output says `ready` once the server listens.

Needs Debian's gstreamer1.0-rtsp, gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-base, -good and -ugly
(x264).
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402  versions first

BITS = 48
"""Of the milliseconds since the epoch, least first: as many squares in the top row of the picture."""


class Scene:
    """Makes I420 pictures: noise that never repeats, under a row of squares that tells the time."""

    def __init__(self, width: int, height: int) -> None:
        """Prepare noise for a band of a quarter of the height; the rest is flat, and cheap to encode."""
        self._width, self._height = width, height
        self._side = width // BITS
        noise = random.Random(1)
        self._noise = bytes(120 + noise.getrandbits(4) for _ in range(width * height // 2))
        self._chroma = bytes([128]) * (width * height // 2)
        self._shift = noise

    def picture(self) -> bytes:
        """Return the picture of now."""
        stamp = time.time_ns() // 1_000_000
        row = b"".join(bytes([235 if stamp >> bit & 1 else 16]) * self._side for bit in range(BITS))
        squares = row.ljust(self._width, b"\x10") * self._side
        band = self._width * self._height // 4
        start = self._shift.randrange(band)
        noisy = squares + self._noise[start : start + band]
        return noisy.ljust(self._width * self._height, b"\x50") + self._chroma


class Camera:
    """Feeds one shared stream, frame by frame, until the process ends."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Keep the size and the rate."""
        self._scene = Scene(arguments.width, arguments.height)
        self._rate = arguments.rate
        self.mode = "live"

    def configure(self, _factory: Any, media: Any) -> None:
        """Start feeding a medium that a client has asked for."""
        source = media.get_element().get_child_by_name("camera")
        threading.Thread(target=self._feed, args=(source,), daemon=True).start()

    def _feed(self, source: Any) -> None:
        started = due = time.monotonic()
        last = self._scene.picture()
        while True:
            due += 1 / self._rate
            time.sleep(max(0.0, due - time.monotonic()))
            if self.mode == "stall":
                continue
            if self.mode == "live":
                last = self._scene.picture()
            buffer = Gst.Buffer.new_wrapped(last)
            buffer.pts = int((time.monotonic() - started) * Gst.SECOND)
            buffer.duration = Gst.SECOND // self._rate
            if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--encoder", default="x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25")
    parser.add_argument("--user")
    parser.add_argument("--password")
    arguments = parser.parse_args()

    Gst.init(None)
    camera = Camera(arguments)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(arguments.port))
    factory = GstRtspServer.RTSPMediaFactory()
    caps = f"video/x-raw,format=I420,width={arguments.width},height={arguments.height},framerate={arguments.rate}/1"
    # A camera whose encoder is too slow leaves pictures out; it does not store them.
    source = f"appsrc name=camera is-live=true format=time max-buffers=1 leaky-type=downstream caps={caps}"
    factory.set_launch(f"( {source} ! {arguments.encoder} ! rtph264pay name=pay0 pt=96 )")
    factory.set_shared(True)
    factory.connect("media-configure", camera.configure)
    if arguments.user:
        _require_login(server, factory, arguments.user, arguments.password)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Thread(target=_obey, args=(camera, loop := GLib.MainLoop()), daemon=True).start()
    loop.run()


def _require_login(server: Any, factory: Any, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    factory.add_role_from_structure(
        Gst.Structure.from_string("viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true")[
            0
        ]
    )


def _obey(camera: Camera, loop: Any) -> None:
    for line in sys.stdin:
        camera.mode = line.strip()
    loop.quit()


if __name__ == "__main__":
    main()
