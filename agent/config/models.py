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

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from agent.config.plate_formats import PlaceCode
from agent.wire.plaintext import MAX_NAME_CHARS
from agent.wire.protocol import MAX_BATCH_BYTES, MAX_BATCH_ENVELOPES
from agent.wire.suites import ContentCipher

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=MAX_NAME_CHARS)]
"""A camera, site, recipient or model name: lower-case letters, digits, dot, dash, underscore."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]

MIN_SPOOL_BYTES: Final = 1 << 20
MIN_SPOOL_COUNT: Final = 100
MAX_CAMERAS: Final = 16
"""Cameras of one unit: more than any small machine decodes, and a bound on threads and memory."""
SERVICE_STATE: Final = Path("/var/lib/plateseal")
SERVICE_RUNTIME: Final = Path("/run/plateseal")
"""The folders that systemd makes for the package's services (StateDirectory=, RuntimeDirectory=)."""
GSTREAMER_PREFIX: Final = "gst:"
RTSPS_PREFIX: Final = "rtsps://"
RTSP_PREFIXES: Final = ("rtsp://", RTSPS_PREFIX)
_PASSWORD: Final = re.compile(
    r"://[^/?#\s]*@|(?<![a-z])(?:user-pw|password|passwd|pwd|pass|token)\s*=\s*[^&\s]", re.IGNORECASE
)
"""A user in a URL, a password in its path or query, or the property by which GStreamer's sources take one."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def is_file_uri(uri: str) -> bool:
    """Whether a source is a path: neither `SCHEME://..` nor a GStreamer pipeline. An empty one is nothing."""
    return bool(uri) and "://" not in uri and not uri.startswith(GSTREAMER_PREFIX)


class SourceConfig(_Section):
    """Where frames come from.

    Attributes:
        uri: A video file, a folder of pictures, `rtsp://..`, `/dev/video0`, or `gst:` and a GStreamer pipeline.
        started_at: When a recording began. If left out: its creation time by its own word, else its file's modification
            time less its length.
        frame_rate: Pictures per second of a folder or a raw stream (`.h264`, `.hevc`, `.mjpeg`), which say no time.
        pace: `fast` plays a recording as fast as the machine can, `real` at its own rate.
        credential: A file that holds `USER:PASSWORD` of an RTSP camera; they are refused inside the URI.
        ca: Certificates (PEM) of those who may vouch for an `rtsps://` camera, its own among them; the name in its
            certificate must be the host of `uri`.
        key_sha256: SHA-256 of the public key that an `rtsps://` camera must have, 64 hexadecimal digits, in place of
            `ca`.
        tls: `unchecked` takes an `rtsps://` camera without `ca` and `key_sha256`, whoever answers.
        reconnect: Whether a camera that is lost, or not there at the start, is tried again, for as long as it takes.
        stall_s: A camera that delivers nothing for this long is lost.
        frozen_s: A camera that shows no new picture for this long is frozen, which counts as lost; 0 switches it off,
            values between 0 and 1 are refused. Must be longer than the camera's key-frame interval.
        clock: What dates an RTSP camera's frames: `unit`, this unit's clock; `camera`, its own while the two agree.
        decode_threads: Threads that decode an RTSP camera's video. Each but the first delays every frame by one frame
            time; more than one is for boards that cannot decode the stream on one core.
    """

    uri: str = Field(min_length=1, max_length=4096)
    started_at: Annotated[AwareDatetime, Field(strict=False)] | None = None
    frame_rate: float = Field(default=1.0, gt=0.0, le=1000.0)
    pace: Literal["fast", "real"] = "fast"
    credential: Path | None = None
    ca: Path | None = None
    key_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    tls: Literal["checked", "unchecked"] = "checked"
    reconnect: bool = True
    stall_s: float = Field(default=10.0, ge=1.0, le=300.0)
    frozen_s: float = Field(default=10.0, ge=0.0, le=3600.0)
    clock: Literal["unit", "camera"] = "unit"
    decode_threads: int = Field(default=1, ge=1, le=16)

    @field_validator("frozen_s")
    @classmethod
    def _off_or_seconds(cls, value: float) -> float:
        if 0.0 < value < 1.0:
            raise ValueError("must be 0 (off) or at least 1 second")
        return value


Point = Annotated[tuple[Share, Share], Field(strict=False)]
"""Right and down from the picture's upper left corner, as shares of its width and height."""
Polygon = Annotated[tuple[Point, ...], Field(strict=False, min_length=3, max_length=64)]
"""Corners of an area of the picture, in order; the last is joined to the first."""


class MaskConfig(_Section):
    """An area of the picture that nothing ever looks at.

    Attributes:
        polygon: Its corners.
    """

    polygon: Polygon


class LaneConfig(_Section):
    """An area of the picture that gives passages in it a name.

    Attributes:
        name: Goes into the read.
        polygon: Its corners.
        direction: How vehicles in it drive; says the direction of a passage whose own could not be seen.
    """

    name: Name
    polygon: Polygon
    direction: Literal["approaching", "receding"] | None = None


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


TextPattern = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_pattern)]
Provider = Literal["cpu", "xnnpack", "openvino", "cuda", "tensorrt"]


class VisionConfig(_Section):
    """How plates are found and read.

    Attributes:
        models: Folder of model files; the built-in manifest serves where it has none of its own.
        detector: Its name in the manifest; if left out, the manifest's first that is there, and of its shapes the one
            that suits the frame.
        reader: Its name in the manifest; if left out, the manifest's first that is there.
        detector_confidence: The detector's threshold; the manifest's value for the model if left out. Boxes below three
            quarters of it begin no track, and below half of it are ignored.
        reader_confidence: Characters of which the reader is less sure do not vote, nor do looks whose mean is below.
        min_votes: Looks that must agree on every character before a text is a passage; 1 lets single looks pass.
        text: What a plate's text is, as a regular expression for the whole of it, by the region that the reader names;
            `default` is for all others. Looks with another text do not vote.
        plates: Countries, and states of the US, whose plates are seen, such as `["ES", "PT"]` or `["US-TX"]`: by their
            formats, characters that look alike are settled (docs/PLATES.md).
        plate_formats: A file of your own with formats of plates, beside those that come along.
        gate: Whether plates are looked for only while something moves.
        detect_every_s: Where something moves, the detector runs at least this often, and more often for a plate that
            is new; 0 means on every frame.
        detect_moving_part: Whether the detector sees only the part of the picture in which something moves or a plate
            is followed, up to twice as large; needs the gate.
        early_read: Whether a passage is reported as soon as its text is firm, and not when the vehicle has left.
        mask: Areas that are painted over before anything looks at a frame.
        lane: Areas that have a name; the first that holds a plate is its lane.
        providers: `auto`, or what runs the models, best first: cpu, xnnpack, openvino, cuda, tensorrt.
        threads: Threads inside one inference.
        jpeg_quality: JPEG quality of the sealed crop.
        crop: Whether the crop is sealed with the text.
    """

    models: Path | None = None
    detector: Name | None = None
    reader: Name | None = None
    detector_confidence: Share | None = None
    reader_confidence: Share = 0.3
    min_votes: int = Field(default=2, ge=1, le=10)
    text: dict[str, TextPattern] = Field(default={}, max_length=300)
    plates: Annotated[tuple[PlaceCode, ...], Field(strict=False)] = Field(default=(), max_length=64)
    plate_formats: Path | None = None
    gate: bool = True
    detect_every_s: float = Field(default=0.2, ge=0.0, le=1.0)
    detect_moving_part: bool = False
    early_read: bool = False
    mask: Annotated[tuple[MaskConfig, ...], Field(strict=False)] = Field(default=(), max_length=32)
    lane: Annotated[tuple[LaneConfig, ...], Field(strict=False)] = Field(default=(), max_length=32)
    providers: Literal["auto"] | Annotated[tuple[Provider, ...], Field(strict=False, min_length=1)] = "auto"
    threads: int = Field(default=1, ge=1, le=64)
    jpeg_quality: int = Field(default=85, ge=1, le=100)
    crop: bool = True

    @field_validator("detect_moving_part")
    @classmethod
    def _needs_the_gate(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("gate", True):
            raise ValueError("what moves is known only with gate = true")
        return value

    @field_validator("lane")
    @classmethod
    def _own_names(cls, value: tuple[LaneConfig, ...]) -> tuple[LaneConfig, ...]:
        names = [lane.name for lane in value]
        if len(set(names)) < len(names):
            raise ValueError("two lanes have the same name")
        return value


class SealConfig(_Section):
    """Whom reads are sealed to, and who seals them.

    Attributes:
        keyring: The owner's signed keyring.
        owner_key: The owner's public signing key (PEM), which the keyring is checked against.
        signing_key: This device's private signing key (PEM, mode 0600). Replacing it takes effect while running.
        cipher: The AEAD for the read itself; `auto` measures at the start which one this machine does faster.
        on_keyring_end: When no epoch of the keyring holds the time that a read is sealed at: `seal` goes on with the
            nearest key and raises an alarm, `stop` ends the daemon with an error; what was accepted stays in the spool.
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
        max_bytes: Sealed reads may take this much room on the disk; the default is 1 GiB.
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
        certificate: This unit's TLS client certificate (PEM), issued by the receiver.
        key: The private key of that certificate (PEM, mode 0600).
        receiver_key: The receiver's public receipt key (PEM), or two, one after the other, while the receiver changes
            its key. Receipts by any other key erase nothing. Replacing it takes effect while running.
        batch_envelopes: The most envelopes that one request carries.
        batch_bytes: The most bytes of envelopes that one request carries.
        fresh_share: While more than `batch_envelopes` wait, this share of the requests carries the newest reads, 0 to
            0.5; all others carry the oldest.
        max_bytes_per_s: Requests take no more of the line than this; as much as there is if left out.
        connect_timeout_s: How long to wait for the connection to the receiver.
        reply_timeout_s: How long to wait for the receiver's answer to a request, and for each step of a slow transfer
            (docs/DELIVERY.md).
        retry_first_s: The wait after a failed attempt; the waits grow from here, with jitter.
        retry_most_s: The longest wait between two attempts.
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
        try:
            parts = urlsplit(value)
            is_whole = bool(parts.hostname) and parts.port != 0  # asking for the port checks it
        except ValueError:
            is_whole = False
        if not is_whole or parts.scheme != "https" or parts.username or parts.query or parts.fragment or " " in value:
            raise ValueError("must be https://HOST[:PORT], PORT from 1 to 65535, without user, query or fragment")
        return value.rstrip("/")


class BundleConfig(_Section):
    """New configurations, which reach the unit as signed bundles (docs/FLEET.md).

    Attributes:
        incoming: Where a new bundle is put, by renaming it there; none is taken if left out.
        healthy_within_s: A new configuration that does not work within this time is taken back.
    """

    incoming: Path | None = None
    healthy_within_s: float = Field(default=60.0, ge=1.0, le=600.0)


def _without_password(source: SourceConfig) -> SourceConfig:
    if _PASSWORD.search(source.uri):
        raise ValueError(
            "a user or password does not belong into uri; put USER:PASSWORD into a file of its own and name it in "
            "source.credential, as a path or credential:NAME"
        )
    if source.credential is not None and not source.uri.lower().startswith(RTSP_PREFIXES):
        raise ValueError("credential is for rtsp:// sources only")
    return source


Position = tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]]
"""Latitude and longitude, degrees."""
UnitSource = Annotated[SourceConfig, AfterValidator(_without_password)]
"""A source in a unit's file, which is copied, logged and backed up: no password in it."""


class CameraConfig(_Section):
    """One camera: a `[[camera]]` table for each further one of a unit.

    Attributes:
        camera_id: Its name in every read.
        site: The place it stands at; the unit's if left out.
        position: Latitude and longitude in degrees; the unit's if left out.
        source: Where its frames come from.
        vision: What differs from the unit's `[vision]`.
    """

    camera_id: Name
    site: Name | None = None
    position: Position | None = Field(default=None, strict=False)
    source: UnitSource
    vision: VisionConfig = VisionConfig()


class UnitConfig(_Section):
    """One camera unit.

    Attributes:
        camera_id: The name of its camera, or of its first one, in every read.
        site: The place it stands at, if named.
        position: Latitude and longitude in degrees, if known.
        state_dir: Where the daemons keep what is neither a read nor a secret: the chain's last link, notes.
        runtime_dir: Where they write their metrics once a second; best in memory. Left out, it is `/run/plateseal` for
            a unit whose state lies below `/var/lib/plateseal`, and `run` in the state directory for others.
        camera: Its further cameras.
    """

    camera_id: Name
    site: Name | None = None
    position: Position | None = Field(default=None, strict=False)
    state_dir: Path
    runtime_dir: Path | None = None
    source: UnitSource
    vision: VisionConfig = VisionConfig()
    seal: SealConfig
    spool: SpoolConfig
    upload: UploadConfig
    bundle: BundleConfig = BundleConfig()
    camera: Annotated[tuple[CameraConfig, ...], Field(strict=False)] = Field(default=(), max_length=MAX_CAMERAS - 1)

    @property
    def metrics_dir(self) -> Path:
        """The runtime directory, also where it is left out."""
        if self.runtime_dir is not None:
            return self.runtime_dir
        return SERVICE_RUNTIME if self.state_dir.is_relative_to(SERVICE_STATE) else self.state_dir / "run"

    @property
    def cameras(self) -> tuple[CameraConfig, ...]:
        """Every camera with all that holds for it, the first one first."""
        first = CameraConfig(
            camera_id=self.camera_id, site=self.site, position=self.position, source=self.source, vision=self.vision
        )
        return first, *(self._completed(camera) for camera in self.camera)

    def _completed(self, camera: CameraConfig) -> CameraConfig:
        own = {name: getattr(camera.vision, name) for name in camera.vision.model_fields_set}
        return camera.model_copy(
            update={
                "site": camera.site or self.site,
                "position": camera.position or self.position,
                "vision": self.vision.model_copy(update=own),
            }
        )
