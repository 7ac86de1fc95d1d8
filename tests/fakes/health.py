"""Health reports of units that never were, in every condition."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.receiver.fleet.store import Reported
from agent.wire.health import Backlog, CameraHealth, ConfigHealth, HealthReport, LastError, ReadCounts
from agent.wire.plaintext import ClockState

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def make_report(at: datetime = NOW, *, camera: str = "north") -> HealthReport:
    """Return what a unit says that has nothing to complain of."""
    return HealthReport(
        at=at,
        capture_up=True,
        upload_up=True,
        cameras=(CameraHealth(camera, is_up=True, lag_ms=40),),
        backlog=Backlog(count=0, size_bytes=0, max_bytes=1 << 30, oldest_s=None, set_aside=0),
        reads=ReadCounts(sequence=48_210, sealed=1204, delivered=1204, rejected=31, lost=0),
        disk_free_bytes=21_400_000_000,
        disk_size_bytes=31_300_000_000,
        temperature_mc=54_700,
        clock=ClockState.SYNCHRONIZED,
        certificate_s=200 * 86_400,
        keyring_s=25 * 86_400,
        versions=(("plateseal", "0.1.0"), ("python", "3.11.2"), ("system", "Debian GNU/Linux 12, 6.6, aarch64")),
        configs=(ConfigHealth("capture", 7), ConfigHealth("upload", 7)),
    )


def troubled(number: int, report: HealthReport) -> HealthReport:
    """Return the report with one of many troubles, chosen by `number`."""
    name = report.cameras[0].name
    backlog = report.backlog
    cases: list[HealthReport] = [
        replace(report, cameras=(CameraHealth(name, is_up=False, lag_ms=0),)),
        replace(report, capture_up=False, cameras=()),
        replace(report, backlog=replace(backlog, count=8421, size_bytes=98_000_000, oldest_s=190_000)),
        replace(report, keyring_s=5 * 86_400),
        replace(report, certificate_s=-3600, error=LastError(NOW - timedelta(hours=1), "the certificate has ended")),
        replace(report, disk_free_bytes=400_000_000),
        replace(report, clock=ClockState.UNSYNCHRONIZED, temperature_mc=83_200),
        replace(
            report, configs=(ConfigHealth("capture", 7, "serial 8 is for another unit"), ConfigHealth("upload", 7))
        ),
        replace(report, backlog=replace(backlog, count=3, size_bytes=40_000, oldest_s=7300, set_aside=2)),
        replace(
            report,
            capture_up=False,
            cameras=(),
            keyring_s=-86_400,
            disk_free_bytes=90_000_000,
            clock=ClockState.UNSYNCHRONIZED,
            backlog=replace(backlog, count=91_002, size_bytes=1_060_000_000, oldest_s=2_000_000, set_aside=11),
            reads=replace(report.reads, lost=512),
            error=LastError(NOW - timedelta(minutes=7), "capture ended: spool: no space left on device <b>&\"'"),
        ),
    ]
    return cases[number % len(cases)]


def make_fleet(count: int, now: datetime = NOW) -> tuple[list[str], dict[str, Reported]]:
    """Return the names and reports of a fleet in which every tenth unit or so is in some trouble."""
    names = [f"site-{number // 15 + 1:02d}-gate-{number % 15 + 1:02d}" for number in range(count)]
    reports: dict[str, Reported] = {}
    for number, name in enumerate(names):
        report = make_report(now, camera=f"{name}-north")
        received_at = now - timedelta(seconds=(number * 7) % 60)
        if number % 11 == 1:
            report = troubled(number // 11, report)
        if number % 53 == 2:
            received_at = now - timedelta(hours=5, minutes=number)
        if number % 97 != 5:
            reports[name] = Reported(received_at, report)
    return names, reports
