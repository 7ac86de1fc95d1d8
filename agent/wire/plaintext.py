"""What a sealed read says: the plaintext map inside an envelope.

Owns: its fields, their units and limits. All numbers are integers: confidences in thousandths, positions in
millionths of a degree, times in milliseconds since 1970 UTC. So there is one encoding and no rounding surprise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.envelope import DIGEST_BYTES, MAX_ENVELOPE_BYTES
from agent.wire.times import as_time, to_ms

PLAINTEXT_VERSION: Final = 1
MAX_TEXT_CHARS: Final = 20
"""Longest plate text. The longest plates in use have ten characters; the rest is room for separators."""
MAX_NAME_CHARS: Final = 64
MAX_FRAME_PX: Final = 16384
MAX_LOOKS: Final = 1_000_000

_REQUIRED: Final = frozenset(
    {
        "v", "camera", "captured_at", "clock", "text", "confidences", "votes", "detector", "box", "frame",
        "frame_wh", "first_seen", "last_seen", "direction", "crop", "models", "agent",
    }
)  # fmt: skip
_OPTIONAL: Final = frozenset({"region", "site", "position", "lane"})


class ClockState(StrEnum):
    """How far `captured_at` can be trusted."""

    SYNCHRONIZED = "synchronized"
    UNSYNCHRONIZED = "unsynchronized"
    RECORDED = "recorded"
    """The time comes from a recording's start and frame rate, not from this unit's clock."""


class Direction(StrEnum):
    """How the plate moved through the picture."""

    APPROACHING = "approaching"
    RECEDING = "receding"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Plaintext:
    """One vehicle's passage, as the owner reads it.

    Attributes:
        camera: Camera id from the configuration.
        captured_at: Aware UTC time of the frame that won, whole milliseconds.
        clock: What that time rests on.
        text: The agreed plate text.
        confidences: One per character of `text`, thousandths.
        votes: (looks that agree on every character, looks in all). With a 1 first, the text rests on a single look.
        region: Region that the reader named, if any.
        detector_confidence: Of the look that won, thousandths.
        box: x1, y1, x2, y2 in frame pixels, half open.
        frame_sequence: Number of the frame that won.
        frame_wh: Frame (width, height), pixels.
        first_seen, last_seen: Times of the first and last look.
        direction: How the plate moved; where that could not be seen, how vehicles in its lane do.
        crop: JPEG of the look that won; empty when the crop was left out.
        detector_digest, reader_digest: SHA-256 of the model files.
        agent_version: Version of plateseal.
        site: Site id, if configured.
        position: (latitude, longitude) in millionths of a degree, if configured.
        lane: Name of the lane it was in, if lanes are configured and it was in one.
    """

    camera: str
    captured_at: datetime
    clock: ClockState
    text: str = field(repr=False)
    confidences: tuple[int, ...]
    votes: tuple[int, int]
    region: str | None
    detector_confidence: int
    box: tuple[int, int, int, int]
    frame_sequence: int
    frame_wh: tuple[int, int]
    first_seen: datetime
    last_seen: datetime
    direction: Direction
    crop: bytes = field(repr=False)
    detector_digest: bytes
    reader_digest: bytes
    agent_version: str
    site: str | None = None
    position: tuple[int, int] | None = None
    lane: str | None = None


def encode_plaintext(read: Plaintext) -> bytes:
    """Encode a read for sealing."""
    value: cbor.CborMap = {
        "v": PLAINTEXT_VERSION,
        "camera": read.camera,
        "captured_at": to_ms(read.captured_at),
        "clock": str(read.clock),
        "text": read.text,
        "confidences": list(read.confidences),
        "votes": list(read.votes),
        "detector": read.detector_confidence,
        "box": list(read.box),
        "frame": read.frame_sequence,
        "frame_wh": list(read.frame_wh),
        "first_seen": to_ms(read.first_seen),
        "last_seen": to_ms(read.last_seen),
        "direction": str(read.direction),
        "crop": read.crop,
        "models": {"detector": read.detector_digest, "reader": read.reader_digest},
        "agent": read.agent_version,
    }
    if read.region is not None:
        value["region"] = read.region
    if read.site is not None:
        value["site"] = read.site
    if read.position is not None:
        value["position"] = list(read.position)
    if read.lane is not None:
        value["lane"] = read.lane
    return cbor.encode(value)


def parse_plaintext(data: bytes) -> Plaintext:
    """Parse an opened read.

    Raises:
        FormatError: A missing, unknown or impossible field, or another version.
    """
    value = cbor.as_map(cbor.decode(data, max_bytes=MAX_ENVELOPE_BYTES, what="plaintext"), "plaintext")
    if type(value.get("v")) is not int or value["v"] != PLAINTEXT_VERSION:
        raise FormatError(f"plaintext: version {value.get('v')!r:.20}, only {PLAINTEXT_VERSION} is allowed")
    cbor.exact_keys(value, _REQUIRED, "plaintext", optional=_OPTIONAL)
    models = cbor.as_map(value["models"], "plaintext: models")
    cbor.exact_keys(models, frozenset({"detector", "reader"}), "plaintext: models")
    text = cbor.as_text(value["text"], MAX_TEXT_CHARS, "plaintext: text")
    return Plaintext(
        camera=cbor.as_text(value["camera"], MAX_NAME_CHARS, "plaintext: camera"),
        captured_at=_time(value["captured_at"], "captured_at"),
        clock=cbor.as_choice(ClockState, value["clock"], "plaintext: clock"),
        text=text,
        confidences=_uints(value["confidences"], len(text), 1000, "confidences"),
        votes=_pair(_uints(value["votes"], 2, MAX_LOOKS, "votes")),
        region=_optional_text(value, "region"),
        detector_confidence=cbor.as_uint(value["detector"], 1000, "plaintext: detector"),
        box=_box(value["box"]),
        frame_sequence=cbor.as_uint(value["frame"], (1 << 53) - 1, "plaintext: frame"),
        frame_wh=_pair(_uints(value["frame_wh"], 2, MAX_FRAME_PX, "frame_wh")),
        first_seen=_time(value["first_seen"], "first_seen"),
        last_seen=_time(value["last_seen"], "last_seen"),
        direction=cbor.as_choice(Direction, value["direction"], "plaintext: direction"),
        crop=cbor.as_bytes(value["crop"], None, "plaintext: crop"),
        detector_digest=cbor.as_bytes(models["detector"], DIGEST_BYTES, "plaintext: models"),
        reader_digest=cbor.as_bytes(models["reader"], DIGEST_BYTES, "plaintext: models"),
        agent_version=cbor.as_text(value["agent"], MAX_NAME_CHARS, "plaintext: agent"),
        site=_optional_text(value, "site"),
        position=_position(value.get("position")) if "position" in value else None,
        lane=_optional_text(value, "lane"),
    )


def _time(value: object, name: str) -> datetime:
    return as_time(value, f"plaintext: {name}")


def _optional_text(value: cbor.CborMap, name: str) -> str | None:
    return cbor.as_text(value[name], MAX_NAME_CHARS, f"plaintext: {name}") if name in value else None


def _uints(value: object, length: int, maximum: int, name: str) -> tuple[int, ...]:
    what = f"plaintext: {name}"
    return tuple(cbor.as_uint(part, maximum, what) for part in cbor.as_list(value, length, what))


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    first, second = values
    return first, second


def _box(value: object) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = _uints(value, 4, MAX_FRAME_PX, "box")
    return x1, y1, x2, y2


def _position(value: object) -> tuple[int, int]:
    what = "plaintext: position"
    latitude, longitude = cbor.as_list(value, 2, what)
    return _degrees(latitude, 90, what), _degrees(longitude, 180, what)


def _degrees(value: object, limit: int, what: str) -> int:
    if type(value) is not int or abs(value) > limit * 1_000_000:
        raise FormatError(f"{what}: outside the globe")
    return value
