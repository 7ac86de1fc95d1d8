"""What a container is made of, from its beginning to its end; and JPEGs of a raw stream that became one."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import pytest

from agent.capture import open_source
from agent.capture.scan import has_too_much
from agent.capture.structure import structure_fault
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError
from tests.fakes.clock import FakeClock
from tests.fakes.recordings import packets, picture, record

PICTURES = [picture(number) for number in range(12)]
X264 = {"options": {"g": "1"}}
KINDS = {
    "mov": ("a.mp4", {**X264, "container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "mpegts": ("a.ts", X264),
    "flv": ("a.flv", X264),
    "mpeg": ("a.mpg", {"codec": "mpeg2video", "options": {"g": "1"}}),
}


def _record(folder: Path, kind: str) -> Path:
    name, how = KINDS[kind]
    return record(folder / name, PICTURES, **how)  # type: ignore[arg-type]


def _fault(path: Path, kind: str) -> str | None:
    return structure_fault(path, frozenset({kind}), is_indexed=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_recording_is_made_of_its_parts(kind: str, tmp_path: Path) -> None:
    """As its writer left it; an MPEG program stream also with zeros behind it, as disks leave them."""
    path = _record(tmp_path, kind)
    assert _fault(path, kind) is None
    if kind == "mpeg":
        path.write_bytes(path.read_bytes() + bytes(100))
        assert _fault(path, kind) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["zeros", "nothing"])
def test_a_part_that_is_none_is_told(kind: str, part: str, tmp_path: Path) -> None:
    """From the midst of one frame into that of another one."""
    path = _record(tmp_path, kind)
    content, places = path.read_bytes(), packets(path)
    begin, end = sum(places[4]) - 5, sum(places[6]) - 9
    path.write_bytes(content[:begin] + (bytes(end - begin) if part == "zeros" else b"") + content[end:])
    assert _fault(path, kind) is not None


@pytest.mark.parametrize("kind", ["matroska", "avi", "h264"])
def test_other_containers_are_not_followed(kind: str, tmp_path: Path) -> None:
    """Nothing is said of them."""
    path = tmp_path / "a"
    path.write_bytes(bytes(100))
    assert _fault(path, kind) is None


def test_a_program_stream_may_begin_anywhere_and_leave_lengths_out(tmp_path: Path) -> None:
    """A recorder that was switched on in the middle; packets of video up to the next pack."""
    path = _record(tmp_path, "mpeg")
    content = path.read_bytes()
    path.write_bytes(b"the end of a packet" + content)
    assert _fault(path, "mpeg") is None
    pack = content.find(b"\0\0\1\xe0")
    unbounded = bytearray(content[: content.find(b"\0\0\1\xba", pack)])
    unbounded[pack + 4 : pack + 6] = bytes(2)
    path.write_bytes(bytes(unbounded))
    assert _fault(path, "mpeg") is None


def test_two_jpegs_that_became_one_hold_too_much(tmp_path: Path) -> None:
    """Whole ones do not, nor do those that are filled up before their end."""
    path = record(tmp_path / "a.mjpeg", PICTURES, codec="mjpeg", layout="yuvj420p", container="mjpeg")
    content = path.read_bytes()
    jpegs = [b"\xff\xd8" + part for part in content.split(b"\xff\xd8")[1:]]
    assert len(jpegs) == len(PICTURES)
    assert not any(map(has_too_much, jpegs))
    assert not has_too_much(jpegs[0][:-2] + bytes(8) + b"\xff\xd9")
    middle = len(jpegs[0]) * 3 // 4
    assert has_too_much(jpegs[0][:-2] + jpegs[1][middle:])


def test_jpegs_that_lie_one_after_the_other_are_told_apart(tmp_path: Path) -> None:
    """Large ones, with JFIF heads, FFmpeg knows by another name than small ones: two that became one are told."""
    jpegs = [cv2.imencode(".jpg", cv2.resize(one, (960, 540)))[1].tobytes() for one in PICTURES]
    path = tmp_path / "a.mjpeg"
    path.write_bytes(b"".join(jpegs))
    with av.open(str(path)) as container:
        assert container.format.name == "jpeg_pipe"
    assert _played(path) == len(PICTURES)
    cut = [jpegs[4][: len(jpegs[4]) // 2], jpegs[5][len(jpegs[5]) // 3 :]]
    path.write_bytes(b"".join([*jpegs[:4], *cut, *jpegs[6:]]))
    with pytest.raises(SourceDamagedError, match=f"{len(PICTURES) - 1} frames came"):
        _played(path)


def _played(path: Path) -> int:
    source = open_source(SourceConfig(uri=str(path), frame_rate=25.0), camera_id="cam", clock=FakeClock())
    return sum(1 for _ in source.frames())
