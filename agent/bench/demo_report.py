"""What a demo found: its counts, and whether they agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from agent.bench.truth import Score
from agent.custody.opener import OpenedRead
from agent.errors import DemoError


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The demo's counts; the JSON of `plateseal demo --json`.

    Attributes:
        frames: Frames played.
        passages: Vehicles that the camera agreed on.
        sealed: Reads accepted by the spool.
        acknowledged: Reads with a verified receipt.
        shredded: Reads erased from the spool.
        pending: Files left in the spool, in any of its folders.
        opened: Reads in the receiver's store that the owner verified and opened.
        lost: Reads sealed that are neither at the receiver nor in the spool.
        duplicates: Reads stored more than once.
        plaintext_hits: Plate texts and JPEG files found in anything the device wrote.
        seconds: Wall time of the whole demo.
    """

    frames: int
    passages: int
    sealed: int
    acknowledged: int
    shredded: int
    pending: int
    opened: int
    lost: int
    duplicates: int
    plaintext_hits: int
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether every read went the whole way, once, and left nothing behind."""
        whole = self.passages == self.sealed == self.acknowledged == self.shredded == self.opened
        return whole and not (self.pending or self.lost or self.duplicates or self.plaintext_hits)

    def as_json(self) -> dict[str, int | float]:
        """Return the report under its JSON keys."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """Everything a demo leaves.

    Attributes:
        report: The counts of the whole way.
        opened: The reads that the owner opened.
        score: Of these reads, where the truth is known.
        complaint: The last warning that upload logged.
    """

    report: DemoReport
    opened: list[OpenedRead] = field(repr=False)
    score: Score | None
    complaint: str

    def require_agreement(self) -> None:
        """Check that every read went the whole way.

        Raises:
            DemoError: Reads wait in the spool, or the counts do not agree.
        """
        if self.report.pending:
            raise DemoError(f"{self.report.pending} files still wait in the spool; upload said: {self.complaint}")
        if not self.report.agrees:
            raise DemoError("the counts do not agree: not every read went the whole way, once, without a trace")
