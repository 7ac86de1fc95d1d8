"""The configuration of one unit, as pydantic models: strict, frozen, unknown keys refused.

Owns: names, types, units, defaults and limits of every setting. Leaves to others: files (`agent.config.load`).
Relative paths in a file are relative to that file.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from agent.envelope.plaintext import MAX_NAME_CHARS
from agent.envelope.reply import MAX_BATCH_BYTES, MAX_BATCH_ENVELOPES
from agent.envelope.suites import ContentCipher

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=MAX_NAME_CHARS)]
"""A camera, site, recipient or model name: lower-case letters, digits, dot, dash, underscore."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]

MIN_SPOOL_BYTES: Final = 1 << 20
MIN_SPOOL_COUNT: Final = 100
GSTREAMER_PREFIX: Final = "gst:"
RTSP_PREFIXES: Final = ("rtsp://", "rtsps://")
_PASSWORD: Final = re.compile(r"://[^/?#\s]*@|\buser-pw\s*=", re.IGNORECASE)
"""A user in a URL, or the property by which GStreamer's RTSP and HTTP sources take a password."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def is_file_uri(uri: str) -> bool:
    """Whether a source is a path: neither `SCHEME://..` nor a GStreamer pipeline. An empty one is nothing."""
    return bool(uri) and "://" not in uri and not uri.startswith(GSTREAMER_PREFIX)


class SourceConfig(_Section):
    """Where frames come from.

    Attributes:
        uri: A video file, a folder of pictures, `rtsp://..`, `/dev/video0`, or `gst:` and a GStreamer pipeline.
        started_at: When a recording began; its file's modification time if left out.
        frame_rate: Pictures per second of a folder, which has no rate of its own.
        pace: `fast` plays a recording as fast as the machine can, `real` at its own rate.
        credential: A file that holds `USER:PASSWORD` of an RTSP camera; they are refused inside the URI.
        reconnect: Whether a camera that is lost, or not there at the start, is tried again, for as long as it takes.
        stall_s: A camera that delivers nothing for this long is lost.
        frozen_s: A camera that shows no new picture for this long is frozen, which counts as lost; 0 switches it off.
            Must be longer than the camera's key-frame interval.
        decode_threads: Threads that decode an RTSP camera's video. Each but the first delays every frame by one frame
            time; more than one is for boards that cannot decode the stream on one core.
    """

    uri: str = Field(min_length=1, max_length=4096)
    started_at: Annotated[AwareDatetime, Field(strict=False)] | None = None
    frame_rate: float = Field(default=1.0, gt=0.0, le=1000.0)
    pace: Literal["fast", "real"] = "fast"
    credential: Path | None = None
    reconnect: bool = True
    stall_s: float = Field(default=10.0, ge=1.0, le=300.0)
    frozen_s: float = Field(default=10.0, ge=0.0, le=3600.0)
    decode_threads: int = Field(default=1, ge=1, le=16)

    @field_validator("frozen_s")
    @classmethod
    def _off_or_seconds(cls, value: float) -> float:
        if 0.0 < value < 1.0:
            raise ValueError("must be 0 (off) or at least 1 second")
        return value


class VisionConfig(_Section):
    """How plates are found and read.

    Attributes:
        models: Folder of model files; the built-in manifest serves where it has none of its own.
        detector, reader: Names in the manifest; the manifest's first that is there if left out.
        detector_confidence: Boxes below are ignored; the manifest's value for the model if left out.
        reader_confidence: Looks whose least sure character is below do not vote.
        min_votes: Looks that must agree before a text is a passage.
        jpeg_quality: Of the crop, 1 to 100.
        crop: Whether the crop is sealed with the text.
    """

    models: Path | None = None
    detector: Name | None = None
    reader: Name | None = None
    detector_confidence: Share | None = None
    reader_confidence: Share = 0.3
    min_votes: int = Field(default=2, ge=1, le=100)
    jpeg_quality: int = Field(default=85, ge=1, le=100)
    crop: bool = True


class SealConfig(_Section):
    """Whom reads are sealed to, and who seals them.

    Attributes:
        keyring: The owner's signed keyring.
        owner_key: The owner's public signing key (PEM), which the keyring is checked against.
        signing_key: This device's private signing key (PEM, mode 0600). Replacing it takes effect while running.
        cipher: The AEAD for the read itself; `auto` measures at the start which one this machine does faster.
        on_keyring_end: When no epoch of the keyring holds a read's capture time: `seal` goes on with the newest key
            and raises an alarm, `stop` ends the daemon with an error; what was accepted stays in the spool.
    """

    keyring: Path
    owner_key: Path
    signing_key: Path
    cipher: Literal["auto"] | Annotated[ContentCipher, Field(strict=False)] = "auto"
    on_keyring_end: Literal["seal", "stop"] = "seal"


class OnFull(StrEnum):
    """What gives way when the spool is full."""

    DROP_OLDEST = "drop-oldest"
    DROP_CROP_FIRST = "drop-crop-first"
    STOP = "stop"


class SpoolConfig(_Section):
    """Where sealed reads wait.

    Attributes:
        directory: The spool; made if it is missing and its parent is there.
        max_bytes: Sealed reads may take this much.
        max_count: Sealed reads may be this many; any number if left out.
        max_age_hours: Reads that wait for longer are erased, undelivered; they wait for ever if left out.
        on_full: What gives way at the first two: `drop-oldest` the oldest reads; `drop-crop-first` the crops of new
            reads from seven eighths on, then the oldest reads; `stop` the capture daemon, which ends and erases
            nothing.
    """

    directory: Path
    max_bytes: int = Field(default=1 << 30, ge=MIN_SPOOL_BYTES)
    max_count: int | None = Field(default=None, ge=MIN_SPOOL_COUNT)
    max_age_hours: float | None = Field(default=None, ge=1.0, le=87_600.0)
    on_full: Annotated[OnFull, Field(strict=False)] = OnFull.DROP_OLDEST


class UploadConfig(_Section):
    """Where sealed reads go.

    Attributes:
        url: `https://host:port` of the receiver.
        ca: The private CA's certificate (PEM) that the receiver's certificate must come from.
        certificate, key: This unit's TLS client certificate and private key (PEM).
        receiver_key: The receiver's public receipt key (PEM).
        batch_envelopes, batch_bytes: The most that one request carries.
        fresh_share: While more than `batch_envelopes` wait, this share of the requests carries the newest reads, 0 to
            0.5; all others carry the oldest.
        max_bytes_per_s: Requests take no more of the line than this; as much as there is if left out.
        connect_timeout_s, reply_timeout_s: How long to wait for the receiver.
        retry_first_s, retry_most_s: Waits between attempts grow from the first to the second, with jitter.
        poll_s: How often an empty spool is looked at.
    """

    url: str
    ca: Path
    certificate: Path
    key: Path
    receiver_key: Path
    batch_envelopes: int = Field(default=MAX_BATCH_ENVELOPES, ge=1, le=MAX_BATCH_ENVELOPES)
    batch_bytes: int = Field(default=MAX_BATCH_BYTES, ge=1 << 20, le=MAX_BATCH_BYTES)
    fresh_share: float = Field(default=0.25, ge=0.0, le=0.5)
    max_bytes_per_s: int | None = Field(default=None, ge=1000)
    connect_timeout_s: float = Field(default=10.0, gt=0.0, le=300.0)
    reply_timeout_s: float = Field(default=60.0, gt=0.0, le=600.0)
    retry_first_s: float = Field(default=0.5, gt=0.0, le=60.0)
    retry_most_s: float = Field(default=60.0, gt=0.0, le=3600.0)
    poll_s: float = Field(default=0.5, gt=0.0, le=60.0)

    @field_validator("url")
    @classmethod
    def _https_only(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("must be https://HOST[:PORT], without user, query or fragment")
        return value.rstrip("/")


class UnitConfig(_Section):
    """One camera unit.

    Attributes:
        camera_id: Its name in every read.
        site: The place it stands at, if named.
        position: Latitude and longitude in degrees, if known.
        state_dir: Where the daemons keep what is neither a read nor a secret: metrics, the chain's last link.
    """

    camera_id: Name
    site: Name | None = None
    position: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]] | None = Field(
        default=None, strict=False
    )
    state_dir: Path
    source: SourceConfig
    vision: VisionConfig = VisionConfig()
    seal: SealConfig
    spool: SpoolConfig
    upload: UploadConfig

    @field_validator("source")
    @classmethod
    def _no_password(cls, value: SourceConfig) -> SourceConfig:
        if _PASSWORD.search(value.uri):
            raise ValueError(
                "a user or password does not belong into uri; put USER:PASSWORD into a file of its own and name it in "
                "source.credential, as a path or credential:NAME"
            )
        if value.credential is not None and not value.uri.lower().startswith(RTSP_PREFIXES):
            raise ValueError("credential is for rtsp:// sources only")
        return value


__all__ = ["SealConfig", "SourceConfig", "SpoolConfig", "UnitConfig", "UploadConfig", "VisionConfig"]
