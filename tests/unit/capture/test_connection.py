"""One connection to a camera: time of capture, and what counts as lost."""

from __future__ import annotations

import pytest

from agent.capture.connection import MAX_LAG_S, Connection
from agent.capture.opencv_stream import OpenCvStream
from agent.errors import SourceError, SourceLostError
from agent.records import Picture
from tests.fakes.capture import ScriptedCapture, Shot
from tests.fakes.clock import FakeClock


def _connection(
    clock: FakeClock, *shots: Shot, opened: bool = True, fault: bool = False, opening_s: float = 0.0
) -> tuple[Connection, ScriptedCapture]:
    capture = ScriptedCapture(clock, *shots, opened=opened, fault=fault, decode_s=3.0)

    def connect() -> OpenCvStream:
        clock.advance(opening_s)
        return OpenCvStream(capture, name="cam")  # type: ignore[arg-type]

    return Connection(connect, name="cam", stall_s=10.0, clock=clock), capture


def test_captured_at_is_when_the_frame_left_the_camera() -> None:
    """Without a stream clock that is its arrival; making a picture of it comes after and does not age it."""
    clock = FakeClock()
    begin = clock.now()
    connection, _ = _connection(clock, Shot(after_s=1.0))
    grab = connection.grab()
    connection.picture()
    assert clock.elapsed_s == 4.0
    assert (grab.captured_at - begin).total_seconds() == grab.captured_s == grab.arrived_s == 1.0


def test_a_frame_that_was_held_up_is_dated_by_the_stream() -> None:
    """Both times are of the same moment, before arrival."""
    clock = FakeClock()
    begin = clock.now()
    connection, _ = _connection(clock, Shot(after_s=1.0, stream_s=1.0), Shot(after_s=3.0, stream_s=2.0))
    connection.grab()
    grab = connection.grab()
    assert grab.arrived_s == 4.0
    assert grab.captured_s == pytest.approx(2.0, abs=0.01)
    assert (grab.captured_at - begin).total_seconds() == pytest.approx(grab.captured_s)


def test_a_clock_that_is_set_moves_the_date_and_not_the_interval() -> None:
    """A step of the wall clock is the wall clock's, and no delay of the stream."""
    clock = FakeClock()
    connection, _ = _connection(clock, Shot(stream_s=1.0, after_s=1.0), Shot(stream_s=2.0, after_s=1.0))
    first = connection.grab()
    clock.current = clock.current.replace(year=2030)
    second = connection.grab()
    assert second.captured_at.year == 2030
    assert second.captured_s - first.captured_s == pytest.approx(1.0)


def test_frames_that_piled_up_while_opening_are_old() -> None:
    """FFmpeg hands them out at once; arrival says nothing of their age."""
    clock = FakeClock()
    shots = [Shot(stream_s=n / 2, after_s=0.01) for n in range(6)]
    connection, _ = _connection(clock, *shots, opening_s=1.2)
    assert [connection.grab().is_old for _ in shots] == [True, True, True, False, False, False]


def test_a_first_frame_without_a_time_is_old_and_no_beginning() -> None:
    """FFmpeg dates the first frame of an RTSP stream never, and the others from anywhere."""

    class Dated:
        lost = 3
        wall_s = None

        def __init__(self) -> None:
            self.times: list[float | None] = [None, 900.0, 900.5, 901.5]

        def grab(self) -> float | None:
            clock.advance(0.01)
            return self.times.pop(0)

        def picture(self) -> Picture:
            raise AssertionError("only times are asked for here")

        def close(self) -> None: ...

    def connect() -> Dated:
        clock.advance(1.2)
        return Dated()

    clock = FakeClock()
    connection = Connection(connect, name="cam", stall_s=10.0, clock=clock)
    assert [connection.grab().is_old for _ in range(4)] == [True, True, True, False]
    assert connection.lost == 3


def test_a_stream_without_a_clock_is_not_old_for_ever() -> None:
    """After as much time as opening took it is believed."""
    clock = FakeClock()
    connection, _ = _connection(clock, *(Shot(after_s=0.5) for _ in range(4)), opening_s=1.2)
    assert [connection.grab().is_old for _ in range(4)] == [True, True, False, False]


def test_a_camera_that_does_not_open_is_lost_and_released() -> None:
    """It may come back: whoever asked tries again."""
    capture = ScriptedCapture(FakeClock(), opened=False)
    with pytest.raises(SourceLostError, match="cam: the camera cannot be opened"):
        OpenCvStream(capture, name="cam")  # type: ignore[arg-type]
    assert capture.released == 1


@pytest.mark.parametrize("fault", [False, True], ids=["says no", "raises"])
def test_a_camera_that_stops_is_lost(fault: bool) -> None:
    """However OpenCV says it."""
    connection, _ = _connection(FakeClock(), ScriptedCapture.LOSE, fault=fault)
    with pytest.raises(SourceLostError, match="stopped delivering"):
        connection.grab()


@pytest.mark.parametrize("shot", [Shot(after_s=10.0), Shot(value=-1, after_s=10.0)])
def test_a_silence_is_a_loss_even_if_a_last_frame_comes_of_it(shot: Shot) -> None:
    """A decoder hands out what it held back when the read gives up."""
    connection, _ = _connection(FakeClock(), shot)
    with pytest.raises(SourceLostError, match="no frame for 10 s"):
        connection.grab()


def test_a_camera_that_is_ever_further_ahead_is_lost() -> None:
    """Reading on would only add to the lag."""
    shots = [Shot(stream_s=n * 0.5, after_s=0.75) for n in range(22)]
    connection, _ = _connection(FakeClock(), *shots)
    lags_s = [grab.arrived_s - grab.captured_s for grab in (connection.grab() for _ in range(21))]
    assert lags_s == sorted(lags_s)
    assert MAX_LAG_S - 0.25 < max(lags_s) <= MAX_LAG_S
    with pytest.raises(SourceLostError, match=r"cam: 5\.\d s behind"):
        connection.grab()


def test_an_absurd_live_picture_is_refused() -> None:
    """The limits hold for cameras too, and connecting again would not mend it."""
    connection, _ = _connection(FakeClock(), Shot(wide_px=20_000))
    connection.grab()
    with pytest.raises(SourceError, match="20000x8 pixels") as caught:
        connection.picture()
    assert not isinstance(caught.value, SourceLostError)


def test_closing_lets_the_camera_go() -> None:
    """The device is free for others."""
    connection, capture = _connection(FakeClock())
    connection.close()
    assert capture.released == 1
