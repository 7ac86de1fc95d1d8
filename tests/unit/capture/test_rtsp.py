"""A network camera's stream once it is open: damage, silence, what is no video; recordings stand in for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from av.container import InputContainer
from tenacity import RetryCallState, Retrying

from agent.capture import rtsp
from agent.capture.live import REFUSED_S, RETRY_MOST_S, _wait_s
from agent.capture.rtsp import RtspStream
from agent.config.models import SourceConfig
from agent.errors import SourceLostError, SourceRefusedError
from tests.fakes.clock import FakeClock
from tests.fakes.recordings import number_of, packets, picture, record, spoil

PICTURES = [picture(number) for number in range(40)]


def _stream(path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock | None = None) -> RtspStream:
    def opened(*_: object, **__: object) -> InputContainer:
        return av.open(str(path), "r")

    monkeypatch.setattr(rtsp, "_open", opened)
    return RtspStream("rtsp://camera/", SourceConfig(uri="rtsp://camera/"), name="cam", clock=clock or FakeClock())


def _numbers(stream: RtspStream) -> Iterator[int]:
    while True:
        try:
            stream.grab()
        except SourceLostError:
            return
        yield number_of(stream.picture().bgr)


def test_damage_costs_its_frames_and_not_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be decoded is counted; the others come, until the camera ends."""
    path = record(tmp_path / "a.mkv", PICTURES, codec="mjpeg", layout="yuvj420p")
    spoil(path, [packets(path)[number] for number in (7, 8, 20)])
    stream = _stream(path, monkeypatch)
    assert list(_numbers(stream)) == [number for number in range(40) if number not in {7, 8, 20}]
    assert stream.lost == 3
    with pytest.raises(SourceLostError, match="cam: the camera stopped delivering"):
        stream.grab()
    stream.close()


def test_a_stream_of_which_nothing_can_be_decoded_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long packets come: a dead stream is connected again."""
    path = record(tmp_path / "a.mkv", PICTURES, codec="mjpeg", layout="yuvj420p")
    spoil(path, packets(path))
    clock = FakeClock()
    stream = _stream(path, monkeypatch, clock)
    packet_of = stream._next_packet

    def slowly() -> object:
        clock.advance(1.0)
        return packet_of()

    monkeypatch.setattr(stream, "_next_packet", slowly)
    with pytest.raises(SourceLostError, match="video comes, and none of it can be decoded"):
        stream.grab()


def test_a_camera_without_video_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A door station that sends sound alone is no camera."""
    record(tmp_path / "b.mkv", PICTURES, sound_s=1.0)
    path = tmp_path / "a.mka"
    with av.open(str(tmp_path / "b.mkv")) as source, av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(SourceLostError, match="cam: the camera sends no video"):
        _stream(path, monkeypatch)


@pytest.mark.parametrize(
    ("failure", "least_s", "most_s"),
    [
        (SourceRefusedError("cam: the camera refuses this user or password"), REFUSED_S, REFUSED_S),
        (SourceLostError("cam: nothing listens at this port"), 0.0, RETRY_MOST_S),
    ],
)
def test_a_refused_login_is_not_tried_again_soon(failure: Exception, least_s: float, most_s: float) -> None:
    """Cameras lock accounts; a camera that is merely away is tried again after seconds."""
    state = RetryCallState(Retrying(), None, (), {})
    state.set_exception((type(failure), failure, None))
    for attempt in range(1, 9):
        state.attempt_number = attempt
        assert least_s <= _wait_s(state) <= most_s
