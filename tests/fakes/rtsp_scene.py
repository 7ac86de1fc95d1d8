"""What both RTSP servers of the tests show and obey; the standard library alone, for Debian's Python too.

Every picture carries the moment it was made as a row of black and white squares, so that whoever decodes it knows its
age. Commands on standard input, one a line: `freeze` shows the same picture again and again, `stall` sends nothing
while the connection stays, `live` goes on. `clock SECONDS` sets the clock of a camera that shows one, to so much more
than the right time.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from typing import Final, Protocol

BITS: Final = 48
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


class Pictures(Protocol):
    """Where pictures come from."""

    def picture(self) -> bytes:
        """Return the next one, I420."""
        ...


class Mode:
    """What the camera does now: `live`, `freeze` or `stall`; and how far its clock is off, seconds."""

    def __init__(self, clock_s: float | None = None) -> None:
        """Begin live."""
        self.name = "live"
        self.clock_s = clock_s

    def obey(self) -> None:
        """Take commands until standard input ends."""
        for line in sys.stdin:
            command, _, seconds = line.strip().partition(" ")
            if command == "clock":
                self.clock_s = float(seconds)
            else:
                self.name = command


def pictures(scene: Pictures, mode: Mode, rate: int) -> Iterator[tuple[bytes, float]]:
    """Yield pictures at a rate, without end, each with its time since the first was due, seconds.

    Whoever takes them too slowly gets fewer.
    """
    started = due = time.monotonic()
    last = scene.picture()
    while True:
        due = max(due + 1 / rate, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        if mode.name == "stall":
            continue
        if mode.name == "live":
            last = scene.picture()
        yield last, time.monotonic() - started


def options() -> argparse.ArgumentParser:
    """Return the options that both servers have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--user")
    parser.add_argument("--password")
    return parser


def say_ready() -> None:
    """Tell whoever started the server that it listens."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
