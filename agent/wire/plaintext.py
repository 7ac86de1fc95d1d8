"""What a sealed read says: the plaintext map inside an envelope.

Owns: its fields, their units and limits, and the length that it is padded to. All numbers are integers: confidences in
thousandths, positions in millionths of a degree, times in milliseconds since 1970 UTC. So there is one encoding and no
rounding surprise.

In version 2 zero bytes follow the map, because everybody can see how long a ciphertext is. A zero byte is the integer 0
in CBOR, so the whole is a CBOR sequence (RFC 8742). The length is the next Padme length above what the longest read of
this camera with this picture would take. So the length shows neither the text nor the direction, and only a few leading
bits of the picture's size.

Source: Nikitin and others, Reducing Metadata Leakage from Encrypted Files and Communication with PURBs (2019),
section 4 (Padme).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.envelope import MAX_ENVELOPE_BYTES
from agent.wire.header import DIGEST_BYTES, FORMAT_VERSION, MAX_SEQ, VERSION_1
from agent.wire.times import as_time, to_ms

MAX_TEXT_CHARS: Final = 20
"""Longest plate text. The longest plates in use have ten characters; the rest is room for separators."""
MAX_NAME_CHARS: Final = 64
MAX_FRAME_PX: Final = 16384
MAX_LOOKS: Final = 1_000_000
MAX_THOUSANDTHS: Final = 1000
USUAL_TEXT_CHARS: Final = 10
"""The longest plates in use. A longer text can show in the length."""
USUAL_NAME_CHARS: Final = 24
"""The name of a region, lane or format up to this does not show in the length."""

_MAX_HEADS: Final = 256
"""Heads: a text of 20 characters with everything else has fewer than 100."""
_GLOBE: Final = (90_000_000, 180_000_000)
"""Largest latitude and longitude, millionths of a degree."""
_USUAL_FRAMES: Final = (1 << 32) - 1
_LATE: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Any time after 1970-02-20 takes as many bytes."""
_REQUIRED: Final = frozenset(
    {
        "v", "camera", "captured_at", "clock", "text", "confidences", "votes", "detector", "box", "frame",
        "frame_wh", "first_seen", "last_seen", "direction", "crop", "models", "agent",
    }
)  # fmt: skip
_OPTIONAL_TEXTS: Final = {
    "region": MAX_NAME_CHARS,
    "site": MAX_NAME_CHARS,
    "lane": MAX_NAME_CHARS,
    "seen": MAX_TEXT_CHARS,
    "format": MAX_NAME_CHARS,
}
"""Texts that may be left out, by the most characters that they have; each is a field of `Plaintext` of its name."""
_OPTIONAL: Final = frozenset({*_OPTIONAL_TEXTS, "position"})
_NOT_IN_VERSION_1: Final = frozenset({"seen", "format"})


class ClockState(StrEnum):
    """How far `captured_at` can be trusted."""

    SYNCHRONIZED = "synchronized"
    UNSYNCHRONIZED = "unsynchronized"
    RECORDED = "recorded"
    """The time comes from a recording's start and frame rate, not from this unit's clock."""
    BEHIND = "behind"
    """The unit's clock showed a time that was over: the time is wrong. Version 2 only."""


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
        text: The agreed plate text, as formats of plates settle its look-alikes.
        confidences: One per character of the text as it was seen, thousandths.
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
        seen: The agreed text as the camera saw it, as long as `text`; None where no formats are configured, and `text`
            is that. Not in version 1.
        format: Name of the format of plates that `text` has, only with `seen`; None where none has it.
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
    seen: str | None = field(default=None, repr=False)
    format: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the format cannot express: nobody could read it once it is sealed.

        Raises:
            FormatError: A value of another type, length or range than the format has.
        """
        for name in ("camera", "agent_version"):
            cbor.as_text(getattr(self, name), MAX_NAME_CHARS, f"plaintext: {name}")
        cbor.as_text(self.text, MAX_TEXT_CHARS, "plaintext: text")
        for name, most in _OPTIONAL_TEXTS.items():
            if getattr(self, name) is not None:
                cbor.as_text(getattr(self, name), most, f"plaintext: {name}")
        _check_seen(self.text, self.seen, self.format)
        _check_uints(self.confidences, len(self.text), MAX_THOUSANDTHS, "confidences")
        _check_uints(self.votes, 2, MAX_LOOKS, "votes")
        _check_uints(self.box, 4, MAX_FRAME_PX, "box")
        _check_uints(self.frame_wh, 2, MAX_FRAME_PX, "frame_wh")
        cbor.as_uint(self.detector_confidence, MAX_THOUSANDTHS, "plaintext: detector")
        cbor.as_uint(self.frame_sequence, MAX_SEQ, "plaintext: frame")
        for name in ("captured_at", "first_seen", "last_seen"):
            as_time(to_ms(getattr(self, name)), f"plaintext: {name}")
        for digest in (self.detector_digest, self.reader_digest):
            cbor.as_bytes(digest, DIGEST_BYTES, "plaintext: models")
        if self.position is not None:
            _check_position(self.position)


def encode_plaintext(read: Plaintext, *, version: int = FORMAT_VERSION) -> bytes:
    """Encode a read for sealing; in version 2 padded, so that its length says little.

    Args:
        read: What it says.
        version: The version of the envelope that it is sealed in, 1 or 2.

    Raises:
        FormatError: A clock or a field that version 1 has no word for.
    """
    if version == VERSION_1 and read.clock is ClockState.BEHIND:
        raise FormatError(f"plaintext: clock: version 1 has none of the name {read.clock}; it is allowed in version 2")
    if version == VERSION_1 and read.seen is not None:
        raise FormatError("plaintext: seen: version 1 has no such field; it is allowed in version 2")
    encoded = cbor.encode(_fields(read, version))
    if version == VERSION_1:
        return encoded
    return encoded.ljust(padme(max(len(encoded), _longest(read))), b"\0")


def padme(length: int) -> int:
    """Return the next Padme length: the length rounded up so that only its leading bits stay; 12 % more at most."""
    exponent = max(length, 2).bit_length() - 1
    last_bits = max(exponent - exponent.bit_length(), 0)
    mask = (1 << last_bits) - 1
    return (length + mask) & ~mask


def _fields(read: Plaintext, version: int) -> cbor.CborMap:
    value: cbor.CborMap = {
        "v": version,
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
    for name in _OPTIONAL_TEXTS:
        if getattr(read, name) is not None:
            value[name] = getattr(read, name)
    if read.position is not None:
        value["position"] = list(read.position)
    return value


def _longest(read: Plaintext) -> int:
    """Return how many bytes the longest usual read of this camera with this picture takes."""
    crop_bytes = len(read.crop)
    longer_head = (crop_bytes > 23) + (crop_bytes > 0xFF) + 2 * (crop_bytes > 0xFFFF)  # RFC 8949, section 3
    without = _longest_without_crop(
        read.camera, read.agent_version, read.site, read.position, read.frame_wh, has_formats=read.seen is not None
    )
    return without + longer_head + crop_bytes


@lru_cache(maxsize=64)
def _longest_without_crop(
    camera: str,
    agent_version: str,
    site: str | None,
    position: tuple[int, int] | None,
    frame_wh: tuple[int, int],
    *,
    has_formats: bool,
) -> int:
    """Return the same without a picture: made once for all reads of a camera, for it takes as long as the read."""
    longest = Plaintext(
        camera=camera,
        captured_at=_LATE,
        clock=max(ClockState, key=len),
        text="W" * USUAL_TEXT_CHARS,
        confidences=(MAX_THOUSANDTHS,) * USUAL_TEXT_CHARS,
        votes=(MAX_LOOKS, MAX_LOOKS),
        region="R" * USUAL_NAME_CHARS,
        detector_confidence=MAX_THOUSANDTHS,
        box=(MAX_FRAME_PX,) * 4,
        frame_sequence=_USUAL_FRAMES,
        frame_wh=frame_wh,
        first_seen=_LATE,
        last_seen=_LATE,
        direction=max(Direction, key=len),
        crop=b"",
        detector_digest=bytes(DIGEST_BYTES),
        reader_digest=bytes(DIGEST_BYTES),
        agent_version=agent_version,
        site=site,
        position=position,
        lane="L" * USUAL_NAME_CHARS,
        seen="W" * USUAL_TEXT_CHARS if has_formats else None,
        format="F" * USUAL_NAME_CHARS if has_formats else None,
    )
    return len(cbor.encode(_fields(longest, FORMAT_VERSION)))


def parse_plaintext(data: bytes, *, version: int = FORMAT_VERSION) -> Plaintext:
    """Parse an opened read.

    Args:
        data: As it was sealed.
        version: The version of its envelope, 1 or 2; it must have the same.

    Raises:
        FormatError: A field is missing, unknown or impossible, the version is another one than the envelope's, or
            something follows the map (in version 2: something else than zero bytes).
    """
    decode = cbor.decode if version == VERSION_1 else cbor.decode_padded
    value = cbor.as_map(decode(data, max_bytes=MAX_ENVELOPE_BYTES, what="plaintext", max_heads=_MAX_HEADS), "plaintext")
    if type(value.get("v")) is not int or value["v"] != version:
        raise FormatError(f"plaintext: version {value.get('v')!r:.20}, its envelope has {version}")
    optional = _OPTIONAL - _NOT_IN_VERSION_1 if version == VERSION_1 else _OPTIONAL
    cbor.exact_keys(value, _REQUIRED, "plaintext", optional=optional)
    models = cbor.as_map(value["models"], "plaintext: models")
    cbor.exact_keys(models, frozenset({"detector", "reader"}), "plaintext: models")
    for name in _OPTIONAL & value.keys():
        if value[name] is None:
            raise FormatError(f"plaintext: {name}: expected a value, or to be left out")
    fields: dict[str, Any] = {str(name): item for name, item in value.items()}
    return Plaintext(  # which checks types and ranges
        camera=fields["camera"],
        captured_at=_time(value["captured_at"], "captured_at"),
        clock=_clock(value["clock"], version),
        text=fields["text"],
        confidences=_tuple(fields["confidences"], "confidences"),
        votes=_tuple(fields["votes"], "votes"),
        detector_confidence=fields["detector"],
        box=_tuple(fields["box"], "box"),
        frame_sequence=fields["frame"],
        frame_wh=_tuple(fields["frame_wh"], "frame_wh"),
        first_seen=_time(value["first_seen"], "first_seen"),
        last_seen=_time(value["last_seen"], "last_seen"),
        direction=cbor.as_choice(Direction, value["direction"], "plaintext: direction"),
        crop=cbor.as_bytes(value["crop"], None, "plaintext: crop"),
        detector_digest=cbor.as_bytes(models["detector"], DIGEST_BYTES, "plaintext: models"),
        reader_digest=cbor.as_bytes(models["reader"], DIGEST_BYTES, "plaintext: models"),
        agent_version=fields["agent"],
        position=_tuple(fields["position"], "position") if "position" in fields else None,
        **{name: fields.get(name) for name in _OPTIONAL_TEXTS},
    )


def _clock(value: object, version: int) -> ClockState:
    state = cbor.as_choice(ClockState, value, "plaintext: clock")
    if state is ClockState.BEHIND and version == VERSION_1:
        raise FormatError(f"plaintext: clock: version 1 has none of the name {state}; it is allowed in version 2")
    return state


def _time(value: object, name: str) -> datetime:
    return as_time(value, f"plaintext: {name}")


def _tuple(value: object, name: str) -> Any:  # noqa: ANN401  `Plaintext` checks what is in it
    return tuple(cbor.as_list(value, None, f"plaintext: {name}"))


def _check_uints(values: tuple[int, ...], length: int, maximum: int, name: str) -> None:
    what = f"plaintext: {name}"
    if len(values) != length:
        raise FormatError(f"{what}: expected {length} numbers")
    for value in values:
        cbor.as_uint(value, maximum, what)


def _check_seen(text: str, seen: str | None, plate_format: str | None) -> None:
    if seen is None and plate_format is not None:
        raise FormatError("plaintext: 'seen' is missing, and format is there")
    if seen is not None and len(seen) != len(text):
        raise FormatError(f"plaintext: seen: expected {len(text)} characters, as text has")


def _check_position(position: tuple[int, ...]) -> None:
    if len(position) != len(_GLOBE):
        raise FormatError("plaintext: position: expected latitude and longitude")
    for value, limit in zip(position, _GLOBE, strict=True):
        if type(value) is not int or abs(value) > limit:
            raise FormatError("plaintext: position: outside the globe")
