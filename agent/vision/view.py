"""One plate in view: what is known of it between coming and going."""

from __future__ import annotations

import math
from itertools import cycle
from typing import Final

from agent.records import Detection, Frame
from agent.vision.consensus import Ballot
from agent.vision.looks import BATCH, ENOUGH, MARGINS, MAX_PIECES, Look, Piece, Waiting, box_between, cut_out, cut_piece
from agent.vision.regions import Lane, Regions
from agent.vision.textfilter import TextFilter
from agent.vision.tracker import MIN_MISSES

READ_EVERY_S: Final = 0.5
"""A plate in view whose text is not firm is read again after so long, when other looks have come."""
MAX_LOOKS: Final = 18
"""Looks read of one plate at most, six batches: where those do not agree, it is a sign, or a plate nobody can read."""
LEFT_S: Final = 0.3
"""A plate unseen for so long, and missed twice, has most probably left: its outcome need not wait until its track ends.
Should it come back, its track goes on and it is not reported again."""
REPORT_AFTER_S: Final = 10.0
"""A plate in view for so long is reported while it stays: a parked car or a jam, whose owner should not wait for it to
leave. After that it is followed, so that it is reported once, but no longer read."""


class View:
    """One plate in view.

    Attributes:
        ballot: The looks that were read.
        waiting: The looks that may be read.
        first_s, last_s: When it was first and last seen, seconds.
        first_box, last_box: Where.
        seen: How often.
        misses: How often in a row the detector has missed it since.
        settled: Whether its outcome is out.
        is_gone: Whether its track has ended.
        text: What was agreed on, once it was.
    """

    def __init__(self, frame: Frame, box: Detection, *, reader_confidence: float, text_filter: TextFilter) -> None:
        """Begin with the first sight of it; `see` takes that too."""
        self.ballot = Ballot(reader_confidence=reader_confidence, text_filter=text_filter)
        self.waiting = Waiting()
        self.first_s = self.last_s = frame.monotonic_s
        self.first_box = self.last_box = box
        self.seen = 0
        self.misses = 0
        self.settled = False
        self.is_gone = False
        self.text: str | None = None
        self._pieces: list[Piece] = []
        self._read_s = -math.inf
        self._margins = cycle(MARGINS)

    def see(self, frame: Frame, box: Detection, *, lane: Lane | None, is_whole: bool) -> None:
        """Take a sight of it; the looks of a plate that is whole in the picture may be read.

        Args:
            frame: Painted.
            box: Frame pixels.
            lane: The lane that the box is in.
            is_whole: Whether the box ends inside the picture.
        """
        before, before_s = self.last_box, self.last_s
        pieces, self._pieces = self._pieces, []
        self.last_s, self.last_box = frame.monotonic_s, box
        self.seen += 1
        self.misses = 0
        if self.settled:
            return
        self.ballot.see(box, captured_at=frame.captured_at, at_s=frame.monotonic_s, lane=lane)
        if not is_whole or self._is_read:
            return
        for piece in pieces:
            share = (piece.monotonic_s - before_s) / (frame.monotonic_s - before_s)
            look = piece.look_at(box_between(before, box, share), margin=next(self._margins))
            if look is not None:
                self.waiting.offer(look)
        self.waiting.offer(cut_out(frame, box, margin=next(self._margins)))

    def keep_piece(self, frame: Frame, expected: Detection, regions: Regions) -> None:
        """Keep what a frame shows of it on which the detector does not run."""
        if self.settled or self._is_read or self.misses or len(self._pieces) >= MAX_PIECES:
            return
        piece = cut_piece(frame, expected, regions)
        if piece is not None:
            self._pieces.append(piece)

    def wants_read(self, at_s: float, *, early: bool) -> bool:
        """Tell whether its best looks should be read now.

        A plate that is still in view may show better ones. It is read now only if there are enough to choose from, or,
        with `early`, if a batch of them is easily read; and then not at once again.
        """
        if self.settled or self._is_read or not len(self.waiting):
            return False
        if self._is_over(at_s):
            return True
        is_enough = len(self.waiting) >= ENOUGH or (early and self.waiting.easy >= BATCH)
        return is_enough and at_s - self._read_s >= READ_EVERY_S

    def take_batch(self, at_s: float) -> list[Look]:
        """Take the looks to read now."""
        self._read_s = at_s
        return self.waiting.take()

    def is_ready(self, at_s: float, *, early: bool) -> bool:
        """Tell whether it is time for the outcome: the plate has left, or it stays, or the text is firm and wanted."""
        return self._is_over(at_s) or (early and self.ballot.is_firm)

    def settle(self) -> None:
        """Note that the outcome is out; pictures are needed no longer."""
        self.settled = True
        self.waiting = Waiting()
        self._pieces = []

    def _is_over(self, at_s: float) -> bool:
        """Whether waiting for better looks is over."""
        has_left = self.misses >= MIN_MISSES and at_s - self.last_s >= LEFT_S
        return self.is_gone or has_left or at_s - self.first_s >= REPORT_AFTER_S

    @property
    def _is_read(self) -> bool:
        """Whether no further look would change the outcome."""
        return self.ballot.looks >= MAX_LOOKS or self.ballot.is_firm
