"""Recorded sources: bad input, natural order, pace, and silence."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.capture import PICTURE_SUFFIXES, list_pictures, open_source, read_picture
from agent.capture import pictures as pictures_module
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, SourceError
from agent.ports import FrameSource
from tests.fakes.clock import FakeClock

NOISE = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def _open(path: Path, **options: object) -> FrameSource:
    config = SourceConfig.model_validate({"uri": str(path), **options})
    return open_source(config, camera_id="cam-1", clock=FakeClock())


def _video(path: Path, *, frames: int = 60, fps: float = 10.0) -> Path:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for _ in range(frames):
        video.write(NOISE)
    video.release()
    return path


def _cut(path: Path, *, keep: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def _png_bomb(side_px: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def _folder_without_pictures(folder: Path) -> Path:
    (folder / "labels.jsonl").write_text("{}")
    return folder


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _mp4_without_index(path: Path) -> Path:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (64, 48))
    for _ in range(20):
        video.write(NOISE)
    video.release()
    return _cut(path, keep=0.5)


BAD_SOURCES: list[tuple[str, Callable[[Path], Path], str]] = [
    ("missing", lambda d: d / "none.mp4", "no such file or folder; allowed are"),
    ("no pictures", _folder_without_pictures, "no picture in this folder; allowed are"),
    ("empty", lambda d: _write(d / "empty.mp4", b""), "the file is empty"),
    ("no video", lambda d: _write(d / "text.mp4", b"hello " * 1000), "not a video"),
    ("mp4 cut off before its index", lambda d: _mp4_without_index(d / "cut.mp4"), "not a video .* or cut off"),
]


@pytest.mark.parametrize(("make", "message"), [row[1:] for row in BAD_SOURCES], ids=[row[0] for row in BAD_SOURCES])
def test_a_bad_source_is_one_clear_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What, where, what is allowed: in one line, and the libraries print nothing."""
    path = make(tmp_path)
    with pytest.raises(SourceError, match=message) as caught:
        _open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_video_delivers_what_it_has_and_then_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The frames before the cut are used; the error says how much is missing."""
    source = _open(_cut(_video(tmp_path / "clip.avi"), keep=0.5))
    came: list[int] = []
    with pytest.raises(
        SourceDamagedError, match=r"cut off or damaged: \d+ frames came, .* missing at its end"
    ) as caught:
        came.extend(frame.sequence for frame in source.frames())
    assert 20 <= len(came) <= 35
    assert f"{len(came)} frames came" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_whole_video_ends_without_an_error(tmp_path: Path) -> None:
    """The slack of a container's rounding is not taken for damage."""
    assert len(list(_open(_video(tmp_path / "clip.avi", fps=29.97)).frames())) == 60


def test_real_pace_waits_for_each_frame(tmp_path: Path) -> None:
    """Frame n is delivered n / rate after the start, by the clock's own sleep."""
    clock = FakeClock()
    path = _video(tmp_path / "clip.avi", frames=4)
    source = open_source(SourceConfig(uri=str(path), pace="real"), camera_id="cam-1", clock=clock)
    assert [round(clock.elapsed_s, 6) for _ in source.frames()] == [0.0, 0.1, 0.2, 0.3]


def test_pictures_come_in_natural_order(tmp_path: Path) -> None:
    """2 before 10, hidden files and other kinds left out."""
    for name in ("eu10.png", "eu2.png", "eu1.PNG", ".hidden.png", "labels.jsonl", "01.png", "1.png"):
        cv2.imwrite(str(tmp_path / "x.png"), NOISE)
        (tmp_path / "x.png").rename(tmp_path / name)
    assert [path.name for path in list_pictures(tmp_path)] == ["01.png", "1.png", "eu1.PNG", "eu2.png", "eu10.png"]


BAD_PICTURES: list[tuple[str, str, bytes, str]] = [
    ("empty", "a.png", b"", "the file is empty"),
    ("text", "a.jpg", b"no picture", "not a picture that can be decoded; allowed are"),
    ("cut JPEG", "a.jpg", bytes(cv2.imencode(".jpg", NOISE)[1])[:900], "cut off or damaged"),
    ("cut PNG", "a.png", bytes(cv2.imencode(".png", NOISE)[1])[:900], "cut off or damaged"),
    ("PNG with a flipped bit", "a.png", b"", "cut off or damaged"),
    ("huge sides", "a.png", _png_bomb(40_000), "40000x40000 pixels; allowed are 1 to 16384"),
    ("many pixels", "a.png", _png_bomb(16_000), "16000x16000 pixels; allowed are .* 100 million"),
    ("bare JPEG start", "a.jpg", b"\xff\xd8\xff", "cut off or damaged"),
    ("bare PNG signature", "a.png", b"\x89PNG\r\n\x1a\n", "cut off or damaged"),
]


def _flipped() -> bytes:
    content = bytearray(cv2.imencode(".png", NOISE)[1])
    content[len(content) // 2] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "message"), [r[1:] for r in BAD_PICTURES], ids=[r[0] for r in BAD_PICTURES]
)
def test_a_bad_picture_is_named(
    name: str, content: bytes, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is decoded to grey and passed on; the line names the file, and the libraries print nothing."""
    path = _write(tmp_path / name, content or (_flipped() if "damaged" in message else b""))
    with pytest.raises(SourceError, match=message) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_picture_or_a_folder_is_no_picture(tmp_path: Path) -> None:
    """Both are said plainly."""
    with pytest.raises(SourceError, match="no such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(SourceError, match="not a file"):
        read_picture(tmp_path)


def test_a_picture_file_above_the_limit_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on the bytes read."""
    monkeypatch.setattr(pictures_module, "MAX_PICTURE_BYTES", 1 << 20)
    path = _write(tmp_path / "a.bmp", b"BM" + bytes(1 << 20))
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        read_picture(path)


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_pictures_of_every_allowed_kind_are_read(suffix: str, tmp_path: Path) -> None:
    """Shape and dtype as promised."""
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), NOISE)
    image = read_picture(path)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8


def test_a_folder_goes_on_after_a_bad_picture(tmp_path: Path) -> None:
    """The others come, at their own places; at the end the bad one is counted and named."""
    for n in (1, 3, 4):
        cv2.imwrite(str(tmp_path / f"{n}.png"), NOISE)
    _write(tmp_path / "2.png", b"nothing")
    source, came = _open(tmp_path), list[int]()
    with pytest.raises(SourceDamagedError, match=r"1 of 4 pictures cannot be decoded.*2\.png: not a picture"):
        came.extend(frame.sequence for frame in source.frames())
    assert came == [0, 2, 3]
    assert source.frames_lost == 1


def test_a_folder_without_a_good_picture_is_refused(tmp_path: Path) -> None:
    """By the first of its pictures."""
    _write(tmp_path / "2.png", b"nothing")
    with pytest.raises(SourceError, match=r"2\.png: not a picture"):
        list(_open(tmp_path).frames())


def test_what_lies_behind_a_jpeg_is_not_taken_for_it(tmp_path: Path) -> None:
    """A phone puts a film behind its pictures, and two-eyed cameras a second picture; a cut one stays cut."""
    whole = bytes(cv2.imencode(".jpg", NOISE)[1])
    film = b"\x00\x00\x00\x18ftypmp42\xff\xd8\xff\xda\x00\x08" + bytes(range(256)) * 8
    for behind in (film, whole, whole[:500]):
        assert read_picture(_write(tmp_path / "a.jpg", whole + behind)).shape == (48, 64, 3)
    with pytest.raises(SourceError, match="cut off"):
        read_picture(_write(tmp_path / "a.jpg", whole[:-20]))


def test_a_date_beyond_the_calendar_is_refused(tmp_path: Path) -> None:
    """A recording that runs past the year 9999 is a wrong start, not a crash."""
    for n in range(3):
        cv2.imwrite(str(tmp_path / f"{n}.png"), NOISE)
    source = _open(tmp_path, started_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    with pytest.raises(SourceError, match="year 9999"):
        list(source.frames())
