"""Annotated pictures of what is read: boxes, texts and confidences, for a person who aims a camera or wonders.

Owns: which frames are kept, what is drawn, and the files' names. Masks are painted over before a frame comes here, so
what is masked stays masked. The pictures show plates: they are written where the user asks for them, mode 0600, and
never over a file that is there.

A plate's looks are read some frames after they were taken. So frames with a plate, and those just after, are held,
compressed, until their looks have come.
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from agent.records import Detection, Frame, Image, PlateRead
from agent.unit.capture.describe import encode_jpeg

MOST_HELD: Final = 300
"""Frames held until they are read: ten seconds of 30 a second, after which a plate is reported anyway."""
HOLD_S: Final = 1.0
"""Frames this soon after one with a plate are held too: looks are also taken where the detector did not run."""
SAMPLE_EVERY_S: Final = 1.0
"""Of what shows no plate that was read, one frame this often is kept, seconds of the stream: it shows what was in view
when nothing was found."""
MOST_SAMPLES: Final = 300
"""Such frames of one source: five minutes, and room left for those that show a plate."""
MOST_PICTURES: Final = 1000
"""Pictures of one source; a camera would fill the disk otherwise."""
QUALITY: Final = 90
BOX_BGR: Final = (60, 200, 60)
UNREAD_BGR: Final = (200, 160, 40)
"""Of a box whose text is not known (yet), or not wanted."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")

Write = Callable[[str, bytes], None]
"""Writes one file: its name and its content."""


@dataclass
class _Held:
    """A frame that waits for its looks; a sample is kept without any."""

    jpeg: bytes = field(repr=False)
    detections: Sequence[Detection]
    is_sample: bool
    looks: list[PlateRead] = field(default_factory=list)


class Preview:
    """Watches pipelines, and writes a picture of each frame from which a plate was read, and of one a second besides.

    Attributes:
        left_out: Pictures that were not written, by source.
    """

    def __init__(self, write: Write) -> None:
        """Write pictures with `write`."""
        self._write = write
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._names: Counter[str] = Counter()
        self._name = ""
        self._written = 0
        self._samples = 0
        self._hold_until_s = self._sample_from_s = -math.inf
        self.left_out: Counter[str] = Counter()

    def begin(self, source: str) -> None:
        """Begin with another source; its name is made safe, and its own among those of this run."""
        self.finish()
        safe = _UNSAFE.sub("_", source.rstrip("/").rpartition("/")[2]).strip("._") or "source"
        self._names[safe] += 1
        self._name = safe if self._names[safe] == 1 else f"{safe}-{self._names[safe]}"
        self._written = self._samples = 0
        self._hold_until_s = self._sample_from_s = -math.inf

    def finish(self) -> None:
        """Write what is held still."""
        while self._held:
            self._let_go()

    def stage(self, name: str, seconds: float) -> None:
        """As `Watcher`."""

    def rejected(self, reason: str, look: PlateRead | None) -> None:
        """As `Watcher`."""

    def frame(self, frame: Frame, detections: Sequence[Detection]) -> None:
        """As `Watcher`."""
        if detections:
            self._hold_until_s = frame.monotonic_s + HOLD_S
        is_sample = frame.monotonic_s >= self._sample_from_s and self._samples < MOST_SAMPLES
        if is_sample:
            self._samples += 1
            self._sample_from_s = frame.monotonic_s + SAMPLE_EVERY_S
        if is_sample or frame.monotonic_s <= self._hold_until_s:
            self._held[frame.sequence] = _Held(encode_jpeg(frame.image, quality=QUALITY), tuple(detections), is_sample)
        while len(self._held) > MOST_HELD:
            self._let_go()

    def read(self, looks: Sequence[PlateRead]) -> None:
        """As `Watcher`."""
        for look in looks:
            if (held := self._held.get(look.sequence)) is not None:
                held.looks.append(look)

    def picture(self, frame: Frame, looks: Sequence[PlateRead]) -> None:
        """Write a still picture, with or without plates."""
        self._put(frame.sequence, annotate(frame.image, [], looks))

    def _let_go(self) -> None:
        sequence, held = self._held.popitem(last=False)
        if held.looks or held.is_sample:
            image = np.asarray(cv2.imdecode(np.frombuffer(held.jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            self._put(sequence, annotate(image, held.detections, held.looks))

    def _put(self, sequence: int, image: Image) -> None:
        if self._written == MOST_PICTURES:
            self.left_out[self._name] += 1
            return
        self._written += 1
        self._write(f"{self._name}-{sequence:06}.jpg", encode_jpeg(image, quality=QUALITY))


def annotate(image: Image, detections: Sequence[Detection], looks: Sequence[PlateRead]) -> Image:
    """Return a copy of a picture with boxes, texts and confidences.

    Args:
        image: uint8, shape (H, W, 3), BGR.
        detections: Boxes that were found.
        looks: Those of them that were read.
    """
    drawn = image.copy()
    read = {look.detection.xyxy for look in looks}
    for box in detections:
        if box.xyxy not in read:
            _draw(drawn, box, f"{box.confidence:.2f}", UNREAD_BGR)
    for look in looks:
        _draw(drawn, look.detection, f"{look.plate.text} {look.plate.confidence:.2f}".strip(), BOX_BGR)
    return drawn


def _draw(image: Image, box: Detection, label: str, colour: tuple[int, int, int]) -> None:
    height, width = image.shape[:2]
    scale = max(width / 1600, 0.45)
    thick = max(round(scale * 2), 1)
    cv2.rectangle(image, (box.x1, box.y1), (box.x2 - 1, box.y2 - 1), colour, thick)
    (text_w, text_h), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    x = min(max(box.x1, 0), max(width - text_w, 0))
    y = box.y1 - below - thick if box.y1 > text_h + 2 * below else min(box.y2 + text_h + below, height - below)
    cv2.rectangle(image, (x, y - text_h - below // 2), (x + text_w, y + below), (0, 0, 0), cv2.FILLED)
    cv2.putText(image, label, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)
