"""From the packets of a video stream to pictures: damage is passed over and counted, interlaced frames are made whole.

Owns: one decoder, and what is lost in it. Leaves to others: where packets come from (`ffmpeg`), what a time means
(`frame_times`), conversion (`unconverted`).

A packet that cannot be decoded loses its frame. A frame that the decoder made up in part, because something was missing
or damaged, is no picture of what was there: it is lost too. What follows on a lost frame and is decoded whole is used,
smeared as it may be until the next key frame: no decoder marks that, and waiting would lose it all.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Final, NamedTuple

from av.video.frame import VideoFrame

from agent.capture.deinterlace import Deinterlacer, is_combed, kind_of
from agent.capture.ffmpeg import AnyPacket, FFmpegError, VideoStream
from agent.capture.opencv import check_size
from agent.capture.parameter_sets import ParameterSets
from agent.capture.unconverted import Converter, Layout, luma_of
from agent.errors import SourceError
from agent.records import Picture

EXPLODING: Final = frozenset({"hevc", "mjpeg"})
"""Codecs whose decoders hand out damaged frames unmarked. Asked to (`err_detect=explode`), they report an error. The
other decoders mark the frame as corrupt by themselves, and do so less with this option than without."""
MAX_REMEMBERED: Final = 64
"""Damaged packets whose frame may still come. Frames come at most 16 packets later."""
SILENT: Final = frozenset({"h264", "hevc"})
"""Codecs whose decoders leave out, without a word, a frame that hangs on a lost one. Each packet owes a frame."""
UNORDERED: Final = "avi"
"""A container whose frames come with the times of other ones, so that it cannot be told which has not come."""
MARK_REACH: Final = 3
"""A transport stream marks the packet before the gap, and a parser passes that on to one of its neighbours."""
SET_BACK_S: Final = 0.5
"""A clock that goes back by more was set; by less, a time was guessed after a gap. Seconds."""
FIELDS: Final = frozenset({"hevc"})
"""Codecs whose interlaced frames are single half pictures, of half the height. Nothing is woven, so nothing is taken
apart; each line is seen twice as high."""


class Decoded(NamedTuple):
    """One decoded frame.

    Attributes:
        picture: What it shows.
        pts_s: Its presentation time in the stream, seconds; None without one.
        dts_s: The time at which it was to be decoded, seconds: in the order of presentation too, for decoded frames.
    """

    picture: Picture
    pts_s: float | None
    dts_s: float | None


class Decoder:
    """Decodes one stream."""

    def __init__(self, stream: VideoStream, *, where: str, threads: int = 1) -> None:
        """Set the stream's decoder up; nothing is decoded yet.

        Args:
            stream: Its decoder is used for this alone.
            where: What is being read, for messages.
            threads: Threads that decode; each but the first delays every frame by one. With one, it is known which
                packet a damaged frame came from.
        """
        self._lost = 0
        self._stream = stream
        self._context = stream.codec_context
        self._codec = self._context.name
        self._base_s = float(stream.time_base or 0)
        self._layout: Layout | None = None
        self._parameters = ParameterSets(self._codec, self._context.extradata)
        self._context.thread_count = threads
        self._context.thread_type = "FRAME" if threads > 1 else "SLICE"
        if self._codec in EXPLODING:
            self._context.options = {"err_detect": "explode"}
        self._where = where
        self._knows_packet = threads == 1
        self._owes = threads == 1 and self._codec in SILENT and UNORDERED not in stream.container.format.name
        self._converter = Converter()
        self._deinterlacer: Deinterlacer | None = None
        self._waiting: deque[VideoFrame] = deque()  # in the deinterlacer, which changes their times
        self._damaged: deque[int] = deque(maxlen=MAX_REMEMBERED)
        self._last_dts = 0
        self._owed: list[int] = []
        self._marked = 0
        self._recent_marks: deque[bool] = deque(maxlen=MARK_REACH)
        self._has_begun = self._has_shown = False

    @property
    def stream_index(self) -> int:
        """Number of its stream in the container."""
        return self._stream.index

    @property
    def lost(self) -> int:
        """Frames that could not be decoded; one at least for each place where the container says that some are gone."""
        return max(self._lost, self._marked)

    def decode(self, packet: AnyPacket) -> list[Decoded]:
        """Decode one packet; return the frames that are ready, in the order of presentation.

        Raises:
            SourceError: A frame has an absurd size.
        """
        self._has_begun = self._has_begun or packet.is_keyframe
        self._note_marks(packet)
        if self._owes and packet.pts is not None and not packet.is_discard:
            self._owed.append(packet.pts)
        return self._pictures(self._decode(self._parameters.checked(packet) if packet.is_keyframe else packet))

    def flush(self) -> list[Decoded]:
        """Return the frames that are left at the end of the stream.

        Raises:
            SourceError: A frame has an absurd size.
        """
        ready = self._pictures(self._decode(None))
        self._settle(None)
        return ready + self._end_deinterlacing()

    def _decode(self, packet: AnyPacket | None) -> list[VideoFrame]:
        try:
            return self._context.decode(packet)
        except FFmpegError:
            if packet is None or not packet.is_discard:
                self._lose(packet.pts if packet is not None and self._knows_packet else None)
            return []

    def _note_marks(self, packet: AnyPacket) -> None:
        """Note where the container says that something is missing, and where its clock was set back.

        Where recordings were joined, it says so too, of the last packets before; nothing is missing there.
        """
        if packet.dts is not None:
            if (self._last_dts - packet.dts) * self._base_s > SET_BACK_S:
                self._settle(None)
                self._damaged.clear()  # what comes now has the same times again
                self._marked -= sum(self._recent_marks)
                self._recent_marks.clear()
            self._last_dts = packet.dts
        self._recent_marks.append(packet.is_corrupt)
        self._marked += packet.is_corrupt

    def _lose(self, pts: int | None) -> None:
        """Count a frame, unless it was counted; not before a key frame has come, for a stream may begin anywhere."""
        if pts is not None and pts in self._damaged:
            return
        if pts is not None:
            self._damaged.append(pts)
        self._lost += self._has_begun

    def _settle(self, pts: int | None) -> None:
        """Note that a frame came, or (None) that no more will: frames before it that have not come never will."""
        if not self._owed and self._has_shown:
            return
        if not self._has_shown:
            self._owed = [owed for owed in self._owed if pts is not None and owed >= pts]  # it may begin anywhere
            self._has_shown = pts is not None
        for owed in [owed for owed in self._owed if pts is None or owed < pts]:
            self._lose(owed)
        self._owed = [owed for owed in self._owed if pts is not None and owed > pts]

    def _pictures(self, frames: list[VideoFrame]) -> list[Decoded]:
        ready: list[Decoded] = []
        for frame in frames:
            if self._layout is None or self._layout.coded_wh != (frame.width, frame.height):
                check_size(frame.width, frame.height, where=self._where)
            pts = frame.pts
            self._settle(pts)
            if frame.is_corrupt:
                self._lose(pts)
            elif pts is None or pts not in self._damaged:
                ready += self._whole(frame)
        return ready

    def _whole(self, frame: VideoFrame) -> list[Decoded]:
        ended: list[Decoded] = []
        if self._deinterlacer is not None and self._deinterlacer.kind != kind_of(frame):
            ended = self._end_deinterlacing()
        is_interlaced = frame.interlaced_frame
        is_field = is_interlaced and self._codec in FIELDS
        if self._deinterlacer is None and (is_field or not is_interlaced):
            return [*ended, self._decoded(frame, frame, is_field=is_field)]
        if self._deinterlacer is None:
            self._deinterlacer = self._deinterlacer_for(frame)
        self._waiting.append(frame)
        return ended + self._made_whole(self._deinterlacer.push(frame))

    def _deinterlacer_for(self, frame: VideoFrame) -> Deinterlacer:
        try:
            return Deinterlacer(frame)
        except FFmpegError as error:
            kind = f"{frame.width}x{frame.height}, {frame.format.name}"
            raise SourceError(f"{self._where}: interlaced video that cannot be made whole ({kind})") from error

    def _end_deinterlacing(self) -> list[Decoded]:
        if self._deinterlacer is None:
            return []
        ready = self._made_whole(self._deinterlacer.push(None))
        self._deinterlacer = None
        self._waiting.clear()
        return ready

    def _made_whole(self, frames: list[VideoFrame]) -> list[Decoded]:
        ready: list[Decoded] = []
        for frame in frames:
            woven = self._waiting.popleft()
            luma = luma_of(woven) if woven.interlaced_frame else None
            ready.append(self._decoded(woven if luma is not None and not is_combed(luma) else frame, woven))
        return ready

    def _decoded(self, frame: VideoFrame, dated: VideoFrame, *, is_field: bool = False) -> Decoded:
        layout, pts, dts = self._layout, dated.pts, dated.dts
        if layout is None or frame.key_frame or layout.coded_wh != (frame.width, frame.height):
            layout = self._layout = self._layout_of(frame, is_field=is_field)
        return Decoded(
            self._converter.picture_of(frame, layout),
            None if pts is None else pts * self._base_s,
            None if dts is None else dts * self._base_s,
        )

    def _layout_of(self, frame: VideoFrame, *, is_field: bool) -> Layout:
        aspect = self._stream.sample_aspect_ratio or self._context.sample_aspect_ratio
        return Layout.of(frame, (aspect or Fraction(1)) / 2 if is_field else aspect)
