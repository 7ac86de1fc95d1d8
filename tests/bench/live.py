"""A live camera and a detector that is far too slow for it: how old the frame is that is being looked at."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from typing import Final

from agent.bench.outcome import percentile
from agent.capture import LiveHooks, LiveStats, open_source
from agent.config.models import SourceConfig
from agent.records import Detection, Image
from agent.unit.process.clock import SystemClock
from agent.vision.pipeline import PlatePipeline
from tests.fakes.rtsp import RtspServer, made_at_s
from tests.fakes.vision import CannedReader, plate
from tests.torture.campaign import Say
from tests.torture.report import Result

DETECTOR_S: Final = 0.12
"""Three frame times at 25 frames/s: of four frames three must be let go."""
FRAMES: Final = 250
REDUCED_FRAMES: Final = 15
MOST_MS: Final = 250
TARGET: Final = (
    f"1920x1080 at 25 frames/s, a detector that takes {DETECTOR_S * 1000:.0f} ms: frames under {MOST_MS} ms old"
)


class SlowDetector:
    """Finds nothing, slowly."""

    digest = b"\x01" * 32

    def detect(self, _image: Image) -> list[Detection]:
        """As the port."""
        time.sleep(DETECTOR_S)
        return []


def run(*, full: bool, say: Say) -> Result:
    """Look at frames and note the age of each when its turn comes; reduced, only that older ones make way is judged."""
    began_s, stats = time.monotonic(), LiveStats()
    pipeline = PlatePipeline(SlowDetector(), CannedReader(plate("NONE")))
    ages_ms: list[float] = []
    with RtspServer("--width", "1920", "--height", "1080") as server:
        config = SourceConfig(uri=server.url)
        with closing(open_source(config, camera_id="a", clock=SystemClock(), hooks=LiveHooks(stats=stats))) as source:
            for frame in source.frames():
                ages_ms.append((time.time() - made_at_s(frame.image)) * 1000)
                pipeline.process(frame)
                if len(ages_ms) == (FRAMES if full else REDUCED_FRAMES):
                    break
    say(f"{stats.frames_received} frames came")
    median, rare, oldest = statistics.median(ages_ms), percentile(ages_ms, 0.99), max(ages_ms)
    assert rare is not None
    figures = (
        f"{median:.0f} ms at the median, {rare:.0f} ms at 99 %, {oldest:.0f} ms the oldest of {len(ages_ms)} frames; "
        f"{stats.frames_dropped_stale} of {stats.frames_received} made way"
    )
    holds = rare < MOST_MS if full else stats.frames_dropped_stale > 0
    return Result("live camera", TARGET, figures, holds, time.monotonic() - began_s)
