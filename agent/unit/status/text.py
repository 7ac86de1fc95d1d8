"""The live unit on one screen of 80 columns, as lines of text.

Owns: the parts and their order. Leaves to others: the numbers (`agent.unit.status.report`), and what somebody should
look at, with its words (`agent.health.assess`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.health.assess import BACKLOG, Finding, camera_clock_words, disk_words, span
from agent.unit.status.samples import Snapshot
from agent.wire.health import CameraHealth, HealthReport


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One line.

    Attributes:
        name: What it is about.
        text: What was found, for a person.
        is_good: Whether nobody needs to look.
        mend: What mends it, where somebody should look.
    """

    name: str
    text: str
    is_good: bool = True
    mend: str = ""


def status_lines(
    report: HealthReport, found: Sequence[Finding], *, receiver_up: bool | None, now: datetime
) -> Iterator[StatusLine]:
    """Yield the unit's state, a line for each part; a finding takes the place of the part's line, and is marked.

    Args:
        report: From `read_health`.
        found: What somebody should look at; what is about no part of the report comes behind the parts.
        receiver_up: Whether the last request was answered; None where none was made, or upload does not run.
        now: The aware time of the report.
    """
    told = [StatusLine(each.about, each.words, is_good=False, mend=each.mend) for each in found]
    parts = list(_parts(report, receiver_up))
    for line in parts:
        of_part = [each for each in told if each.name == line.name]
        if line.text and (not of_part or line.name == "spool"):  # how full the spool is says more than that it is full
            yield line
        yield from of_part
    names = {line.name for line in parts}
    yield from (each for each in told if each.name not in names)
    for config in report.configs:
        if config.rejected is not None:
            yield StatusLine("refused", f"{config.daemon}: {config.rejected}")
    if report.error is not None:
        yield StatusLine("last error", f"{span(now - report.error.at)} ago: {report.error.line}")


def was_answered(upload: Snapshot) -> bool | None:
    """Return whether the last request of upload was answered; None where none was made."""
    return upload.total("link_up") > 0 if upload.total("sent_bytes") else None


def _parts(report: HealthReport, receiver_up: bool | None) -> Iterator[StatusLine]:
    """Yield every part as it is; one without text is shown only where there is a finding about it."""
    reads = report.reads
    yield StatusLine("capture", "runs")
    for camera in report.cameras:
        yield StatusLine(f"camera {camera.name}", _camera(camera))
        if camera.clock is not None:
            yield StatusLine("its clock", camera_clock_words(camera.clock))
    if report.capture_up:
        rejected = f"{reads.rejected:,} passages rejected"
        yield StatusLine("reads", f"{reads.sealed:,} sealed, {rejected}, next is {reads.sequence or 0:,}")
    is_good = receiver_up is not False
    yield StatusLine("upload", _upload(report, receiver_up), is_good=is_good, mend="" if is_good else BACKLOG[1])
    yield StatusLine("spool", _spool(report))
    yield StatusLine("oldest read", "")
    size_bytes = report.disk_size_bytes
    yield StatusLine("disk", disk_words(report.disk_free_bytes, size_bytes) if size_bytes else "size is not known")
    yield StatusLine("clock", str(report.clock))
    yield StatusLine("keyring", _left(report.keyring_s))
    yield StatusLine("certificate", _left(report.certificate_s))
    if report.temperature_mc is not None:
        yield StatusLine("temperature", f"{report.temperature_mc / 1000:.1f} °C")
    for config in report.configs:
        yield StatusLine(
            f"{config.daemon} config", f"serial {config.serial}" if config.serial else "the unit's own file"
        )


def _camera(camera: CameraHealth) -> str:
    return "recording" if camera.is_up is None else f"delivers, {camera.lag_ms / 1000:.1f} s behind"


def _upload(report: HealthReport, receiver_up: bool | None) -> str:
    link = {True: "receiver answers", False: "receiver is not reached", None: "nothing sent yet"}[receiver_up]
    return f"runs, {link}, {report.reads.delivered:,} delivered"


def _spool(report: HealthReport) -> str:
    backlog = report.backlog
    if not backlog.count:
        return "empty"
    share = backlog.size_bytes / backlog.max_bytes
    oldest = span(timedelta(seconds=backlog.oldest_s or 0))
    return f"{backlog.count:,} waiting, {backlog.size_bytes / 1e6:,.1f} MB ({share:.0%} full), oldest {oldest}"


def _left(left_s: int | None) -> str:
    return f"{span(timedelta(seconds=left_s or 0))} left"
