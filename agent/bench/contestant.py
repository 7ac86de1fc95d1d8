"""One contestant of a bench, as a process of its own: its memory, threads and processor time are nobody else's.

    python -m agent.bench.contestant

Reads a `Job` from the first line of standard input, loads, and says `Ready`. Each further line is a turn: a number of
frames to play, 0 for all that are left. Writes one `Report` a line, at last `Played`. What is measured is what happens
inside a turn: decoding, and looking at the frames.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

from agent.bench.measured import Failure, Job, Played, Ready, Report, SeenPassage, SeenRejection, Sighting, TurnDone
from agent.bench.plain_loop import open_plain_loop
from agent.capture import open_source
from agent.errors import PlatesealError, SourceDamagedError
from agent.ports import FrameSource
from agent.records import Detection, Frame, Passage, PlateRead
from agent.unit.capture.describe import encode_jpeg
from agent.unit.process.clock import SystemClock
from agent.unit.process.prepare import end_with_parent
from agent.vision.manifest import open_library
from agent.vision.models import Models

CAMERA_ID: Final = "bench"
CROP_QUALITY: Final = 80
MAX_REJECTIONS: Final = 500
"""Rejected looks kept for a report; all are counted."""


class Witness:
    """Watches a pipeline, and keeps what a report shows."""

    def __init__(self, *, crops: bool) -> None:
        """Keep no crops unless they are wanted."""
        self.stages_s: dict[str, float] = {}
        self.rejections: list[SeenRejection] = []
        self._crops = crops

    def stage(self, name: str, seconds: float) -> None:
        """As the protocol."""
        self.stages_s[name] = self.stages_s.get(name, 0.0) + seconds

    def frame(self, frame: Frame, detections: Sequence[Detection]) -> None:
        """As the protocol; the pipeline counts frames and looks itself."""

    def read(self, looks: Sequence[PlateRead]) -> None:
        """As the protocol."""

    def rejected(self, reason: str, look: PlateRead | None) -> None:
        """As the protocol."""
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(self._describe(reason, look))

    def crop(self, look: PlateRead) -> bytes:
        """Return a look's crop as JPEG, if crops are wanted."""
        return encode_jpeg(look.crop, quality=CROP_QUALITY) if self._crops else b""

    def _describe(self, reason: str, look: PlateRead | None) -> SeenRejection:
        if look is None:
            return SeenRejection(reason=reason)
        return SeenRejection(
            reason=reason,
            text=look.plate.text,
            confidence=look.plate.confidence,
            frame=look.sequence,
            crop=self.crop(look),
        )


class Plateseal:
    """The pipeline of a unit."""

    def __init__(self, job: Job) -> None:
        """Load the models."""
        self._witness = Witness(crops=job.crops)
        self._models = Models()
        self._vision = job.vision
        self._pipeline = self._models.pipeline(job.vision, watcher=self._witness)
        self._names = {bytes.fromhex(one.sha256): one.name for one in open_library(job.vision.models).manifest.entries}
        self._threads = job.vision.threads
        self._passages: list[SeenPassage] = []
        self._began_at: datetime | None = None

    def warm_up(self, frame: Frame) -> None:
        """Load the detector that suits the frames' shape, as a unit does with its first frame."""
        self._models.pipeline(self._vision).read_picture(frame)

    def look(self, frame: Frame) -> None:
        """Take one frame."""
        self._began_at = self._began_at or frame.captured_at
        self._last_at = frame.captured_at
        self._keep(self._pipeline.process(frame))

    def finish(self) -> None:
        """End what is still in view."""
        self._keep(self._pipeline.flush())

    def played(self, played: Played) -> Played:
        """Add what was seen."""
        stats = self._pipeline.stats
        return played.model_copy(
            update={
                "models": (self._names[self._pipeline.detector_digest], self._names[self._pipeline.reader_digest]),
                "note": f"gate, tracks, consensus; threads inside one inference: {self._threads}",
                "stages_s": self._witness.stages_s,
                "frames_moving": stats.moving,
                "frames_searched": stats.searched,
                "looks": stats.looks,
                "passages": tuple(self._passages),
                "rejections": tuple(self._witness.rejections),
                "rejected": dict(stats.rejected),
                "unvoted": dict(stats.unvoted),
            }
        )

    def _keep(self, passages: list[Passage]) -> None:
        for passage in passages:
            votes, looks = passage.votes
            self._passages.append(
                SeenPassage(
                    text=passage.text,
                    confidence=passage.confidence,
                    votes=votes,
                    looks=looks,
                    frame=passage.best.sequence,
                    first_s=self._since_start_s(passage.first_seen),
                    last_s=self._since_start_s(passage.last_seen),
                    reported_s=self._since_start_s(self._last_at),
                    direction=str(passage.direction),
                    crop=self._witness.crop(passage.best),
                    seen=passage.seen,
                    format=passage.format,
                )
            )

    def _since_start_s(self, moment: datetime) -> float:
        assert self._began_at is not None, "a passage comes after a frame"
        return (moment - self._began_at).total_seconds()


class PlainLoop:
    """fast-alpr on every frame."""

    def __init__(self, job: Job) -> None:
        """Load the models."""
        self._predict, self._models = open_plain_loop(job.vision, threads=job.loop_threads)
        self._threads = "a thread per core" if job.loop_threads is None else f"threads: {job.loop_threads}"
        self._sightings: list[Sighting] = []

    def warm_up(self, frame: Frame) -> None:
        """Let the first inference be none that is measured."""
        self._predict(frame.image)

    def look(self, frame: Frame) -> None:
        """Take one frame."""
        if texts := self._predict(frame.image):
            self._sightings.append(Sighting(frame=frame.sequence, texts=tuple(texts)))

    def finish(self) -> None:
        """Nothing is left over."""

    def played(self, played: Played) -> Played:
        """Add what was seen."""
        note = f"ALPR.predict on every frame; onnxruntime's defaults: all providers, {self._threads}"
        return played.model_copy(update={"models": self._models, "note": note, "sightings": tuple(self._sightings)})


class Decoding:
    """A contestant that decodes every frame into BGR, as whoever shows it to a detector must, and does nothing else."""

    def __init__(self, _job: Job) -> None:
        """Begin; there is no model to load."""

    def warm_up(self, _frame: Frame) -> None:
        """Nothing is loaded late."""

    def look(self, frame: Frame) -> None:
        """Convert a frame, and do nothing with it."""
        assert frame.image.size, "a frame has pixels"

    def finish(self) -> None:
        """Nothing is left over."""

    def played(self, played: Played) -> Played:
        """Nothing was seen."""
        return played


CONTESTANTS: Final[dict[str, Callable[[Job], Plateseal | PlainLoop | Decoding]]] = {
    "plateseal": Plateseal,
    "fast-alpr": PlainLoop,
    "decode": Decoding,
}


def main() -> int:
    """Play one job; an error of ours is reported as a line."""
    end_with_parent()  # in the middle of a turn too, which may be a whole recording at its own pace
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no report
    try:
        _play(Job.model_validate_json(sys.stdin.readline()), out)
    except PlatesealError as error:
        _say(out, Failure(error=type(error).__name__, message=str(error)))
        return error.exit_code
    return 0


def _play(job: Job, out: TextIO) -> None:
    contestant = CONTESTANTS[job.contestant](job)
    source = open_source(job.source, camera_id=CAMERA_ID, clock=SystemClock())
    contestant.warm_up(next(source.frames()))
    _say(out, Ready(frame_count=None if source.frame_count is None else source.frame_count * job.rounds))
    rounds = _Rounds(source, job.rounds)
    frames, frame_ms, is_last = rounds.frames(), list[float](), False
    frame: Frame | None = None
    while not is_last:
        line = sys.stdin.readline()
        if not line:
            return  # whoever asked is gone
        turn = int(line)
        began_s, began_cpu_s, count = time.perf_counter(), _cpu_s(), 0
        for frame in itertools.islice(frames, turn or None):
            look_s = time.perf_counter()
            contestant.look(frame)
            frame_ms.append((time.perf_counter() - look_s) * 1000)
            count += 1
        is_last = turn == 0 or count < turn
        if is_last:
            contestant.finish()
        seconds, cpu_seconds = time.perf_counter() - began_s, _cpu_s() - began_cpu_s
        rss_bytes = _memory_bytes("VmRSS")
        _say(
            out,
            TurnDone(frames=count, seconds=seconds, cpu_seconds=cpu_seconds, rss_bytes=rss_bytes, is_last=is_last),
        )
    played = Played(
        peak_rss_bytes=_memory_bytes("VmHWM"),
        frame_wh=(0, 0) if frame is None else frame.wh,
        stream_s=0.0 if frame is None else frame.monotonic_s,
        frames_lost=rounds.lost,
        damage=rounds.damage,
        frame_ms=tuple(round(ms, 3) for ms in frame_ms),
    )
    _say(out, contestant.played(played))


class _Rounds:
    """Plays a recording again and again as one: numbers and times go on. Damage is noted, and does not end it."""

    def __init__(self, source: FrameSource, rounds: int) -> None:
        self.lost = 0
        self.damage = ""
        self._source = source
        self._rounds = rounds

    def frames(self) -> Iterator[Frame]:
        number, since_s = 0, 0.0
        for _ in range(self._rounds):
            step_s, last_s = 0.0, 0.0
            for frame in self._once():
                step_s, last_s = frame.monotonic_s - last_s, frame.monotonic_s
                moved = timedelta(seconds=since_s)
                yield replace(
                    frame,
                    sequence=number,
                    captured_at=frame.captured_at + moved,
                    monotonic_s=frame.monotonic_s + since_s,
                )
                number += 1
            since_s += last_s + step_s

    def _once(self) -> Iterator[Frame]:
        try:
            yield from self._source.frames()
        except SourceDamagedError as error:
            self.damage = str(error)
        self.lost += self._source.frames_lost


def _say(out: TextIO, line: Ready | TurnDone | Played | Failure) -> None:
    out.write(Report(line=line).model_dump_json() + "\n")
    out.flush()


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _memory_bytes(name: str) -> int:
    """Return a figure of this process from the kernel; `getrusage` would count what its parent took before it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())
