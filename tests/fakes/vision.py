"""Models that answer from a script, beside the `Detector` and `Reader` ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.errors import InferenceError
from agent.records import Detection, Image, PlateText


class CannedDetector:
    """Answers call n with entry n of its script, clipped to the frame; with nothing when the script is over.

    An `InferenceError` in the script is raised.
    """

    def __init__(
        self, script: Sequence[Sequence[Detection] | InferenceError] = (), *, digest: bytes = b"\x01" * 32
    ) -> None:
        """Take the script."""
        self._script = script
        self._digest = digest
        self.calls = 0

    @property
    def digest(self) -> bytes:
        """As the port."""
        return self._digest

    def detect(self, image: Image) -> list[Detection]:
        """As the port."""
        entry = self._script[self.calls] if self.calls < len(self._script) else ()
        self.calls += 1
        if isinstance(entry, InferenceError):
            raise entry
        height, width = image.shape[:2]
        boxes = [
            Detection(max(box.x1, 0), max(box.y1, 0), min(box.x2, width), min(box.y2, height), box.confidence)
            for box in entry
        ]
        inside = [box for box in boxes if box.x1 < box.x2 and box.y1 < box.y2]
        return sorted(inside, key=lambda box: -box.confidence)


class CannedReader:
    """Answers every crop by a function of (call number, crop), or with one text for all."""

    def __init__(
        self,
        answer: PlateText | InferenceError | Callable[[int, Image], PlateText],
        *,
        digest: bytes = b"\x02" * 32,
    ) -> None:
        """Take the answer; an `InferenceError` is raised."""
        self._answer = answer
        self._digest = digest
        self.crops = 0

    @property
    def digest(self) -> bytes:
        """As the port."""
        return self._digest

    def read(self, crops: Sequence[Image]) -> list[PlateText]:
        """As the port."""
        return [self._one(crop) for crop in crops]

    def _one(self, crop: Image) -> PlateText:
        number = self.crops
        self.crops += 1
        if isinstance(self._answer, InferenceError):
            raise self._answer
        return self._answer if isinstance(self._answer, PlateText) else self._answer(number, crop)


def plate(text: str, confidence: float = 0.9, *, region: str | None = None) -> PlateText:
    """Return a text with the same confidence for every character."""
    return PlateText(text, (confidence,) * len(text), region)
