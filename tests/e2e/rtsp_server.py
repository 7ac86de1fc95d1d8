"""A camera for tests as real ones are: H.264 from GStreamer's RTSP server, run by the system's Python.

With `--clip` it sends a recording as it is, at its own pace, to everybody from its beginning.

What it shows and obeys: `tests/fakes/rtsp_scene.py`. Standard output says `ready` once the server listens. Needs the
Debian packages of `rtsp-server` in `tests/needs.py`.
"""

from __future__ import annotations

import argparse
import threading
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402  versions first

from tests.fakes.rtsp_scene import Mode, Scene, options, pictures, say_ready  # noqa: E402  after gi, as above


class Camera:
    """Feeds one shared stream, frame by frame, until the process ends."""

    def __init__(self, arguments: argparse.Namespace, mode: Mode) -> None:
        """Keep the size and the rate."""
        self._scene = Scene(arguments.width, arguments.height)
        self._rate = arguments.rate
        self._mode = mode

    def configure(self, _factory: Any, media: Any) -> None:
        """Start feeding a medium that a client has asked for."""
        source = media.get_element().get_child_by_name("camera")
        threading.Thread(target=self._feed, args=(source,), daemon=True).start()

    def _feed(self, source: Any) -> None:
        for picture, since_start_s in pictures(self._scene, self._mode, self._rate):
            buffer = Gst.Buffer.new_wrapped(picture)
            buffer.pts = int(since_start_s * Gst.SECOND)
            buffer.duration = Gst.SECOND // self._rate
            if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return


def main() -> None:
    """Serve until standard input ends."""
    parser = options()
    parser.add_argument("--encoder", default="x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25")
    parser.add_argument("--payloader", default="rtph264pay")
    parser.add_argument("--protocols", choices=("tcp", "udp"), help="refuses the other one")
    parser.add_argument("--clip", help="an MP4 file, in place of pictures of now")
    arguments = parser.parse_args()

    Gst.init(None)
    mode, loop = Mode(), GLib.MainLoop()
    camera = Camera(arguments, mode)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(arguments.port))
    factory = GstRtspServer.RTSPMediaFactory()
    if arguments.protocols:
        factory.set_protocols(
            GstRtsp.RTSPLowerTrans.TCP if arguments.protocols == "tcp" else GstRtsp.RTSPLowerTrans.UDP
        )
    factory.set_launch(_launch(arguments))
    factory.set_shared(not arguments.clip)
    if not arguments.clip:
        factory.connect("media-configure", camera.configure)
    if arguments.user:
        _require_login(server, factory, arguments.user, arguments.password)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    say_ready()
    threading.Thread(target=_obey, args=(mode, loop), daemon=True).start()
    loop.run()


def _launch(arguments: argparse.Namespace) -> str:
    """Return the pipeline of one medium."""
    if arguments.clip:
        return f'( filesrc location="{arguments.clip}" ! qtdemux ! {arguments.payloader} name=pay0 pt=96 )'
    caps = f"video/x-raw,format=I420,width={arguments.width},height={arguments.height},framerate={arguments.rate}/1"
    # A camera whose encoder is too slow leaves pictures out; it does not store them.
    source = f"appsrc name=camera is-live=true format=time max-buffers=1 leaky-type=downstream caps={caps}"
    return f"( {source} ! {arguments.encoder} ! {arguments.payloader} name=pay0 pt=96 )"


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


def _obey(mode: Mode, loop: Any) -> None:
    mode.obey()
    loop.quit()


if __name__ == "__main__":
    main()
