"""What a contestant is told, and what it reports: the lines between `agent.bench.match` and its processes.

Pydantic models, because they cross a process boundary as JSON. Plate text and crops are never in a `repr`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.config.models import SourceConfig, VisionConfig

Jpeg = Annotated[bytes, Field(repr=False)]
"""A JPEG file; base64 on the line."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")


class Job(_Line):
    """What one contestant plays.

    Attributes:
        contestant: Name of the contestant that was measured.
        source: The recording.
        vision: Models and settings; the plain loop takes the models from it, decoding nothing.
        rounds: How often the recording is played, one after the other.
        crops: Whether crops are kept for a report.
        loop_threads: Threads inside one inference of the plain loop; None for what its users get.
    """

    contestant: Literal["plateseal", "fast-alpr", "decode"]
    source: SourceConfig
    vision: VisionConfig = VisionConfig()
    rounds: int = Field(default=1, ge=1)
    crops: bool = False
    loop_threads: int | None = Field(default=None, ge=1)


class TurnDone(_Line):
    """One turn, measured inside the contestant's process.

    Attributes:
        frames: Frames played in it.
        seconds, cpu_seconds: Wall and processor time of the turn, all threads.
        rss_bytes: Resident memory at its end.
        is_last: Whether the recording is through.
    """

    frames: int
    seconds: float
    cpu_seconds: float
    rss_bytes: int
    is_last: bool


class SeenPassage(_Line):
    """A passage as the pipeline reported it.

    Attributes:
        text: The consensus, as formats of plates settle it.
        confidence: Mean over the characters.
        votes, looks: Looks that agree, of looks with any text.
        frame: Number of the frame that won.
        first_s, last_s: First and last look, seconds of stream time from the clip's start.
        reported_s: Stream time of the frame after which it was reported.
        direction: As the pipeline names it.
        crop: The best look.
        seen: The consensus as it was seen; None where no formats of plates are configured.
        format: Name of the format that the text has, if any.
    """

    text: str = Field(repr=False)
    confidence: float
    votes: int
    looks: int
    frame: int
    first_s: float
    last_s: float
    reported_s: float
    direction: str
    crop: Jpeg = b""
    seen: str | None = Field(default=None, repr=False)
    format: str | None = None


class SeenRejection(_Line):
    """A track that ended without a passage.

    Attributes:
        reason: The pipeline's name for it.
        text: Of its best look; empty if it had none.
        confidence: Of that text.
        frame: Number of that look's frame; None without a look.
        crop: The picture of the look that won.
    """

    reason: str
    text: str = Field(default="", repr=False)
    confidence: float = 0.0
    frame: int | None = None
    crop: Jpeg = b""


class Sighting(_Line):
    """The texts that the plain loop read on one frame."""

    frame: int
    texts: tuple[str, ...] = Field(repr=False)


class Played(_Line):
    """Everything that one contestant saw.

    Attributes:
        peak_rss_bytes: Most resident memory of its process.
        models: Names of its models.
        note: How it was run, for the report.
        frame_wh: Width and height of the frames, pixels.
        stream_s: Length of what was played, seconds of stream time.
        frames_lost: Frames of it that could not be decoded.
        damage: What the source said at its end, if anything was lost or missing.
        frame_ms: Processing time of each frame without decoding, milliseconds.
        stages_s: Wall seconds by stage.
        frames_moving, frames_searched: Frames on which the gate saw motion, and on which the detector ran.
        looks: Looks that were read.
        passages, rejections: What the pipeline reported.
        rejected, unvoted: Tracks without a passage and looks that did not vote, counted by reason.
        sightings: What the plain loop read.
    """

    peak_rss_bytes: int
    models: tuple[str, ...] = ()
    note: str = ""
    frame_wh: tuple[int, int] = (0, 0)
    stream_s: float = 0.0
    frames_lost: int = 0
    damage: str = ""
    frame_ms: tuple[float, ...] = Field(default=(), repr=False)
    stages_s: dict[str, float] = {}
    frames_moving: int = 0
    frames_searched: int = 0
    looks: int = 0
    passages: tuple[SeenPassage, ...] = ()
    rejections: tuple[SeenRejection, ...] = ()
    rejected: dict[str, int] = {}
    unvoted: dict[str, int] = {}
    sightings: tuple[Sighting, ...] = ()


class Ready(_Line):
    """A contestant has loaded its models and waits for its first turn."""

    frame_count: int | None


class Failure(_Line):
    """A contestant cannot go on: an error of ours, by class name and message."""

    error: str
    message: str


class Report(_Line):
    """One line of a contestant."""

    line: Ready | TurnDone | Played | Failure
