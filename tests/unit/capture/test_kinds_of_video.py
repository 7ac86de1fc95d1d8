"""Recordings as they come: interlaced, damaged, uneven, turned, anamorphic; each is made here, small."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.codec.context import Flags
from av.video.stream import VideoStream

from agent.capture import open_source
from agent.capture.deinterlace import is_combed
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, SourceError
from agent.ports import FrameSource
from agent.records import Frame, Image, TimeSource
from tests.fakes.clock import FakeClock
from tests.fakes.recordings import RATE, WH, number_of, packets, picture, record, spoil, woven

COUNT = 40
STEP_S = 1 / RATE
PICTURES = [picture(number) for number in range(COUNT)]


def _open(path: Path, **options: object) -> FrameSource:
    config = SourceConfig.model_validate({"uri": str(path), **options})
    return open_source(config, camera_id="cam-1", clock=FakeClock())


def _played(path: Path, **options: object) -> tuple[list[Frame], SourceDamagedError | None, FrameSource]:
    source, frames = _open(path, **options), list[Frame]()
    try:
        frames.extend(source.frames())
    except SourceDamagedError as error:
        return frames, error, source
    return frames, None, source


def _seconds(frames: list[Frame]) -> list[float]:
    return [frame.monotonic_s for frame in frames]


def _marked(stream: VideoStream) -> None:
    stream.codec_context.flags |= Flags.interlaced_dct


WHOLE: list[tuple[str, dict[str, object]]] = [
    ("whole.mp4", {"options": {"bf": "2"}}),
    ("fragments.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("whole.mkv", {"options": {"bf": "2"}}),
    ("whole.ts", {"options": {"bf": "2"}}),
    ("whole.flv", {}),
    ("whole.avi", {}),
    ("reordered.avi", {"options": {"bf": "2"}}),
    ("mpeg4.avi", {"codec": "mpeg4"}),
    ("whole.mpg", {"codec": "mpeg2video"}),
    ("hevc.mp4", {"codec": "libx265"}),
    ("deep.mp4", {"codec": "libx265", "layout": "yuv420p10le"}),
    ("grey.mp4", {"layout": "gray"}),
    ("full.mp4", {"layout": "yuv444p"}),
    ("whole.webm", {"codec": "libvpx", "options": {"deadline": "realtime"}}),
    ("motion.avi", {"codec": "mjpeg", "layout": "yuvj420p"}),
    ("bottom-up.avi", {"codec": "rawvideo", "layout": "bgr24"}),
    ("sound-longer.mkv", {"sound_s": 5.0}),
    ("sound-longer.mp4", {"sound_s": 5.0}),
    ("sound-longer.flv", {"sound_s": 5.0}),
    ("sound-shorter.mkv", {"sound_s": 0.5}),
    ("begins-at-5s.mp4", {"at": lambda number: number + 5 * RATE}),
    ("begins-at-5s.mkv", {"at": lambda number: number + 5 * RATE}),
    ("begins-at-5s.ts", {"at": lambda number: number + 5 * RATE}),
]


@pytest.mark.parametrize(("name", "how"), WHOLE, ids=[name for name, _ in WHOLE])
def test_a_whole_recording_is_whole(name: str, how: dict[str, object], tmp_path: Path) -> None:
    """Every frame comes once, in order, with its own time, and nothing is called damaged."""
    frames, damage, source = _played(record(tmp_path / name, PICTURES, **how))  # type: ignore[arg-type]
    assert damage is None
    assert source.frames_lost == 0
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert _seconds(frames) == pytest.approx([number * STEP_S for number in range(COUNT)], abs=0.002)
    assert frames[5].time_source is TimeSource.PTS


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_variable_rate_and_a_pause_are_kept(suffix: str, tmp_path: Path) -> None:
    """A frame's time is its own, however far the next one is."""
    places = [*range(10), *range(40, 60, 2), *range(1540, 1560)]
    frames, damage, _ = _played(record(tmp_path / f"vfr.{suffix}", PICTURES, at=places.__getitem__))
    assert damage is None
    assert _seconds(frames) == pytest.approx([place * STEP_S for place in places], abs=0.002)


def test_joined_recordings_go_on(tmp_path: Path) -> None:
    """Times start again in the middle: the second part follows on the first, and none goes back."""
    first = record(tmp_path / "first.ts", PICTURES)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + record(tmp_path / "second.ts", PICTURES).read_bytes())
    frames, _, _ = _played(both)
    assert [number_of(frame.image) for frame in frames] == [*range(COUNT), *range(COUNT)]
    assert _seconds(frames) == pytest.approx([number * STEP_S for number in range(2 * COUNT)], abs=STEP_S)


@pytest.mark.parametrize(("codec", "container"), [("libx264", "h264"), ("libx265", "hevc"), ("mjpeg", "mjpeg")])
def test_a_stream_without_times_is_dated_by_the_configured_rate(
    codec: str, container: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever rate the stream or FFmpeg says; without the setting there is a warning."""
    layout = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = record(tmp_path / f"raw.{container}", PICTURES, codec=codec, layout=layout, container=container)
    frames, damage, _ = _played(path, frame_rate=12.5)
    assert damage is None
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
    assert _seconds(frames) == pytest.approx([number / 12.5 for number in range(COUNT)])
    assert {frame.time_source for frame in frames} == {TimeSource.RATE}
    assert _seconds(_played(path)[0]) == pytest.approx([number / RATE for number in range(COUNT)])
    assert "Set frame_rate" in caplog.text


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_interlaced_frames_are_made_whole(codec: str, tmp_path: Path) -> None:
    """Two moments in one frame become one picture without combs; one frame comes for each, at its time."""
    lines = [woven(picture(number), picture(number, moment=number + 1)) for number in range(0, COUNT, 2)]
    name, options = ("a.mp4", {"x264-params": "tff=1", "qp": "8"}) if codec == "libx264" else ("a.ts", {"qmax": "2"})
    path = record(tmp_path / name, lines, codec=codec, options=options, set_up=_marked)
    frames, damage, _ = _played(path)
    assert damage is None
    assert [number_of(frame.image) for frame in frames] == list(range(0, COUNT, 2))
    assert _seconds(frames) == pytest.approx([number * STEP_S for number in range(COUNT // 2)], abs=0.002)
    for line, frame in zip(lines[1:-1], frames[1:-1], strict=True):
        assert is_combed(line[..., 1])
        assert not is_combed(frame.picture.luma)
        assert not is_combed(np.ascontiguousarray(frame.image[..., 1]))


def test_frames_that_are_only_marked_keep_their_detail(tmp_path: Path) -> None:
    """The lines of many marked frames are of one moment: those are as they were decoded."""
    plain = _played(record(tmp_path / "a.mp4", PICTURES, options={"x264-params": "qp=8"}))[0]
    path = record(tmp_path / "b.mp4", PICTURES, options={"x264-params": "tff=1:qp=8"}, set_up=_marked)
    for frame, same in zip(_played(path)[0], plain, strict=True):
        assert np.abs(frame.image.astype(int) - same.image).mean() < 1


def test_a_half_picture_is_seen_in_its_proportions(tmp_path: Path) -> None:
    """Interlaced HEVC comes as single half pictures of half the height."""
    halves = [np.ascontiguousarray(image[::2]) for image in PICTURES]

    def set_up(stream: VideoStream) -> None:
        stream.codec_context.options |= {"x265-params": "log-level=none:interlace=tff"}

    frames, damage, _ = _played(record(tmp_path / "a.mp4", halves, codec="libx265", set_up=set_up))
    assert damage is None
    assert {frame.wh for frame in frames} == {WH}
    assert {frame.image.shape for frame in frames} == {(*WH[::-1], 3)}


DAMAGED: list[tuple[str, dict[str, object]]] = [
    ("a.mp4", {}),
    ("a.mkv", {}),
    ("a.avi", {"codec": "mjpeg", "layout": "yuvj420p"}),
    ("b.avi", {"codec": "mpeg4"}),
    ("b.mp4", {"codec": "libx265"}),
]


@pytest.mark.parametrize(("name", "how"), DAMAGED, ids=[name for name, _ in DAMAGED])
def test_damage_is_passed_over_and_told(
    name: str, how: dict[str, object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The frames of damaged packets are not read and are counted; those of the others come, at their own times."""
    path = record(tmp_path / name, PICTURES, **how)  # type: ignore[arg-type]
    places = packets(path)
    spoil(path, [places[number] for number in (12, 13, 26)])
    frames, damage, source = _played(path)
    numbers = [round(frame.monotonic_s / STEP_S) for frame in frames]
    assert damage is not None
    assert {12, 13, 26}.isdisjoint(numbers)
    assert source.frames_lost == COUNT - len(frames)
    assert len(frames) >= COUNT - 3 - 2 * 8, "those up to the next key frame may hang on the damaged ones"
    assert f"{len(frames)} frames came, {source.frames_lost} were lost" in str(damage)
    assert _seconds(frames) == pytest.approx([number * STEP_S for number in numbers], abs=0.002)
    assert [number_of(frames[numbers.index(one)].image) for one in (0, 11, 39)] == [0, 11, 39]
    assert capfd.readouterr() == ("", "")


def test_damage_of_a_stream_without_times_takes_its_time(tmp_path: Path) -> None:
    """A lost picture of raw MJPEG does not date the ones after it earlier."""
    path = record(tmp_path / "a.mjpeg", PICTURES, codec="mjpeg", layout="yuvj420p", container="mjpeg")
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content)) if content[at : at + 3] == b"\xff\xd8\xff"]
    content[starts[9] + 700 : starts[9] + 760] = bytes(60)
    path.write_bytes(content)
    frames, damage, source = _played(path, frame_rate=RATE)
    assert damage is not None
    assert source.frames_lost == 1
    assert [round(one / STEP_S) for one in _seconds(frames)] == [number for number in range(COUNT) if number != 9]


@pytest.mark.parametrize("suffix", ["avi", "mkv", "flv", "ts", "fragments.mp4", "faststart.mp4"])
def test_a_recording_that_is_cut_off_says_so(suffix: str, tmp_path: Path) -> None:
    """However it states its length; the frames before the cut are used."""
    flags = {"fragments.mp4": "frag_keyframe", "faststart.mp4": "faststart"}
    options = {"movflags": flags[suffix]} if suffix in flags else None
    path = record(tmp_path / f"a.{suffix}", PICTURES, container_options=options)
    offset, length = packets(path)[30]
    path.write_bytes(path.read_bytes()[: offset + length // 2])
    frames, damage, _ = _played(path)
    assert damage is not None
    assert "cut off or damaged" in str(damage)
    assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 29


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "flv", "ts"])
def test_a_part_that_cannot_be_read_is_told(suffix: str, tmp_path: Path) -> None:
    """FFmpeg skips what is no packet without a word; what lies before and behind is used."""
    path = record(tmp_path / f"a.{suffix}", PICTURES)
    places, content = packets(path), bytearray(path.read_bytes())
    begin, end = places[14][0] - 24, places[18][0] - 24
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    frames, damage, _ = _played(path)
    assert damage is not None
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers[:13] == list(range(13))
    assert numbers[-1] == COUNT - 1
    assert _seconds(frames)[-1] == pytest.approx((COUNT - 1) * STEP_S, abs=0.002)


@pytest.mark.parametrize("place", [20, 25], ids=["a key frame", "another"])
def test_playing_again_counts_losses_anew(place: int, tmp_path: Path) -> None:
    """The count is that of the latest playback, and of all that did not come: also where the decoder says nothing."""
    path = record(tmp_path / "a.mp4", PICTURES)
    spoil(path, [packets(path)[place]])
    source = _open(path)
    for _ in range(2):
        came: list[int] = []
        with pytest.raises(SourceDamagedError):
            came.extend(frame.sequence for frame in source.frames())
        assert source.frames_lost == COUNT - len(came) > 0


def test_a_stream_may_begin_anywhere(tmp_path: Path) -> None:
    """A recorder that cuts between key frames loses nothing: what cannot be decoded before the first is not counted."""
    path = record(tmp_path / "a.ts", PICTURES)
    path.write_bytes(path.read_bytes()[packets(path)[3][0] :])
    frames, damage, source = _played(path)
    assert damage is None
    assert source.frames_lost == 0
    assert number_of(frames[-1].image) == COUNT - 1


def test_brightness_is_there_without_a_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who looks at the colours has them made, once."""
    converted: list[object] = []
    from agent.capture.unconverted import Converter

    real = Converter._bgr

    def counted(self: Converter, *arguments: object) -> Image:
        converted.append(arguments)
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Converter, "_bgr", counted)
    frames, _, _ = _played(record(tmp_path / "a.mp4", PICTURES, options={"x264-params": "qp=4"}))
    assert all(frame.picture.luma.shape == WH[::-1] for frame in frames)
    assert not converted
    assert frames[3].image is frames[3].image
    assert len(converted) == 1


@pytest.mark.parametrize("layout", ["yuv420p", "yuvj420p", "yuv420p10le", "gray", "yuv422p"])
def test_brightness_is_that_of_the_colours(layout: str, tmp_path: Path) -> None:
    """Of every depth and layout, as a picture of one byte a pixel; in video range it is flatter."""
    codec = "libx265" if layout == "yuv420p10le" else "libx264"
    frame = _played(record(tmp_path / "a.mp4", PICTURES, layout=layout, codec=codec))[0][20]
    grey = frame.image[..., 1].astype(float)
    if layout != "yuvj420p":
        grey = 16 + grey * 219 / 255
    flat = np.s_[4:28, 4:28]  # of one colour: edges of colour are softer than those of brightness
    assert frame.picture.luma.dtype == np.uint8
    assert frame.picture.luma.shape == grey.shape
    assert abs(frame.picture.luma[flat].mean() - grey[flat].mean()) < 3


def _turned(degrees: float) -> Callable[[VideoStream], object]:
    return lambda stream: stream.set_display_rotation(degrees)


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, 1), (-90.0, 3), (180.0, 2)])
def test_a_phone_that_was_held_otherwise(degrees: float, turns: int, tmp_path: Path) -> None:
    """Pictures and their brightness are upright."""
    frames, _, _ = _played(record(tmp_path / "a.mp4", PICTURES, set_up=_turned(degrees)))
    upright = np.rot90(frames[7].image, -turns)
    assert frames[7].wh == (WH[::-1] if turns % 2 else WH)
    assert number_of(upright) == 7
    assert frames[7].picture.luma.shape == frames[7].image.shape[:2]
    assert abs(np.rot90(frames[7].picture.luma, -turns)[4:28, 4:28].mean() - 205) < 20


@pytest.mark.parametrize(("aspect", "wh"), [((4, 3), (256, 128)), ((8, 9), (192, 144)), ((1, 1), WH)])
def test_pixels_are_made_square(aspect: tuple[int, int], wh: tuple[int, int], tmp_path: Path) -> None:
    """The shorter side of an anamorphic picture is made longer, so that plates have their proportions."""

    def set_up(stream: VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)

    frames, _, _ = _played(record(tmp_path / "a.mp4", PICTURES, set_up=set_up))
    assert {frame.wh for frame in frames} == {wh}
    assert frames[5].image.shape == (*wh[::-1], 3)
    assert frames[5].picture.luma.shape == wh[::-1]
    assert number_of(frames[5].image) == 5


def test_a_change_of_resolution_is_followed(tmp_path: Path) -> None:
    """Frames come in the size that they have, and times go on."""
    double = [np.kron(image, np.ones((2, 2, 1), np.uint8)) for image in PICTURES]
    both = tmp_path / "both.ts"
    both.write_bytes(record(tmp_path / "a.ts", PICTURES).read_bytes() + record(tmp_path / "b.ts", double).read_bytes())
    frames, _, _ = _played(both)
    assert [frame.wh for frame in frames] == [WH] * COUNT + [(WH[0] * 2, WH[1] * 2)] * COUNT
    assert [number_of(frame.image) for frame in frames] == [*range(COUNT), *range(COUNT)]
    assert all(early < late for early, late in zip(_seconds(frames), _seconds(frames)[1:], strict=False))


def test_a_recording_begins_at_its_end_less_its_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The modification time is when its last byte was written; which of the two is used is in the log."""
    caplog.set_level(logging.INFO)
    path = record(tmp_path / "a.mkv", PICTURES, at=lambda number: number + 5 * RATE)
    raw = record(tmp_path / "a.h264", PICTURES, container="h264")
    for one in (path, raw):
        os.utime(one, (1_700_000_000, 1_700_000_000))
        first = next(_open(one).frames())
        assert first.captured_at.timestamp() == pytest.approx(1_700_000_000 - COUNT * STEP_S, abs=0.01)
    assert "modification time less its length" in caplog.text


def test_the_creation_time_of_a_recording_comes_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unless a start is configured; one before 1990 is that of a clock that was never set."""
    caplog.set_level(logging.INFO)

    def stated(moment: str, **options: object) -> datetime:
        path = tmp_path / "a.mkv"

        def set_up(stream: VideoStream) -> None:
            stream.container.metadata["creation_time"] = moment

        record(path, PICTURES, set_up=set_up)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        return next(_open(path, **options).frames()).captured_at

    at = datetime(2025, 5, 4, 3, 2, 1, tzinfo=UTC)
    assert stated("2025-05-04T03:02:01.000000Z") == at
    assert "as the file itself says" in caplog.text
    assert stated("1970-01-01T00:00:00.000000Z").year == 2023
    assert stated("2025-05-04T03:02:01.000000Z", started_at=at.replace(year=2026)).year == 2026


def test_a_recording_that_names_other_files_is_refused(tmp_path: Path) -> None:
    """A playlist would send FFmpeg to other files, or into the network."""
    record(tmp_path / "a.ts", PICTURES)
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError, match="list of other files|not a video"):
        _open(path)


def test_a_recording_without_video_is_refused(tmp_path: Path) -> None:
    """By name, and not as a cut one."""
    import av

    path = tmp_path / "a.mka"
    record(tmp_path / "b.mkv", PICTURES, sound_s=1.0)
    with av.open(str(tmp_path / "b.mkv")) as source, av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(SourceError, match="there is no video in this file"):
        _open(path)
