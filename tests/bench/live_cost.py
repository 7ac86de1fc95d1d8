"""What the capture daemon takes beside decoding alone: a live camera at an empty road, 1920x1080, H.264, 25 frames/s.

One GStreamer server, a process of its own, sends the same recording to one receiver after the other, in turns: a bare
loop that decodes with the product's options, and `plateseal capture` with the built-in models. What a receiver takes is
the processor time of its process, all threads, user and system, from its first seconds on to the end of its turn.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from agent.bench.demo import device_config, set_up_parts
from agent.config.load import load_config
from agent.unit.process.run import start_daemon, stop_daemon
from agent.unit.status.metrics import read_snapshot, snapshot_path
from tests.bench import clips
from tests.fakes.rtsp import RtspServer
from tests.needs import ROOT
from tests.torture.campaign import Say
from tests.torture.report import Result

MOST_RATIO: Final = 1.15
MBIT_S: Final = 4
"""Million bits a second: what cameras of this size are set to when they are new."""
TARGET: Final = (
    f"1920x1080, H.264, 25 frames/s, {MBIT_S} Mbit/s, empty road, live: "
    f"processor time at most {MOST_RATIO} times that of decoding alone"
)
CLIP_S: Final = 30
REDUCED_CLIP_S: Final = 6
TURNS: Final = 3
WARM_UP_FRAMES: Final = 100
"""Left out of what is counted: models are loaded, the gate learns its scene."""
REDUCED_WARM_UP_FRAMES: Final = 25
TURN_FRAMES: Final = 500
REDUCED_TURN_FRAMES: Final = 50
LOOK_EVERY_S: Final = 0.01


MOST_DROPPED: Final = 0.05
"""Share of the frames that capture may let go without a look, as on a busy machine: those cost a tenth less."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a receiver took: frames that came, frames that were looked at, and seconds of processor time."""

    frames: int = 0
    looked_at: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(self.frames + other.frames, self.looked_at + other.looked_at, self.cpu_s + other.cpu_s)

    def __sub__(self, before: Spent) -> Spent:
        """Return what came since."""
        return Spent(self.frames - before.frames, self.looked_at - before.looked_at, self.cpu_s - before.cpu_s)

    @property
    def frame_ms(self) -> float:
        """Milliseconds a frame."""
        return 1000 * self.cpu_s / self.frames


def run(*, full: bool, say: Say) -> Result:
    """Let both receive in turns; reduced, one short turn each, and only that both see the same frames is judged."""
    began_s = time.monotonic()
    clip = clips.camera_road(CLIP_S if full else REDUCED_CLIP_S, mbit_s=MBIT_S)
    bare, capture = Spent(), Spent()
    with RtspServer("--clip", str(clip.resolve())) as server, TemporaryDirectory(prefix="plateseal-live-") as folder:
        unit = _make_unit(Path(folder) / "bench", server.url)
        for turn in range(TURNS if full else 1):
            one, other = _turn(_bare(server.url), full=full), _turn(_capture(unit), full=full)
            bare, capture = bare + one, capture + other
            say(f"turn {turn + 1}: {one.frame_ms:.2f} and {other.frame_ms:.2f} ms a frame")
    ratio, dropped = capture.frame_ms / bare.frame_ms, 1 - capture.looked_at / capture.frames
    figures = (
        f"{ratio:.2f} times: {capture.frame_ms:.2f} ms a frame ({capture.frames} came, {capture.looked_at} were looked "
        f"at), decoding alone {bare.frame_ms:.2f} ms ({bare.frames} frames)"
    )
    holds = not full or (ratio <= MOST_RATIO and dropped <= MOST_DROPPED)
    return Result("cost of a live camera", TARGET, figures, holds, time.monotonic() - began_s)


def _turn(looks: AbstractContextManager[Iterator[Spent]], *, full: bool) -> Spent:
    """Return what a receiver took between two looks, its first frames left out."""
    warm_up, wanted = (WARM_UP_FRAMES, TURN_FRAMES) if full else (REDUCED_WARM_UP_FRAMES, REDUCED_TURN_FRAMES)
    with looks as coming:
        begin = next(look for look in coming if look.frames >= warm_up)
        return next(look for look in coming if look.frames >= begin.frames + wanted) - begin


@contextmanager
def _bare(url: str) -> Iterator[Iterator[Spent]]:
    """Run the bare loop, and yield what it says of itself, about once a second."""
    command = [sys.executable, "-m", "tests.bench.bare_loop", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield (Spent(int(frames), int(frames), float(cpu_s)) for frames, cpu_s in map(str.split, process.stdout))
        process.kill()


@contextmanager
def _capture(unit: Path) -> Iterator[Iterator[Spent]]:
    """Run the capture daemon, and yield what it took whenever it has written its metrics, once a second."""
    directory = load_config(unit).metrics_dir
    snapshot_path(directory, "capture").unlink(missing_ok=True)  # of the turn before
    with (unit.parent / "capture.log").open("ab") as log:
        process = start_daemon("capture", unit, log=log)
        try:
            yield _measured(process, directory)
        finally:
            stop_daemon(process)


def _measured(process: subprocess.Popen[bytes], directory: Path) -> Iterator[Spent]:
    written = snapshot_path(directory, "capture")
    before_ns = None
    while process.poll() is None:
        time.sleep(LOOK_EVERY_S)
        written_ns = written.stat().st_mtime_ns if written.exists() else None
        if written_ns == before_ns:
            continue
        before_ns, cpu_s = written_ns, time.clock_gettime(_cpu_clock_of(process.pid))
        now, _ = read_snapshot(directory, "capture")
        assert not now.total("camera_reconnects"), "the camera was lost in the middle of a turn"
        yield Spent(round(now.total("camera_frames")), round(now.total("frames")), cpu_s)
    raise AssertionError("capture ended")


def _cpu_clock_of(pid: int) -> int:
    """Return the clock of another process's processor time, as clock_getcpuclockid(3) does."""
    return (~pid << 3) | 2


def _make_unit(root: Path, url: str) -> Path:
    """Make a unit whose camera is at `url`, with the built-in models; return its configuration."""
    set_up_parts(root)
    config = root / "device" / "unit.toml"
    toml = device_config(root / "receiver", port=1, clip=root, models=None)
    config.write_text(re.sub("uri = .*\n(started_at = .*\n)?", f'uri = "{url}"\n', toml))
    return config
