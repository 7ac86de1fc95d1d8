"""One Protocol per outside edge. Each has a real adapter and a fake in `tests/fakes`; both pass one contract suite.

At most five methods each. Arguments and returns are records. Adapters translate every lower error into the tree of
`agent.errors`, at the edge, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from agent.envelope.keyring import RecipientKey
from agent.envelope.reply import Answer
from agent.records import (
    ClockState,
    Detection,
    Envelope,
    Frame,
    Image,
    PlateText,
    SpoolEntry,
    SpoolState,
    VerifiedReceipt,
)


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> datetime:
        """Return the aware UTC time."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def state(self) -> ClockState:
        """Say whether the operating system holds its time to be synchronised."""
        ...


class FrameSource(Protocol):
    """A camera or a recording."""

    @property
    def frame_count(self) -> int | None:
        """Frames in the recording, if known beforehand; for progress only."""
        ...

    @property
    def clock_state(self) -> ClockState:
        """What `captured_at` of the frames rests on."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order; ends when the recording does.

        Raises:
            SourceError: The source cannot be opened or decoded.
            SourceLostError: A live source stopped delivering.
        """
        ...

    def close(self) -> None:
        """Release the device or file. Idempotent."""
        ...


class Detector(Protocol):
    """Finds plates in a frame."""

    def detect(self, image: Image) -> list[Detection]:
        """Find plates.

        Args:
            image: uint8, shape (H, W, 3), BGR.

        Returns:
            Boxes inside the frame, highest confidence first.

        Raises:
            InferenceError: The model failed.
        """
        ...

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model file, 32 bytes."""
        ...


class Reader(Protocol):
    """Reads the text in crops."""

    def read(self, crops: Sequence[Image]) -> list[PlateText]:
        """Read crops.

        Args:
            crops: uint8, shape (h, w, 3), BGR, each at least 1x1.

        Returns:
            One text per crop, in order.

        Raises:
            InferenceError: The model failed.
        """
        ...

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model file, 32 bytes."""
        ...


class RecipientBook(Protocol):
    """Knows whom to seal to."""

    def recipients_at(self, captured_at: datetime) -> tuple[RecipientKey, ...]:
        """Return one key per recipient for a read captured then; never empty."""
        ...


class SpoolIntake(Protocol):
    """The spool as the capturing process uses it."""

    def put(self, envelope: Envelope) -> None:
        """As `Spool.put`."""
        ...

    def entries(self, state: SpoolState, *, limit: int | None = None) -> list[SpoolEntry]:
        """As `Spool.entries`."""
        ...

    def get(self, envelope_id: str) -> Envelope:
        """As `Spool.get`."""
        ...

    def expire(self, tombstone: Envelope) -> None:
        """Erase the pending envelopes that an accepted tombstone names; those that are not there are fine.

        Raises:
            SpoolError: The tombstone is not pending itself, or the disk refused.
        """
        ...


class Spool(Protocol):
    """Keeps envelopes until their receipt comes."""

    def put(self, envelope: Envelope) -> None:
        """Accept an envelope: on return it survives a power cut. Putting it twice is the same as once.

        Raises:
            SpoolFullError: No room; nothing changed.
            SpoolError: The disk refused; the envelope is not accepted.
        """
        ...

    def entries(self, state: SpoolState, *, limit: int | None = None) -> list[SpoolEntry]:
        """List envelopes, oldest first.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def get(self, envelope_id: str) -> Envelope:
        """Read a pending envelope, whole and checked against its name.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
            FormatError: Its bytes are no envelope.
            EnvelopeVerificationError: Its bytes are not those that were put.
        """
        ...

    def shred(self, *receipts: VerifiedReceipt) -> None:
        """Erase pending envelopes that their receiver holds. Erasing one twice is the same as once.

        Raises:
            SpoolError: The disk refused; envelopes may still be there.
        """
        ...

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """Set a pending envelope aside, with a reason for a person. It is kept.

        Raises:
            SpoolError: The disk refused.
        """
        ...


class Transport(Protocol):
    """Carries envelopes to the receiver."""

    def send(self, envelopes: Sequence[bytes]) -> list[Answer]:
        """Send one batch and return one answer per envelope, in order.

        Raises:
            TransportError: No agreed answer came; nothing is known about any of the envelopes.
        """
        ...

    def close(self) -> None:
        """Drop the connections. Idempotent."""
        ...


class Files(Protocol):
    """The durable side of a file system: each method is one step that a crash can fall before or after."""

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file of mode 0600 and sync its content; its name is durable after `sync_dir` only.

        Raises:
            SpoolError: The disk refused. The file may be there in part; it is never synced twice.
        """
        ...

    def overwrite(self, path: Path) -> None:
        """Replace a file's content by zeros of the same length and sync it.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one file system; durable after `sync_dir` of both directories.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def unlink(self, path: Path) -> None:
        """Remove a name; one that is not there is fine. Durable after `sync_dir`.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def sync_dir(self, directory: Path) -> None:
        """Make the names in a directory durable.

        Raises:
            SpoolError: The disk refused.
        """
        ...
