"""What somebody may watch of a pipeline at work: time per stage, boxes, looks and rejections.

Owns: the protocol. A watcher only looks; nothing that it does changes a passage, and a unit in service has none.
What it is shown holds plate text and pixels, so only the bench and previews, which are asked for, keep any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.records import Detection, Frame, PlateRead


class Watcher(Protocol):
    """Is told what a pipeline does, on the pipeline's own thread."""

    def stage(self, name: str, seconds: float) -> None:
        """Take the wall time that the current frame spent in one stage.

        Args:
            name: `mask`, `gate`, `detect`, `track`, `read` or `vote`.
            seconds: Wall seconds; `mask` is the conversion of the picture, and painting its masks.
        """
        ...

    def frame(self, frame: Frame, detections: Sequence[Detection]) -> None:
        """Take a frame, before anything is read after it.

        Args:
            frame: As the pipeline saw it, masks applied.
            detections: What the detector found; empty if it did not run.
        """
        ...

    def read(self, looks: Sequence[PlateRead]) -> None:
        """Take looks that were read: at frames that came before, and at the end of a stream too."""
        ...

    def rejected(self, reason: str, look: PlateRead | None) -> None:
        """Take a track that ended without a passage, with its best look if it had one."""
        ...
