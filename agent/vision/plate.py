"""One plate in view: all that is known of it between its coming and its going.

Owns: how it moves, which of its looks wait to be read, how they vote, and what it wants from the next frame. Leaves to
others: which box is whose (`agent.vision.tracker`), when the detector runs (`agent.vision.schedule`), and the models.
"""

from __future__ import annotations

import math
from itertools import cycle
from typing import Final

from agent.records import Detection, Frame, Passage, PlateRead
from agent.vision.consensus import Ballot, Rejection
from agent.vision.fragments import agrees, is_elsewhere
from agent.vision.looks import PIECE_MARGIN, Look, Piece, box_between, cut_out, cut_piece
from agent.vision.schedule import PlateStatus
from agent.vision.settings import PipelineSettings
from agent.vision.tracker import MIN_MISSES, Motion
from agent.vision.window import RelativeBox, cut_sides

KEPT: Final = 12
"""Looks that wait for one plate: four batches to choose from, most of a second at 15 frames/s."""
ENOUGH: Final = 9
"""So many must wait before a plate that may still come nearer is read: half a second at 15 frames/s to choose from."""
BATCH: Final = 3
"""Looks read at a time: the fewest that can agree firmly (`agent.vision.consensus.FIRM_VOTES`)."""
EASY_WIDTH_PX: Final = 80
"""Width of a plate that is easily read: eight characters of 8 pixels and the gaps between them."""
MAX_PIECES: Final = 8
"""Pieces kept between two runs of the detector: what lies between at 30 frames/s."""
MARGINS: Final = (0.03, 0.045)
"""Looks at one plate are cut out with these margins in turn, left and right, in plate widths: a box that a detector
draws too tight cuts a character off, and all looks should not share that. In the boxes of the built-in detector on the
two validation folders and openimages-plates/test, of 166 plates the public reader read 162, 163 and 163 without a
margin and with these, the built-in one 151, 153 and 149; margins above and below helped neither."""
CONFIRM_AFTER_S: Final = 0.3
"""A plate whose text is firm is looked at once more before it is reported, so long after the looks that made it firm or
later: it may have come out from behind what hid a part of it. Where that look says otherwise, more are read."""
READ_EVERY_S: Final = 0.5
"""A plate in view whose text is not firm is read again after so long, when other looks have come."""
MAX_LOOKS: Final = 12
"""Looks read of one plate at most, four batches: where those do not agree, it is a sign, or a plate nobody can read. Of
221 vehicles six batches read no more."""
LEFT_S: Final = 0.3
"""A plate unseen for so long, and missed twice, has most probably left: its outcome need not wait until its track ends.
Should it come back, its track goes on and it is not reported again."""
REPORT_AFTER_S: Final = 10.0
"""A plate in view for so long is reported while it stays: a parked car or a jam, whose owner should not wait for it to
leave. After that it is followed, so that it is reported once, but no longer read."""


class PlateInView:
    """One plate in view.

    Attributes:
        motion: Where it is, and how it moves.
        first_s: When it was first seen, seconds.
        first_box: Where it was then, frame pixels.
        is_gone: Whether its track has ended.
        is_reported: Whether its outcome is out. It is then followed, so that it is reported once, and no longer read.
        text: The text that was agreed on; None until then.
        stood_out: Whether its place looked unlike the empty road when it was last seen there.
    """

    def __init__(self, frame: Frame, box: Detection, settings: PipelineSettings) -> None:
        """Begin with the first sighting of a plate, which `see` takes next."""
        self.motion = Motion(box, frame.monotonic_s)
        self.first_s = frame.monotonic_s
        self.first_box = box
        self.is_gone = False
        self.is_reported = False
        self.text: str | None = None
        self.stood_out = False
        self._settings = settings
        self._ballot = Ballot(
            reader_confidence=settings.reader_confidence, text_filter=settings.text_filter, settler=settings.settler
        )
        self._waiting: list[Look] = []  # to be read, the best first
        self._pieces: list[Piece] = []
        self._read_s = -math.inf
        self._firm: PlateRead | None = None  # the look that made the text firm
        self._is_confirmed = False  # and whether it was read at another place or time as well
        self._margins = cycle(MARGINS)

    @property
    def best(self) -> PlateRead | None:
        """The best picture among the looks that were read, whether it voted or not."""
        return self._ballot.best

    def status(self, frame_wh: tuple[int, int]) -> PlateStatus:
        """Return what the schedule must know of the plate, in frames of this size (width, height; pixels)."""
        return PlateStatus(
            sightings=self.motion.sightings,
            misses=self.motion.misses,
            is_reported=self.is_reported,
            left_s=self.motion.time_left_s(frame_wh),
            is_firm=self._ballot.is_firm,
        )

    def area(self, at_s: float, frame_wh: tuple[int, int]) -> RelativeBox:
        """Return where the plate should be at a time, with as much around it as a piece has."""
        box, (width, height) = self.motion.predict(at_s), frame_wh
        by_x, by_y = (box.x2 - box.x1) * PIECE_MARGIN, (box.y2 - box.y1) * PIECE_MARGIN
        return (box.x1 - by_x) / width, (box.y1 - by_y) / height, (box.x2 + by_x) / width, (box.y2 + by_y) / height

    def place(self, at_s: float, frame_wh: tuple[int, int]) -> RelativeBox:
        """Return where the plate was last seen, where it should be at a time, and a plate's width around both."""
        boxes, (width, height) = (self.motion.box, self.motion.predict(at_s)), frame_wh
        by = self.motion.box.x2 - self.motion.box.x1
        return (
            (min(box.x1 for box in boxes) - by) / width,
            (min(box.y1 for box in boxes) - by) / height,
            (max(box.x2 for box in boxes) + by) / width,
            (max(box.y2 for box in boxes) + by) / height,
        )

    def see(self, frame: Frame, box: Detection) -> None:
        """Take a sighting of the plate. If it is whole in the picture, its looks may be read.

        Args:
            frame: The frame with its masks painted.
            box: Where the plate is in it, frame pixels.
        """
        before, before_s = self.motion.box, self.motion.at_s
        self.motion.follow(box, frame.monotonic_s)
        pieces, self._pieces = self._pieces, []
        if self.is_reported:
            return
        lane = self._settings.regions.lane_of(box, frame.wh)
        self._ballot.see(box, captured_at=frame.captured_at, at_s=frame.monotonic_s, lane=lane)
        if any(cut_sides(box, frame.wh)) or self._is_read:
            return
        for piece in pieces:
            share = (piece.moment.monotonic_s - before_s) / (frame.monotonic_s - before_s)
            look = piece.look_at(box_between(before, box, share), margin=next(self._margins))
            if look is not None:
                self._offer(look)
        self._offer(cut_out(frame, box, margin=next(self._margins)))

    def miss(self, at_s: float) -> None:
        """Note that the detector ran and did not find the plate."""
        self.motion.misses += 1
        self.end_if_gone(at_s)

    def end_if_gone(self, at_s: float) -> None:
        """End the track if the plate has been unseen for too long."""
        self.is_gone |= self.motion.is_gone(at_s)

    def keep_piece(self, frame: Frame) -> None:
        """Keep the plate's part of a frame on which the detector does not run; the frame is not painted yet."""
        is_wanted = not self.is_reported and not self._ballot.is_firm and not self._is_read
        if not is_wanted or self.motion.misses or len(self._pieces) >= MAX_PIECES:
            return
        piece = cut_piece(frame, self.motion.predict(frame.monotonic_s), self._settings.regions)
        if piece is not None:
            self._pieces.append(piece)

    def wants_read(self, at_s: float) -> bool:
        """Tell whether the best looks should be read now.

        A plate that is still in view may show better ones. It is read now only if there are enough to choose from, or,
        with `early_read`, if a batch of them is easily read; and then not at once again. A firm text is confirmed by
        one more look, when the plate leaves, or, with `early_read`, as soon as it was seen at another place.
        """
        if self.is_reported or self._is_read or not self._waiting:
            return False
        if self._is_leaving_or_old(at_s):
            return True
        if self._ballot.is_firm:
            return self._settings.early_read and bool(self._confirming)
        easy = sum(look.crop.shape[1] >= EASY_WIDTH_PX for look in self._waiting)
        is_easy = self._settings.early_read and easy >= BATCH
        return (is_easy or len(self._waiting) >= ENOUGH) and at_s - self._read_s >= READ_EVERY_S

    def take_batch(self, at_s: float) -> list[Look]:
        """Take the best looks out, to be read now; oldest first. One alone where it is to confirm a firm text."""
        self._read_s = at_s
        if self._ballot.is_firm:
            taken = (self._confirming or self._waiting)[:1]
        else:
            taken = self._waiting[: min(BATCH, MAX_LOOKS - self._ballot.looks)]
        self._waiting = [look for look in self._waiting if look not in taken]
        return sorted(taken, key=lambda look: look.moment.sequence)

    def add(self, read: PlateRead) -> Rejection | None:
        """Let a look vote that was read; return why it does not vote, None if it does."""
        firm = self._ballot.consensus if self._ballot.is_firm else None
        fault = self._ballot.add(read)
        if firm is not None:
            self._is_confirmed |= agrees(read.plate.text, firm.plate.text)
        elif self._ballot.is_firm:
            self._firm, self._waiting = read, []  # only later looks could tell anything new
            self._is_confirmed = self._ballot.is_of_two_places
        return fault

    def verdict(self, at_s: float) -> Passage | Rejection | None:
        """Return the outcome of the vote; None where it is out already, or where it is too early for one.

        It is time when the plate has left, when it stays for long, or, with `early_read`, when its text is firm and was
        read at two places.
        """
        is_early = self._settings.early_read and self._ballot.is_firm and self._is_confirmed
        if self.is_reported or not (is_early or self._is_leaving_or_old(at_s)):
            return None
        return self._ballot.verdict(min_votes=self._settings.min_votes)

    def note_reported(self, text: str) -> None:
        """Note that the outcome is out; pictures are no longer needed."""
        self.text = text
        self.is_reported = True
        self._waiting, self._pieces = [], []

    def _offer(self, look: Look) -> None:
        """Keep a look if it is among the best, and, of a plate whose text is firm, of another moment."""
        firm = self._firm if self._ballot.is_firm else None
        if firm is not None and look.moment.monotonic_s - firm.monotonic_s < CONFIRM_AFTER_S:
            return
        self._waiting = sorted([*self._waiting, look], key=lambda look: -look.quality)[:KEPT]

    @property
    def _confirming(self) -> list[Look]:
        """Looks that wait and are of another place than the one that made the text firm; the best first."""
        if self._firm is None:
            return []
        firm = self._firm.detection, self._firm.monotonic_s
        return [look for look in self._waiting if is_elsewhere((look.detection, look.moment.monotonic_s), firm)]

    def _is_leaving_or_old(self, at_s: float) -> bool:
        """Whether waiting for better looks is over."""
        has_left = self.motion.misses >= MIN_MISSES and at_s - self.motion.at_s >= LEFT_S
        return self.is_gone or has_left or at_s - self.first_s >= REPORT_AFTER_S

    @property
    def _is_read(self) -> bool:
        """Whether no further look would change the outcome, or enough were read."""
        return self._ballot.looks >= MAX_LOOKS or (self._ballot.is_firm and self._is_confirmed)
