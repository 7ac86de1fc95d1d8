"""The core records, from a frame to a verified receipt. Pure: no file, no network, no clock.

```
Frame -> Detection* -> PlateRead* -> Passage -> Envelope -> SpoolEntry -> Receipt -> VerifiedReceipt
```

Frozen and slotted. Plate text, images and keys are never in a `repr`. Records that hold arrays compare by identity
and make the array read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from agent.picture import Image, Picture, Plane, check_image
from agent.wire.envelope import Envelope
from agent.wire.header import ChainPosition
from agent.wire.plaintext import ClockState, Direction, Plaintext
from agent.wire.receipt import Receipt, VerifiedReceipt

__all__ = [
    "ChainPosition",
    "ClockState",
    "Detection",
    "Direction",
    "Envelope",
    "FileStatus",
    "Frame",
    "Image",
    "Passage",
    "Picture",
    "Plaintext",
    "Plane",
    "PlateRead",
    "PlateText",
    "Receipt",
    "SpoolEntry",
    "SpoolState",
    "TimeSource",
    "Usage",
    "VerifiedReceipt",
]


class TimeSource(StrEnum):
    """What a frame's time of capture was taken from."""

    PTS = "pts"
    """The recording's own presentation time of that frame."""
    RATE = "rate"
    """The frame's number and a rate, because the recording has no times."""
    ARRIVAL = "arrival"
    """A camera's frame: its arrival at this unit, and the time in the stream."""
    CAMERA = "camera"
    """A camera's frame: the clock of the camera."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One captured image.

    Attributes:
        camera_id: The camera's id.
        sequence: 0, 1, 2, .. from the source's start; a live camera's numbers have gaps where frames were dropped.
        captured_at: Aware UTC time at which the picture was taken, not processed.
        monotonic_s: The same moment on a clock for intervals, seconds. For a recording: seconds from its start.
        picture: What was captured.
        time_source: Where `captured_at` comes from; None where it is the time of a file.
    """

    camera_id: str
    sequence: int
    captured_at: datetime
    monotonic_s: float
    picture: Picture = field(repr=False)
    time_source: TimeSource | None = None

    def __post_init__(self) -> None:
        """Check the time.

        Raises:
            ValueError: It has no zone.
        """
        if self.captured_at.tzinfo is None:
            raise ValueError("captured_at must be an aware time")

    @property
    def image(self) -> Image:
        """The picture in BGR: uint8, shape (H, W, 3), read-only. It is converted when this is first asked for."""
        return self.picture.bgr

    @property
    def wh(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.picture.wh


@dataclass(frozen=True, slots=True)
class Detection:
    """A box in which the detector sees a plate.

    Attributes:
        x1, y1, x2, y2: Frame pixels, half open, x1 < x2 and y1 < y2.
        confidence: 0..1.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    confidence: float

    @property
    def xyxy(self) -> tuple[int, int, int, int]:
        """(x1, y1, x2, y2), frame pixels, half open."""
        return self.x1, self.y1, self.x2, self.y2

    @property
    def area_px(self) -> int:
        """Area in square pixels."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)


@dataclass(frozen=True, slots=True)
class PlateText:
    """What the reader made of one crop.

    Attributes:
        text: The characters, without padding; may be empty.
        confidences: 0..1, one per character of `text`; where look-alikes were settled, of the character that was seen.
        region: Region name, if the model has a region head.
        look_alikes: For each character of `text` how likely the reader holds those that look like it, itself among
            them, 0..1; empty where the reader does not say.
        seen: The text as it was seen, before formats of plates settled its look-alikes; None where no format is known.
        format: Name of the format that `text` has; None where no format is known, or none has it.
    """

    text: str = field(repr=False)
    confidences: tuple[float, ...]
    region: str | None
    look_alikes: tuple[Mapping[str, float], ...] = field(default=(), repr=False, hash=False)
    seen: str | None = field(default=None, repr=False)
    format: str | None = None

    @property
    def confidence(self) -> float:
        """Mean over the characters, 0 for an empty text."""
        return sum(self.confidences) / len(self.confidences) if self.confidences else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class PlateRead:
    """One look at one plate: a detection and the text in it.

    Attributes:
        sequence, captured_at, monotonic_s, time_source: Of the frame.
        frame_wh: Frame (width, height), pixels.
        detection: The box that was read.
        plate: The text and its confidences.
        crop: The pixels that were read; uint8, shape (h, w, 3), BGR, read-only.
    """

    sequence: int
    captured_at: datetime
    monotonic_s: float
    frame_wh: tuple[int, int]
    detection: Detection
    plate: PlateText
    crop: Image = field(repr=False)
    time_source: TimeSource | None = None

    def __post_init__(self) -> None:
        """Make the crop read-only.

        Raises:
            ValueError: Another shape or dtype.
        """
        check_image(self.crop)
        self.crop.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One vehicle passing once.

    Attributes:
        text: The text that the looks agree on, as formats of plates settle it.
        confidences: 0..1, one per character of the text as it was seen, over the looks that agree.
        votes: (looks that agree on every character, looks with any text).
        region: Region that the looks name.
        best: The look that won: its crop and its time are the passage's.
        first_seen, last_seen: Aware UTC times at which the plate was first and last seen.
        direction: How the plate moved; where that could not be seen, how vehicles in its lane do.
        lane: Where it was, if that has a name.
        seen: The text as the looks agree on it; None where no format is known, and `text` is that.
        format: Name of the format that `text` has; None where no format is known, or none has it.
    """

    text: str = field(repr=False)
    confidences: tuple[float, ...]
    votes: tuple[int, int]
    region: str | None
    best: PlateRead
    first_seen: datetime
    last_seen: datetime
    direction: Direction
    lane: str | None = None
    seen: str | None = field(default=None, repr=False)
    format: str | None = None

    @property
    def confidence(self) -> float:
        """Mean over the characters."""
        return sum(self.confidences) / len(self.confidences) if self.confidences else 0.0


class SpoolState(StrEnum):
    """Where an envelope lies in the spool; the value is its directory's name."""

    PENDING = "pending"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One envelope in the spool.

    Attributes:
        envelope_id: SHA-256 in lower-case hex; the file's name.
        size_bytes: The file's length.
        state: Pending or quarantine.
        spooled_at: Aware UTC time at which it became durable, by this unit's clock.
    """

    envelope_id: str
    size_bytes: int
    state: SpoolState
    spooled_at: datetime


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """An accepted envelope of version 2 in the order of the unit's envelopes: the later one is the greater.

    Attributes:
        run: Number of its chain.
        seq: Its place in the chain.
        chain: 16 bytes.
        digest: 32 bytes, SHA-256 of the envelope.
    """

    run: int
    seq: int
    chain: bytes
    digest: bytes

    @classmethod
    def at(cls, position: ChainPosition, digest: bytes) -> Link | None:
        """Return the link of an envelope; None for one of version 1, which has no run."""
        return None if position.run is None else cls(position.run, position.seq, position.chain, digest)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one state of the spool takes.

    Attributes:
        count: How many envelopes there are.
        bytes: Their lengths together; not the blocks that the file system gives them.
    """

    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Shredded:
    """What became of envelopes that were to be erased together. All that neither mapping names are erased.

    Attributes:
        kept: Envelope id to reason: no name of it could be moved, so it stays in pending.
        unerased: Envelope id to reason: it is out of pending for good, but its content could not be overwritten and
            stays in `shredding/`, where the next start tries again.
    """

    kept: Mapping[str, str] = field(default_factory=dict)
    unerased: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a file system says of a name.

    Attributes:
        size_bytes: Length of the file.
        modified_at: Aware UTC time of its last write, whole microseconds.
        inode: Two names of one file system that have the same are one file.
        is_file: Whether it is a regular file: no directory, link, pipe or device.
    """

    size_bytes: int
    modified_at: datetime
    inode: int
    is_file: bool = True
