"""Frames in, passages out: gate, detector, tracker, reader and vote, one after the other.

Owns: which detections are read, when a passage is reported, and the counts. Leaves to others: sealing and encoding.
No count, log line or message carries plate text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeVar

from agent.ports import Detector, Reader
from agent.records import Detection, Frame, Passage, PlateRead
from agent.vision.consensus import LOOK_REJECTIONS, Rejection
from agent.vision.gate import MotionGate
from agent.vision.looks import PIECE_MARGIN, Look, cut_out
from agent.vision.regions import Regions
from agent.vision.repeats import RecentPassages
from agent.vision.schedule import Concern, Schedule
from agent.vision.textfilter import TextFilter
from agent.vision.tracker import Step, Tracker, distinct
from agent.vision.view import View
from agent.vision.watching import Watcher
from agent.vision.window import Part, Shares, cut_sides, part_with

BEGIN_SHARE: Final = 0.75
"""Boxes down to this share of the detector's threshold begin a track. The threshold is what a single picture's boxes
must have; a track must prove itself by looks that agree, so it may begin with less."""
FAINT_SHARE: Final = 0.5
"""Boxes down to this share go on with a plate that was seen before, as blur lowers a score. They begin no track, and
their texts vote like any other. Chosen beforehand; ByteTrack goes down to a sixth."""
MIN_PLATE_WH: Final = (28, 8)
"""Smallest box that is read, pixels. Seven characters on 28 pixels are less than four each: of 395 plates of
rpi-dayride that the built-in reader reads surely, made that small, it reads none, and at 32 pixels one in nine."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VisionStats:
    """Counts since the start.

    Attributes:
        frames: Frames processed.
        moving: Frames on which the gate saw motion; all of them where there is no gate.
        searched: Frames on which the detector ran.
        detections: Boxes that the detector found, faint ones included.
        looks: Looks that the reader read.
        passages: Passages reported.
        rejected: Plates in view that are no passage, by reason (`Rejection`).
        unvoted: Looks that were read and did not vote, by reason (`Rejection`).
    """

    frames: int
    moving: int
    searched: int
    detections: int
    looks: int
    passages: int
    rejected: Mapping[str, int]
    unvoted: Mapping[str, int]


class PlatePipeline:
    """Turns the frames of one camera into passages."""

    def __init__(
        self,
        detector: Detector,
        reader: Reader,
        *,
        detector_confidence: float = 0.0,
        reader_confidence: float = 0.3,
        min_votes: int = 2,
        text_filter: TextFilter | None = None,
        regions: Regions | None = None,
        has_gate: bool = False,
        detect_every_s: float = 0.0,
        detect_moving_part: bool = False,
        early_read: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        """Wire the models together.

        Args:
            detector: Finds plates.
            reader: Reads crops.
            detector_confidence: The detector's threshold, 0..1. Boxes well below (`BEGIN_SHARE`) go on with a plate
                that is in view but are no plate of their own.
            reader_confidence: Characters below do not vote, nor do looks whose mean is below, 0..1.
            min_votes: Looks that must agree before a text is a passage, at least 1.
            text_filter: Which texts a plate can have; the built-in pattern if left out.
            regions: Masks and lanes; none if left out.
            has_gate: Whether the detector rests while nothing moves.
            detect_every_s: Longest time between two runs of the detector while something moves; 0: every frame.
            detect_moving_part: Whether the detector sees only the part of the picture where the gate saw motion or a
                plate is followed.
            early_read: Whether a passage is reported as soon as its text is firm.
            watcher: Is told what happens.
        """
        self._detector = detector
        self._reader = reader
        self._detector_confidence = detector_confidence
        self._reader_confidence = reader_confidence
        self._min_votes = min_votes
        self._filter = text_filter or TextFilter()
        self._regions = regions or Regions()
        self._detect_every_s = detect_every_s
        self._detect_moving_part = detect_moving_part
        self._early_read = early_read
        self._watcher = watcher
        self._gate = MotionGate() if has_gate else None
        self._schedule = Schedule(every_s=detect_every_s)
        self._tracker = Tracker(begin_confidence=detector_confidence * BEGIN_SHARE)
        self._views: dict[int, View] = {}
        self._recent = RecentPassages()
        self._counts: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter({str(reason): 0 for reason in Rejection})
        self._unvoted: Counter[str] = Counter({str(reason): 0 for reason in LOOK_REJECTIONS})

    def fresh(self) -> PlatePipeline:
        """Return a pipeline with the same models and settings that has seen nothing yet."""
        return PlatePipeline(
            self._detector,
            self._reader,
            detector_confidence=self._detector_confidence,
            reader_confidence=self._reader_confidence,
            min_votes=self._min_votes,
            text_filter=self._filter,
            regions=self._regions,
            has_gate=self._gate is not None,
            detect_every_s=self._detect_every_s,
            detect_moving_part=self._detect_moving_part,
            early_read=self._early_read,
            watcher=self._watcher,
        )

    @property
    def is_between_passages(self) -> bool:
        """Whether no plate in view is still being read: a good moment to put another pipeline in this one's place."""
        return all(view.settled for view in self._views.values())

    def follow(self, before: PlatePipeline, *, same_scene: bool) -> None:
        """Take the place of another pipeline, which has been flushed; its counts go on.

        Args:
            before: The pipeline at work until now.
            same_scene: Whether it saw the same camera, so that what it reported lately is a repeat here as well.
        """
        self._counts.update(before._counts)
        self._rejected.update(before._rejected)
        self._unvoted.update(before._unvoted)
        if same_scene:
            self._recent = before._recent

    @property
    def detector_digest(self) -> bytes:
        """SHA-256 of the detector's model file, 32 bytes."""
        return self._detector.digest

    @property
    def reader_digest(self) -> bytes:
        """SHA-256 of the reader's model file, 32 bytes."""
        return self._reader.digest

    @property
    def stats(self) -> VisionStats:
        """Counts until now."""
        counts = self._counts
        return VisionStats(
            frames=counts["frames"],
            moving=counts["moving"],
            searched=counts["searched"],
            detections=counts["detections"],
            looks=counts["looks"],
            passages=counts["passages"],
            rejected=dict(self._rejected),
            unvoted=dict(self._unvoted),
        )

    def process(self, frame: Frame) -> list[Passage]:
        """Look at one frame; frames come in order of time.

        Returns:
            Passages that are complete with this frame, by the order in which their plates came into view.

        Raises:
            InferenceError: A model failed.
        """
        self._counts["frames"] += 1
        at_s = frame.monotonic_s
        moves = self._gate is None or self._timed("gate", lambda: self._moves(frame))
        self._counts["moving"] += moves
        detections: list[Detection] = []
        is_elsewhere = self._gate is not None and self._gate.is_elsewhere
        concerns = self._concerns(frame.wh)
        if self._schedule.is_due(moves=moves, concerns=concerns, at_s=at_s, is_elsewhere=is_elsewhere):
            frame = self._painted(frame)
            detections = self._detect(frame, self._part(frame))
            self._follow(frame, detections)
        else:
            self._keep_pieces(frame)
        if self._watcher is not None:
            self._watcher.frame(self._regions.paint(frame), detections)
        self._read_waiting(at_s)
        return self._timed("vote", lambda: self._report(at_s))

    def flush(self) -> list[Passage]:
        """End the plates that are still in view, at the end of a recording or a stop.

        Raises:
            InferenceError: The reader failed.
        """
        for track_id in self._tracker.flush():
            self._views[track_id].is_gone = True
        self._read_waiting(math.inf)
        return self._report(math.inf)

    def read_picture(self, frame: Frame) -> list[PlateRead]:
        """Read every plate of one still picture: no vote, no threshold on the text. Frames before do not matter.

        Returns:
            One look per plate with any text, the detector's surest first.

        Raises:
            InferenceError: A model failed.
        """
        self._counts["frames"] += 1
        frame = self._painted(frame)
        sure = [box for box in self._detect(frame) if box.confidence >= self._detector_confidence]
        looks = [cut_out(frame, box) for box in sure]
        return [read for read in self._read(looks) if read.plate.text]

    def paint(self, frame: Frame) -> Frame:
        """Return a frame as this camera may show it: with its masks painted over."""
        return self._regions.paint(frame)

    def _moves(self, frame: Frame) -> bool:
        assert self._gate is not None, "asked only with a gate"
        return self._gate.moves(frame.image, at_s=frame.monotonic_s, hidden=self._regions.hidden(frame.wh))

    def _concerns(self, wh: tuple[int, int]) -> list[Concern]:
        return [
            Concern(
                looks=view.seen,
                misses=view.misses,
                settled=view.settled,
                left_s=self._tracker.time_left_s(track_id, frame_wh=wh),
                firm=view.ballot.is_firm,
            )
            for track_id, view in self._views.items()
        ]

    def _painted(self, frame: Frame) -> Frame:
        return self._timed("mask", lambda: self._regions.paint(frame))

    def _part(self, frame: Frame) -> Part | None:
        """Return the part of the frame to look at; None for all of it."""
        if not self._detect_moving_part or self._gate is None:
            return None
        moving = self._gate.moving_part(at_s=frame.monotonic_s)
        if moving is None:
            return None
        plates = (self._tracker.predict(track_id, at_s=frame.monotonic_s) for track_id in self._views)
        return part_with([moving, *(_around(plate, frame.wh) for plate in plates)], frame.wh)

    def _detect(self, frame: Frame, part: Part | None = None) -> list[Detection]:
        image = frame.image if part is None else part.of(frame.image)
        found = self._timed("detect", lambda: self._detector.detect(image))
        if part is not None:
            found = part.to_frame(found)
        plates = distinct([box for box in found if _is_readable(box)])
        self._counts["searched"] += 1
        self._counts["detections"] += len(found)
        return plates

    def _follow(self, frame: Frame, detections: Sequence[Detection]) -> None:
        at_s = frame.monotonic_s
        step = self._timed("track", lambda: self._tracker.update(detections, at_s=at_s))
        self._note_unseen(step)
        for tracked in step.seen:
            box = tracked.detection
            view = self._views.get(tracked.track_id)
            if view is None:
                view = View(frame, box, reader_confidence=self._reader_confidence, text_filter=self._filter)
                self._views[tracked.track_id] = view
            is_whole = not any(cut_sides(box, frame.wh))
            view.see(frame, box, lane=self._regions.lane_of(box, frame.wh), is_whole=is_whole)
        is_open = any(not self._views[tracked.track_id].settled for tracked in step.seen)
        self._schedule.ran(at_s=at_s, found=is_open, is_unsure=len(detections) > len(step.seen))

    def _keep_pieces(self, frame: Frame) -> None:
        for track_id, view in self._views.items():
            if not view.settled:
                expected = self._tracker.predict(track_id, at_s=frame.monotonic_s)
                view.keep_piece(frame, expected, self._regions)

    def _note_unseen(self, step: Step) -> None:
        for track_id, misses in step.missed.items():
            self._views[track_id].misses = misses
        for track_id in step.ended:
            self._views[track_id].is_gone = True

    def _read_waiting(self, at_s: float) -> None:
        """Read what is worth it: one batch of each plate, and all that is needed of those that have left."""
        while views := [view for view in self._views.values() if view.wants_read(at_s, early=self._early_read)]:
            batch = [(view, look) for view in views for look in view.take_batch(at_s)]
            reads = self._read([look for _, look in batch])
            for (view, _), read in zip(batch, reads, strict=True):
                fault = view.ballot.add(read)
                if fault is not None:
                    self._unvoted[fault] += 1
            if self._watcher is not None:
                self._watcher.read(reads)

    def _read(self, looks: Sequence[Look]) -> list[PlateRead]:
        if not looks:
            return []
        texts = self._timed("read", lambda: self._reader.read([look.crop for look in looks]))
        self._counts["looks"] += len(texts)
        return [look.with_text(text) for look, text in zip(looks, texts, strict=True)]

    def _report(self, at_s: float) -> list[Passage]:
        reported: list[Passage] = []
        for track_id, view in list(self._views.items()):
            if not view.settled and view.is_ready(at_s, early=self._early_read):
                reported += self._settle(view)
            if view.is_gone:
                del self._views[track_id]
                if view.text is not None:
                    self._recent.remember(view.text, last_s=view.last_s, box=view.last_box)
        return reported

    def _settle(self, view: View) -> list[Passage]:
        verdict = view.ballot.verdict(min_votes=self._min_votes)
        if isinstance(verdict, Rejection):
            if view.is_gone:  # while it is there, it may still be read
                self._reject(view, verdict)
            return []
        view.text = verdict.text
        is_repeat = self._recent.is_repeat(verdict.text, first_s=view.first_s, first_box=view.first_box)
        self._recent.remember(verdict.text, last_s=view.last_s, box=view.last_box)
        view.settle()
        if is_repeat:
            self._reject(view, Rejection.REPEAT)
            return []
        self._counts["passages"] += 1
        return [verdict]

    def _reject(self, view: View, reason: Rejection) -> None:
        self._rejected[reason] += 1
        if self._watcher is not None:
            self._watcher.rejected(reason, view.ballot.best)

    def _timed(self, stage: str, work: Callable[[], _T]) -> _T:
        if self._watcher is None:
            return work()
        began_s = perf_counter()
        done = work()
        self._watcher.stage(stage, perf_counter() - began_s)
        return done


def _around(box: Detection, wh: tuple[int, int]) -> Shares:
    """Return a plate's box with as much around it as its next place may need, as shares of the frame."""
    by_x, by_y = (box.x2 - box.x1) * PIECE_MARGIN, (box.y2 - box.y1) * PIECE_MARGIN
    return (box.x1 - by_x) / wh[0], (box.y1 - by_y) / wh[1], (box.x2 + by_x) / wh[0], (box.y2 + by_y) / wh[1]


def _is_readable(box: Detection) -> bool:
    return box.x2 - box.x1 >= MIN_PLATE_WH[0] and box.y2 - box.y1 >= MIN_PLATE_WH[1]
