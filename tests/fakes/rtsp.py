"""RTSP servers as processes of their own, for tests of live cameras.

`PlainRtspServer` is our own and runs everywhere. `RtspServer` is GStreamer's, which behaves as real cameras do; a test
that uses it is marked `needs("rtsp-server")`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import ClassVar, Self

from agent.records import Image
from tests.fakes.rtsp_scene import BITS
from tests.needs import ROOT, SYSTEM_PYTHON


class RtspServer:
    """GStreamer's server as a process, on a port of its own that it keeps when it is started again."""

    program: ClassVar = (SYSTEM_PYTHON, "-m", "tests.e2e.rtsp_server")

    def __init__(self, *options: str) -> None:
        """Find a free port; nothing runs yet."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = subprocess.Popen(
            [*self.program, "--port", str(self.port), *self._options],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.stop()
            raise AssertionError("the RTSP server does not start")

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    def stop(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def tell(self, command: str) -> None:
        """Send a command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")


class PlainRtspServer(RtspServer):
    """Our own server, used in the same way."""

    program: ClassVar = (sys.executable, "-m", "tests.fakes.rtsp_plain_server")


def made_at_s(image: Image) -> float:
    """Return when the server made a picture, seconds since the epoch."""
    side = image.shape[1] // BITS
    row = image[side // 2, side // 2 :: side][:BITS]
    return sum(1 << bit for bit, pixel in enumerate(row) if pixel.mean() > 128) / 1000
