"""What cameras send and how: H.264 and H.265, over TCP and, from one that offers nothing else, over UDP."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from av.video.stream import VideoStream

from agent.capture import LiveHooks, LiveStats, open_source
from agent.config.models import SourceConfig
from agent.unit.process.clock import SystemClock
from tests.fakes.recordings import number_of, picture, record
from tests.fakes.rtsp import RtspServer
from tests.fakes.waiting import WITHIN_S, patiently

pytestmark = [pytest.mark.e2e, pytest.mark.needs("rtsp-server")]

PAYLOADERS = {"libx264": "rtph264pay", "libx265": "rtph265pay"}
SECONDS = 20
"""Longer than FFmpeg collects before it calls a stream open, on any machine."""


def _name_as_the_payloader_does(stream: VideoStream) -> None:
    """GStreamer's packs H.265 whose parameter sets are in the header alone, and asks by this name."""
    if stream.codec_context.name == "libx265":
        stream.codec_context.codec_tag = "hvc1"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("codec", PAYLOADERS)
def test_a_camera_is_decoded_as_it_sends(codec: str, protocol: str, tmp_path: Path) -> None:
    """The server refuses the other protocol; each picture says its number, and one follows on the other."""
    pictures = (picture(number % 64) for number in range(SECONDS * 25))
    clip = record(tmp_path / "clip.mp4", pictures, codec=codec, set_up=_name_as_the_payloader_does)
    options = ("--clip", str(clip), "--payloader", PAYLOADERS[codec], "--protocols", protocol)
    stats, seen = LiveStats(), list[tuple[int, int]]()
    with RtspServer(*options) as server:
        config = SourceConfig(uri=server.url, stall_s=WITHIN_S, reconnect=False)
        hooks = LiveHooks(stats=stats)
        with closing(open_source(config, camera_id="a", clock=SystemClock(), hooks=hooks)) as source:
            for frame in patiently(source.frames(), otherwise="frames stay away"):
                seen.append((frame.sequence, number_of(frame.image)))
                if len(seen) == 30:
                    break
    assert len(seen) == 30
    shifts = {(number - sequence) % 64 for sequence, number in seen}
    assert len(shifts) == 1, seen
    assert (stats.reconnects, stats.frames_lost) == (0, 0)
