"""A real RTSP server as a process of its own, for tests of live cameras; see `tests/e2e/rtsp_server.py`."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Self

from agent.records import Image

SERVER = Path(__file__).parents[1] / "e2e" / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-ugly"
)
BITS = 48


class RtspServer:
    """The server as a process, on a port of its own that it keeps when it is started again."""

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
        command = [SYSTEM_PYTHON, str(SERVER), "--port", str(self.port), *self._options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == "ready\n", f"the RTSP server does not start; it needs Debian's {PACKAGES}"

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


def made_at_s(image: Image) -> float:
    """Return when the server made a picture, seconds since the epoch."""
    side = image.shape[1] // BITS
    row = image[side // 2, side // 2 :: side][:BITS]
    return sum(1 << bit for bit, pixel in enumerate(row) if pixel.mean() > 128) / 1000
