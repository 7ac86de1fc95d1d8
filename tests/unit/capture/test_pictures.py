"""Kinds of pictures: their sizes before they are decoded, one without its end, several in one file, and those that
move.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from agent.capture import animation, is_picture, open_source, read_picture
from agent.capture.header import picture_wh
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, SourceError
from agent.records import Frame, Image, TimeSource
from tests.fakes.clock import FakeClock
from tests.fakes.recordings import number_of, picture

PICTURES = [picture(number) for number in range(9)]
SHOWN_MS = [80, 200, 80, 80, 1000, 80, 80, 80, 80]
STARTS_S = [0.0, 0.08, 0.28, 0.36, 0.44, 1.44, 1.52, 1.6, 1.68]
STILL = (".avif", ".bmp", ".gif", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOVING = (".avif", ".gif", ".png", ".webp")
TILES = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAHhbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2"
    "aWYAAAAADnBpdG0AAAAAAAEAAABWaWxvYwAAAABEAAAFAAEAAAABAAACCQAAAAgAAgAAAAEAAAIRAAAASwADAAAAAQAAAlwAAAAmAAQAAAAB"
    "AAACggAAADcABQAAAAEAAAK5AAAAGgAAAJBpaW5mAAAAAAAFAAAAGmluZmUCAAAAAAEAAGdyaWRDb2xvcgAAAAAaaW5mZQIAAAEAAgAAYXYw"
    "MUNvbG9yAAAAABppbmZlAgAAAQADAABhdjAxQ29sb3IAAAAAGmluZmUCAAABAAQAAGF2MDFDb2xvcgAAAAAaaW5mZQIAAAEABQAAYXYwMUNv"
    "bG9yAAAAACBpcmVmAAAAAAAAABRkaW1nAAEABAACAAMABAAFAAAAmWlwcnAAAABfaXBjbwAAABRpc3BlAAAAAAAAAMAAAACAAAAAEHBpeGkA"
    "AAAAAwgICAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAAAxhdjFDgSAAAAAAADJpcG1hAAAAAAAAAAUAAQMBAgMA"
    "AgQEAoUDAAMEBAKFAwAEBAQChQMABQQEAoUDAAAA0m1kYXQAAAEBAMAAgBIACgk4GW//ygIaDSAyPBUAAABAQPXPbeQMjLHAyVAUOdTDkMpz"
    "JWJxT7KyX/9uWpnqJoCQtWs/Czia0+WAeYR5xCsqCc/pcPRL8BIACgk4GW//ygIaDSAyFxUAAABAQHP3W1mXfGFQZhuOZB8HlHVAEgAKCTgZ"
    "b//KAhoNIDIoRUAAABAQ9c97kfhH97YGsP9LDp7kC4ZI7efMC0FaqqwCdJDgEAhMZRIACgk4GW//ygIaDSAyCxUAAABAQA0MsSAI"
)
"""`picture(45)` as an AVIF of two tiles by two, which OpenCV does not write: `avifenc --grid 2x2 --min 10 --max 30`."""
TURNED = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAD8bWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2"
    "aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABJAAAAFEAAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAx"
    "Q29sb3IAAAAAdGlwcnAAAABUaXBjbwAAABRpc3BlAAAAAAAAAMAAAACAAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgSAAAAAAABNjb2xybmNs"
    "eAABAA0ABoAAAAAJaXJvdAEAAAAYaXBtYQAAAAAAAAABAAEFAQKDBIUAAABZbWRhdBIACgk4Ha//8oCGg0gyQkSgAAAICPS60TocUjsj+dAi"
    "2FqoIgZOOOvzrv0CrETqKEA50zY+C0IoubkfafkDR8ILN5iOSgzeT6TcIUhmqlDdgA=="
)
"""The same in one piece, held a quarter turn: `avifenc --irot 1 --min 10 --max 30`."""


def _animated(path: Path) -> Path:
    made = cv2.Animation()
    made.frames, made.durations = PICTURES, SHOWN_MS
    assert cv2.imwriteanimation(str(path), made)
    return path


def _paged(path: Path) -> Path:
    assert cv2.imwritemulti(str(path), PICTURES[3:6])
    return path


def _played(path: Path, **options: object) -> list[Frame]:
    config = SourceConfig.model_validate({"uri": str(path), **options})
    return list(open_source(config, camera_id="a", clock=FakeClock()).frames())


def _encoded(suffix: str, image: Image, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, options)
    assert done
    return bytes(data)


@pytest.mark.parametrize("suffix", STILL)
def test_a_size_is_known_before_anything_is_decoded(suffix: str) -> None:
    """So that a small file cannot ask for much memory; a head that is cut states none, or is not believed."""
    image = np.zeros((37, 2021, 3), np.uint8)
    data = _encoded(suffix, image)
    assert picture_wh(data) == (2021, 37)
    for keep in range(0, 64, 3):
        assert picture_wh(data[:keep]) in (None, (2021, 37))


@pytest.mark.parametrize("quality", [101, 40])
def test_both_kinds_of_webp_state_their_size(quality: int) -> None:
    """Lossless and lossy ones have different heads."""
    assert picture_wh(_encoded(".webp", np.zeros((37, 2021, 3), np.uint8), cv2.IMWRITE_WEBP_QUALITY, quality)) == (
        2021,
        37,
    )


@pytest.mark.parametrize("suffix", STILL)
def test_a_still_of_each_kind_is_a_picture(suffix: str, tmp_path: Path) -> None:
    """Alone and as a source; one that is cut off is refused, and not filled with grey."""
    path = tmp_path / f"a{suffix}"
    data = _encoded(suffix, PICTURES[7])
    path.write_bytes(data)
    assert is_picture(path)
    assert number_of(read_picture(path)) == 7
    assert [number_of(frame.image) for frame in _played(path)] == [7]
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match="cut off or damaged|not a picture that can be decoded"):
        read_picture(path)


def test_an_avif_of_tiles_is_put_together(tmp_path: Path) -> None:
    """Phones write them. Without one of its tiles it is not whole, and refused."""
    path, data = tmp_path / "a.avif", b64decode(TILES)
    path.write_bytes(data)
    assert is_picture(path)
    read = read_picture(path)
    assert np.abs(read.astype(int) - picture(45)).mean() < 3
    path.write_bytes(data[:-40])
    with pytest.raises(SourceError, match="not a picture that can be decoded"):
        read_picture(path)


def test_an_avif_that_was_held_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    """As the file says it was held, whatever its name ends with."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b64decode(TURNED))
    assert np.abs(read_picture(path).astype(int) - np.rot90(picture(45))).mean() < 3


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)])
def test_a_jpeg_without_its_end_marker_is_read_and_told(
    options: tuple[int, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where only the marker is gone the picture is whole; where a byte more is, or half of it, it is refused."""
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    whole, path = _encoded(".jpg", noise, *options), tmp_path / "a.jpg"
    path.write_bytes(whole[:-2])
    decoded = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.array_equal(read_picture(path), decoded)
    assert "a.jpg: its end marker is missing" in caplog.text
    for missing in (4, 5, 20, 200, len(whole) // 2):
        path.write_bytes(whole[:-missing])
        with pytest.raises(SourceError, match="cut off or damaged"):
            read_picture(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", MOVING)
def test_all_frames_of_a_picture_that_moves_come(suffix: str, tmp_path: Path) -> None:
    """In their order and at their own times, which need not be even."""
    path = _animated(tmp_path / f"a{suffix}")
    assert not is_picture(path)
    frames = _played(path)
    assert [number_of(frame.image) for frame in frames] == list(range(9))
    assert [frame.monotonic_s for frame in frames] == pytest.approx(STARTS_S, abs=0.001)
    assert {frame.time_source for frame in frames} == {TimeSource.PTS}
    with av.open(path) if suffix == ".avif" else nullcontext() as container:  # the only one that says when it was made
        made = None if container is None else container.metadata["creation_time"]
    if made is not None:
        assert frames[0].captured_at == datetime.fromisoformat(made)
    else:
        ends_s = path.stat().st_mtime - frames[0].captured_at.timestamp()
        assert ends_s == pytest.approx(sum(SHOWN_MS) / 1000, abs=0.1)


def test_a_long_one_is_decoded_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held in memory has a bound, and no frame is lost or doubled where two parts meet."""
    path = _animated(tmp_path / "a.webp")
    width, height = PICTURES[0].shape[1::-1]
    monkeypatch.setattr(animation, "PART_BYTES", 2 * width * height * 4)
    assert [number_of(frame.image) for frame in _played(path)] == list(range(9))


@pytest.mark.parametrize("suffix", MOVING)
def test_one_that_is_cut_off_gives_what_it_has_or_says_so(suffix: str, tmp_path: Path) -> None:
    """It never ends as if all had come."""
    path = _animated(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match="cut off|damaged|can be decoded|not a"):
        _played(path)


def test_in_a_folder_the_first_is_used_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A picture of a folder is one frame; so is a TIFF of several pages by itself."""
    _animated(tmp_path / "1.webp")
    paged = _paged(tmp_path / "2.tif")
    with caplog.at_level(logging.WARNING):
        assert [number_of(frame.image) for frame in _played(tmp_path)] == [0, 3]
    assert "1.webp: holds 9 pictures; the first is read" in caplog.text
    assert "2.tif: holds 3 pictures; the first is read" in caplog.text
    assert [number_of(frame.image) for frame in _played(paged)] == [3]


def test_frames_that_are_missing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that counts more pictures than come is damaged, and those that came are used."""
    path = _animated(tmp_path / "a.webp")
    source = open_source(SourceConfig(uri=str(path)), camera_id="a", clock=FakeClock())
    monkeypatch.setattr(source, "_count", 11)
    came = list[Frame]()
    with pytest.raises(SourceDamagedError, match="9 of 11 frames came"):
        came.extend(source.frames())
    assert len(came) == 9
