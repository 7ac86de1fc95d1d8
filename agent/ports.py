"""One Protocol per outside edge. Each has a real adapter and a fake in `tests/fakes`; both pass one contract suite.

At most five methods each. Arguments and returns are records. Adapters translate every lower error into the tree of
`agent.errors`, at the edge, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from agent.records import (
    ClockState,
    Detection,
    Envelope,
    FileStatus,
    Frame,
    Image,
    PlateText,
    Shredded,
    SpoolEntry,
    SpoolState,
    Usage,
    VerifiedReceipt,
)
from agent.wire.keyring import RecipientKey
from agent.wire.protocol import Answer


class Times(Protocol):
    """What a clock shows: enough for who only looks at it."""

    def now(self) -> datetime:
        """Return the aware UTC time."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...


class Clock(Times, Protocol):
    """Time, so that tests can turn it."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def state(self) -> ClockState:
        """Say whether the operating system holds its time to be synchronised."""
        ...


class TrustedClock(Clock, Protocol):
    """A clock that may be wrong, and what is known of its error: a time that is over for certain, and doubts."""

    def floor(self) -> datetime:
        """Return the latest aware UTC time that is over for certain. The true time is not before it."""
        ...

    def raise_floor(self, over: datetime) -> None:
        """Remember that an aware UTC time is over, because somebody who is trusted said so."""
        ...

    def doubt(self) -> str | None:
        """Say in a few words what speaks against the time that the clock shows; None where nothing does."""
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

    @property
    def frames_lost(self) -> int:
        """Frames that came and could not be decoded: of a recording, since it was last played from the start."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order; ends when the recording does.

        Raises:
            SourceError: The source cannot be opened or decoded.
            SourceDamagedError: The recording is at its end, and something of it was lost.
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

    def recipients_at(self, captured_at: datetime, clock: ClockState) -> tuple[RecipientKey, ...]:
        """Return one key per recipient for a read; never empty.

        Args:
            captured_at: Aware time at which the read was captured.
            clock: What that time rests on.
        """
        ...


class SpoolView(Protocol):
    """The spool as one looks at it."""

    def entries(self, state: SpoolState, *, limit: int | None = None, newest: bool = False) -> list[SpoolEntry]:
        """List at most `limit` envelopes, oldest first; with `newest` the newest ones, newest first.

        It reads the whole directory and keeps `limit` entries in memory; None keeps all.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def usage(self, state: SpoolState) -> Usage:
        """Count envelopes and their bytes; reads the whole directory and keeps nothing of it.

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


class SpoolIntake(SpoolView, Protocol):
    """The spool as the capturing process uses it."""

    def put(self, envelope: Envelope) -> None:
        """Accept an envelope: on return it survives a power cut. Putting it twice is the same as once.

        Raises:
            SpoolFullError: No room; nothing changed.
            SpoolError: The disk refused; the envelope is not accepted, yet may be there, whole.
        """
        ...

    def expire(self, tombstone: Envelope, envelope_ids: Sequence[str]) -> None:
        """Erase pending envelopes, each only if the accepted tombstone covers its place in its chain.

        Those that are not there, damaged or not covered are left alone.

        Raises:
            SpoolError: It is no tombstone, or was not accepted; or the disk refused.
        """
        ...


class Spool(SpoolView, Protocol):
    """Keeps envelopes until their receipt comes: the spool as the uploading process uses it."""

    def put(self, envelope: Envelope) -> None:
        """As `SpoolIntake.put`."""
        ...

    def keep_pending(self) -> None:
        """Make durable that what is pending is there: the put of the newest may not have returned yet.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def shred(self, *receipts: VerifiedReceipt) -> Shredded:
        """Erase pending envelopes that their receiver holds. Erasing one twice is the same as once.

        A file that the system keeps from it does not stop the others.

        Raises:
            SpoolError: The disk refused; envelopes may still be there.
        """
        ...

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """Set a pending envelope aside, with a reason for a person. It is kept.

        Raises:
            SpoolMissingError: It is not pending.
            SpoolError: The disk refused, or the system keeps this file from it; the envelope stays pending.
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


class DiskView(Protocol):
    """The side of a file system that changes no file."""

    def prepare(self, directories: Sequence[Path]) -> None:
        """Make the directories that are missing, mode 0700, durably; then check that this process can use each.

        Args:
            directories: In order, parents before their children.

        Raises:
            SpoolError: In one line: a parent is missing, something else has the name, the directory belongs to another
                user or is open to other users' writing, or the file system is read-only or full.
        """
        ...

    def names(self, directory: Path) -> Iterator[str]:
        """Yield the names in a directory, in no order, one at a time: it may hold a hundred thousand.

        The name of anything but a regular file ends with a slash, which no name can have, so it is not taken for one.
        Names may come and go while it runs, by the caller too: such a name is yielded or not, all others are.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def statuses(self, directory: Path) -> Iterator[tuple[str, FileStatus]]:
        """Yield the names with their statuses, as `names` and `status` do, in a fraction of the time.

        Names that are gone before their turn are left out.

        Raises:
            SpoolError: The disk refused.
        """
        ...

    def status(self, path: Path) -> FileStatus:
        """Return a file's length and time. A symbolic link is not followed.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
        """
        ...

    def read(self, path: Path, *, limit_bytes: int) -> bytes:
        """Return a file's content, at most `limit_bytes + 1` bytes of it, so that a longer one shows.

        Raises:
            SpoolMissingError: It is not there.
            SpoolError: The disk refused.
        """
        ...


class Disk(Files, DiskView, Protocol):
    """A file system to read from and to write to."""

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name in one file system; durable after `sync_dir` of the target's directory.

        It is how a name moves without a moment in which a crash could lose both: a rename is an addition and a
        removal, and not every file system makes the two durable together.

        Raises:
            SpoolMissingError: The source is not there.
            SpoolFileError: The file system has no links (vfat, exFAT), or allows none to this file (another user's,
                under `fs.protected_hardlinks`). `SpoolFileError` is for every method that meets one unusable file.
            SpoolError: The target is there already, or the disk refused.
        """
        ...
