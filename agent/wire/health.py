"""The health report: what a unit tells its receiver about itself, once a minute.

Owns: its layout and its limits. Leaves to others: where the numbers come from (`agent.unit.status.report`) and what
they mean to somebody who looks (`agent.health.assess`).

A report has room for counts, times, names and two lines of text, and for nothing else: it can carry no read. Unknown
keys are refused like everywhere in the format, so a receiver is brought up to date before its units. Nothing rests on a
report: it is not signed, only sent over the unit's own TLS connection, and one that is lost is followed by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agent.errors import FormatError
from agent.wire import cbor
from agent.wire.plaintext import MAX_NAME_CHARS, ClockState
from agent.wire.times import as_time, to_ms

HEALTH_PATH: Final = "/v1/health"
HEALTH_MEDIA_TYPE: Final = "application/cbor"
HEALTH_VERSION: Final = 1
MAX_HEALTH_BYTES: Final = 16 << 10
"""A report of one camera has about 500 bytes."""
MAX_HEALTH_CAMERAS: Final = 16
MAX_HEALTH_CONFIGS: Final = 2
MAX_LINE_CHARS: Final = 300
REFUSED: Final = "refused"
"""In the place of "delivers": a camera that refuses the login."""
MAX_VERSION_CHARS: Final = 100

_MAX_NUMBER: Final = (1 << 53) - 1
"""The largest integer that every reader of JSON keeps exactly; the fleet page's sources may be read as JSON."""
_MAX_HEADS: Final = 256
"""Heads: 16 cameras with clocks, 16 versions and everything else of a full report are 245."""
_KEYS: Final = frozenset(
    {"v", "at", "up", "cameras", "backlog", "reads", "disk", "temp", "clock", "ends", "versions", "configs", "error"}
)


@dataclass(frozen=True, slots=True)
class CameraClockHealth:
    """The clock of a camera that shows one.

    Attributes:
        offset_ms: How much more it shows than the unit's did when the same frame came, milliseconds.
        drift_ms_per_day: By how much that grows in a day; None before it has been watched for an hour.
        watched_s: For how long it has been watched, since it last jumped.
        dates: Whether it dates the camera's frames.
    """

    offset_ms: int
    drift_ms_per_day: int | None
    watched_s: int
    dates: bool


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """One camera.

    Attributes:
        name: As in every read.
        is_up: Whether it delivers; None until that is known, and for recordings.
        lag_ms: How late the newest frame came, milliseconds.
        refuses_login: Whether it does not deliver because it refuses the user or password.
        clock: Its own clock; None where it shows none.
    """

    name: str
    is_up: bool | None
    lag_ms: int
    refuses_login: bool = False
    clock: CameraClockHealth | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits on the unit.

    Attributes:
        count, size_bytes: Sealed reads in the spool.
        max_bytes: What it may hold.
        oldest_s: For how long the oldest has waited, seconds; None where nothing waits, or that is not known yet.
        set_aside: Envelopes in quarantine.
    """

    count: int
    size_bytes: int
    max_bytes: int
    oldest_s: int | None
    set_aside: int


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """Counts of reads since the start of the daemon that counts them.

    Attributes:
        sequence: Place of the next envelope in the chain; None while capture does not run.
        sealed: Accepted.
        delivered: With a receipt.
        rejected: Passages whose looks did not agree enough.
        lost: Forced out by the unit's own bounds: dropped, evicted, expired.
    """

    sequence: int | None
    sealed: int
    delivered: int
    rejected: int
    lost: int


@dataclass(frozen=True, slots=True)
class ConfigHealth:
    """What one daemon runs on.

    Attributes:
        daemon: Its name.
        serial: Of the bundle in use; 0 for the unit's own file.
        rejected: Why the last bundle was refused; None where none was.
    """

    daemon: str
    serial: int
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest error line of a daemon.

    Attributes:
        at: Aware UTC time, whole milliseconds.
        line: What it said.
    """

    at: datetime
    line: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What a unit says of itself.

    Attributes:
        at: Aware UTC time of the unit, whole milliseconds.
        capture_up, upload_up: Whether the daemon runs, as far as its metrics tell.
        cameras: Each camera; none while capture does not run.
        backlog: What waits.
        reads: Counts.
        disk_free_bytes, disk_size_bytes: Of the spool's file system.
        temperature_mc: The hottest sensor, thousandths of a degree Celsius; None without one.
        clock: What the unit's clock rests on.
        certificate_s, keyring_s: Seconds until the TLS certificate and the keyring end, less than 0 after; None where
            that is not known.
        versions: Names of parts and their versions: `plateseal`, `python`, `system`.
        configs: What the daemons run on.
        error: The newest error line, if there was one.
    """

    at: datetime
    capture_up: bool
    upload_up: bool
    cameras: tuple[CameraHealth, ...]
    backlog: Backlog
    reads: ReadCounts
    disk_free_bytes: int
    disk_size_bytes: int
    temperature_mc: int | None
    clock: ClockState
    certificate_s: int | None
    keyring_s: int | None
    versions: tuple[tuple[str, str], ...]
    configs: tuple[ConfigHealth, ...] = ()
    error: LastError | None = field(default=None, repr=False)


def encode_health(report: HealthReport) -> bytes:
    """Return a report's bytes."""
    backlog, reads, error = report.backlog, report.reads, report.error
    return cbor.encode(
        {
            "v": HEALTH_VERSION,
            "at": to_ms(report.at),
            "up": [report.capture_up, report.upload_up],
            "cameras": [_encoded_camera(camera) for camera in report.cameras],
            "backlog": [backlog.count, backlog.size_bytes, backlog.max_bytes, backlog.oldest_s, backlog.set_aside],
            "reads": [reads.sequence, reads.sealed, reads.delivered, reads.rejected, reads.lost],
            "disk": [report.disk_free_bytes, report.disk_size_bytes],
            "temp": report.temperature_mc,
            "clock": str(report.clock),
            "ends": [report.certificate_s, report.keyring_s],
            "versions": [list(version) for version in report.versions],
            "configs": [[config.daemon, config.serial, config.rejected] for config in report.configs],
            "error": None if error is None else [to_ms(error.at), error.line],
        }
    )


def parse_health(data: bytes) -> HealthReport:
    """Take a report apart.

    Raises:
        FormatError: Not a report of version 1, or out of its limits.
    """
    value = cbor.as_map(cbor.decode(data, max_bytes=MAX_HEALTH_BYTES, what="health", max_heads=_MAX_HEADS), "health")
    if type(value.get("v")) is not int or value["v"] != HEALTH_VERSION:
        raise FormatError(f"health: version {value.get('v')!r:.20}, only {HEALTH_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, "health")
    capture_up, upload_up = (_bool(part, "up") for part in cbor.as_list(value["up"], 2, "health: up"))
    count, size, limit, oldest, aside = cbor.as_list(value["backlog"], 5, "health: backlog")
    sequence, sealed, delivered, rejected, lost = cbor.as_list(value["reads"], 5, "health: reads")
    free, disk = cbor.as_list(value["disk"], 2, "health: disk")
    certificate, keyring = cbor.as_list(value["ends"], 2, "health: ends")
    temperature = value["temp"]
    return HealthReport(
        at=as_time(value["at"], "health: at"),
        capture_up=capture_up,
        upload_up=upload_up,
        cameras=tuple(_camera(part) for part in _several(value["cameras"], MAX_HEALTH_CAMERAS, "cameras")),
        backlog=Backlog(
            count=_number(count, "backlog"),
            size_bytes=_number(size, "backlog"),
            max_bytes=_number(limit, "backlog"),
            oldest_s=None if oldest is None else _number(oldest, "backlog"),
            set_aside=_number(aside, "backlog"),
        ),
        reads=ReadCounts(
            sequence=None if sequence is None else _number(sequence, "reads"),
            sealed=_number(sealed, "reads"),
            delivered=_number(delivered, "reads"),
            rejected=_number(rejected, "reads"),
            lost=_number(lost, "reads"),
        ),
        disk_free_bytes=_number(free, "disk"),
        disk_size_bytes=_number(disk, "disk"),
        temperature_mc=None if temperature is None else _signed(temperature, "temp"),
        clock=cbor.as_choice(ClockState, value["clock"], "health: clock"),
        certificate_s=None if certificate is None else _signed(certificate, "ends"),
        keyring_s=None if keyring is None else _signed(keyring, "ends"),
        versions=tuple(_version(part) for part in _several(value["versions"], MAX_HEALTH_CAMERAS, "versions")),
        configs=tuple(_config(part) for part in _several(value["configs"], MAX_HEALTH_CONFIGS, "configs")),
        error=None if value["error"] is None else _error(value["error"]),
    )


def one_line(text: str, *, max_chars: int = MAX_LINE_CHARS) -> str:
    """Return a text as a report may carry it: one line, printable, short."""
    flat = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(flat.split())[:max_chars]


def _several(value: object, most: int, what: str) -> list[object]:
    values = cbor.as_list(value, None, f"health: {what}")
    if len(values) > most:
        raise FormatError(f"health: {len(values)} {what}, at most {most} are allowed")
    return values


def _encoded_camera(camera: CameraHealth) -> list[object]:
    """Return a camera's entry; its clock is in it only where it shows one: earlier receivers take the others."""
    entry: list[object] = [camera.name, REFUSED if camera.refuses_login else camera.is_up, camera.lag_ms]
    if camera.clock is not None:
        clock = camera.clock
        entry.append([clock.offset_ms, clock.drift_ms_per_day, clock.watched_s, clock.dates])
    return entry


def _camera(value: object) -> CameraHealth:
    entry = cbor.as_list(value, None, "health: camera")
    name, state, lag_ms = cbor.as_list(entry[:3] if len(entry) == 4 else entry, 3, "health: camera")
    refuses = state == REFUSED
    return CameraHealth(
        _line(name, MAX_NAME_CHARS, "camera"),
        None if state is None else not refuses and _bool(state, "camera"),
        _number(lag_ms, "lag"),
        refuses,
        _camera_clock(entry[3]) if len(entry) == 4 else None,
    )


def _camera_clock(value: object) -> CameraClockHealth:
    offset_ms, drift, watched_s, dates = cbor.as_list(value, 4, "health: camera's clock")
    return CameraClockHealth(
        _signed(offset_ms, "offset"),
        None if drift is None else _signed(drift, "drift"),
        _number(watched_s, "watched"),
        _bool(dates, "camera's clock"),
    )


def _version(value: object) -> tuple[str, str]:
    name, version = cbor.as_list(value, 2, "health: version")
    return _line(name, MAX_NAME_CHARS, "version"), _line(version, MAX_VERSION_CHARS, "version")


def _config(value: object) -> ConfigHealth:
    daemon, serial, rejected = cbor.as_list(value, 3, "health: config")
    why = None if rejected is None else _line(rejected, MAX_LINE_CHARS, "config")
    return ConfigHealth(_line(daemon, MAX_NAME_CHARS, "config"), _number(serial, "config"), why)


def _error(value: object) -> LastError:
    at, line = cbor.as_list(value, 2, "health: error")
    return LastError(as_time(at, "health: error"), _line(line, MAX_LINE_CHARS, "error"))


def _line(value: object, max_chars: int, what: str) -> str:
    text = cbor.as_text(value, max_chars, f"health: {what}")
    if not text.isprintable():
        raise FormatError(f"health: {what}: a text of one printable line is needed")
    return text


def _number(value: object, what: str) -> int:
    return cbor.as_uint(value, _MAX_NUMBER, f"health: {what}")


def _signed(value: object, what: str) -> int:
    if type(value) is not int or abs(value) > _MAX_NUMBER:
        raise FormatError(f"health: {what}: expected an integer from -{_MAX_NUMBER} to {_MAX_NUMBER}")
    return value


def _bool(value: object, what: str) -> bool:
    if type(value) is not bool:
        raise FormatError(f"health: {what}: expected true or false")
    return value
