"""What a unit can say about itself, gathered from its files; and the thread that reports it to the receiver.

Owns: where each number comes from, and how often a report goes out. Leaves to others: the report's layout
(`agent.wire.health`), the connection (`agent.upload.tls`).

Everything is read from what the daemons write anyway (metrics, notes, spool), so `plateseal status` shows the same and
needs no daemon to answer. Nothing here opens an envelope.
"""

from __future__ import annotations

import logging
import os
import platform
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from agent import __version__
from agent.config.models import UnitConfig, is_file_uri
from agent.disk.files import LocalFiles
from agent.errors import PlatesealError, SpoolError, TransportError
from agent.keys.certificate import certificate_end
from agent.keys.keyfiles import load_ed25519_public
from agent.keys.keyring import keyring_end, read_keyring
from agent.keys.renewal import newest_certificate
from agent.records import SpoolEntry, SpoolState, Usage
from agent.spool.reader import SpoolReader
from agent.unit.process.clock import SystemClock
from agent.unit.process.clock_trust import BUILT_AT, noted_floor
from agent.unit.reload.trial import config_states
from agent.unit.status.last_error import last_error
from agent.unit.status.metrics import read_snapshot
from agent.unit.status.samples import Snapshot
from agent.wire.health import (
    MAX_VERSION_CHARS,
    Backlog,
    CameraClockHealth,
    CameraHealth,
    ConfigHealth,
    HealthReport,
    ReadCounts,
    encode_health,
    one_line,
)
from agent.wire.plaintext import ClockState

REPORT_EVERY_S: Final = 60.0
JITTER_S: Final = 5.0
"""A fleet that was switched on together does not report together for ever."""
MS_PER_DAY: Final = 86_400_000
THERMAL: Final = Path("/sys/class/thermal")

_log = logging.getLogger(__name__)


def read_health(unit: UnitConfig) -> HealthReport:
    """Return the state of the unit as its files have it now."""
    capture, capture_up = read_snapshot(unit.metrics_dir, "capture")
    upload, upload_up = read_snapshot(unit.metrics_dir, "upload")
    disk_free, disk_size = disk_space(unit.spool.directory)
    lost = sum(capture.total(name) for name in ("dropped", "evicted", "expired"))
    return HealthReport(
        at=_now(),
        capture_up=capture_up,
        upload_up=upload_up,
        cameras=_cameras(unit, capture) if capture_up else (),
        backlog=_measured_backlog(unit, upload) if upload_up else _counted_backlog(unit),
        reads=ReadCounts(
            sequence=_whole(capture.get("chain_sequence")) if capture_up else None,
            sealed=int(capture.total("sealed")),
            delivered=int(upload.total("acknowledged")),
            rejected=int(capture.total("rejected_passages")),
            lost=int(lost),
        ),
        disk_free_bytes=disk_free,
        disk_size_bytes=disk_size,
        temperature_mc=read_temperature(THERMAL),
        clock=clock_state(unit),
        certificate_s=_until(lambda: certificate_end(newest_certificate(unit.upload.certificate, unit.state_dir))),
        keyring_s=_until(lambda: _keyring_end(unit)),
        versions=_versions(),
        configs=_configs(unit),
        error=last_error(unit.state_dir),
    )


def _measured_backlog(unit: UnitConfig, upload: Snapshot) -> Backlog:
    return Backlog(
        count=int(upload.total("pending")),
        size_bytes=int(upload.total("pending_bytes")),
        max_bytes=unit.spool.max_bytes,
        oldest_s=_whole(upload.get("pending_oldest_seconds")),
        set_aside=int(upload.total("quarantined")),
    )


def _counted_backlog(unit: UnitConfig) -> Backlog:
    """Count what waits, where upload does not; nothing where there is no spool, or it cannot be read."""
    spool = SpoolReader(unit.spool.directory, LocalFiles())
    pending = set_aside = Usage(0, 0)
    oldest: list[SpoolEntry] = []
    with suppress(SpoolError):
        pending, oldest = spool.usage(SpoolState.PENDING), spool.entries(SpoolState.PENDING, limit=1)
        set_aside = spool.usage(SpoolState.QUARANTINE)
    waits_s = max((_now() - oldest[0].spooled_at).total_seconds(), 0.0) if oldest else None
    return Backlog(pending.count, pending.bytes, unit.spool.max_bytes, _whole(waits_s), set_aside.count)


def clock_state(unit: UnitConfig) -> ClockState:
    """Say what the clock's time rests on. It is behind if the unit's notes or its keyring say that the time is over."""
    clock, over = SystemClock(), BUILT_AT
    with suppress(PlatesealError):
        keyring, _ = read_keyring(unit.seal.keyring, load_ed25519_public(unit.seal.owner_key))
        over = keyring.issued or BUILT_AT
    is_behind = clock.now() < noted_floor(unit.state_dir, LocalFiles(), over=over)
    return ClockState.BEHIND if is_behind else clock.state()


def read_temperature(thermal: Path) -> int | None:
    """Return what the hottest sensor shows, thousandths of a degree Celsius; None without one."""
    found: list[int] = []
    for path in thermal.glob("thermal_zone*/temp"):
        with suppress(OSError, ValueError):  # a sensor that is switched off
            found.append(int(path.read_text()))
    return max(found, default=None)


def disk_space(directory: Path) -> tuple[int, int]:
    """Return the bytes that are free for this user on a directory's file system, and its size.

    Before the directory is made, those of where it will be; zeros where nobody can say.
    """
    for place in (directory, *directory.parents):
        try:
            status = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    return 0, 0


class HealthReporter:
    """Sends a report once a minute, on a thread of its own."""

    def __init__(self, read: Callable[[], HealthReport], send: Callable[[bytes], None]) -> None:
        """Prepare.

        Args:
            read: Returns the unit's state.
            send: Carries a report to the receiver. Raises `TransportError` where it did not arrive.
        """
        self._read = read
        self._send = send
        self._ended = threading.Event()
        self._fails = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def __enter__(self) -> Self:
        """Start; the first report goes out in a few seconds, when the daemons have written their metrics."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; a report that is under way is left to its time limits."""
        self._ended.set()

    def report(self) -> None:
        """Send one report. A failure is logged when it begins and when it ends, and not raised."""
        try:
            self._send(encode_health(self._read()))
        except PlatesealError as error:
            if not self._fails:
                level = logging.WARNING if isinstance(error, TransportError) else logging.ERROR
                _log.log(level, "health reports do not arrive: %s", error)
            self._fails = True
        else:
            if self._fails:
                _log.info("health reports arrive again")
            self._fails = False

    def _run(self) -> None:
        wait_s = JITTER_S
        while not self._ended.wait(wait_s + random.uniform(0.0, JITTER_S)):  # noqa: S311  spreads load, hides nothing
            self.report()
            wait_s = REPORT_EVERY_S - JITTER_S


def _cameras(unit: UnitConfig, capture: Snapshot) -> tuple[CameraHealth, ...]:
    found: list[CameraHealth] = []
    for camera in unit.cameras:
        name = camera.camera_id
        is_up = (capture.get("camera_up", name) or 0.0) > 0
        refuses = not is_up and (capture.get("camera_login_refused", name) or 0.0) > 0
        lag_ms = max(round((capture.get("camera_lag_seconds", name) or 0.0) * 1000), 0)
        state, clock = None if is_file_uri(camera.source.uri) else is_up, _camera_clock(capture, name)
        found.append(CameraHealth(name, state, lag_ms, refuses, clock))
    return tuple(found)


def _camera_clock(capture: Snapshot, name: str) -> CameraClockHealth | None:
    offset_s, drift = (capture.get(f"camera_clock_{what}", name) for what in ("offset_seconds", "drift_ratio"))
    if offset_s is None:
        return None
    return CameraClockHealth(
        offset_ms=round(offset_s * 1000),
        drift_ms_per_day=None if drift is None else round(drift * MS_PER_DAY),
        watched_s=int(capture.get("camera_clock_watched_seconds", name) or 0.0),
        dates=(capture.get("camera_clock_dates", name) or 0.0) > 0,
    )


def _keyring_end(unit: UnitConfig) -> datetime:
    keyring, _ = read_keyring(unit.seal.keyring, load_ed25519_public(unit.seal.owner_key))
    return keyring_end(keyring)


def _until(end: Callable[[], datetime]) -> int | None:
    try:
        return int((end() - _now()) / timedelta(seconds=1))
    except PlatesealError:
        return None


def _configs(unit: UnitConfig) -> tuple[ConfigHealth, ...]:
    if unit.bundle.incoming is None:
        return ()
    try:
        states = config_states(unit.state_dir, load_ed25519_public(unit.seal.owner_key), LocalFiles())
    except PlatesealError:
        return ()
    return tuple(
        ConfigHealth(state.daemon, state.serial, None if state.rejected is None else one_line(state.rejected))
        for state in states
    )


def _versions() -> tuple[tuple[str, str], ...]:
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "Linux"
    system = f"{system}, {platform.release()}, {platform.machine()}"
    parts = (("plateseal", __version__), ("python", platform.python_version()), ("system", system))
    return tuple((name, one_line(version, max_chars=MAX_VERSION_CHARS)) for name, version in parts)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
