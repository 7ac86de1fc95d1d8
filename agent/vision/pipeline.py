"""Frames in, passages out: gate, detector, tracker, reader and vote, one after the other.

Owns: which detections are read, when a passage is reported, and the counts. Leaves to others: sealing and encoding.
No count, log line or message carries plate text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final, TypeVar

from agent.ports import Detector, Reader
from agent.records import Detection, Frame, Passage, PlateRead
from agent.vision.consensus import LOOK_REJECTIONS, Rejection, settle
from agent.vision.gate import MotionGate
from agent.vision.looks import Look, cut_out
from agent.vision.plate import PlateInView
from agent.vision.repeats import RecentPassages
from agent.vision.schedule import Schedule
from agent.vision.settings import PipelineSettings
from agent.vision.tracker import assign, distinct
from agent.vision.watching import Watcher
from agent.vision.window import DetectorWindow, smallest_window

BEGIN_SHARE: Final = 0.75
"""Boxes down to this share of the detector's threshold begin a track. The threshold is what a single picture's boxes
must have; a track must prove itself by looks that agree, so it may begin with less."""
FAINT_SHARE: Final = 0.5
"""Boxes down to this share go on with a plate that was seen before, as blur lowers a score. They begin no track, and
their texts vote like any other. Chosen beforehand; ByteTrack goes down to a sixth."""
MIN_PLATE_WH: Final = (28, 8)
"""Smallest box that is read, pixels. Seven characters on 28 pixels are less than four each: of 395 plates of
rpi-dayride that the built-in reader reads surely, made that small, it reads none, and at 32 pixels one in nine."""

STANDS_OUT_SHARE: Final = 0.05
"""A plate's place, with a plate's width around it, stands out against the empty road if so much of it is unlike that:
little of a vehicle, but more than noise."""
EMPTY_SHARE: Final = 0.01
"""It is empty again where no more than this does: a third of a plate. Of noise alone, it is one sample in 1,500."""

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
        settings: PipelineSettings | None = None,
        *,
        watcher: Watcher | None = None,
    ) -> None:
        """Wire the models together.

        Args:
            detector: Finds plates.
            reader: Reads crops.
            settings: How frames are looked at; the defaults if left out.
            watcher: Is told what happens.
        """
        self._detector = detector
        self._reader = reader
        self._settings = settings or PipelineSettings()
        self._regions = self._settings.regions
        self._watcher = watcher
        self._first_s = self._last_s = 0.0
        self._gate = MotionGate() if self._settings.has_gate else None
        self._is_still = False
        self._schedule = Schedule(every_s=self._settings.detect_every_s)
        self._plates: list[PlateInView] = []  # by the order in which they came into view
        self._recent = RecentPassages()
        self._counts: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter({str(reason): 0 for reason in Rejection})
        self._unvoted: Counter[str] = Counter({str(reason): 0 for reason in LOOK_REJECTIONS})

    def fresh(self) -> PlatePipeline:
        """Return a pipeline with the same models and settings that has seen nothing yet."""
        return PlatePipeline(self._detector, self._reader, self._settings, watcher=self._watcher)

    @property
    def is_between_passages(self) -> bool:
        """Whether no plate in view is still being read: a good moment to put another pipeline in this one's place."""
        return all(plate.is_reported for plate in self._plates)

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
        names = ("frames", "moving", "searched", "detections", "looks", "passages")
        counts = {name: self._counts[name] for name in names}
        return VisionStats(**counts, rejected=dict(self._rejected), unvoted=dict(self._unvoted))

    @property
    def length_s(self) -> float:
        """Time from the first frame to the last until now, seconds."""
        return self._last_s - self._first_s

    def process(self, frame: Frame) -> list[Passage]:
        """Look at one frame; frames come in order of time.

        Returns:
            Passages that are complete with this frame, by the order in which their plates came into view.

        Raises:
            InferenceError: A model failed.
        """
        self._last_s = frame.monotonic_s
        if not self._counts["frames"]:
            self._first_s = self._last_s
        self._counts["frames"] += 1
        detections: list[Detection] = []
        if self._is_due(frame):
            if not self._is_deserted(frame):
                frame = self._painted(frame)
                detections = self._detect(frame, self._window(frame))
            self._assign(frame, detections)
        elif not self._plates and self._watcher is None:
            return []  # as at almost every frame of an empty road
        else:
            for plate in self._plates:
                plate.keep_piece(frame)
        if self._watcher is not None:
            self._watcher.frame(self._regions.paint(frame), detections)
        self._read_waiting(frame.monotonic_s)
        return self._timed("vote", lambda: self._report(frame.monotonic_s))

    def flush(self) -> list[Passage]:
        """End the plates that are still in view, at the end of a recording or a stop.

        Raises:
            InferenceError: The reader failed.
        """
        for plate in self._plates:
            plate.is_gone = True
        self._read_waiting(math.inf)
        return self._report(math.inf)

    def read_picture(self, frame: Frame) -> list[PlateRead]:
        """Read every plate of one still picture: no vote, no threshold on the text. Frames before do not matter.

        Returns:
            One look per plate with any text, as formats of plates settle it; the detector's surest first.

        Raises:
            InferenceError: A model failed.
        """
        self._counts["frames"] += 1
        frame = self._painted(frame)
        sure = [box for box in self._detect(frame) if box.confidence >= self._settings.detector_confidence]
        looks = [cut_out(frame, box) for box in sure]
        return [
            replace(read, plate=settle(self._settings.settler, read.plate, [read.plate]))
            for read in self._read(looks)
            if read.plate.text
        ]

    def paint(self, frame: Frame) -> Frame:
        """Return a frame as this camera may show it: with its masks painted over."""
        return self._regions.paint(frame)

    def _is_due(self, frame: Frame) -> bool:
        """Tell whether the detector should run on this frame."""
        moves = self._gate is None or self._timed("gate", lambda: self._moves(frame))
        self._counts["moving"] += moves
        self._is_still = not moves
        return self._schedule.is_due(
            moves=moves,
            plates=[plate.status(frame.wh) for plate in self._plates],
            at_s=frame.monotonic_s,
            has_new_area=self._gate is not None and self._gate.has_new_area,
        )

    def _moves(self, frame: Frame) -> bool:
        assert self._gate is not None, "asked only with a gate"
        hidden = self._regions.hidden(frame.wh)
        return self._gate.moves(frame.picture, at_s=frame.monotonic_s, hidden=hidden)

    def _is_deserted(self, frame: Frame) -> bool:
        """Tell whether the gate alone shows that every plate has left: nothing moves, and their places are empty.

        Only a plate that stood out against the empty road can be seen to be gone.
        """
        if not self._plates or not self._is_still:
            return False
        return all(plate.stood_out and self._unusual_share(plate, frame) <= EMPTY_SHARE for plate in self._plates)

    def _unusual_share(self, plate: PlateInView, frame: Frame) -> float:
        """Return how much of a plate's place, and of what is around it, looks unlike the empty road, 0..1."""
        return (
            1.0
            if self._gate is None
            else self._gate.unusual_share(frame.picture, plate.place(frame.monotonic_s, frame.wh))
        )

    def _painted(self, frame: Frame) -> Frame:
        painted = self._regions.paint(frame)
        self._timed("mask", lambda: painted.image)
        return painted

    def _window(self, frame: Frame) -> DetectorWindow | None:
        """Return the window of the frame that the detector looks at; None for all of it."""
        if not self._settings.detect_moving_part or self._gate is None:
            return None
        moving = self._gate.moving_part(at_s=frame.monotonic_s)
        if moving is None:
            return None
        plates = (plate.area(frame.monotonic_s, frame.wh) for plate in self._plates)
        return smallest_window([moving, *plates], frame.wh)

    def _detect(self, frame: Frame, window: DetectorWindow | None = None) -> list[Detection]:
        image = frame.image if window is None else window.of(frame.image)
        found = self._timed("detect", lambda: self._detector.detect(image))
        if window is not None:
            found = window.to_frame(found)
        self._counts["searched"] += 1
        self._counts["detections"] += len(found)
        return distinct([box for box in found if _is_readable(box)])

    def _assign(self, frame: Frame, boxes: Sequence[Detection]) -> None:
        """Give each box to its plate, and begin new plates."""
        at_s, begin_confidence = frame.monotonic_s, self._settings.detector_confidence * BEGIN_SHARE
        for plate in self._plates:
            plate.end_if_gone(at_s)
        followed = [plate for plate in self._plates if not plate.is_gone]
        motions = [plate.motion for plate in followed]
        owners = self._timed("track", lambda: assign(motions, boxes, at_s=at_s, begin_confidence=begin_confidence))
        seen: list[PlateInView] = []
        for box, owner in zip(boxes, owners, strict=True):
            if owner is not None:
                plate = followed[owner]
            elif box.confidence >= begin_confidence:
                plate = PlateInView(frame, box, self._settings)
                self._plates.append(plate)
            else:
                continue
            plate.see(frame, box)
            plate.stood_out = self._unusual_share(plate, frame) >= STANDS_OUT_SHARE
            seen.append(plate)
        for place, plate in enumerate(followed):
            if place not in owners:
                plate.miss(at_s)
        is_open = any(not plate.is_reported for plate in seen)
        self._schedule.ran(at_s=at_s, found=is_open, is_unsure=len(boxes) > len(seen))

    def _read_waiting(self, at_s: float) -> None:
        """Read what is worth it: one batch of each plate, and all that is needed of those that have left."""
        while wanting := [plate for plate in self._plates if plate.wants_read(at_s)]:
            batch = [(plate, look) for plate in wanting for look in plate.take_batch(at_s)]
            reads = self._read([look for _, look in batch])
            for (plate, _), read in zip(batch, reads, strict=True):
                fault = plate.add(read)
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
        passages: list[Passage] = []
        for plate in self._plates:
            passages += self._outcome(plate, at_s)
            if plate.is_gone and plate.text is not None:
                self._remember(plate, plate.text)
        self._plates = [plate for plate in self._plates if not plate.is_gone]
        return passages

    def _outcome(self, plate: PlateInView, at_s: float) -> list[Passage]:
        """Return a plate's passage if it is complete now and no repeat."""
        verdict = plate.verdict(at_s)
        if isinstance(verdict, Rejection) and plate.is_gone:  # while it is there, it may still be read
            self._reject(plate, verdict)
        if not isinstance(verdict, Passage):
            return []
        is_repeat = self._recent.is_repeat(verdict.text, first_s=plate.first_s, first_box=plate.first_box)
        self._remember(plate, verdict.text)
        plate.note_reported(verdict.text)
        if is_repeat:
            self._reject(plate, Rejection.REPEAT)
            return []
        self._counts["passages"] += 1
        return [verdict]

    def _remember(self, plate: PlateInView, text: str) -> None:
        self._recent.remember(text, last_s=plate.motion.at_s, box=plate.motion.box)

    def _reject(self, plate: PlateInView, reason: Rejection) -> None:
        self._rejected[reason] += 1
        if self._watcher is not None:
            self._watcher.rejected(reason, plate.best)

    def _timed(self, stage: str, work: Callable[[], _T]) -> _T:
        if self._watcher is None:
            return work()
        began_s = perf_counter()
        done = work()
        self._watcher.stage(stage, perf_counter() - began_s)
        return done


def _is_readable(box: Detection) -> bool:
    return box.x2 - box.x1 >= MIN_PLATE_WH[0] and box.y2 - box.y1 >= MIN_PLATE_WH[1]
