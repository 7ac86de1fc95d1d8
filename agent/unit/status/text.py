"""The live unit on one screen of 80 columns, as lines of text.

Owns: the words and their order. Leaves to others: the numbers (`agent.unit.status.report`), from which on one is marked
(`agent.health.limits`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.health.limits import (
    CERTIFICATE_SHORT,
    DISK_SHORT_SHARE,
    FULL_SHARE,
    HOT_MC,
    KEYRING_SHORT,
    OLD_BACKLOG,
    SLOW_CAMERA_MS,
)
from agent.unit.status.metrics import Samples
from agent.wire.health import CameraHealth, HealthReport
from agent.wire.plaintext import ClockState


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One line.

    Attributes:
        name: What it is about.
        text: How that is.
        is_good: Whether nobody needs to look.
    """

    name: str
    text: str
    is_good: bool = True


def status_lines(report: HealthReport, *, receiver_up: bool | None, now: datetime) -> Iterator[StatusLine]:
    """Yield the unit's state, a line for each part.

    Args:
        report: From `read_health`.
        receiver_up: Whether the last request was answered; None where none was made, or upload does not run.
        now: Aware time.
    """
    reads, backlog = report.reads, report.backlog
    yield StatusLine("capture", "runs" if report.capture_up else "does not run", report.capture_up)
    for camera in report.cameras:
        yield StatusLine(f"  {camera.name}", *_camera(camera))
    if report.capture_up:
        rejected = f"{reads.rejected:,} passages rejected"
        yield StatusLine("  reads", f"{reads.sealed:,} sealed, {rejected}, next is {reads.sequence or 0:,}")
    if reads.lost:
        yield StatusLine("  lost", f"{reads.lost:,} forced out by the spool's bounds; the chain says so", is_good=False)
    yield StatusLine("upload", _upload(report, receiver_up), report.upload_up and receiver_up is not False)
    yield StatusLine("spool", *_spool(report))
    if backlog.set_aside:
        yield StatusLine("  set aside", f"{backlog.set_aside:,}; plateseal spool list says why", is_good=False)
    share = report.disk_free_bytes / report.disk_size_bytes if report.disk_size_bytes else 0.0
    yield StatusLine("disk", f"{_gigabytes(report.disk_free_bytes)} free ({share:.0%})", share >= DISK_SHORT_SHARE)
    yield StatusLine("clock", str(report.clock), report.clock is ClockState.SYNCHRONIZED)
    yield _end("keyring", report.keyring_s, KEYRING_SHORT)
    yield _end("certificate", report.certificate_s, CERTIFICATE_SHORT)
    if report.temperature_mc is not None:
        yield StatusLine("temperature", f"{report.temperature_mc / 1000:.1f} °C", report.temperature_mc < HOT_MC)
    for config in report.configs:
        text = f"serial {config.serial}" if config.serial else "the unit's own file"
        yield StatusLine(f"{config.daemon} config", text)
        if config.rejected is not None:
            yield StatusLine("  refused", config.rejected, is_good=False)
    if report.error is not None:
        yield StatusLine("last error", f"{length(now - report.error.at)} ago: {report.error.line}")


def was_answered(upload: Samples) -> bool | None:
    """Return whether the last request of upload was answered; None where none was made."""
    if not upload.get("sent_bytes_total"):
        return None
    return upload.get("link_up", 0.0) > 0


def length(span: timedelta) -> str:
    """Write a length of time in one or two units."""
    seconds = max(int(span.total_seconds()), 0)
    for unit, unit_s, smaller, smaller_s in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= unit_s:
            return f"{seconds // unit_s} {unit} {seconds % unit_s // smaller_s} {smaller}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def _camera(camera: CameraHealth) -> tuple[str, bool]:
    if camera.is_up is None:
        return "recording", True
    if not camera.is_up:
        return "gives no picture", False
    return f"delivers, {camera.lag_ms / 1000:.1f} s behind", camera.lag_ms < SLOW_CAMERA_MS


def _upload(report: HealthReport, receiver_up: bool | None) -> str:
    if not report.upload_up:
        return "does not run"
    link = {True: "receiver answers", False: "receiver is not reached", None: "nothing sent yet"}[receiver_up]
    return f"runs, {link}, {report.reads.delivered:,} delivered"


def _spool(report: HealthReport) -> tuple[str, bool]:
    backlog = report.backlog
    if not backlog.count:
        return "empty", True
    oldest = timedelta(seconds=backlog.oldest_s or 0)
    share = backlog.size_bytes / backlog.max_bytes
    text = f"{backlog.count:,} waiting, {backlog.size_bytes / 1e6:,.1f} MB ({share:.0%} full), oldest {length(oldest)}"
    return text, oldest <= OLD_BACKLOG and share < FULL_SHARE


def _end(name: str, left_s: int | None, short: timedelta) -> StatusLine:
    if left_s is None:
        return StatusLine(name, "cannot be read", is_good=False)
    left = timedelta(seconds=left_s)
    if left <= timedelta(0):
        return StatusLine(name, f"ended {length(-left)} ago", is_good=False)
    return StatusLine(name, f"{length(left)} left", left >= short)


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
