"""Frames in, passages out: detector, tracker, reader and vote, one after the other.

Owns: which detections are read, when a passage is reported, and the counts. Leaves to others: sealing and encoding.
No count, log line or message carries plate text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.config.models import VisionConfig
from agent.ports import Detector, Reader
from agent.records import Detection, Frame, Passage, PlateRead
from agent.vision.consensus import Ballot, Rejection
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import open_library
from agent.vision.reader import OnnxReader
from agent.vision.repeats import RecentPassages
from agent.vision.session import DEFAULT_THREADS
from agent.vision.tracker import Tracker

FAINT_SHARE: Final = 0.5
"""Boxes down to this share of the detector's threshold go on with a plate that was seen before, as blur lowers a score.
They begin no track, and their texts vote like any other. Chosen beforehand; ByteTrack goes down to a sixth."""
MIN_PLATE_WH: Final = (16, 6)
"""Smallest box that is read, pixels. Seven characters on 16 pixels are two pixels each: nobody reads those."""
REPORT_AFTER_S: Final = 10.0
"""A plate in view for so long is reported while it stays: a parked car or a jam, whose owner should not wait for it to
leave. After that it is followed, so that it is reported once, but no longer read."""


@dataclass(frozen=True, slots=True)
class VisionStats:
    """Counts since the start.

    Attributes:
        frames: Frames processed.
        detections: Boxes that the detector found, faint ones included.
        looks: Boxes that the reader read.
        passages: Passages reported.
        rejected: Plates in view that are no passage, by reason (`Rejection`).
        unread: Boxes too small to read.
    """

    frames: int
    detections: int
    looks: int
    passages: int
    rejected: Mapping[str, int]
    unread: int


class _View:
    """One plate in view: its ballot, and what is needed to report it once."""

    def __init__(self, detection: Detection, at_s: float, *, reader_confidence: float) -> None:
        self.ballot = Ballot(reader_confidence=reader_confidence)
        self.first_s = self.last_s = at_s
        self.first_box = self.last_box = detection
        self.settled = False
        self.text: str | None = None

    def see(self, detection: Detection, at_s: float) -> None:
        self.last_s, self.last_box = at_s, detection


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
    ) -> None:
        """Wire the models together.

        Args:
            detector: Finds plates.
            reader: Reads crops.
            detector_confidence: Boxes below go on with a plate that is in view but are no plate of their own, 0..1.
            reader_confidence: Looks whose least sure character is below do not vote, 0..1.
            min_votes: Looks that must agree before a text is a passage, at least 1.
        """
        self._detector = detector
        self._reader = reader
        self._reader_confidence = reader_confidence
        self._min_votes = min_votes
        self._detector_confidence = detector_confidence
        self._tracker = Tracker(begin_confidence=detector_confidence)
        self._views: dict[int, _View] = {}
        self._recent = RecentPassages()
        self._counts: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter({str(reason): 0 for reason in Rejection})

    def fresh(self) -> PlatePipeline:
        """Return a pipeline with the same models and settings that has seen nothing yet."""
        return PlatePipeline(
            self._detector,
            self._reader,
            detector_confidence=self._detector_confidence,
            reader_confidence=self._reader_confidence,
            min_votes=self._min_votes,
        )

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
            detections=counts["detections"],
            looks=counts["looks"],
            passages=counts["passages"],
            rejected=dict(self._rejected),
            unread=counts["unread"],
        )

    def process(self, frame: Frame) -> list[Passage]:
        """Look at one frame; frames come in order of time.

        Returns:
            Passages that are complete with this frame, by the order in which their plates came into view.

        Raises:
            InferenceError: A model failed.
        """
        at_s = frame.monotonic_s
        detections = self._detect(frame)
        step = self._tracker.update(detections, at_s=at_s)
        reported = self._finish(step.ended)
        to_read: list[tuple[_View, Detection]] = []
        for tracked in step.seen:
            view = self._views.get(tracked.track_id)
            if view is None:
                view = _View(tracked.detection, at_s, reader_confidence=self._reader_confidence)
                self._views[tracked.track_id] = view
            view.see(tracked.detection, at_s)
            if not view.settled:
                to_read.append((view, tracked.detection))
        looks = self._read(frame, [detection for _, detection in to_read])
        for (view, _), look in zip(to_read, looks, strict=True):
            view.ballot.add(look)
            if at_s - view.first_s >= REPORT_AFTER_S:
                reported += self._settle_early(view)
        return reported

    def flush(self) -> list[Passage]:
        """End the plates that are still in view, at the end of a recording or a stop."""
        return self._finish(self._tracker.flush())

    def read_picture(self, frame: Frame) -> list[PlateRead]:
        """Read every plate of one still picture: no vote, no threshold on the text. Frames before do not matter.

        Returns:
            One look per plate with any text, the detector's surest first.

        Raises:
            InferenceError: A model failed.
        """
        sure = [box for box in self._detect(frame) if box.confidence >= self._detector_confidence]
        return [look for look in self._read(frame, sure) if look.plate.text]

    def _detect(self, frame: Frame) -> list[Detection]:
        found = self._detector.detect(frame.image)
        readable = [box for box in found if _is_readable(box)]
        self._counts["frames"] += 1
        self._counts["detections"] += len(found)
        self._counts["unread"] += len(found) - len(readable)
        return readable

    def _read(self, frame: Frame, detections: list[Detection]) -> list[PlateRead]:
        if not detections:
            return []
        # Copies: a crop that is kept must not keep its whole frame alive.
        crops = [np.ascontiguousarray(frame.image[box.y1 : box.y2, box.x1 : box.x2]).copy() for box in detections]
        texts = self._reader.read(crops)
        self._counts["looks"] += len(texts)
        return [
            PlateRead(
                sequence=frame.sequence,
                captured_at=frame.captured_at,
                monotonic_s=frame.monotonic_s,
                frame_wh=frame.wh,
                detection=box,
                plate=text,
                crop=crop,
            )
            for box, text, crop in zip(detections, texts, crops, strict=True)
        ]

    def _finish(self, ended: Iterable[int]) -> list[Passage]:
        reported: list[Passage] = []
        for track_id in ended:
            view = self._views.pop(track_id)
            if view.text is not None:
                self._recent.remember(view.text, last_s=view.last_s, box=view.last_box)
            if not view.settled:
                reported += self._settle(view, view.ballot.verdict(min_votes=self._min_votes))
        return reported

    def _settle_early(self, view: _View) -> list[Passage]:
        verdict = view.ballot.verdict(min_votes=self._min_votes)
        # Not yet a passage is no rejection: the plate is still there to be read.
        return [] if isinstance(verdict, Rejection) else self._settle(view, verdict)

    def _settle(self, view: _View, verdict: Passage | Rejection) -> list[Passage]:
        view.settled = True
        if isinstance(verdict, Rejection):
            self._rejected[verdict] += 1
            return []
        view.text = verdict.text
        is_repeat = self._recent.is_repeat(verdict.text, first_s=view.first_s, first_box=view.first_box)
        self._recent.remember(verdict.text, last_s=view.last_s, box=view.last_box)
        if is_repeat:
            self._rejected[Rejection.REPEAT] += 1
            return []
        self._counts["passages"] += 1
        return [verdict]


def build_vision(config: VisionConfig, *, threads: int = DEFAULT_THREADS) -> PlatePipeline:
    """Load the configured models, each checked against the manifest, and build the pipeline of one camera.

    Args:
        config: Which models, and the thresholds.
        threads: Threads inside one inference.

    Raises:
        ModelMissingError: A model or its file is not there.
        ModelMismatchError: A file is not the one that the manifest names, or has another contract.
        ModelError: The manifest is wrong.
    """
    library = open_library(config.models)
    detector = library.detector(config.detector)
    reader = library.reader(config.reader)
    confidence = detector.confidence if config.detector_confidence is None else config.detector_confidence
    return PlatePipeline(
        OnnxDetector(
            library.load(detector),
            input_wh=detector.input_wh,
            confidence=confidence * FAINT_SHARE,
            threads=threads,
        ),
        OnnxReader(library.load(reader), reader, threads=threads),
        detector_confidence=confidence,
        reader_confidence=config.reader_confidence,
        min_votes=config.min_votes,
    )


def _is_readable(box: Detection) -> bool:
    return box.x2 - box.x1 >= MIN_PLATE_WH[0] and box.y2 - box.y1 >= MIN_PLATE_WH[1]
