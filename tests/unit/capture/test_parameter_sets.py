"""Damaged parameter sets: those of before stay, and a camera that changes is followed."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from agent.capture.parameter_sets import START_CODE, ParameterSets
from tests.fakes.recordings import picture, record


def _key_frame(
    tmp_path: Path, codec: str, *, wh: tuple[int, int] = (192, 128), options: dict[str, str] | None = None
) -> av.Packet:  # type: ignore[type-arg]
    """Return the first packet of a raw stream, parameter sets and all."""
    container = "h264" if codec == "libx264" else "hevc"
    path = tmp_path / f"{wh[0]}.{container}"
    record(path, [picture(1, wh=wh)] * 2, codec=codec, container=container, options=options)
    with av.open(str(path)) as opened:
        packet = next(opened.demux(video=0))
        packet.pts = 7
        return packet


def _with_damaged_sets(packet: av.Packet) -> av.Packet:  # type: ignore[type-arg]
    """Return a copy whose first unit, which is a parameter set, has other bytes behind its head."""
    content = bytearray(bytes(packet))
    begin = content.index(START_CODE) + 5
    content[begin : begin + 6] = np.random.default_rng(3).bytes(6)
    damaged = av.Packet(bytes(content))
    damaged.pts, damaged.time_base = packet.pts, packet.time_base
    return damaged


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_damaged_sets_are_replaced_by_those_of_before(codec: str, tmp_path: Path) -> None:
    """The picture behind them is the same, at the same time."""
    good = _key_frame(tmp_path, codec)
    sets = ParameterSets("h264" if codec == "libx264" else "hevc", None)
    assert sets.checked(good) is good
    damaged = _with_damaged_sets(good)
    mended = sets.checked(damaged)
    assert mended is not damaged
    assert (mended.pts, mended.is_keyframe) == (7, True)
    name = "h264" if codec == "libx264" else "hevc"
    context = av.CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    frames = context.decode(mended) + context.decode(None)
    assert [(frame.width, frame.height, frame.is_corrupt) for frame in frames] == [(192, 128, False)]
    assert sets.checked(good) is good


def test_damage_shows_in_a_picture_of_slices_too(tmp_path: Path) -> None:
    """Cameras and software encoders that should not be late cut each picture into slices.

    A picture set (kind 8) with any one bit flipped is taken only where the picture behind it comes out whole.
    """
    good = _key_frame(tmp_path, "libx264", options={"tune": "zerolatency", "slices": "2", "preset": "ultrafast"})
    content = bytes(good)
    begin = content.index(START_CODE + b"\x68") + len(START_CODE) + 1
    end = content.index(START_CODE, begin)
    replaced = 0
    for bit in range(8 * (end - begin)):
        spoilt = bytearray(content)
        spoilt[begin + bit // 8] ^= 0x80 >> bit % 8
        damaged = av.Packet(bytes(spoilt))
        damaged.time_base = good.time_base
        sets = ParameterSets("h264", content[:end])
        checked = sets.checked(damaged)
        replaced += checked is not damaged
        context = av.CodecContext.create("h264", "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        frames = context.decode(good) + context.decode(checked) + context.decode(None)
        assert [frame.is_corrupt for frame in frames] == [False, False], bit
    assert replaced > 0


def test_a_camera_that_changes_its_size_is_followed(tmp_path: Path) -> None:
    """What can be decoded by itself is taken as it comes, and is what later damage is mended with."""
    before, after = _key_frame(tmp_path, "libx264"), _key_frame(tmp_path, "libx264", wh=(320, 192))
    sets = ParameterSets("h264", None)
    for packet in (before, after, before):
        assert sets.checked(packet) is packet


@pytest.mark.parametrize(("codec", "content"), [("h264", bytes(40)), ("h264", b""), ("mjpeg", START_CODE + b"\x67abc")])
def test_what_has_no_sets_is_left_alone(codec: str, content: bytes) -> None:
    """Lengths in place of start codes, nothing at all, other codecs."""
    packet = av.Packet(content)
    assert ParameterSets(codec, b"\x01\x64").checked(packet) is packet
